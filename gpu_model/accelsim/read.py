"""Accel-Sim text traces to block traces.

Files of others are not trusted: every error names the file, the line, what is there and what is legal.
"""

import gzip
import lzma
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np

from gpu_model.accelsim.addresses import NO_ADDRESS, NOT_READ, read_addresses
from gpu_model.accelsim.write import LIST_FILE
from gpu_model.core.opcodes import MEMORY_OPCODES, Space
from gpu_model.errors import TraceFormatError
from gpu_model.launch import MAX_GRID
from gpu_model.program import INSTRUCTION_BYTES, ZERO_REGISTER
from gpu_model.trace import LANES, NO_ACCESS, BlockTrace

MAX_CODE_BYTES = 1 << 20
MAX_LINE = 4096  # characters
_MAX_BLOCKS, _MAX_THREADS, _MAX_REGISTERS = 1 << 31, 1024, 255
_MAX_SHARED = 1 << 20
_MAX_REGISTER_OPERANDS = 7
_MAX_MODIFIERS = 56  # characters
_MAX_WIDTH = 64
_LOCAL_SPAN = 1 << 20  # addresses of a thread's own memory repeat after so many bytes
_CACHED_LINES = 1 << 16
_OPCODE = re.compile(r"[A-Z][A-Z0-9]{0,15}(?:\.[A-Za-z0-9_]{1,15}){0,8}")
_REGISTER = re.compile(r"R(\d{1,3})")
_FIELD = re.compile(r"-([a-z_ ]+?) *= *(.*)")
_TRIPLE = re.compile(r"\((\d{1,10}),(\d{1,10}),(\d{1,10})\)")
_BLOCK = re.compile(r"thread block = (\d{1,10}),(\d{1,10}),(\d{1,10})")
_WARP, _COUNT = re.compile(r"warp = (\d{1,4})"), re.compile(r"insts = (\d{1,12})")
_ADDRESSED = (Space.GLOBAL, Space.SHARED, Space.CONSTANT)
_LINE_FORM = "PC mask dest_num [reg_dests] opcode src_num [reg_srcs] mem_width [mode addresses] [immediate]"


@dataclass(frozen=True)
class Header:
    """What a kernel's trace says before its blocks.

    Attributes:
        name: of the kernel.
        grid: blocks in x, y, z.
        threads: of a block.
        shared_bytes: of a block.
        registers: of a thread.
        arch: compute capability times ten.
        version: of the tracer.
        source_lines: whether each instruction starts with its source line.
    """

    name: str
    grid: tuple[int, int, int]
    threads: int
    shared_bytes: int
    registers: int
    arch: int
    version: int
    source_lines: bool

    @property
    def blocks(self) -> int:
        """Blocks of the launch."""
        return math.prod(self.grid)


@dataclass(frozen=True)
class Instruction:
    """What all executions of an instruction share, and where in the file it was first seen.

    Attributes:
        opcode: with its modifiers.
        destinations: register numbers.
        sources: register numbers, those of addresses among them.
        immediate: the last immediate operand; 0 where the trace has none.
        source_line: 0 if unknown.
        place: file and line, for messages.
    """

    opcode: str
    destinations: tuple[int, ...]
    sources: tuple[int, ...]
    immediate: int
    source_line: int
    place: str = field(compare=False)

    @property
    def base(self) -> str:
        """Opcode without modifiers."""
        return self.opcode.partition(".")[0]


def kernel_files(folder: Path) -> list[Path]:
    """The kernel traces that a folder's `kernelslist.g` names, in order; memory copies in it are checked and left.

    Raises:
        TraceFormatError: no list, or a line that is neither a copy nor a file name.
    """
    listing = folder if folder.is_file() else folder / LIST_FILE
    if not listing.is_file():
        raise TraceFormatError(f"{folder} holds no {LIST_FILE}; `warptree run --accelsim DIR script.py` writes one")
    lines, files = _Lines(listing), []
    for text in lines:
        if text.startswith("Memcpy"):
            if not re.fullmatch(r"Memcpy[A-Za-z]+,(0x)?[0-9a-fA-F]{1,16},\d{1,18}", text):
                lines.fail(text, "MemcpyHtoD,<hexadecimal address>,<bytes>")
            continue
        path = listing.parent / text
        if not text.startswith("kernel") or path.name != text:
            lines.fail(text, "MemcpyHtoD,<address>,<bytes> or the name of a kernel's trace in the same folder")
        if not path.is_file():
            lines.fail(text, "a file that is there")
        files.append(path)
    if not files:
        raise TraceFormatError(f"{listing} names no kernel")
    return files


class _Lines:
    """Numbered lines of a text file, plain or compressed; empty ones are passed over."""

    def __init__(self, path: Path):
        self.path, self.number = path, 0

    def __iter__(self) -> Iterator[str]:
        opener = {".xz": lzma.open, ".gz": gzip.open}.get(self.path.suffix, open)
        try:
            with opener(self.path, "rt", encoding="latin-1") as file:
                while text := file.readline(MAX_LINE):
                    self.number += 1
                    if len(text) == MAX_LINE:
                        self.fail(text, f"a line of fewer than {MAX_LINE} characters")
                    if text := text.strip():
                        yield text
        except (OSError, EOFError, lzma.LZMAError) as error:
            raise TraceFormatError(f"{self.place}: {error}") from error

    @property
    def place(self) -> str:
        return f"{self.path.name}, line {self.number}"

    def fail(self, got: str, expected: str) -> NoReturn:
        shown = got if len(got) <= 80 else got[:77] + "..."
        raise TraceFormatError(f"{self.place}: got {shown!r}, expected {expected}")


class KernelTrace:
    """One kernel's trace file.

    Args:
        path: of the file; `.xz` and `.gz` are unpacked as it is read.

    Attributes:
        header: what the file says of the launch.
        instructions: program row (PC / 16) to instruction, as far as `blocks` has read.

    Raises:
        TraceFormatError: a header that is not one.
    """

    def __init__(self, path: Path):
        self.path, self.instructions = path, dict[int, Instruction]()
        self.header = _read_header(iter(lines := _Lines(path)), lines)

    def blocks(self) -> Iterator[BlockTrace]:
        """Read the blocks, in the order of the file.

        Raises:
            TraceFormatError: anything outside the format, with file, line, what is there and what is legal.
        """
        lines = _Lines(self.path)
        texts = iter(lines)
        _read_header(texts, lines)
        done, parser = set[int](), _Parser(self, lines)
        for text in texts:
            if text != "#BEGIN_TB":
                lines.fail(text, "#BEGIN_TB")
            trace = parser.block(texts)
            if trace.block in done:
                lines.fail(f"block {trace.block}", "each block once")
            done.add(trace.block)
            yield trace
        if len(done) != self.header.blocks:
            lines.fail(f"the end after {len(done)} blocks", f"the {self.header.blocks} of the grid")


def _read_header(texts: Iterator[str], lines: _Lines) -> Header:
    fields: dict[str, str] = {}
    for text in texts:
        if text.startswith("#"):
            break
        match = _FIELD.fullmatch(text)
        if match is None:
            lines.fail(text, "-field = value, or # before the instructions")
        fields[match[1]] = match[2]
    else:
        lines.fail("the end of the file", "# before the instructions")

    def number(name: str, low: int, high: int, default: int | None = None) -> int:
        text = fields.get(name, "" if default is None else str(default))
        if not re.fullmatch(r"\d{1,10}", text) or not low <= int(text) <= high:
            lines.fail(f"-{name} = {text}", f"a number from {low} to {high}")
        return int(text)

    def triple(name: str, most: tuple[int, int, int], product: int) -> tuple[int, int, int]:
        match = _TRIPLE.fullmatch(fields.get(name, ""))
        x, y, z = map(int, match.groups()) if match else (0, 0, 0)
        inside = all(1 <= value <= limit for value, limit in zip((x, y, z), most, strict=True))
        if not inside or x * y * z > product:
            lines.fail(f"-{name} = {fields.get(name, '')}", f"(x,y,z), each at least 1, together at most {product}")
        return x, y, z

    return Header(
        name=fields.get("kernel name", "")[:200] or "unnamed",
        grid=triple("grid dim", MAX_GRID, _MAX_BLOCKS),
        threads=math.prod(triple("block dim", (_MAX_THREADS, _MAX_THREADS, _MAX_THREADS), _MAX_THREADS)),
        shared_bytes=number("shmem", 0, _MAX_SHARED),
        registers=number("nregs", 0, _MAX_REGISTERS),
        arch=number("binary version", 1, 999),
        version=number("accelsim tracer version", 1, 99),
        source_lines=bool(number("enable lineinfo", 0, 1, 0)),
    )


class _Entries:
    """Growing columns of one block's trace."""

    def __init__(self) -> None:
        self.row, self.mask, self.access, self.start = list[int](), list[int](), list[int](), [0]
        self.address: list[int] = []

    def add(self, row: int, mask: int, *lists: list[int]) -> None:
        self.row.append(row)
        self.mask.append(mask)
        self.access.append(len(self.address) // LANES if lists else NO_ACCESS)
        for addresses in lists:
            self.address += addresses

    def trace(self, block: int) -> BlockTrace:
        return BlockTrace(
            block, np.array(self.start, np.int64), np.array(self.row, np.uint32), np.array(self.mask, np.uint32),
            np.array(self.access, np.int32), np.array(self.address, np.int64).reshape(-1, LANES),
        )  # fmt: skip


class _Parser:
    """Reads the blocks of one file."""

    def __init__(self, kernel: KernelTrace, lines: _Lines):
        self._lines, self._header, self._instructions = lines, kernel.header, kernel.instructions
        self._first = (4 if self._header.version < 3 else 0) + self._header.source_lines  # words before the PC
        self._known: dict[str, tuple[int, int]] = {}  # row and mask of lines without addresses

    def block(self, texts: Iterator[str]) -> BlockTrace:
        """Read one block, behind its #BEGIN_TB."""
        number = self._block_number(self._next(texts))
        entries, warps = _Entries(), -(-self._header.threads // LANES)
        for warp in range(warps):
            text = self._next(texts)
            match = _WARP.fullmatch(text)
            if match is None or int(match[1]) != warp:
                self._lines.fail(text, f"warp = {warp}: a block of {self._header.threads} threads has {warps} warps")
            text = self._next(texts)
            match = _COUNT.fullmatch(text)
            if match is None or not int(match[1]):
                self._lines.fail(text, "insts = and a number of at least 1: each warp executes at least its EXIT")
            self._warp(texts, int(match[1]), entries)
            entries.start.append(len(entries.row))
        text = self._next(texts)
        if text != "#END_TB":
            self._lines.fail(text, f"#END_TB after {warps} warps")
        return entries.trace(number)

    def _next(self, texts: Iterator[str]) -> str:
        text = next(texts, None)
        if text is None:
            self._lines.fail("the end of the file", "#END_TB")
        return text

    def _block_number(self, text: str) -> int:
        match = _BLOCK.fullmatch(text)
        at, grid = tuple(map(int, match.groups())) if match else (-1, -1, -1), self._header.grid
        if not all(0 <= a < g for a, g in zip(at, grid, strict=True)):
            self._lines.fail(text, "thread block = x,y,z inside the grid of {},{},{}".format(*grid))
        return at[0] + grid[0] * (at[1] + grid[1] * at[2])

    def _warp(self, texts: Iterator[str], count: int, entries: _Entries) -> None:
        copy: tuple[int, int, list[int]] | None = None  # an LDGSTS whose second line may follow
        for _ in range(count):
            text = self._next(texts)
            known = self._known.get(text)
            if known is not None:
                row, mask, addresses = *known, None
            else:
                row, mask, addresses = self._instruction(text)
                if addresses is None and len(self._known) < _CACHED_LINES:
                    self._known[text] = row, mask
            if copy is not None:
                pair = copy[:2] == (row, mask)
                _add_copy(entries, copy, addresses if pair else None)
                copy = None
                if pair:
                    continue
            if self._instructions[row].base == "LDGSTS":
                copy = row, mask, addresses or []
            elif addresses is None:
                entries.add(row, mask)
            else:
                entries.add(row, mask, addresses)
        if copy is not None:
            _add_copy(entries, copy, None)

    def _instruction(self, text: str) -> tuple[int, int, list[int] | None]:
        """Row, mask and addresses of a line; notes the instruction."""
        try:
            return self._fields(text.split())
        except (ValueError, IndexError) as error:
            reason = f": {error}" if isinstance(error, ValueError) else ""
            self._lines.fail(text, _LINE_FORM + reason)

    def _fields(self, words: list[str]) -> tuple[int, int, list[int] | None]:
        at = self._first
        pc, mask = int(words[at], 16), int(words[at + 1], 16)
        if not 0 <= pc < MAX_CODE_BYTES or pc % INSTRUCTION_BYTES:
            raise ValueError(f"PC {pc:#x}, legal are multiples of {INSTRUCTION_BYTES} below {MAX_CODE_BYTES:#x}")
        if not 0 <= mask < 1 << LANES:
            raise ValueError(f"mask {mask:#x} of more than {LANES} lanes")
        destinations, at = _registers(words, at + 2)
        opcode = words[at]
        if not _OPCODE.fullmatch(opcode) or len(opcode.partition(".")[2]) > _MAX_MODIFIERS:
            raise ValueError(f"opcode {opcode[:40]!r}")
        sources, at = _registers(words, at + 1)
        width = int(words[at])
        if not 0 <= width <= _MAX_WIDTH:
            raise ValueError(f"memory width {width}, legal 0 to {_MAX_WIDTH} bytes")
        at += 1
        addresses = None
        if width:
            addresses, taken = read_addresses(words[at:], mask)
            at += taken
        rest = words[at:]
        if len(rest) > 1:
            raise ValueError(f"{len(rest)} words behind the addresses, at most an immediate is known")
        line = int(words[self._first - 1]) if self._header.source_lines else 0
        row, immediate = pc // INSTRUCTION_BYTES, int(rest[0]) if rest else 0
        if not (0 <= line < 1 << 31 and abs(immediate) < 1 << 32):
            raise ValueError(f"source line {line} or immediate {immediate}, legal are numbers of 32 bits")
        self._note(row, Instruction(opcode, destinations, sources, immediate, line, self._lines.place))
        return row, mask, _used(opcode, mask, addresses)

    def _note(self, row: int, instruction: Instruction) -> None:
        first = self._instructions.setdefault(row, instruction)
        if (first.opcode, first.destinations, first.sources) != (
            instruction.opcode, instruction.destinations, instruction.sources,
        ):  # fmt: skip
            raise ValueError(f"PC {row * INSTRUCTION_BYTES:#x} was {first.opcode} at {first.place}")


def _used(opcode: str, mask: int, addresses: list[int] | None) -> list[int] | None:
    """The addresses that the core model wants of an instruction: those of memory it reaches."""
    base = opcode.partition(".")[0]
    space = MEMORY_OPCODES.get(base, (Space.NONE,))[0]
    if not mask or space not in _ADDRESSED:
        return None
    if addresses is None and space != Space.CONSTANT:
        raise ValueError(f"{base} without addresses")
    if base in ("LDL", "STL") and addresses is not None:
        return [address % _LOCAL_SPAN if address >= 0 else address for address in addresses]
    return addresses


def _registers(words: list[str], at: int) -> tuple[tuple[int, ...], int]:
    """A number of registers and the registers; and where the next word is."""
    count = int(words[at])
    if not 0 <= count <= _MAX_REGISTER_OPERANDS:
        raise ValueError(f"{count} registers, legal 0 to {_MAX_REGISTER_OPERANDS}")
    numbers = []
    for word in words[at + 1 : at + 1 + count]:
        match = _REGISTER.fullmatch(word)
        if match is None or int(match[1]) > ZERO_REGISTER:
            raise ValueError(f"register {word[:20]!r}, legal R0 to R{ZERO_REGISTER}")
        numbers.append(int(match[1]))
    if len(numbers) < count:
        raise IndexError("too few registers")
    return tuple(numbers), at + 1 + count


def _add_copy(entries: _Entries, copy: tuple[int, int, list[int]], second: list[int] | None) -> None:
    """Add an LDGSTS: its lines have shared addresses, then global ones; a lone line has the global ones."""
    row, mask, first = copy
    if not first:
        entries.add(row, mask)
        return
    shared, read = (first, second) if second is not None else ([4 * lane for lane in range(LANES)], first)
    entries.add(
        row,
        mask,
        [NO_ADDRESS if address == NOT_READ else address for address in read],
        [address if mask >> lane & 1 else NO_ADDRESS for lane, address in enumerate(shared)],
    )
