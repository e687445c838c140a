"""A kernel's instructions as the checker needs them: waits and fences to watch, and a word of flags a row."""

import numpy as np

from gpu_model.check.layout import CLOSES_PRODUCTS, COPIES_ARRIVE, INVOLVES_ALL
from gpu_model.machine.microop import Column, Op
from gpu_model.program import NO_COUNTER, TRUE_PREDICATE, Operand, Program

# M0 of a WATCH micro-op; M1 to M3 are the groups that may stay under way after a wait, -1 for no wait.
CLOSE_COPIES, CLOSE_BULK, FENCE = 1, 2, 4
_MATRIX_COUNTER = 8  # COUNTER operands from here on are matrix groups
_SHARED = ("LDS", "STS", "ATOMS", "LD", "ST", "ATOM")
_BELOW_WORDS = {"U8", "S8", "U16", "S16"}
_PRODUCTS = ("HGMMA", "QGMMA", "IGMMA")


def row_flags(program: Program) -> np.ndarray:
    """`CLOSES_PRODUCTS`, `COPIES_ARRIVE` and `INVOLVES_ALL` of each row, int64[rows]."""
    flags = np.zeros(len(program), np.int64)
    for index in _rows_of(program, *_PRODUCTS, "ARRIVES", "VOTE", "VOTEU"):
        opcode, operands = str(program.rows["opcode"][index]), program.rows["operands"][index]
        if opcode in _PRODUCTS and (operands["kind"] == Operand.COUNTER).any():
            flags[index] = CLOSES_PRODUCTS
        elif opcode == "ARRIVES":
            flags[index] = COPIES_ARRIVE
        elif opcode.startswith("VOTE"):
            voted = [operand for operand in operands if operand["kind"] == Operand.PREDICATE][-1:]
            constant = all(operand["index"] == TRUE_PREDICATE for operand in voted)
            flags[index] = 0 if constant else INVOLVES_ALL  # a vote on a constant only asks who is active
    return flags


def cell_shift(program: Program) -> int:
    """2 if the kernel touches shared memory in aligned words only, else 0: what to follow, as a shift of addresses."""
    names = program.rows["modifiers"][_rows_of(program, *_SHARED)].tolist()
    return 0 if any(_BELOW_WORDS.intersection(name.split(".")) for name in names) else 2


def _rows_of(program: Program, *opcodes: str) -> np.ndarray:
    return np.flatnonzero(np.isin(program.rows["opcode"], opcodes))


def watched(program: Program, microops: np.ndarray) -> np.ndarray:
    """The micro-ops with those that order asynchronous work replaced by `WATCH`.

    A group of LDGSTS is closed by LDGDEPBAR, one of bulk stores by UTMACMDFLUSH; both then count in the
    dependence counter that their control bits name, for which DEPBAR waits.
    """
    rows, changed = program.rows, microops.copy()
    copies = set(rows["write_counter"][rows["opcode"] == "LDGDEPBAR"].tolist()) - {NO_COUNTER}
    bulk = set(rows["read_counter"][rows["opcode"] == "UTMACMDFLUSH"].tolist()) - {NO_COUNTER}
    for index in _rows_of(program, "LDGDEPBAR", "UTMACMDFLUSH", "FENCE", "DEPBAR", "WARPGROUP"):
        what, waits = _watch(rows[index], copies, bulk)
        if what or max(waits) >= 0:
            changed[index, Column.OP] = Op.WATCH
            changed[index, [Column.M0, Column.M1, Column.M2, Column.M3]] = [what, *waits]
    return changed


def _watch(row: np.ndarray, copies: set[int], bulk: set[int]) -> tuple[int, tuple[int, int, int]]:
    """What a row does, and how many groups of copies, bulk stores and products it lets be under way, -1 for any."""
    opcode, modifiers = str(row["opcode"]), str(row["modifiers"]).split(".")
    if opcode == "LDGDEPBAR":
        return CLOSE_COPIES, (-1, -1, -1)
    if opcode == "UTMACMDFLUSH":
        return CLOSE_BULK, (-1, -1, -1)
    if opcode == "FENCE":
        return FENCE * ("ASYNC" in modifiers), (-1, -1, -1)
    if not (row["operands"]["kind"] == Operand.COUNTER).any():
        return 0, (-1, -1, -1)
    counter, limit = row["operands"][:2]
    pending = int(limit["value"]) if limit["kind"] == Operand.IMMEDIATE else 0
    if counter["index"] >= _MATRIX_COUNTER:
        return 0, (-1, -1, pending)
    return 0, (pending if counter["index"] in copies else -1, pending if counter["index"] in bulk else -1, -1)
