"""Which opcodes and modifiers the machine has, asked of the lowering table itself.

Every lowering is run on a stand-in for an instruction that accepts any operand and notes what the lowering would
have accepted: its modifiers, and the micro-ops it chooses. Nothing here is a second list of opcodes.
"""

from collections.abc import Iterable, Set
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

import numpy as np

from gpu_model.errors import UnsupportedInstruction
from gpu_model.machine.emit import ConstantArea, Emit
from gpu_model.machine.lower import LOWERINGS
from gpu_model.machine.microop import FAMILY_SHIFT, Column, Family, Op
from gpu_model.program import INSTRUCTION, OPERAND, SPECIAL_REGISTERS, ZERO_REGISTER, Operand, Program

_REGISTERS = 64
# What operands of a stand-in are, in turn: a lowering refuses kinds it does not expect.
_KINDS = (
    Operand.REGISTER, Operand.MEMORY, Operand.CONSTANT, Operand.BARRIER, Operand.SPECIAL, Operand.PREDICATE,
    Operand.PREDICATE_SET,
)  # fmt: skip
_NUMBERS = (0, 15)  # immediates: MOV wants all its bytes, BRX a multiple of an instruction
# Forms of opcodes that need several modifiers at once: an architecture that has one, and its modifiers.
_FORMS = MappingProxyType(
    {
        "HGMMA": (90, ("64x8x16", "F32")),
        "QGMMA": (90, ("64x8x32", "F32", "E4M3", "E4M3")),
        "IGMMA": (90, ("64x8x32", "S8", "S8")),
        "QMMA": (120, ("16832", "F32", "E4M3", "E4M3")),
        "I2I": (86, ("S8", "S32", "SAT")),
        "I2IP": (86, ("S8", "S32", "SAT")),
        "UBLKCP": (90, ("S", "G")),
        "UBLKRED": (90, ("G", "S", "ADD", "S32")),
        "STAS": (90, ("64",)),
        "REDAS": (90, ("ADD", "S32")),
        "OMMA": (120, ("SF", "16864", "F32", "E2M1", "E2M1", "E8")),
    }
)
# The bounds that docs/exactness.md states.
BOUNDED = MappingProxyType(
    {
        Op.MUFU: "0.5 ulp of the true function; PTX ISA bounds for silicon",
        Op.MUFU64H: "0.5 ulp of the true function's high word; PTX ISA bounds for silicon",
    }
)


@dataclass(frozen=True)
class OpcodeRow:
    """One opcode of the table.

    Attributes:
        opcode: base name, such as LDG.
        modifiers: those the lowering knows, sorted.
        families: micro-op families it becomes, sorted names.
        bound: how far a result may be from the true value; empty where results are exact by their rule.
    """

    opcode: str
    modifiers: tuple[str, ...]
    families: tuple[str, ...]
    bound: str

    @property
    def result(self) -> str:
        """`exact` or `bounded`, as docs/exactness.md has it."""
        return "bounded" if self.bound else "exact"


class _Asked(frozenset):
    """The modifiers of a stand-in, which note every name that is looked for among them."""

    names: set[str]

    def __contains__(self, name: object) -> bool:
        self.names.add(str(name))
        return super().__contains__(name)

    def __and__(self, others: Iterable[str]) -> frozenset:
        self.names.update(others)
        return frozenset(self).intersection(others)

    def __sub__(self, others: Iterable[str]) -> frozenset:
        self.names.update(others)
        return frozenset(self).difference(others)


class _StandIn(Emit):
    """An instruction with operands of one kind, which notes what is asked of it."""

    def __init__(self, opcode: str, modifiers: tuple[str, ...], kind: Operand, number: int, arch: int) -> None:
        rows = np.zeros(1, INSTRUCTION)
        rows["opcode"], rows["modifiers"] = opcode, ".".join(modifiers)
        operands = rows["operands"][0]
        operands["kind"] = kind
        # Memory is addressed by uniform registers, or by a register pair.
        by_pair = number != 0
        operands["uniform"] = 0 if kind == Operand.MEMORY and not by_pair else -1
        operands["index"] = {Operand.REGISTER: ZERO_REGISTER, Operand.MEMORY: by_pair - 1, Operand.CONSTANT: -1}.get(
            kind, 0
        )
        operands["wide"] = by_pair
        operands["value"] = SPECIAL_REGISTERS.index("SR_LANEID") if kind == Operand.SPECIAL else 0
        program = Program("table", arch, rows, ("",), ("",), _REGISTERS, 0, 0, 0, 0, {}, 1)
        super().__init__(program, 0, ConstantArea(), _REGISTERS, _REGISTERS)
        self.ops: set[Op] = set()
        self.number = number
        asked = _Asked(self.modifiers)
        asked.names = self.names = set()
        self.modifiers = asked

    def known(self, *names: str) -> None:
        self.names.update(names)

    def op(self, op: Op, **columns: int) -> None:
        self.ops.add(op)

    def take(self) -> np.void:
        return self.operands.pop(0) if self.operands else np.zeros(1, OPERAND)[0]

    def choose(self, table: dict[str, int], default: int | None = None) -> int:
        self.names.update(table)
        found = [table[name] for name in self.ordered if name in table]
        return found[0] if found else next(iter(table.values())) if default is None else default

    def register(self, index: int, words: int = 1) -> int:
        return 0

    def source(
        self, column: Column, operand: np.void, words: int = 1, *, double: bool = False, whole: bool = False
    ) -> None:
        """Accept any operand."""

    def destination(self, words: int = 1) -> None:
        self.take()

    def predicate_destination(self, column: Column) -> None:
        self.take()

    def predicate_source(self, column: Column) -> None:
        self.take()

    def immediate(self) -> int:
        self.take()
        return self.number

    def target(self) -> int:
        self.take()
        return 0


def _walk(opcode: str, modifiers: tuple[str, ...], arch: int = 86) -> tuple[set[str], set[Op]]:
    """Modifiers that a lowering looks for in an instruction with some modifiers, and the micro-ops it chooses."""
    names, ops = set(), set()
    for kind, number in product(_KINDS, _NUMBERS):
        stand_in = _StandIn(opcode, modifiers, kind, number, arch)
        with suppress(UnsupportedInstruction, IndexError, KeyError, StopIteration, ValueError):
            LOWERINGS[opcode](stand_in)  # may refuse this kind of operand; what it noted before counts
        names |= stand_in.names
        ops |= stand_in.ops
    return names, ops


def _walk_all(opcode: str, variants: Iterable[tuple[str, ...]]) -> tuple[set[str], set[Op]]:
    found = [_walk(opcode, modifiers) for modifiers in variants]
    return set().union(*(names for names, _ in found)), set().union(*(ops for _, ops in found))


def _with_more(names: Set[str]) -> list[tuple[str, ...]]:
    return [(first, second) for first in sorted(names) for second in sorted(names)]


def _row(opcode: str) -> OpcodeRow:
    names, ops = _walk(opcode, ())
    tried: set[str] = set()
    while names - tried:  # a modifier may lead to others
        new = names - tried
        tried |= new
        more, more_ops = _walk_all(opcode, [(name,) for name in sorted(new)])
        names, ops = names | more, ops | more_ops
    if not ops and opcode in _FORMS:
        arch, modifiers = _FORMS[opcode]
        more, ops = _walk(opcode, modifiers, arch)
        names |= more
    if not ops:  # two types, such as a conversion's
        ops = _walk_all(opcode, _with_more(names))[1]
    bound = next((BOUNDED[op] for op in sorted(ops) if op in BOUNDED), "")
    families = sorted({Family(op >> FAMILY_SHIFT).name.lower() for op in ops})
    return OpcodeRow(opcode, tuple(sorted(names)), tuple(families), bound)


def opcode_table() -> list[OpcodeRow]:
    """Every opcode of the lowering table, by name."""
    return [_row(opcode) for opcode in sorted(LOWERINGS)]
