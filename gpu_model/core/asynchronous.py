"""What asynchronous instructions left in a trace, as transactions: what they count, ask for, or copy.

| instruction | transactions |
|---|---|
| SYNCS.EXCH | (mbarrier, word) |
| SYNCS.ARRIVE | (mbarrier, packed update), one for each mbarrier |
| SYNCS.PHASECHK | (mbarrier, phase asked for, bit 1: it was complete) |
| bulk copy | (mbarrier, bytes), then its lines |
| BAR with operands in registers | (barrier, warps) |
"""

import numpy as np
from numba import njit

from gpu_model.core.boxes import box_lines, most_lines
from gpu_model.core.copies import HEADER
from gpu_model.core.mbarriers import pack_update
from gpu_model.core.opcodes import Action, Space
from gpu_model.machine.mbarrier import counted
from gpu_model.trace import LANES, OPERAND_SHIFT, CopyWord

_COPY = int(Space.COPY)
_SET, _UPDATE, _TEST = int(Action.MBARRIER_SET), int(Action.MBARRIER_UPDATE), int(Action.MBARRIER_TEST)
_BARRIER, _BYTES = int(CopyWord.BARRIER), int(CopyWord.BYTES)
_ADDRESS = (1 << OPERAND_SHIFT) - 1


@njit(cache=True, nogil=True)
def is_asynchronous(op):
    """Whether an instruction that left something in the trace left other things than addresses of lanes."""
    return op.space == 0 or op.action == _SET or op.action == _UPDATE or op.action == _TEST or op.space == _COPY


@njit(cache=True, nogil=True)
def most_transactions(rows, access, address, table):
    """No more transactions than this come of a block's asynchronous instructions."""
    total = np.int64(0)
    for at in range(len(rows)):
        if access[at] >= 0 and is_asynchronous(table[rows[at]]):
            total += HEADER + most_lines(address[access[at]]) if table[rows[at]].space == _COPY else LANES
    return total


@njit(cache=True, nogil=True)
def _updates(lanes, how, out):
    """One update for each mbarrier that lanes arrive at."""
    count = 0
    for lane in range(LANES):
        if lanes[lane] < 0:
            continue
        barrier = lanes[lane] & _ADDRESS
        arrivals, announced = counted(how, lanes[lane] >> OPERAND_SHIFT)
        found = 0
        while found < count and out[found].line != barrier:
            found += 1
        if found == count:
            out[found].line, out[found].sectors = barrier, 0
            count += 1
        out[found].sectors += pack_update(arrivals, announced)
    return count


@njit(cache=True, nogil=True)
def _operands(op, words, out):
    """Transactions of an instruction that moves no data."""
    if op.action == _UPDATE:
        return _updates(words, op.how, out)
    if op.action == _SET:
        out[0].line, out[0].sectors = words[0], words[1]
    elif op.action == _TEST:
        lane = 0
        while words[lane] < 0:
            lane += 1
        out[0].line, out[0].sectors = words[lane] & _ADDRESS, words[lane] >> OPERAND_SHIFT
    else:  # BAR: barrier and threads
        out[0].line, out[0].sectors = words[0], (words[1] + LANES - 1) // LANES
    return 1


@njit(cache=True, nogil=True)
def add_asynchronous(rows, access, address, table, regions, accesses, lines, written):
    """Continue `gpu_model.core.coalesce.coalesce` with the asynchronous instructions of a block.

    Args:
        rows: program row of each trace entry.
        access: index into `address` of each entry, or -1.
        address: int64[m, 32], what each left in the trace.
        table: `LOWERED` table.
        regions: where global addresses are moved to; none = left as they are.
        accesses: out, `ACCESS[m]`.
        lines: out, `TRANSACTION` with room for `most_transactions` more.
        written: transactions there are.

    Returns:
        Transactions there are then, and a global address outside all regions or -1.
    """
    for at in range(len(rows)):
        if access[at] < 0 or not is_asynchronous(table[rows[at]]):
            continue
        op, record, words = table[rows[at]], accesses[access[at]], address[access[at]]
        record.first, record.sectors, record.wavefronts, record.lanes = written, 0, 0, 0
        if op.space == _COPY:
            lines[written].line, lines[written].sectors = words[_BARRIER], words[_BYTES]
            count, outside = box_lines(words, regions, lines[written + HEADER :])
            if outside >= 0:
                return written, outside
            record.lines = HEADER + count
        else:
            record.lines = _operands(op, words, lines[written:])
        written += record.lines
    return written, np.int64(-1)
