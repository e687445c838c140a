"""Running one thread block: its warps in turn, meeting at barriers."""

import numpy as np
from numba import njit

from gpu_model.machine.context import Context, get, put
from gpu_model.machine.lanes import load_i64, store_i64, store_u32
from gpu_model.machine.microop import PREDICATE_SINK
from gpu_model.machine.splits import (
    AT_BARRIER,
    EXITED,
    READY,
    WARP_BYTES,
    WARP_ENTRIES,
    Warp,
    leave_barrier,
)
from gpu_model.machine.warp import FAULTED, FULL, FULL_TRACE, HOST_CALL, run_warp

SLICE = 1 << 16  # warp-instructions

# What `run_block` returns.
DONE, PAUSED, FAILED, DEADLOCK, CALLED = range(5)


@njit(nogil=True, cache=True)
def start_block(ctx, threads):
    """Put every warp of a block at its first instruction, with empty barriers and predicates false."""
    for index in range(get(ctx, Context.WARPS)):
        warp = get(ctx, Context.WARP_STATES) + WARP_BYTES * index
        for entry in range(WARP_ENTRIES):
            store_i64(warp, entry, 0)
        lanes = min(threads - 32 * index, 32)
        active = (np.int64(1) << lanes) - 1
        store_i64(warp, Warp.ACTIVE, active)
        store_i64(warp, Warp.ALIVE, active)
        frame = get(ctx, Context.FRAMES) + get(ctx, Context.FRAME_BYTES) * index
        for word in range(PREDICATE_SINK + 1):
            store_u32(frame, word, np.uint32(FULL) if word == 7 or word == 15 else np.uint32(0))


@njit
def _threads_at(ctx, barrier):
    """Threads that wait at a barrier, and the number it waits for (all living ones unless it says)."""
    arrived, alive, wanted = np.int64(0), np.int64(0), np.int64(0)
    for index in range(get(ctx, Context.WARPS)):
        warp = get(ctx, Context.WARP_STATES) + WARP_BYTES * index
        living = 0
        for lane in range(32):
            living += (load_i64(warp, Warp.ALIVE) >> lane) & 1
        alive += living
        if load_i64(warp, Warp.STATUS) == AT_BARRIER and load_i64(warp, Warp.BARRIER) == barrier:
            arrived += living
            wanted = max(wanted, load_i64(warp, Warp.BARRIER_THREADS))
    return arrived, wanted if wanted else alive


@njit
def _release_barriers(ctx):
    """Let the warps of every complete barrier go on; says whether any did."""
    released = False
    for barrier in range(16):
        arrived, wanted = _threads_at(ctx, barrier)
        if arrived == 0 or arrived < wanted:
            continue
        for index in range(get(ctx, Context.WARPS)):
            warp = get(ctx, Context.WARP_STATES) + WARP_BYTES * index
            if load_i64(warp, Warp.STATUS) == AT_BARRIER and load_i64(warp, Warp.BARRIER) == barrier:
                leave_barrier(warp)
                released = True
    return released


@njit
def _finished(ctx):
    for index in range(get(ctx, Context.WARPS)):
        warp = get(ctx, Context.WARP_STATES) + WARP_BYTES * index
        if load_i64(warp, Warp.STATUS) != EXITED:
            return False
    return True


@njit(nogil=True, cache=True)
def run_block(ctx):
    """Run a started block until it is done, faults, deadlocks, or its budget or trace space is used up.

    Warps take turns of at most `SLICE` instructions, so that one that spins on another's store does not keep
    it from running.
    """
    while True:
        running = False
        for index in range(get(ctx, Context.WARPS)):
            warp = get(ctx, Context.WARP_STATES) + WARP_BYTES * index
            if load_i64(warp, Warp.STATUS) != READY:
                continue
            put(ctx, Context.WARP, index)
            frame = get(ctx, Context.FRAMES) + get(ctx, Context.FRAME_BYTES) * index
            outcome = run_warp(ctx, warp, frame, SLICE)
            if outcome == FAULTED:
                return FAILED
            if outcome == HOST_CALL:
                return CALLED
            running = True
            if outcome == FULL_TRACE or get(ctx, Context.BUDGET) <= 0:
                return PAUSED
        if _release_barriers(ctx):
            continue
        if not running:
            return DONE if _finished(ctx) else DEADLOCK
