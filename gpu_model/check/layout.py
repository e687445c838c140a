"""The checker's state of a block: one int64 array of numbers and addresses, as the machine's context."""

from enum import IntEnum

import numpy as np
from numba import njit

from gpu_model.machine.lanes import load_i64, load_u32, store_i64


class Check(IntEnum):
    """Entries of a block's check state."""

    WARPS = 0
    SHARED_BYTES = 1
    LOCAL_BYTES = 2  # bytes a thread
    AGENTS = 3  # entries of a clock before its fenced half
    READERS = 4  # read entries of a cell
    EVENT = 5  # observed instructions so far
    LANES = 6  # address of the first warp's convergence state
    CLOCKS = 7  # address of the clocks: a row a warp, one a block or cluster barrier, two an mbarrier
    COMMITTED = 8  # address of the groups each asynchronous agent of a warp has closed
    ROW_FLAGS = 9  # address of a word an instruction
    WRITES = 10  # address of the last write of each cell of shared memory
    READS = 11  # address of the last reads of each cell
    WRITTEN = 12  # address of a byte for each cell: 1 once it was written
    LOCAL_WRITTEN = 13  # the same for local memory, thread after thread
    MIRROR = 14  # address of shared memory as the last observed write left it
    BARRIER_NUMBER = 15  # address of a number for each 8 shared bytes: 1 + that of the mbarrier there
    BARRIERS = 16  # mbarriers met so far
    PHASES = 17  # address of each mbarrier's completed phases
    FINDINGS = 18  # address of the findings, their number, and findings past the capacity
    FOUND = 19
    LOST = 20
    STEPS = 21  # address of the machine's own function table
    CELL_SHIFT = 22  # a cell of shared memory is a byte (0) or a word (2)
    COUNT = 23


# Agents of a clock: the threads of each warp, then what each warp started, then the phases of each mbarrier.
THREADS, COPIES, PRODUCTS, BULK = range(4)
AGENT_KINDS = 4
BLOCK_BARRIERS = 17  # 16 named ones of a block, and the cluster's
MAX_BARRIERS = 256  # mbarriers of a block

# Row flags.
CLOSES_PRODUCTS, COPIES_ARRIVE, INVOLVES_ALL = 1, 2, 4

# Words of a cell's last write. SAME: warps that wrote its value before; READ_BY: warps that read it since.
EPOCH, WHO, AGENT, SAME, READ_BY = range(5)
WRITE_WORDS = 5
ATOMIC = 1 << 31  # flag in AGENT

# Columns of a finding.
KIND, ROW, OTHER_ROW, FIRST_EVENT, WARP, LANE, LANES, ADDRESS, SIZE, OTHER_WARP, OTHER_LANE, TIMES = range(12)
FINDING_COLUMNS = 12
MAX_FINDINGS = 256  # different ones of a block

NOBODY = 0xFFFFFFFF


class Kind(IntEnum):
    """What is wrong."""

    UNWRITTEN_SHARED = 0
    UNWRITTEN_LOCAL = 1
    READ_AFTER_WRITE = 2
    WRITE_AFTER_READ = 3
    WRITE_AFTER_WRITE = 4
    UNFENCED = 5
    INACTIVE_SOURCE = 6
    NOT_CONVERGED = 7
    OUTSIDE_MASK = 8


@njit
def who(row, warp, lane):
    """One word that names an instruction, a warp and a lane."""
    return row << 10 | warp << 5 | lane


@njit
def report(chk, kind, row, warp, lane, address, size, other):
    """Count a finding; the first of its kind at these two instructions is kept with its circumstances."""
    table, found, event = load_i64(chk, Check.FINDINGS), load_i64(chk, Check.FOUND), load_i64(chk, Check.EVENT)
    other_row = -1 if other == NOBODY else other >> 10
    for index in range(found):
        entry = table + 8 * FINDING_COLUMNS * index
        if load_i64(entry, KIND) == kind and load_i64(entry, ROW) == row and load_i64(entry, OTHER_ROW) == other_row:
            store_i64(entry, TIMES, load_i64(entry, TIMES) + 1)
            if load_i64(entry, FIRST_EVENT) == event:
                store_i64(entry, LANES, load_i64(entry, LANES) | 1 << lane)
            return
    if found == MAX_FINDINGS:
        store_i64(chk, Check.LOST, load_i64(chk, Check.LOST) + 1)
        return
    entry = table + 8 * FINDING_COLUMNS * found
    store_i64(chk, Check.FOUND, found + 1)
    store_i64(entry, KIND, kind)
    store_i64(entry, ROW, row)
    store_i64(entry, OTHER_ROW, other_row)
    store_i64(entry, FIRST_EVENT, event)
    store_i64(entry, WARP, warp)
    store_i64(entry, LANE, lane)
    store_i64(entry, LANES, 1 << lane)
    store_i64(entry, ADDRESS, address)
    store_i64(entry, SIZE, size)
    store_i64(entry, OTHER_WARP, -1 if other == NOBODY else (other >> 5) & 31)
    store_i64(entry, OTHER_LANE, -1 if other == NOBODY else other & 31)
    store_i64(entry, TIMES, 1)


@njit
def check_warpsync(chk, row, warp, mask, words, flip):
    """A WARPSYNC must name every lane that executes it; `words` holds each lane's mask, before XOR with `flip`."""
    store_i64(chk, Check.EVENT, load_i64(chk, Check.EVENT) + 1)
    for lane in range(32):
        wanted = np.int64(load_u32(words, lane) ^ flip)
        if (mask >> lane) & 1 and not (wanted >> lane) & 1:
            report(chk, np.int64(Kind.OUTSIDE_MASK), row, warp, lane, wanted, 0, np.int64(NOBODY))
