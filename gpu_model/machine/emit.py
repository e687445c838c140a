"""Building one micro-op from a Program row: operand rows, constants, predicates."""

from dataclasses import dataclass, field

import numpy as np

from gpu_model.errors import UnsupportedInstruction
from gpu_model.machine.lanes import ROW_BYTES
from gpu_model.machine.microop import (
    COUNT,
    PREDICATE_SINK,
    SINK_ROWS,
    Column,
    Op,
    register_row,
)
from gpu_model.program import INSTRUCTION_BYTES, TRUE_PREDICATE, ZERO_REGISTER, ZERO_UNIFORM, Operand, Program

ALL = 0xFFFFFFFF
FLOAT_SIGN = 0x80000000
HALF_SIGNS = 0x80008000
NARROW = {"U8": "<B", "S8": "<b", "U16": "<H", "S16": "<h"}  # widths of a constant load below a word
_ZERO_WORDS = 8  # the widest operand, 256 bits
PREDICATES = (Operand.PREDICATE, Operand.UNIFORM_PREDICATE)


@dataclass
class ConstantArea:
    """Rows that hold immediates and constant-bank words, the same in every lane.

    An entry is ("immediate", value) or ("constant", bank, byte offset, struct format) for each 32-bit row, so
    that the micro-ops are independent of a launch's parameters.
    """

    entries: list[tuple] = field(default_factory=list)
    rows: dict[tuple, int] = field(default_factory=dict)

    def row(self, *words: tuple) -> int:
        """Byte offset of consecutive rows with these words."""
        if words not in self.rows:
            self.rows[words] = ROW_BYTES * len(self.entries)
            self.entries.extend(words)
        return self.rows[words]

    def zero(self) -> int:
        """Byte offset of zero rows, enough for any operand."""
        return self.row(*[("immediate", 0)] * _ZERO_WORDS)


class Emit:
    """One micro-op under construction.

    Operands are consumed from the front (`take`), as SASS writes destinations first.
    """

    def __init__(self, program: Program, index: int, area: ConstantArea, registers: int, uniforms: int):
        self.program, self.index, self.area = program, index, area
        self.registers, self.uniforms = registers, uniforms
        self.row = program.rows[index].copy()
        self.modifiers = frozenset(filter(None, str(self.row["modifiers"]).split(".")))
        self.ordered = tuple(filter(None, str(self.row["modifiers"]).split(".")))
        self.operands = [operand for operand in self.row["operands"] if operand["kind"] != Operand.NONE]
        self.out = np.zeros(COUNT, np.int64)
        self.uniform = str(self.row["opcode"]).startswith("U") and str(self.row["opcode"]) != "U2F"
        self._defaults()

    def _defaults(self) -> None:
        sink = 4 * PREDICATE_SINK
        zero = ~self.area.zero()
        self.out[[Column.A, Column.B, Column.C]] = zero
        self.out[[Column.A_AND, Column.B_AND, Column.C_AND]] = ALL
        self.out[[Column.PD0, Column.PD1]] = sink
        self.out[[Column.PS0, Column.PS1, Column.PS2]] = 4 * TRUE_PREDICATE
        self.out[Column.D] = self._sink_row()
        self.out[Column.GUARD] = 4 * (int(self.row["guard"]) + (8 if self.row["guard_uniform"] else 0))
        self.out[Column.GUARD_XOR] = ALL if self.row["guard_negate"] else 0
        self.out[Column.UNIFORM] = self.uniform

    def fail(self, what: str) -> UnsupportedInstruction:
        """An error that names this instruction."""
        text = self.program.text[self.index]
        where = self.program.where(self.index)
        return UnsupportedInstruction(f"{where}: {text!r} (sm_{self.program.arch}) is not supported: {what}")

    def _sink_row(self) -> int:
        return register_row(self.registers + self.uniforms)

    def _return_row(self, half: int) -> int:
        return register_row(self.registers + self.uniforms + SINK_ROWS + half)

    def take(self) -> np.void:
        """Remove and return the first operand left."""
        if not self.operands:
            raise self.fail("an operand is missing")
        return self.operands.pop(0)

    def op(self, op: Op, **columns: int) -> None:
        """Set the operation and operation-specific columns (by lower-case name)."""
        self.out[Column.OP] = op
        for name, value in columns.items():
            self.out[Column[name.upper()]] = int(value)

    def destination(self, words: int = 1) -> None:
        """Take the next operand as the destination row (pair, quad)."""
        operand = self.take()
        self.out[Column.D] = self._destination_row(operand, words)

    def _destination_row(self, operand: np.void, words: int) -> int:
        index, kind = int(operand["index"]), operand["kind"]
        if kind == Operand.UNIFORM:
            return self._sink_row() if index == ZERO_UNIFORM else self.uniform_register(index)
        if kind == Operand.RETURN_ADDRESS:
            return self._return_row(index)
        if kind != Operand.REGISTER:
            raise self.fail(f"destination of kind {Operand(int(kind)).name.lower()}")
        if index == ZERO_REGISTER:
            return self._sink_row()
        return self.register(index, words)

    def register(self, index: int, words: int = 1) -> int:
        """Byte offset of `words` registers from R(index) in a frame."""
        if index + words > self.registers:
            raise self.fail(f"register R{index + words - 1} is past the {self.registers} the kernel declares")
        return register_row(index)

    def uniform_register(self, index: int) -> int:
        """Byte offset of UR(index) in a frame."""
        return register_row(self.registers + index)

    def source(
        self, column: Column, operand: np.void, words: int = 1, *, double: bool = False, whole: bool = False
    ) -> None:
        """Point a source column at an operand of `words` 32-bit words.

        The immediate of a 64-bit operation is 32 bits that are sign-extended; the high word of a `double`; or, in an
        instruction that has room for it, the `whole` 64.
        """
        self.out[column] = self._source_row(operand, words, double, whole)

    def _source_row(self, operand: np.void, words: int, double: bool, whole: bool) -> int:
        kind, index, value = operand["kind"], int(operand["index"]), int(operand["value"])
        if kind == Operand.REGISTER:
            return ~self.area.zero() if index == ZERO_REGISTER else self.register(index, words)
        if kind == Operand.UNIFORM:
            return ~self.area.zero() if index == ZERO_UNIFORM else self.uniform_register(index)
        if kind == Operand.RETURN_ADDRESS:
            return self._return_row(index)
        if kind == Operand.IMMEDIATE:
            if words == 1:
                return ~self.area.row(("immediate", value & ALL))
            if whole or not 0 <= value <= ALL:
                return ~self.area.row(("immediate", value & ALL), ("immediate", value >> 32 & ALL))
            low, high = (0, value) if double else (value, ALL if value >> 31 & 1 else 0)
            return ~self.area.row(("immediate", low), ("immediate", high))
        if kind == Operand.CONSTANT:
            if not fixed_constant(operand):
                raise self.fail("a constant-bank operand indexed by a register")
            bank = int(operand["bank"])
            return ~self.area.row(*[("constant", bank, value + 4 * word, "<I") for word in range(words)])
        raise self.fail(f"source of kind {Operand(int(kind)).name.lower()}")

    def narrow_constant(self, column: Column, operand: np.void, width: str) -> None:
        """Point a source column at 8 or 16 bits of a constant bank, zero- or sign-extended."""
        if operand["kind"] != Operand.CONSTANT or not fixed_constant(operand):
            raise self.fail("expected a constant-bank word at a fixed offset")
        entry = ("constant", int(operand["bank"]), int(operand["value"]), NARROW[width])
        self.out[column] = ~self.area.row(entry)

    def integer(self, column: Column, operand: np.void, words: int = 1) -> int:
        """Source read as an integer; returns 1 if it is negated (two's complement needs the 1 added)."""
        if operand["absolute"]:
            raise self.fail("|x| of an integer")
        self.source(column, operand, words)
        self.out[_xor(column)] = ALL if operand["negate"] else 0
        return int(operand["negate"])

    def float(self, column: Column, operand: np.void, *, sign: int = FLOAT_SIGN, words: int = 1) -> None:
        """Source read as a float: |x| then -x by its sign bit (`sign` covers packed halves)."""
        self.source(column, operand, words, double=words == 2)
        self.out[_xor(column) - 1] = ALL & ~sign if operand["absolute"] else ALL
        self.out[_xor(column)] = sign if operand["negate"] else 0

    def next_is_predicate(self) -> bool:
        """Whether the next operand is a predicate."""
        return bool(self.operands) and self.operands[0]["kind"] in PREDICATES

    def predicate_destination(self, column: Column) -> None:
        """Take the next operand as a destination predicate."""
        offset = self._predicate(self.take())
        true_words = (4 * TRUE_PREDICATE, 4 * (8 + TRUE_PREDICATE))
        self.out[column] = 4 * PREDICATE_SINK if offset in true_words else offset

    def predicate_source(self, column: Column) -> None:
        """Take the next operand as a source predicate."""
        operand = self.take()
        self.out[column] = self._predicate(operand)
        self.out[column + 1] = ALL if operand["negate"] else 0

    def no_predicate(self, column: Column) -> None:
        """Read a source predicate as false."""
        self.out[column], self.out[column + 1] = 4 * TRUE_PREDICATE, ALL

    def _predicate(self, operand: np.void) -> int:
        if operand["kind"] not in PREDICATES:
            raise self.fail(f"expected a predicate, got {Operand(int(operand['kind'])).name.lower()}")
        return 4 * (int(operand["index"]) + (8 if operand["kind"] == Operand.UNIFORM_PREDICATE else 0))

    def immediate(self) -> int:
        """Take the next operand as an unsigned 32-bit number known now."""
        operand = self.take()
        if operand["kind"] != Operand.IMMEDIATE:
            raise self.fail(f"expected a number, got {Operand(int(operand['kind'])).name.lower()}")
        return int(operand["value"])

    def target(self) -> int:
        """Take the next operand as a branch target; returns its micro-op index."""
        operand = self.take()
        if operand["kind"] not in (Operand.TARGET, Operand.IMMEDIATE):
            raise self.fail(f"expected a branch target, got {Operand(int(operand['kind'])).name.lower()}")
        index = int(operand["value"]) // INSTRUCTION_BYTES
        if not 0 <= index < len(self.program) or int(operand["value"]) % INSTRUCTION_BYTES:
            raise self.fail(f"branch target {int(operand['value']):#x} is outside the kernel")
        return index

    def choose(self, table: dict[str, int], default: int | None = None) -> int:
        """Value of the one modifier that is a key of `table`."""
        found = [table[name] for name in self.ordered if name in table]
        if found:
            return found[0]
        if default is None:
            raise self.fail(f"needs one of the modifiers {', '.join(table)}")
        return default

    def known(self, *names: str) -> None:
        """Refuse modifiers that the operation does not model."""
        unknown = [name for name in self.ordered if name not in names]
        if unknown:
            raise self.fail(f"modifier .{unknown[0]}")

    def done(self) -> None:
        """Refuse operands that nothing consumed."""
        if self.operands:
            raise self.fail(f"{len(self.operands)} operands are left over")


def fixed_constant(operand: np.void) -> bool:
    """Whether a constant-bank operand is at a fixed offset: no index, or a register that is always zero."""
    return int(operand["index"]) in (-1, ZERO_REGISTER) and int(operand["uniform"]) in (-1, ZERO_UNIFORM)


def _xor(column: Column) -> int:
    return {Column.A: Column.A_XOR, Column.B: Column.B_XOR, Column.C: Column.C_XOR}[column]
