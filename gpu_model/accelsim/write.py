"""Launches as Accel-Sim text traces: what its NVBit tracer would have written on the GPU, and the cubin beside it.

The format has registers by their first number, one address list an instruction and the last immediate; it has no
control bits, predicates or uniform registers. `kernel-N.cubin` keeps those; Accel-Sim does not look at it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np

from gpu_model.accelsim.addresses import NOT_READ, write_addresses
from gpu_model.core.coalesce import Regions, rebase
from gpu_model.core.opcodes import MEMORY_OPCODES, Space
from gpu_model.core.pool import place_regions
from gpu_model.errors import TraceFormatError
from gpu_model.launch import Launch
from gpu_model.program import ZERO_REGISTER, Operand, Program
from gpu_model.trace import BlockTrace

LIST_FILE = "kernelslist.g"
TRACER_VERSION = 5
MAX_SOURCES = 4  # that Accel-Sim takes
# Windows of shared and thread-local memory, where no tensor of a trace lies.
_SHARED_BASE, _LOCAL_BASE = 0x7F0000000000, 0x7F1000000000
# What these leave in a trace are not addresses of lanes.
_WITHOUT_PLACE = frozenset(
    ("SYNCS", "UTMALDG", "UTMASTG", "UTMAREDG", "UBLKCP", "UBLKRED", "STAS", "REDAS", "ARRIVES", "UCGABAR")
)
_FORMAT = (
    "#traces format = [line_num] PC mask dest_num [reg_dests] opcode src_num [reg_srcs] mem_width "
    "[adrrescompress?] [mem_addresses] immediate"
)


class AccelSimWriter:
    """Writes launches to a folder as `kernel-1.traceg`, `kernel-2.traceg`, ... and lists them in `kernelslist.g`.

    Addresses of global memory are moved to bases that depend on the order of the launch's tensors only, so that a
    script always leaves the same files.

    Args:
        folder: made if it is not there.
        compress: write addresses as strides and differences, as the tracer does; else as lists.

    Attributes:
        files: the traces written.

    Raises:
        TraceFormatError: the folder cannot be made, or holds traces already.
    """

    def __init__(self, folder: Path, *, compress: bool = True):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TraceFormatError(f"folder {folder} for traces: {error.strerror}") from error
        if (folder / LIST_FILE).exists():
            raise TraceFormatError(f"folder {folder} holds traces already: it has a {LIST_FILE}; choose another")
        self._folder, self._compress = folder, compress
        self.files: list[Path] = []

    def recording(
        self, launch: Launch, regions: list[tuple[int, int]], traces: Iterator[BlockTrace]
    ) -> Iterator[BlockTrace]:
        """Pass a launch's traces on, and write each before it goes.

        Args:
            launch: what the traces are of.
            regions: (address, bytes) of its global memory, in the order in which they get their bases.
            traces: one a block.

        Raises:
            TraceFormatError: clusters, or an instruction that the format has no place for.
        """
        _check(launch.program)
        number, placed = len(self.files) + 1, place_regions(regions)
        path = self._folder / f"kernel-{number}.traceg"
        lines = _InstructionLines(launch.program, placed, self._compress)
        with path.open("w", encoding="ascii") as file:
            file.write(_header(launch, number))
            for trace in traces:
                _write_block(file, trace, launch.block_index(trace.block), lines)
                yield trace
        if launch.cubin:
            path.with_suffix(".cubin").write_bytes(launch.cubin)
        with (self._folder / LIST_FILE).open("a", encoding="ascii") as file:
            for base, start, end in sorted(zip(placed.bases, placed.starts, placed.ends, strict=True)):
                file.write(f"MemcpyHtoD,0x{base:016x},{end - start}\n")
            file.write(f"{path.name}\n")
        self.files.append(path)


def _check(program: Program) -> None:
    if program.cluster != (1, 1, 1):
        raise TraceFormatError(f"kernel {program.name} runs in clusters, which Accel-Sim's trace format does not have")
    for index, row in enumerate(program.rows):
        opcode, operands = str(row["opcode"]), row["operands"]
        barrier = opcode == "BAR" and Operand.REGISTER in operands["kind"][:2]
        if opcode.startswith(tuple(_WITHOUT_PLACE)) or barrier:
            raise TraceFormatError(
                f"{program.where(index)}: {program.text[index]!r} has operands that Accel-Sim's trace format has no "
                "place for; time it here without exporting it"
            )


def _header(launch: Launch, number: int) -> str:
    x, y, z = launch.grid
    fields = {
        "kernel name": launch.program.name,
        "kernel id": number,
        "grid dim": f"({x},{y},{z})",
        "block dim": f"({launch.threads},1,1)",
        "shmem": launch.own_shared_bytes,
        "nregs": launch.program.registers,
        "binary version": launch.program.arch,
        "cuda stream id": 0,
        "shmem base_addr": f"0x{_SHARED_BASE:016x}",
        "local mem base_addr": f"0x{_LOCAL_BASE:016x}",
        "nvbit version": "none",
        "accelsim tracer version": TRACER_VERSION,
        "enable lineinfo": 0,
    }
    return "\n".join([*(f"-{name} = {value}" for name, value in fields.items()), "", _FORMAT, "", ""])


def _write_block(file: TextIO, trace: BlockTrace, index: tuple[int, int, int], lines: "_InstructionLines") -> None:
    written = lines.of_block(trace)
    file.write("\n#BEGIN_TB\n\nthread block = {},{},{}\n".format(*index))
    for warp in range(trace.warps):
        own = written[trace.start[warp] : trace.start[warp + 1]]
        text = "\n".join(own)
        count = text.count("\n") + 1 if own else 0  # an LDGSTS takes two lines
        file.write(f"\nwarp = {warp}\ninsts = {count}\n{text}\n")
    file.write("\n#END_TB\n")


class _InstructionLines:
    """Lines of a program's instructions, as their masks and addresses come."""

    def __init__(self, program: Program, regions: Regions, compress: bool):
        self._regions, self._compress = regions, compress
        self._pcs = [f"{int(row['pc']):04x}" for row in program.rows]
        self._statics = [_static(row) for row in program.rows]
        self._immediates = [_immediate(row) for row in program.rows]
        spaces = [MEMORY_OPCODES.get(str(opcode), (Space.NONE,))[0] for opcode in program.rows["opcode"]]
        self._is_memory = [space in (Space.GLOBAL, Space.SHARED) for space in spaces]
        self._is_global = np.array(
            [
                space == Space.GLOBAL and opcode not in ("LDL", "STL")
                for space, opcode in zip(spaces, program.rows["opcode"], strict=True)
            ]
        )
        self._is_copy = (program.rows["opcode"] == "LDGSTS").tolist()
        self._widths = [_width(str(row["modifiers"])) for row in program.rows]
        self._plain: dict[tuple[int, int], str] = {}

    def of_block(self, trace: BlockTrace) -> list[str]:
        """The line of each trace entry; two lines for an LDGSTS, shared addresses first, as the tracer has them.

        Lanes of it that fill shared memory with zeros instead read from `NOT_READ`.
        """
        address = trace.address.copy()
        for access in trace.access[self._is_global[trace.row] & (trace.access >= 0) & (trace.mask != 0)]:
            rebase(address[access], self._regions)
        lanes, lines = address.tolist(), []
        for row, mask, access in zip(trace.row.tolist(), trace.mask.tolist(), trace.access.tolist(), strict=True):
            if not self._is_memory[row]:
                line = self._plain.get((row, mask))
                if line is None:
                    line = self._plain[row, mask] = self._line(row, mask, "0")
            elif self._is_copy[row]:
                lists = (lanes[access + 1], [max(at, NOT_READ) for at in lanes[access]]) if mask else ([], [])
                line = "\n".join(self._addressed(row, mask, one) for one in lists)
            else:
                line = self._addressed(row, mask, lanes[access]) if access >= 0 else self._line(row, mask, "0")
            lines.append(line)
        return lines

    def _line(self, row: int, mask: int, memory: str) -> str:
        return f"{self._pcs[row]} {mask:08x} {self._statics[row]} {memory} {self._immediates[row]}"

    def _addressed(self, row: int, mask: int, lanes: list[int]) -> str:
        return self._line(row, mask, f"{self._widths[row]} {write_addresses(lanes, mask, compress=self._compress)}")


def _static(row: np.void) -> str:
    """Registers and opcode: a first operand that is a register is the destination, an address its base register."""
    sources, destination = [], []
    for position, operand in enumerate(row["operands"]):
        if operand["kind"] == Operand.MEMORY:
            sources.append(int(operand["index"]) if operand["index"] >= 0 else ZERO_REGISTER)
        elif operand["kind"] == Operand.REGISTER:
            (sources if position else destination).append(int(operand["index"]))
    opcode = ".".join(filter(None, (str(row["opcode"]), str(row["modifiers"]))))
    registers = [f"R{register}" for register in sources[:MAX_SOURCES]]
    return " ".join([str(len(destination)), *(f"R{d}" for d in destination), opcode, str(len(registers)), *registers])


def _immediate(row: np.void) -> int:
    """The last immediate operand, as the tracer prints it: the low word, signed."""
    values = row["operands"]["value"][row["operands"]["kind"] == Operand.IMMEDIATE]
    return (int(values[-1]) + (1 << 31)) % (1 << 32) - (1 << 31) if len(values) else 0


def _width(modifiers: str) -> int:
    """Bytes a lane moves, by the tracer's rule: the first modifier that is a number, or U and a number."""
    for modifier in modifiers.split("."):
        digits = modifier.removeprefix("U")
        if digits.isdecimal():
            return max(1, int(digits) // 8)
    return 4
