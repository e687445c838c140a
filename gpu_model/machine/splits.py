"""The control state of a warp: splits (a PC with a lane mask each) and convergence barriers."""

from enum import IntEnum

import numpy as np
from numba import njit

from gpu_model.machine.lanes import load_i64, store_i64

MAX_SPLITS = 32


class Warp(IntEnum):
    """Entries of a warp's control state (int64 each)."""

    STATUS = 0
    PC = 1  # of the running split, as a micro-op index
    ACTIVE = 2  # its lanes
    ALIVE = 3  # lanes that have not exited
    SPLITS = 4  # number of other splits
    BARRIER = 5  # named barrier the warp waits at, and how many threads it expects (0 = all)
    BARRIER_THREADS = 6
    BARRIERS = 7  # 16 convergence barriers and WARPSYNC's: participating lanes
    SPLIT = 24  # (pc, mask, waiting) of each other split
    COUNT = 24 + 3 * MAX_SPLITS


WARP_ENTRIES = int(Warp.COUNT)


WARP_BYTES = 8 * WARP_ENTRIES


READY, AT_BARRIER, EXITED = 0, 1, 2


# What a split waits for: nothing, convergence barrier i (1 + i), or the block barrier.
RUNNABLE, WAITING, AT_BLOCK_BARRIER = 0, 1, 99


WARPSYNC_BARRIER = 16  # the convergence barrier that WARPSYNC uses, after B0..B15


@njit
def _split_entry(warp, index):
    return warp + 8 * (Warp.SPLIT + 3 * index)


@njit
def push_split(warp, pc, mask, waiting):
    """Add a split, joining one at the same PC in the same state."""
    count = load_i64(warp, Warp.SPLITS)
    for i in range(count):
        entry = _split_entry(warp, i)
        if load_i64(entry, 0) == pc and load_i64(entry, 2) == waiting:
            store_i64(entry, 1, load_i64(entry, 1) | mask)
            return
    entry = _split_entry(warp, count)
    store_i64(entry, 0, pc)
    store_i64(entry, 1, mask)
    store_i64(entry, 2, waiting)
    store_i64(warp, Warp.SPLITS, count + 1)


@njit
def remove_split(warp, index):
    """Drop a split; the last one takes its place."""
    last = load_i64(warp, Warp.SPLITS) - 1
    for i in range(3):
        store_i64(_split_entry(warp, index), i, load_i64(_split_entry(warp, last), i))
    store_i64(warp, Warp.SPLITS, last)


@njit
def _release_convergence(warp):
    """Join the splits of a convergence barrier once every living participant waits there."""
    alive = load_i64(warp, Warp.ALIVE)
    for barrier in range(WARPSYNC_BARRIER + 1):
        expected = load_i64(warp, Warp.BARRIERS + barrier) & alive
        arrived, pc = np.int64(0), np.int64(-1)
        for i in range(load_i64(warp, Warp.SPLITS)):
            entry = _split_entry(warp, i)
            if load_i64(entry, 2) == WAITING + barrier:
                arrived |= load_i64(entry, 1)
                pc = load_i64(entry, 0)
        if arrived == 0 or arrived & expected != expected:
            continue
        i = 0
        while i < load_i64(warp, Warp.SPLITS):
            if load_i64(_split_entry(warp, i), 2) == WAITING + barrier:
                remove_split(warp, i)
            else:
                i += 1
        push_split(warp, pc + 1, arrived, RUNNABLE)


@njit
def switch(warp):
    """Pick the runnable split with the lowest PC; the warp's new status if there is none."""
    _release_convergence(warp)
    best, best_pc = -1, np.int64(1) << 62
    waiting = False
    for i in range(load_i64(warp, Warp.SPLITS)):
        entry = _split_entry(warp, i)
        if load_i64(entry, 2) == RUNNABLE and load_i64(entry, 0) < best_pc:
            best, best_pc = i, load_i64(entry, 0)
        waiting |= load_i64(entry, 2) != RUNNABLE
    if best >= 0:
        store_i64(warp, Warp.PC, best_pc)
        store_i64(warp, Warp.ACTIVE, load_i64(_split_entry(warp, best), 1))
        remove_split(warp, best)
        return READY
    if not waiting:
        return EXITED
    return AT_BARRIER


@njit
def leave_barrier(warp):
    """Let a warp go on past a block barrier."""
    i = 0
    while i < load_i64(warp, Warp.SPLITS):
        entry = _split_entry(warp, i)
        if load_i64(entry, 2) == AT_BLOCK_BARRIER:
            pc, mask = load_i64(entry, 0), load_i64(entry, 1)
            remove_split(warp, i)
            push_split(warp, pc, mask, RUNNABLE)
            i = -1
        i += 1
    store_i64(warp, Warp.STATUS, switch(warp))


@njit
def yield_split(warp, pc, active):
    """At the end of a turn let the split furthest on run, which may hold the lock that this one spins on."""
    store_i64(warp, Warp.PC, pc)
    store_i64(warp, Warp.ACTIVE, active)
    best, best_pc = -1, np.int64(pc)
    for i in range(load_i64(warp, Warp.SPLITS)):
        entry = _split_entry(warp, i)
        if load_i64(entry, 2) == RUNNABLE and load_i64(entry, 0) > best_pc:
            best, best_pc = i, load_i64(entry, 0)
    if best >= 0:
        mask = load_i64(_split_entry(warp, best), 1)
        remove_split(warp, best)
        push_split(warp, pc, active, RUNNABLE)
        store_i64(warp, Warp.PC, best_pc)
        store_i64(warp, Warp.ACTIVE, mask)
