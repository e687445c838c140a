"""Reading a cubin: an ELF file whose `.nv.info` sections describe one kernel's resources.

Section and attribute numbers follow the public cuobjdump and CuAssembler readings of the format.
"""

import io
import struct
from dataclasses import dataclass, field
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.elffile import ELFFile

from gpu_model.errors import CubinError
from gpu_model.program import Relocation

EM_CUDA = 190
SUPPORTED_ARCHES = (75, 80, 86, 89, 90, 120)
MAX_CUBIN_BYTES = 256 << 20
_FORMAT_SIZED = 0x04  # the attribute's 16-bit value is the size of the data that follows
_ATTRIBUTE_PARAM_CBANK = 0x0A
_ATTRIBUTE_MIN_STACK = 0x12
_ATTRIBUTE_PARAMETER = 0x17
_ATTRIBUTE_PARAMETER_V2 = 0x45
_ATTRIBUTE_REGISTERS = 0x2F


@dataclass(frozen=True)
class Parameter:
    """Where a kernel parameter lives in the parameter area: byte offset and size."""

    offset: int
    size: int


@dataclass(frozen=True)
class Cubin:
    """The parts of a cubin that a launch needs.

    Attributes:
        kernel: name of its one kernel.
        arch: compute capability times ten.
        code: SASS bytes of the kernel, 16 a instruction.
        registers: registers per thread.
        parameter_base: byte offset of the parameters in constant bank 0.
        parameters: in declaration order.
        shared_bytes: static shared memory, in bytes.
        local_bytes: stack per thread, in bytes.
        constants: constant banks' initial contents.
        global_data: initial contents of the kernel's own global memory.
        relocations: constant-bank words that hold addresses.
    """

    kernel: str
    arch: int
    code: bytes
    registers: int
    parameter_base: int
    parameters: tuple[Parameter, ...]
    shared_bytes: int
    local_bytes: int
    constants: dict[int, bytes] = field(default_factory=dict)
    global_data: bytes = b""
    relocations: tuple[Relocation, ...] = ()


def _architecture(elf: ELFFile) -> int:
    flags = elf.header["e_flags"]
    # ABI version 8 (CUDA 13 on Blackwell) moved the architecture up by one byte.
    arch = flags >> 8 & 0xFF if elf.header["e_ident"]["EI_ABIVERSION"] >= 8 else flags & 0xFF
    if arch not in SUPPORTED_ARCHES:
        supported = ", ".join(f"sm_{known}" for known in SUPPORTED_ARCHES)
        raise CubinError(f"cubin is for sm_{arch}; known architectures: {supported}")
    return arch


def _attributes(data: bytes) -> list[tuple[int, bytes]]:
    """List (attribute, payload) of a `.nv.info` section; short forms carry their 16-bit value."""
    found, position = [], 0
    while position + 4 <= len(data):
        form, attribute, value = struct.unpack_from("<BBH", data, position)
        position += 4
        if form == _FORMAT_SIZED:
            if position + value > len(data):
                raise CubinError(f".nv.info attribute {attribute:#x} needs {value} bytes, {len(data) - position} left")
            found.append((attribute, data[position : position + value]))
            position += value
        else:
            found.append((attribute, struct.pack("<H", value)))
    return found


def _parameters(attributes: list[tuple[int, bytes]]) -> tuple[Parameter, ...]:
    found: dict[int, Parameter] = {}
    for attribute, data in attributes:
        if attribute == _ATTRIBUTE_PARAMETER and len(data) == 12:
            ordinal, offset, packed = struct.unpack_from("<HHI", data, 4)
            found[ordinal] = Parameter(offset, packed >> 18)
        elif attribute == _ATTRIBUTE_PARAMETER_V2 and len(data) >= 16:
            ordinal, offset = struct.unpack_from("<HH", data, 4)
            (size,) = struct.unpack_from("<I", data, 12)
            found[ordinal] = Parameter(offset, size)
    if sorted(found) != list(range(len(found))):
        raise CubinError(f"kernel parameters are numbered {sorted(found)}, expected 0 to {len(found) - 1}")
    return tuple(found[ordinal] for ordinal in range(len(found)))


def _scalar(attributes: list[tuple[int, bytes]], wanted: int, fmt: str, offset: int, default: int) -> int:
    """Read one integer of an attribute, or the default where the attribute is absent."""
    for attribute, data in attributes:
        if attribute == wanted and len(data) >= offset + struct.calcsize(fmt):
            return struct.unpack_from(fmt, data, offset)[0]
    return default


def _constant_banks(elf: ELFFile, kernel: str) -> dict[int, bytes]:
    banks = {}
    for section in elf.iter_sections():
        prefix, _, owner = section.name.removeprefix(".nv.constant").partition(".")
        if section.name.startswith(".nv.constant") and prefix.isdigit() and owner in ("", kernel):
            banks[int(prefix)] = section.data()
    return banks


def _relocations(elf: ELFFile) -> tuple[Relocation, ...]:
    """Addresses in constant banks: of the kernel's global data, or of host functions (undefined symbols)."""
    found = []
    section: Any  # pyelftools types every section as the base class
    for section in elf.iter_sections():
        bank = section.name.removeprefix(".rel").removeprefix("a").removeprefix(".nv.constant").partition(".")[0]
        if not section.name.startswith(".rel") or ".nv.constant" not in section.name or not bank.isdigit():
            continue
        symbols: Any = elf.get_section(section["sh_link"])
        for entry in section.iter_relocations():
            symbol = symbols.get_symbol(entry["r_info_sym"])
            target = None if symbol["st_shndx"] == "SHN_UNDEF" else symbol["st_value"] + _addend(entry)
            if target is not None and elf.get_section(symbol["st_shndx"]).name != ".nv.global.init":
                raise CubinError(f"constant bank {bank} points at {symbol.name}, which is not initialised global data")
            found.append(Relocation(int(bank), entry["r_offset"], symbol.name, target))
    return tuple(found)


def _addend(entry: Any) -> int:
    return entry["r_addend"] if entry.is_RELA() else 0


def _kernel_sections(elf: ELFFile) -> list[str]:
    return [section.name[6:] for section in elf.iter_sections() if section.name.startswith(".text.")]


def _read(elf: ELFFile) -> Cubin:
    if elf.header["e_machine"] not in (EM_CUDA, "EM_CUDA"):
        raise CubinError(f"ELF machine is {elf.header['e_machine']}, expected EM_CUDA (190): not a cubin")
    arch = _architecture(elf)
    kernels = _kernel_sections(elf)
    if len(kernels) != 1:
        raise CubinError(f"cubin holds {len(kernels)} kernels ({', '.join(kernels[:4])}), expected exactly one")
    kernel = kernels[0]
    text = elf.get_section_by_name(f".text.{kernel}")
    info = elf.get_section_by_name(f".nv.info.{kernel}")
    if text is None or info is None:
        raise CubinError(f"cubin has no .nv.info.{kernel} section: parameters of the kernel are unknown")
    code = text.data()
    if not code or len(code) % 16:
        raise CubinError(f"code of kernel {kernel} is {len(code)} bytes, expected a positive multiple of 16")
    attributes = _attributes(info.data())
    general = elf.get_section_by_name(".nv.info")
    resources = _attributes(general.data()) if general else []
    shared = elf.get_section_by_name(f".nv.shared.{kernel}")
    return Cubin(
        kernel=kernel,
        arch=arch,
        code=code,
        registers=_scalar(resources, _ATTRIBUTE_REGISTERS, "<I", 4, 0) or text.header["sh_info"] >> 24,
        parameter_base=_scalar(attributes, _ATTRIBUTE_PARAM_CBANK, "<H", 4, 0x160),
        parameters=_parameters(attributes),
        shared_bytes=shared.header["sh_size"] if shared else 0,
        local_bytes=_scalar(resources, _ATTRIBUTE_MIN_STACK, "<I", 4, 0),
        constants=_constant_banks(elf, kernel),
        global_data=data.data() if (data := elf.get_section_by_name(".nv.global.init")) else b"",
        relocations=_relocations(elf),
    )


def read_cubin(image: bytes) -> Cubin:
    """Read a cubin that holds one kernel.

    Raises:
        CubinError: not an ELF file, not for an NVIDIA GPU, an unknown architecture, truncated or corrupt.
    """
    if len(image) > MAX_CUBIN_BYTES:
        raise CubinError(f"cubin is {len(image)} bytes, at most {MAX_CUBIN_BYTES} are accepted")
    try:
        return _read(ELFFile(io.BytesIO(image)))
    except CubinError:
        raise
    except (ELFError, ConstructError, struct.error, UnicodeDecodeError, KeyError, IndexError,
            ValueError, AttributeError, TypeError, OverflowError, MemoryError, RecursionError) as error:  # fmt: skip
        raise CubinError(f"cubin is corrupt or truncated: {error or type(error).__name__}") from error
