"""Running one warp: the fetch loop, divergence, and the trace.

A warp is a set of splits, each a PC with a lane mask. The split with the lowest PC runs, which brings lanes
back together at the same PC even where ptxas emitted no convergence barrier; BSSY and BSYNC name the points
at which lanes must meet.
"""

from enum import IntEnum

import numpy as np
from numba import njit

from gpu_model.machine.context import Context, Fault, get, put, report_fault
from gpu_model.machine.integer import blend, predicate
from gpu_model.machine.lanes import call_step, load_i64, load_u32, store_i64, store_u8, store_u32
from gpu_model.machine.microop import (
    FAMILY_SHIFT,
    GUARD,
    GUARD_XOR,
    M0,
    M1,
    MICROOP_BYTES,
    OP,
    PS0,
    TARGET,
    UNIFORM,
    A,
    D,
    Family,
    Op,
    field,
    source,
)

FULL = 0xFFFFFFFF
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
    SPLIT = 23  # (pc, mask, waiting) of each other split
    COUNT = 23 + 3 * MAX_SPLITS


WARP_ENTRIES = int(Warp.COUNT)
WARP_BYTES = 8 * WARP_ENTRIES

READY, AT_BARRIER, EXITED = 0, 1, 2
# What a split waits for: nothing, convergence barrier i (1 + i), or the block barrier.
RUNNABLE, WAITING, AT_BLOCK_BARRIER = 0, 1, 99

CONTINUE, SWITCH, STOP, FAULTED, FULL_TRACE = range(5)

# Special registers, by their index in gpu_model.program.SPECIAL_REGISTERS.
SR_ZERO, SR_LANE, SR_TID_X, SR_TID_Y, SR_TID_Z, SR_CTAID_X, SR_CTAID_Y, SR_CTAID_Z = range(8)
SR_CLOCKLO, SR_CLOCKHI, SR_LT, SR_LE, SR_GT, SR_GE, SR_EQ = range(9, 16)


@njit
def _special_value(ctx, which, lane):
    thread = get(ctx, Context.WARP) * 32 + lane
    x, y = get(ctx, Context.NTID_X), get(ctx, Context.NTID_Y)
    value = np.int64(0)
    if which == SR_LANE:
        value = lane
    elif which == SR_TID_X:
        value = thread % x
    elif which == SR_TID_Y:
        value = thread // x % y
    elif which == SR_TID_Z:
        value = thread // (x * y)
    elif which == SR_CTAID_X:
        value = get(ctx, Context.CTAID_X)
    elif which == SR_CTAID_Y:
        value = get(ctx, Context.CTAID_Y)
    elif which == SR_CTAID_Z:
        value = get(ctx, Context.CTAID_Z)
    elif which == SR_CLOCKLO:  # the functional clock counts instructions
        value = get(ctx, Context.EXECUTED)
    elif which == SR_CLOCKHI:
        value = get(ctx, Context.EXECUTED) >> 32
    elif which == SR_LT:
        value = (1 << lane) - 1
    elif which == SR_LE:
        value = (2 << lane) - 1
    elif which == SR_GT:
        value = FULL & ~((2 << lane) - 1)
    elif which == SR_GE:
        value = FULL & ~((1 << lane) - 1)
    elif which == SR_EQ:
        value = 1 << lane
    return value


@njit
def _special(ctx, u, frame, t, mask):
    """S2R, S2UR and CS2R; a 64-bit CS2R reads a register pair such as the clock."""
    which, words = field(u, M0), field(u, M1)
    for lane in range(32):
        value = np.uint64(_special_value(ctx, which, lane))
        store_u32(t, lane, np.uint32(value))
        store_u32(t + 128, lane, np.uint32(value >> np.uint64(32)))
    for word in range(words):
        blend(frame + field(u, D) + 128 * word, t + 128 * word, mask)


@njit
def _split_entry(warp, index):
    return warp + 8 * (Warp.SPLIT + 3 * index)


@njit
def _push_split(warp, pc, mask, waiting):
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
def _remove_split(warp, index):
    last = load_i64(warp, Warp.SPLITS) - 1
    for i in range(3):
        store_i64(_split_entry(warp, index), i, load_i64(_split_entry(warp, last), i))
    store_i64(warp, Warp.SPLITS, last)


@njit
def _release_convergence(warp):
    """Join the splits of a convergence barrier once every living participant waits there."""
    alive = load_i64(warp, Warp.ALIVE)
    for barrier in range(16):
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
                _remove_split(warp, i)
            else:
                i += 1
        _push_split(warp, pc + 1, arrived, RUNNABLE)


@njit
def _switch(warp):
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
        _remove_split(warp, best)
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
            _remove_split(warp, i)
            _push_split(warp, pc, mask, RUNNABLE)
            i = -1
        i += 1
    store_i64(warp, Warp.STATUS, _switch(warp))


@njit
def _branch(warp, pc, active, taken, target):
    """Go both ways if the lanes disagree; the lowest PC among all splits runs next."""
    fall = active & ~taken
    if fall and taken:
        _push_split(warp, pc + 1, fall, RUNNABLE)
        _push_split(warp, target, taken, RUNNABLE)
        return SWITCH
    after = target if taken else pc + 1
    if load_i64(warp, Warp.SPLITS):
        _push_split(warp, after, active, RUNNABLE)
        return SWITCH
    store_i64(warp, Warp.PC, after)
    return CONTINUE


@njit
def _return(ctx, warp, u, frame, consts, pc, active):
    """RET: jump to the byte address in a register, lane by lane."""
    row = source(u, A, frame, consts)
    first = 0
    while not (active >> first) & 1:
        first += 1
    address = load_u32(row, first)
    same = np.int64(0)
    for lane in range(32):
        if (active >> lane) & 1 and load_u32(row, lane) == address:
            same |= np.int64(1) << lane
    target = np.int64(address >> np.uint32(4)) + field(u, TARGET)
    if address & np.uint32(15) or target < 0 or target >= field(u, M0):
        report_fault(ctx, Fault.CALL_TARGET, pc, first, np.int64(address), 0, 0)
        return FAULTED
    if same != active:
        _push_split(warp, pc, active & ~same, RUNNABLE)
    _push_split(warp, target, same, RUNNABLE)
    return SWITCH


@njit
def _control(op, ctx, warp, u, frame, consts, t, pc, active, mask):
    """Execute a control micro-op; says whether the running split goes on."""
    if op == Op.BRA:
        taken = mask & np.int64(predicate(u, PS0, frame))
        if field(u, M0) and taken:  # .ANY: all lanes follow one
            taken = active
        return _branch(warp, pc, active, taken, field(u, TARGET))
    if op == Op.EXIT:
        if mask == 0:
            store_i64(warp, Warp.PC, pc + 1)
            return CONTINUE
        store_i64(warp, Warp.ALIVE, load_i64(warp, Warp.ALIVE) & ~mask)
        if active & ~mask:
            _push_split(warp, pc + 1, active & ~mask, RUNNABLE)
        return SWITCH
    if op == Op.BAR:
        if mask == 0:
            store_i64(warp, Warp.PC, pc + 1)
            return CONTINUE
        store_i64(warp, Warp.BARRIER, field(u, M0))
        store_i64(warp, Warp.BARRIER_THREADS, field(u, M1))
        _push_split(warp, pc + 1, active, AT_BLOCK_BARRIER)
        return SWITCH
    if op == Op.BSYNC and mask:
        barrier = field(u, M0)
        if load_i64(warp, Warp.SPLITS):
            _push_split(warp, pc, active, WAITING + barrier)
            return SWITCH
    elif op == Op.BSSY and mask:
        store_i64(warp, Warp.BARRIERS + field(u, M0), active)
    elif op == Op.BREAK and mask:
        entry = Warp.BARRIERS + field(u, M0)
        store_i64(warp, entry, load_i64(warp, entry) & ~mask)
    elif op == Op.RET and mask:
        return _return(ctx, warp, u, frame, consts, pc, active)
    elif op == Op.TRAP and mask:
        report_fault(ctx, Fault.TRAP, pc, 0, 0, 0, 0)
        return FAULTED
    elif op == Op.SPECIAL:
        _special(ctx, u, frame, t, mask)
    store_i64(warp, Warp.PC, pc + 1)
    return CONTINUE


@njit
def _record(ctx, pc, mask, memory, two):
    """Append an event to the trace; returns where its lane addresses go."""
    event = get(ctx, Context.TRACE_EVENTS)
    access = get(ctx, Context.TRACE_ACCESSES)
    store_u32(get(ctx, Context.EVENT_ROW), event, np.uint32(pc))
    store_u32(get(ctx, Context.EVENT_MASK), event, np.uint32(mask))
    store_u8(get(ctx, Context.EVENT_WARP), event, np.uint8(get(ctx, Context.WARP)))
    store_u32(get(ctx, Context.EVENT_ACCESS), event, np.uint32(access if memory else FULL))
    put(ctx, Context.TRACE_EVENTS, event + 1)
    if memory:
        put(ctx, Context.TRACE_ACCESSES, access + (2 if two else 1))
    return get(ctx, Context.ACCESS_ADDRESS) + 256 * access


@njit
def _trace_full(ctx):
    return (
        get(ctx, Context.TRACE_EVENTS) >= get(ctx, Context.TRACE_EVENT_CAPACITY)
        or get(ctx, Context.TRACE_ACCESSES) + 2 > get(ctx, Context.TRACE_ACCESS_CAPACITY)
    )  # fmt: skip


@njit
def _execute(family, op, ctx, u, frame, consts, t, pc, mask, tracing):
    """Execute a micro-op that is not control flow; False if it faulted."""
    into = get(ctx, Context.ADDRESS)
    if tracing:
        memory = family == Family.MEMORY
        slot = _record(ctx, pc, mask, memory, op == Op.LDGSTS)
        if memory:
            into = slot
    step = load_i64(get(ctx, Context.STEPS), family)
    return call_step(step, op, ctx, u, frame, consts, t, pc, np.int64(mask), into) != 0


@njit
def _yield_split(warp, pc, active):
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
        _remove_split(warp, best)
        _push_split(warp, pc, active, RUNNABLE)
        store_i64(warp, Warp.PC, best_pc)
        store_i64(warp, Warp.ACTIVE, mask)


@njit
def run_warp(ctx, warp, frame, turn):
    """Run a warp until it exits, waits, faults, or its turn, the budget or the trace space is used up."""
    microops, consts, t = get(ctx, Context.MICROOPS), get(ctx, Context.CONSTS), get(ctx, Context.TEMP)
    tracing = get(ctx, Context.TRACE) != 0
    executed = get(ctx, Context.EXECUTED)
    start, limit = executed, executed + min(turn, get(ctx, Context.BUDGET))
    pc, active = load_i64(warp, Warp.PC), load_i64(warp, Warp.ACTIVE)
    outcome = CONTINUE
    while executed < limit:
        if tracing and _trace_full(ctx):
            outcome = FULL_TRACE
            break
        u = microops + MICROOP_BYTES * pc
        op = field(u, OP)
        guard = load_u32(frame + field(u, GUARD), 0) ^ np.uint32(field(u, GUARD_XOR))
        mask = np.uint32((FULL if field(u, UNIFORM) else active) & guard)
        executed += 1
        family = op >> FAMILY_SHIFT
        if family != Family.CONTROL:
            if mask:
                if not _execute(family, op, ctx, u, frame, consts, t, pc, mask, tracing):
                    outcome = FAULTED
                    break
            elif tracing:
                _record(ctx, pc, mask, False, False)
            pc += 1
            continue
        if tracing:
            _record(ctx, pc, mask, False, False)
        put(ctx, Context.EXECUTED, executed)
        outcome = _control(op, ctx, warp, u, frame, consts, t, pc, np.int64(active), np.int64(mask))
        if outcome == SWITCH:
            status = _switch(warp)
            store_i64(warp, Warp.STATUS, status)
            outcome = CONTINUE if status == READY else STOP
        if outcome != CONTINUE:
            break
        pc, active = load_i64(warp, Warp.PC), load_i64(warp, Warp.ACTIVE)
    put(ctx, Context.BUDGET, get(ctx, Context.BUDGET) - (executed - start))
    put(ctx, Context.EXECUTED, executed)
    if outcome == CONTINUE:
        _yield_split(warp, pc, active)
    elif outcome == FULL_TRACE:
        store_i64(warp, Warp.PC, pc)
        store_i64(warp, Warp.ACTIVE, active)
    return outcome
