"""Waiting at an mbarrier as one test: the retries in a trace are the machine's turns, not the core's cycles.

The test of a program that waits is followed by a branch to code that only tests again. Where that code did nothing
else until the test succeeded, its instructions go, and the first test counts as one that succeeds. A test that gave
up, or retried with work in between, stays as it is.
"""

import numpy as np
from numba import njit

from gpu_model.core.opcodes import Action
from gpu_model.program import Program
from gpu_model.trace import OPERAND_SHIFT, BlockTrace

IDLE_OPCODES = ("BRA", "NOP", "NANOSLEEP", "YIELD", "WARPSYNC")
_FOUND = np.int64(2) << OPERAND_SHIFT
_NEITHER, _IDLE, _TEST = range(3)


def row_kinds(program: Program, table: np.ndarray) -> np.ndarray:
    """For each row whether it tests an mbarrier or may stand between two tests, int64[rows]."""
    kinds = np.where(np.isin(program.rows["opcode"], IDLE_OPCODES), _IDLE, _NEITHER)
    kinds[table["action"] == Action.MBARRIER_TEST] = _TEST
    return kinds


def without_retries(trace: BlockTrace, kinds: np.ndarray) -> BlockTrace:
    """The trace with its waits as single tests.

    Raises:
        ValueError: lanes of a warp that test different mbarriers or phases in one instruction.
    """
    tests = np.flatnonzero((kinds[trace.row] == _TEST) & (trace.access >= 0) & (trace.mask != 0))
    if not len(tests):
        return trace
    words = trace.address[trace.access[tests]]
    asked = words & ~_FOUND
    first = asked[np.arange(len(tests)), (words >= 0).argmax(axis=1)]
    if ((asked != first[:, None]) & (words >= 0)).any():
        raise ValueError("lanes of a warp test different mbarriers in one instruction")
    key = np.full(len(trace.row), -1, np.int64)
    key[tests] = first
    found = np.zeros(len(trace.row), bool)
    found[tests] = ((words & _FOUND != 0) | (words < 0)).all(axis=1)
    keep, waits = _collapse(trace.start, trace.row.astype(np.int64), kinds, key, found)
    address = trace.address.copy()
    for index in trace.access[waits].tolist():
        address[index] |= np.where(address[index] >= 0, _FOUND, 0)
    kept = np.add.reduceat(keep.astype(np.int64), trace.start[:-1])
    start = np.concatenate(([0], np.cumsum(kept)))
    return BlockTrace(trace.block, start, trace.row[keep], trace.mask[keep], trace.access[keep], address)


@njit(cache=True, nogil=True)
def _retried(at, end, row, kinds, key, found):
    """The branch behind a failed test, and the entry behind it that was reached once the test succeeded; or -1s."""
    branch = at
    while branch + 1 < end and row[branch + 1] == row[branch] + 1:
        branch += 1
    goal, done = row[branch] + 1, False
    for i in range(branch + 1, end):
        if row[i] == goal and done:
            return branch, i
        if kinds[row[i]] == _NEITHER or (kinds[row[i]] == _TEST and key[i] != key[at]):
            return -1, -1
        done |= found[i]
    return -1, -1


@njit(cache=True, nogil=True)
def _collapse(start, row, kinds, key, found):
    """Which entries stay, and which tests stand for a wait."""
    keep, waits = np.ones(len(row), np.bool_), np.zeros(len(row), np.bool_)
    for warp in range(len(start) - 1):
        at, end = start[warp], start[warp + 1]
        while at < end:
            if key[at] >= 0 and not found[at]:
                branch, resume = _retried(at, end, row, kinds, key, found)
                if resume >= 0:
                    keep[branch + 1 : resume] = False
                    waits[at] = True
                    at = resume - 1
            at += 1
    return keep, waits
