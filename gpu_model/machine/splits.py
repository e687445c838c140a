"""The control state of a warp: splits (a PC with a lane mask each) and convergence barriers."""

from enum import IntEnum

import numpy as np
from numba import njit

from gpu_model.check.convergence import converge
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
    BARRIERS = 7  # 16 convergence barriers: participating lanes
    REDUCTION = 24  # kind of its last BAR.RED, how many lanes held true there, and the reduced predicate
    COUNTED = 25
    REDUCED = 26
    CLUSTER_ARRIVALS = 27  # how often it arrived at the cluster's barrier, and its lanes on the way there
    CLUSTER_LANES = 28
    TESTED = 29  # the last mbarrier it found incomplete: its address, the phase asked for, and the row of the test
    TESTED_PHASE = 30
    TESTED_ROW = 31
    REGISTERS = 32  # of each of its threads
    GROUPS = 33  # address of the warp's convergence state (gpu_model.check), 0 without checks
    SPLIT = 34  # (pc, mask, waiting) of each other split
    COUNT = 34 + 3 * MAX_SPLITS


WARP_ENTRIES = int(Warp.COUNT)


WARP_BYTES = 8 * WARP_ENTRIES


READY, AT_BARRIER, EXITED = 0, 1, 2


# What a split waits for: nothing, convergence barrier i (1 + i), the block barrier, or that other lanes have run
# a collective region for it.
RUNNABLE, WAITING, AT_BLOCK_BARRIER, IN_COLLECTIVE = 0, 1, 99, 100
CONVERGENCE_BARRIERS = 16
# WARPSYNC: bit 7, with the lanes it waits for from bit 8 on, and for .COLLECTIVE where to go after the region, plus 1.
AT_WARPSYNC, SYNC_MASK, SYNC_TARGET = 128, 8, 40


NO_BARRIER = -1  # in Warp.BARRIER


@njit
def note_convergence(warp, lanes):
    """Tell the checks, if they are on, that lanes met where the code says they must."""
    if load_i64(warp, Warp.GROUPS):
        converge(load_i64(warp, Warp.GROUPS), lanes)


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
    for barrier in range(CONVERGENCE_BARRIERS):
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
        note_convergence(warp, arrived)


@njit
def _sync_mask(waiting):
    """Lanes that a split at a WARPSYNC waits for; 0 if it is at none."""
    return waiting >> SYNC_MASK & 0xFFFFFFFF if waiting & AT_WARPSYNC else np.int64(0)


@njit
def _synchronised(warp, wanted):
    """Whether all living lanes of a mask wait at a WARPSYNC for it."""
    arrived = np.int64(0)
    for i in range(load_i64(warp, Warp.SPLITS)):
        entry = _split_entry(warp, i)
        if _sync_mask(load_i64(entry, 2)) == wanted:
            arrived |= load_i64(entry, 1)
    wanted &= load_i64(warp, Warp.ALIVE)
    return arrived & wanted == wanted


@njit
def _leave_warpsync(warp, index):
    """Let a complete WARPSYNC go on, the split `index` first.

    The lanes at its PC run together, alone. All lanes of a .COLLECTIVE run that one's region, and each goes on after
    its own; the registers are the same in all of them, as ptxas arranges. The others of a plain one run when they do.
    """
    entry = _split_entry(warp, index)
    pc, waiting, joined = load_i64(entry, 0), load_i64(entry, 2), np.int64(0)
    wanted, collective, met = _sync_mask(waiting), waiting >> SYNC_TARGET != 0, np.int64(0)
    for i in range(load_i64(warp, Warp.SPLITS)):
        entry = _split_entry(warp, i)
        if _sync_mask(load_i64(entry, 2)) != wanted:
            continue
        met |= load_i64(entry, 1)
        if collective or load_i64(entry, 0) == pc:
            joined |= load_i64(entry, 1)
        if collective:
            store_i64(entry, 0, (load_i64(entry, 2) >> SYNC_TARGET) - 1)
            store_i64(entry, 2, IN_COLLECTIVE)
        elif load_i64(entry, 0) != pc:
            store_i64(entry, 0, load_i64(entry, 0) + 1)
            store_i64(entry, 2, RUNNABLE)
    if not collective:
        remove_split(warp, index)
    store_i64(warp, Warp.PC, pc + 1)
    store_i64(warp, Warp.ACTIVE, joined)
    note_convergence(warp, met)


@njit
def end_collective(warp, active):
    """The lanes that a collective region ran for go on, each after its own."""
    for i in range(load_i64(warp, Warp.SPLITS)):
        entry = _split_entry(warp, i)
        if load_i64(entry, 2) == IN_COLLECTIVE and load_i64(entry, 1) & active:
            store_i64(entry, 2, RUNNABLE)


@njit
def switch(warp):
    """Pick the split that can run with the lowest PC; the warp's new status if there is none."""
    _release_convergence(warp)
    best, best_pc = -1, np.int64(1) << 62
    waiting, at_barrier = False, False
    for i in range(load_i64(warp, Warp.SPLITS)):
        entry = _split_entry(warp, i)
        state, pc = load_i64(entry, 2), load_i64(entry, 0)
        waiting |= state != RUNNABLE
        at_barrier |= state == AT_BLOCK_BARRIER
        if pc < best_pc and (state == RUNNABLE or (state & AT_WARPSYNC and _synchronised(warp, _sync_mask(state)))):
            best, best_pc = i, pc
    if best >= 0:
        if load_i64(_split_entry(warp, best), 2) != RUNNABLE:
            _leave_warpsync(warp, best)
            return READY
        store_i64(warp, Warp.PC, best_pc)
        store_i64(warp, Warp.ACTIVE, load_i64(_split_entry(warp, best), 1))
        remove_split(warp, best)
        return READY
    if not waiting:
        return EXITED
    if not at_barrier:
        store_i64(warp, Warp.BARRIER, np.int64(NO_BARRIER))  # its lanes wait for each other
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
