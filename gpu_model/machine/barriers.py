"""Barriers between the warps of a block (BAR), and between all warps of a cluster (UCGABAR).

A named barrier counts warps: those that wait at it, and those that only arrived (BAR.ARV). It is complete when
they are as many as its instruction says, or all that have not exited where it says nothing. BAR.RED also
reduces a predicate over the threads.
"""

import numpy as np
from numba import njit

from gpu_model.check.clocks import meet, note_arrival
from gpu_model.machine.context import WARP, Context, get, put
from gpu_model.machine.integer import blend, predicate, set_predicate
from gpu_model.machine.lanes import load_i64, load_u32, store_i64, store_u32
from gpu_model.machine.microop import M0, M1, M2, PD0, PS0, A, D, field, source
from gpu_model.machine.splits import AT_BARRIER, AT_BLOCK_BARRIER, EXITED, WARP_BYTES, Warp, leave_barrier, push_split
from gpu_model.machine.window import cluster_context

NAMED_BARRIERS = 16
CLUSTER_BARRIER = NAMED_BARRIERS  # in Warp.BARRIER
FROM_REGISTER, FROM_REGISTER_HIGH = -1, -2  # M0 and M1 of BAR: in the low bits of a register, or from bit 16 on
SYNC, ARRIVE, REDUCE_COUNT, REDUCE_AND, REDUCE_OR = range(5)  # M2 of BAR

# Entries of a named barrier: warps that arrived without waiting, threads they expect; lanes that reduce, and how many
# of them hold true.
ARRIVED, WANTED, LANES, TRUE = range(4)


@njit
def _entry(barrier, which):
    return Context.NAMED_BARRIERS + 4 * barrier + which


@njit
def _state(ctx, index):
    return get(ctx, Context.WARP_STATES) + WARP_BYTES * index


@njit
def _count(mask):
    count = np.int64(0)
    for lane in range(32):
        count += (mask >> lane) & 1
    return count


@njit
def _waits_at(warp, barrier):
    return load_i64(warp, Warp.STATUS) == AT_BARRIER and load_i64(warp, Warp.BARRIER) == barrier


@njit
def arrivals(ctx, barrier):
    """Warps at a named barrier, those of them that wait, and the warps it needs."""
    waiting, alive, threads = np.int64(0), np.int64(0), get(ctx, _entry(barrier, WANTED))
    for index in range(get(ctx, Context.WARPS)):
        warp = _state(ctx, index)
        alive += load_i64(warp, Warp.STATUS) != EXITED
        if _waits_at(warp, barrier):
            waiting += 1
            threads = max(threads, load_i64(warp, Warp.BARRIER_THREADS))
    return waiting + get(ctx, _entry(barrier, ARRIVED)), waiting, (threads + 31) >> 5 if threads else alive


@njit
def _release(ctx, barrier):
    """Let the warps at a complete named barrier go on; says whether it was complete."""
    here, waiting, needed = arrivals(ctx, barrier)
    if here == 0 or here < needed:
        return False
    true, lanes = get(ctx, _entry(barrier, TRUE)), get(ctx, _entry(barrier, LANES))
    for which in range(4):
        put(ctx, _entry(barrier, which), 0)
    met = np.int64(0)
    for index in range(get(ctx, Context.WARPS)):
        warp = _state(ctx, index)
        if _waits_at(warp, barrier):
            met |= np.int64(1) << index
            store_i64(warp, Warp.COUNTED, true)
            everybody = load_i64(warp, Warp.REDUCTION) == REDUCE_AND
            store_i64(warp, Warp.REDUCED, true == lanes if everybody else true > 0)
            leave_barrier(warp)
    if get(ctx, Context.CHECK):
        meet(get(ctx, Context.CHECK), get(ctx, Context.WARP_STATES), barrier, met)
    return waiting > 0


@njit
def _leave_cluster_barrier(ctx):
    """Let warps go on once every warp of the cluster that has not exited arrived as often as they did."""
    least = np.int64(1) << 62
    for rank in range(get(ctx, Context.CLUSTER_BLOCKS)):
        block = cluster_context(ctx, rank)
        for index in range(get(block, Context.WARPS)):
            if load_i64(_state(block, index), Warp.STATUS) != EXITED:
                least = min(least, load_i64(_state(block, index), Warp.CLUSTER_ARRIVALS))
    met = np.int64(0)
    for index in range(get(ctx, Context.WARPS)):
        warp = _state(ctx, index)
        if _waits_at(warp, CLUSTER_BARRIER) and load_i64(warp, Warp.CLUSTER_ARRIVALS) <= least:
            leave_barrier(warp)
            met |= np.int64(1) << index
    if met and get(ctx, Context.CHECK):
        meet(get(ctx, Context.CHECK), get(ctx, Context.WARP_STATES), CLUSTER_BARRIER, met)
    return met != 0


@njit
def release_barriers(ctx):
    """Let the warps of every complete barrier go on; says whether any did."""
    released = _leave_cluster_barrier(ctx)
    for barrier in range(NAMED_BARRIERS):
        released |= _release(ctx, barrier)
    return released


@njit
def _number(given, row, lane, mask):
    if given >= 0:
        return given
    value = np.int64(load_u32(row, lane))
    return (value >> 16 if given == FROM_REGISTER_HIGH else value) & mask


@njit
def _operands(u, frame, consts, mask):
    """Barrier and number of threads of a BAR."""
    row, lane = source(u, A, frame, consts), 0
    while not (mask >> lane) & 1:
        lane += 1
    return _number(field(u, M0), row, lane, 15), _number(field(u, M1), row, lane, 0xFFF)


@njit
def record_barrier(slot, u, frame, consts, mask):
    """Leave barrier and number of threads in a trace's address row."""
    if mask:
        barrier, threads = _operands(u, frame, consts, mask)
        store_i64(slot, 0, barrier)
        store_i64(slot, 1, threads)


@njit
def arrive(ctx, warp, u, frame, consts, pc, active, mask):
    """BAR: arrive, and wait unless it is BAR.ARV; says whether the warp waits."""
    barrier, threads = _operands(u, frame, consts, mask)
    kind = field(u, M2)
    if kind == ARRIVE:
        put(ctx, _entry(barrier, ARRIVED), get(ctx, _entry(barrier, ARRIVED)) + 1)
        put(ctx, _entry(barrier, WANTED), max(get(ctx, _entry(barrier, WANTED)), threads))
        if get(ctx, Context.CHECK):
            note_arrival(get(ctx, Context.CHECK), get(ctx, WARP), barrier)
        _release(ctx, barrier)
        return False
    if kind != SYNC:
        true = mask & np.int64(predicate(u, PS0, frame))
        put(ctx, _entry(barrier, LANES), get(ctx, _entry(barrier, LANES)) + _count(mask))
        put(ctx, _entry(barrier, TRUE), get(ctx, _entry(barrier, TRUE)) + _count(true))
        store_i64(warp, Warp.REDUCTION, kind)
    store_i64(warp, Warp.BARRIER, barrier)
    store_i64(warp, Warp.BARRIER_THREADS, threads)
    push_split(warp, pc + 1, active, AT_BLOCK_BARRIER)
    return True


@njit
def arrive_at_cluster(ctx, warp, active):
    """UCGABAR_ARV: a warp has arrived once all its lanes have."""
    here, alive = load_i64(warp, Warp.CLUSTER_LANES) | active, load_i64(warp, Warp.ALIVE)
    if here & alive == alive:
        store_i64(warp, Warp.CLUSTER_ARRIVALS, load_i64(warp, Warp.CLUSTER_ARRIVALS) + 1)
        if get(ctx, Context.CHECK):
            note_arrival(get(ctx, Context.CHECK), get(ctx, WARP), CLUSTER_BARRIER)
        here = np.int64(0)
    store_i64(warp, Warp.CLUSTER_LANES, here)


@njit
def wait_for_cluster(warp, pc, active):
    """UCGABAR_WAIT."""
    store_i64(warp, Warp.BARRIER, CLUSTER_BARRIER)
    push_split(warp, pc + 1, active, AT_BLOCK_BARRIER)


@njit
def read_result(warp, u, frame, t, mask):
    """B2R.RESULT: what the warp's last BAR.RED found."""
    for lane in range(32):
        store_u32(t, lane, np.uint32(load_i64(warp, Warp.COUNTED)))
    blend(frame + field(u, D), t, np.uint32(mask))
    true = np.uint32(0xFFFFFFFF) if load_i64(warp, Warp.REDUCED) else np.uint32(0)
    set_predicate(u, PD0, frame, true, np.uint32(mask))
