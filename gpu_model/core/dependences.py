"""What a scoreboard needs to know of an instruction: the registers it reads and writes, as ranges of entries.

A scoreboard makes the compiler's control bits superfluous, so stall counts, yields and dependence counters are
taken out of the row; those of instructions that count asynchronous work rather than registers stay.
"""

import numpy as np

from gpu_model.core.distances import table as distances
from gpu_model.core.opcodes import NO_DESTINATION, Action, Path
from gpu_model.program import TRUE_PREDICATE, ZERO_REGISTER, ZERO_UNIFORM, Operand

# First entry of R0.., UR0.., P0.. and UP0..
_REGISTERS, _UNIFORMS, _PREDICATES, _UNIFORM_PREDICATES = 0, 255, 510, 517
_FIRST = {
    Operand.REGISTER: _REGISTERS,
    Operand.UNIFORM: _UNIFORMS,
    Operand.PREDICATE: _PREDICATES,
    Operand.UNIFORM_PREDICATE: _UNIFORM_PREDICATES,
}
_CONSTANT_ONE = {
    Operand.REGISTER: ZERO_REGISTER,
    Operand.UNIFORM: ZERO_UNIFORM,
    Operand.PREDICATE: TRUE_PREDICATE,
    Operand.UNIFORM_PREDICATE: TRUE_PREDICATE,
}
_SETS = (Operand.PREDICATE, Operand.UNIFORM_PREDICATE)
_PREDICATE_THEN_REGISTER = frozenset(["SHFL", "MATCH", "ATOM", "ATOMG", "ATOMS", "LOP3", "ULOP3", "ELECT", "REDUX"])
_REGISTER_COUNTERS = (Action.NONE, Action.LDGSTS)  # other actions count what is no register


def lower_dependences(out: np.void, row: np.void, arch: int) -> None:
    """Fill the scoreboard columns of a `LOWERED` row whose others are filled, and clear its control bits."""
    operands, written = row["operands"], _destinations(row)
    made = {_entry(operand) for operand in operands[:written]} | _wide_uniforms(row, written)
    made |= {int(out["write_register"]) + i for i in range(int(out["writes"]))}
    used = {int(register) for register in out["read_register"][: out["reads"]]}
    guards: set[int] = set()
    for operand in operands[written:]:
        kind = operand["kind"]
        if kind == Operand.PREDICATE_SET:
            first = _UNIFORM_PREDICATES if operand["uniform"] >= 0 else _PREDICATES
            (made if row["opcode"] in ("R2P", "R2UP") else used).update(range(first, first + TRUE_PREDICATE))
        elif kind in (Operand.MEMORY, Operand.CONSTANT):
            used |= {int(operand["index"])} if 0 <= operand["index"] < ZERO_REGISTER else set()
            used |= {_UNIFORMS + int(operand["uniform"])} if 0 <= operand["uniform"] < ZERO_UNIFORM else set()
        elif kind != Operand.REGISTER:
            used.add(_entry(operand))
    if row["guard"] != TRUE_PREDICATE:
        guards.add((_UNIFORM_PREDICATES if row["guard_uniform"] else _PREDICATES) + int(row["guard"]))
    late = 1 if out["path"] == Path.MEMORY else 0  # results are not forwarded to the memory unit
    _write_ranges(out, "use", [(used - guards - {-1}, late), (guards, _guard_extra(arch, late))])
    _write_ranges(out, "make", [(made - {-1}, 0)])
    if out["action"] in _REGISTER_COUNTERS:
        out["distance"] = 1
        out["write_counter"] = out["read_counter"] = -1


def _guard_extra(arch: int, late: int) -> int:
    """Cycles by which a predicate reaches a guard later than a data operand."""
    guard, data = (distances().get((arch, "ISETP", consumer)) for consumer in ("guard", "same"))
    return max(late, guard.cycles - data.cycles if guard and data else 0)


def _entry(operand: np.void) -> int:
    """Entry of a register operand; -1 for constant registers and operands that are none."""
    kind = Operand(operand["kind"])
    if kind not in _FIRST or operand["index"] == _CONSTANT_ONE[kind]:
        return -1
    return _FIRST[kind] + int(operand["index"])


def _destinations(row: np.void) -> int:
    """How many operands, from the first on, are written."""
    operands, opcode = row["operands"], str(row["opcode"])
    if operands[0]["kind"] in _SETS:
        if opcode in ("VOTE", "VOTEU"):
            return 1
        also = _SETS if opcode not in _PREDICATE_THEN_REGISTER else (Operand.REGISTER, Operand.UNIFORM)
        return 1 + int(operands[1]["kind"] in also)
    if opcode in NO_DESTINATION and opcode != "R2UR":
        return 0
    count = 1  # and what it carries out, in predicates right behind
    while operands[count]["kind"] in _SETS and not (count == 2 and opcode in ("VOTE", "VOTEU")):
        count += 1
    return count


def _wide_uniforms(row: np.void, written: int) -> set[int]:
    """The second uniform register of a 64-bit result."""
    modifiers = str(row["modifiers"]).split(".")
    pair = "64" in modifiers or "WIDE" in modifiers
    return {
        _UNIFORMS + int(operand["index"]) + 1
        for operand in row["operands"][:written]
        if pair and operand["kind"] == Operand.UNIFORM and operand["index"] != ZERO_UNIFORM
    }


def _write_ranges(out: np.void, stem: str, groups: list[tuple[set[int], int]]) -> None:
    """Store sets of entries as ranges; a group's number is what its results take longer to arrive."""
    at = 0
    for entries, extra in groups:
        for entry in sorted(entries):
            if entry - 1 in entries:
                out[f"{stem}_count"][at - 1] += 1
                continue
            out[f"{stem}_first"][at], out[f"{stem}_count"][at] = entry, 1
            if stem == "use":
                out["use_extra"][at] = extra
            at += 1
    out[f"{stem}s"] = at
