"""Running one thread block: its warps in turn, meeting at barriers."""

import numpy as np
from numba import njit

from gpu_model.machine.barriers import release_barriers
from gpu_model.machine.context import Context, get, put
from gpu_model.machine.lanes import load_i64, store_i64, store_u32
from gpu_model.machine.microop import PREDICATE_SINK
from gpu_model.machine.splits import (
    EXITED,
    READY,
    WARP_BYTES,
    WARP_ENTRIES,
    Warp,
)
from gpu_model.machine.warp import FAULTED, FULL, FULL_TRACE, HOST_CALL, POLLED, run_warp

SLICE = 1 << 16  # warp-instructions

PATIENCE = 1 << 16  # rounds of nothing but unsuccessful tests after which nobody is expected to make them succeed

# What `run_block` returns. BLOCKED: every warp waits at a barrier or has exited; WAITING: or tests an mbarrier.
DONE, PAUSED, FAILED, BLOCKED, WAITING, CALLED = range(6)


@njit(nogil=True, cache=True)
def start_block(ctx, threads):
    """Put every warp of a block at its first instruction, with empty barriers and predicates false."""
    put(ctx, Context.POOL, 0)
    for index in range(get(ctx, Context.WARPS)):
        warp = get(ctx, Context.WARP_STATES) + WARP_BYTES * index
        for entry in range(WARP_ENTRIES):
            store_i64(warp, entry, 0)
        lanes = min(threads - 32 * index, 32)
        active = (np.int64(1) << lanes) - 1
        store_i64(warp, Warp.ACTIVE, active)
        store_i64(warp, Warp.ALIVE, active)
        store_i64(warp, Warp.REGISTERS, get(ctx, Context.REGISTERS))
        frame = get(ctx, Context.FRAMES) + get(ctx, Context.FRAME_BYTES) * index
        for word in range(PREDICATE_SINK + 1):
            store_u32(frame, word, np.uint32(FULL) if word == 7 or word == 15 else np.uint32(0))


@njit
def _finished(ctx):
    for index in range(get(ctx, Context.WARPS)):
        warp = get(ctx, Context.WARP_STATES) + WARP_BYTES * index
        if load_i64(warp, Warp.STATUS) != EXITED:
            return False
    return True


@njit(nogil=True, cache=True)
def run_block(ctx):
    """Run a started block until it is done, faults, cannot go on, or its budget or trace space is used up.

    Warps take turns of at most `SLICE` instructions, and a turn ends at an mbarrier whose phase is not complete, so
    that one that waits for another does not keep it from running. In a round that finds nothing but such waits the
    block is `WAITING`; a block that is alone in its cluster then tries on, for as many rounds as a program might
    count before it gives up.
    """
    warps = get(ctx, Context.WARPS)
    while True:
        running, idle, changed = False, True, get(ctx, Context.CHANGED)
        for _ in range(warps):
            index = get(ctx, Context.NEXT_WARP)
            put(ctx, Context.NEXT_WARP, index + 1 if index + 1 < warps else 0)
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
            idle &= outcome == POLLED
            if outcome == FULL_TRACE or get(ctx, Context.BUDGET) <= 0:
                return PAUSED
        if release_barriers(ctx):
            put(ctx, Context.IDLE, 0)
            continue
        if not running:
            return DONE if _finished(ctx) else BLOCKED
        if not idle or get(ctx, Context.CHANGED) != changed:
            put(ctx, Context.IDLE, 0)
            continue
        put(ctx, Context.IDLE, get(ctx, Context.IDLE) + 1)
        if get(ctx, Context.CLUSTER_BLOCKS) > 1 or get(ctx, Context.IDLE) >= PATIENCE:
            return WAITING
