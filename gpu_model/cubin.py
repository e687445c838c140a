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
# What no GPU exceeds (CUDA C++ Programming Guide, technical specifications), so that a damaged size is noticed.
MAX_REGISTERS = 256
MAX_SHARED_BYTES = 228 << 10
MAX_LOCAL_BYTES = 512 << 10
MAX_PARAMETER_BYTES = 32764
MAX_BANK_BYTES = 64 << 10
MAX_ZEROED_BYTES = 16 << 20
_BANKS = 32
_INITIAL, _ZEROED = ".nv.global.init", ".nv.global"  # global variables with contents, and those that start as zero
MAX_CLUSTER = 16  # blocks
_FORMAT_SIZED = 0x04  # the attribute's 16-bit value is the size of the data that follows
_ATTRIBUTE_PARAM_CBANK = 0x0A
_ATTRIBUTE_MIN_STACK = 0x12
_ATTRIBUTE_PARAMETER = 0x17
_ATTRIBUTE_PARAMETER_V2 = 0x45
_ATTRIBUTE_REGISTERS = 0x2F
_ATTRIBUTE_CLUSTER = 0x3D


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
        image: the whole file.
        cluster: blocks of a cluster in x, y, z.
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
    image: bytes = field(default=b"", repr=False)
    cluster: tuple[int, int, int] = (1, 1, 1)


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


def _contents(section: Any) -> bytes:
    """A section's bytes as they lie in the file: never expanded, never past its end."""
    offset, size = section["sh_offset"], section["sh_size"]
    if section["sh_type"] == "SHT_NOBITS" or section.compressed:
        raise CubinError(f"section {section.name} is {'compressed' if section.compressed else 'without contents'}")
    data = section.stream.getbuffer()[offset : offset + size].tobytes()
    if len(data) != size:
        raise CubinError(f"section {section.name} claims {size} bytes at {offset:#x}, the file holds {len(data)}")
    return data


def _cluster(attributes: list[tuple[int, bytes]]) -> tuple[int, int, int]:
    for attribute, data in attributes:
        if attribute == _ATTRIBUTE_CLUSTER:
            x, y, z = struct.unpack_from("<3I", data)
            if not 1 <= x * y * z <= MAX_CLUSTER:
                raise CubinError(f"a cluster of {x} x {y} x {z} blocks, legal are 1 to {MAX_CLUSTER} blocks")
            return x, y, z
    return 1, 1, 1


def _constant_banks(sections: list[Any], kernel: str) -> dict[int, bytes]:
    banks = {}
    for section in sections:
        prefix, _, owner = section.name.removeprefix(".nv.constant").partition(".")
        if section.name.startswith(".nv.constant") and prefix.isdigit() and owner in ("", kernel):
            data = _contents(section)
            if int(prefix) >= _BANKS or len(data) > MAX_BANK_BYTES:
                raise CubinError(
                    f"constant bank {prefix} of {len(data)} bytes; at most {_BANKS} banks of {MAX_BANK_BYTES} bytes"
                )
            banks[int(prefix)] = data
    return banks


def _relocations(sections: list[Any]) -> tuple[Relocation, ...]:
    """Addresses in constant banks: of the kernel's global data, or of host functions (undefined symbols)."""
    found = []
    for section in sections:
        bank = section.name.removeprefix(".rel").removeprefix("a").removeprefix(".nv.constant").partition(".")[0]
        if not section.name.startswith(".rel") or ".nv.constant" not in section.name or not bank.isdigit():
            continue
        symbols = sections[section["sh_link"]]
        for entry in section.iter_relocations():
            symbol = symbols.get_symbol(entry["r_info_sym"])
            target = None
            if symbol["st_shndx"] != "SHN_UNDEF":
                home = sections[symbol["st_shndx"]].name
                if home not in (_INITIAL, _ZEROED):
                    raise CubinError(f"constant bank {bank} points at {symbol.name} in {home}, expected global data")
                target = symbol["st_value"] + _addend(entry) + (_zeroed_offset(sections) if home == _ZEROED else 0)
            found.append(Relocation(int(bank), entry["r_offset"], symbol.name, target))
    return tuple(found)


def _zeroed_offset(sections: list[Any]) -> int:
    """Where variables that start as zero lie: behind those with contents, aligned."""
    sizes = {section.name: section["sh_size"] for section in sections}
    align = max([1, *(section["sh_addralign"] for section in sections if section.name == _ZEROED)])
    return -(-sizes.get(_INITIAL, 0) // align) * align


def _global_data(sections: list[Any]) -> bytes:
    named = {section.name: section for section in sections}
    data = _contents(named[_INITIAL]) if _INITIAL in named else b""
    if _ZEROED not in named:
        return data
    size = _zeroed_offset(sections) + named[_ZEROED]["sh_size"]
    if size > len(data) + MAX_ZEROED_BYTES:
        raise CubinError(f"{size} bytes of global data, {len(data)} with contents; zeroed at most {MAX_ZEROED_BYTES}")
    return data.ljust(size, b"\0")


def _addend(entry: Any) -> int:
    return entry["r_addend"] if entry.is_RELA() else 0


def _read(image: bytes) -> Cubin:
    elf = ELFFile(io.BytesIO(image))
    if elf.header["e_machine"] not in (EM_CUDA, "EM_CUDA"):
        raise CubinError(f"ELF machine is {elf.header['e_machine']}, expected EM_CUDA (190): not a cubin")
    arch = _architecture(elf)
    sections: list[Any] = list(elf.iter_sections())  # pyelftools types every section as the base class
    named = {section.name: section for section in sections}
    kernels = [section.name[6:] for section in sections if section.name.startswith(".text.")]
    if len(kernels) != 1:
        raise CubinError(f"cubin holds {len(kernels)} kernels ({', '.join(kernels[:4])}), expected exactly one")
    kernel = kernels[0]
    text = named.get(f".text.{kernel}")
    info = named.get(f".nv.info.{kernel}")
    if text is None or info is None:
        raise CubinError(f"cubin has no .nv.info.{kernel} section: parameters of the kernel are unknown")
    code = _contents(text)
    if not code or len(code) % 16:
        raise CubinError(f"code of kernel {kernel} is {len(code)} bytes, expected a positive multiple of 16")
    attributes = _attributes(_contents(info))
    general = named.get(".nv.info")
    resources = _attributes(_contents(general)) if general else []
    shared = named.get(f".nv.shared.{kernel}")
    cubin = Cubin(
        kernel=kernel,
        arch=arch,
        code=code,
        registers=_scalar(resources, _ATTRIBUTE_REGISTERS, "<I", 4, 0) or text.header["sh_info"] >> 24,
        parameter_base=_scalar(attributes, _ATTRIBUTE_PARAM_CBANK, "<H", 4, 0x160),
        parameters=_parameters(attributes),
        shared_bytes=shared.header["sh_size"] if shared else 0,
        local_bytes=_scalar(resources, _ATTRIBUTE_MIN_STACK, "<I", 4, 0),
        constants=_constant_banks(sections, kernel),
        global_data=_global_data(sections),
        relocations=_relocations(sections),
        image=image,
        cluster=_cluster(attributes),
    )
    _check_limits(cubin)
    return cubin


def _check_limits(cubin: Cubin) -> None:
    """Refuse resources that no GPU has, and relocations outside their bank."""
    lowest = 0x380 if cubin.arch >= 100 else 0x160  # the driver's part of bank 0 comes first
    parameter_bytes = max((p.offset + p.size for p in cubin.parameters), default=0)
    for what, value, low, high in (
        ("registers", cubin.registers, 0, MAX_REGISTERS),
        ("bytes of shared memory", cubin.shared_bytes, 0, MAX_SHARED_BYTES),
        ("bytes of stack", cubin.local_bytes, 0, MAX_LOCAL_BYTES),
        ("bytes of parameters", parameter_bytes, 0, MAX_PARAMETER_BYTES),
        ("as offset of the parameters", cubin.parameter_base, lowest, MAX_BANK_BYTES - MAX_PARAMETER_BYTES),
    ):
        if not low <= value <= high:
            raise CubinError(f"kernel {cubin.kernel}: {value} {what}, expected {low} to {high}")
    for relocation in cubin.relocations:
        # Bank 0 grows to hold the parameters; the others are as long as the file says.
        bank = len(cubin.constants.get(relocation.bank, b""))
        inside = relocation.target is None or 0 <= relocation.target <= len(cubin.global_data)
        if relocation.offset + 8 > bank or not inside:
            raise CubinError(
                f"kernel {cubin.kernel}: address of {relocation.symbol} at byte {relocation.offset} of constant bank "
                f"{relocation.bank} ({bank} bytes) points outside the kernel's data or lies outside the bank"
            )


def read_cubin(image: bytes) -> Cubin:
    """Read a cubin that holds one kernel.

    Raises:
        CubinError: not an ELF file, not for an NVIDIA GPU, an unknown architecture, truncated or corrupt.
    """
    if len(image) > MAX_CUBIN_BYTES:
        raise CubinError(f"cubin is {len(image)} bytes, at most {MAX_CUBIN_BYTES} are accepted")
    try:
        return _read(image)
    except CubinError:
        raise
    except (ELFError, ConstructError, struct.error, UnicodeDecodeError, KeyError, IndexError,
            ValueError, AttributeError, TypeError, ArithmeticError, MemoryError, RecursionError,
            AssertionError) as error:  # fmt: skip
        raise CubinError(f"cubin is corrupt or truncated: {error or type(error).__name__}") from error
