"""Running one warp: the fetch loop, divergence, and the trace.

A warp is a set of splits, each a PC with a lane mask. The split with the lowest PC runs, which brings lanes
back together at the same PC even where ptxas emitted no convergence barrier; BSSY and BSYNC name the points
at which lanes must meet.
"""

import numpy as np
from numba import njit

from gpu_model.check.layout import check_warpsync
from gpu_model.machine.barriers import arrive, arrive_at_cluster, read_result, record_barrier, wait_for_cluster
from gpu_model.machine.context import Context, Fault, get, put, report_fault
from gpu_model.machine.integer import blend, first_lane, predicate
from gpu_model.machine.lanes import call_step, load_i64, load_u32, store_i64, store_u8, store_u32
from gpu_model.machine.microop import (
    A_XOR,
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
from gpu_model.machine.special import query_space, read_special
from gpu_model.machine.splits import (
    AT_WARPSYNC,
    READY,
    RUNNABLE,
    SYNC_MASK,
    SYNC_TARGET,
    WAITING,
    Warp,
    end_collective,
    note_convergence,
    push_split,
    switch,
    yield_split,
)

FULL = 0xFFFFFFFF


CONTINUE, SWITCH, STOP, FAULTED, FULL_TRACE, HOST_CALL, POLLED = range(7)
_FAILED, _DONE = 0, 1  # what a micro-op's function returns; anything else ends the warp's turn


@njit
def _branch(warp, pc, active, taken, target):
    """Go both ways if the lanes disagree; the lowest PC among all splits runs next."""
    fall = active & ~taken
    if fall and taken:
        push_split(warp, pc + 1, fall, RUNNABLE)
        push_split(warp, target, taken, RUNNABLE)
        return SWITCH
    after = target if taken else pc + 1
    if load_i64(warp, Warp.SPLITS):
        push_split(warp, after, active, RUNNABLE)
        return SWITCH
    store_i64(warp, Warp.PC, after)
    return CONTINUE


@njit
def _barrier_to_register(warp, u, frame, t, mask):
    """BMOV: a barrier's lanes as a register value in every active lane; .CLEAR empties the barrier."""
    entry = Warp.BARRIERS + field(u, M0)
    for lane in range(32):
        store_u32(t, lane, np.uint32(load_i64(warp, entry)))
    blend(frame + field(u, D), t, np.uint32(mask))
    if field(u, M1):
        store_i64(warp, entry, np.int64(0))


@njit
def _same_word(row, mask):
    """The lanes of a mask that hold what its first lane holds."""
    value, same = load_u32(row, first_lane(mask)), np.int64(0)
    for lane in range(32):
        if (mask >> lane) & 1 and load_u32(row, lane) == value:
            same |= np.int64(1) << lane
    return same


@njit
def _warpsync(warp, row, flip, target, pc, active, mask):
    """WARPSYNC: wait for the lanes of a mask, which may differ from lane to lane; `target` is set for .COLLECTIVE."""
    same = _same_word(row, mask)
    wanted = np.int64(load_u32(row, first_lane(mask)) ^ flip)
    if same == active and target == 0 and wanted & load_i64(warp, Warp.ALIVE) & ~active == 0:
        note_convergence(warp, wanted & active)
        store_i64(warp, Warp.PC, pc + 1)
        return CONTINUE
    if active & ~mask:
        push_split(warp, pc + 1, active & ~mask, RUNNABLE)
    while mask:
        same = _same_word(row, mask)
        wanted = np.int64(load_u32(row, first_lane(mask)) ^ flip)
        push_split(warp, pc, same, AT_WARPSYNC | wanted << SYNC_MASK | target << SYNC_TARGET)
        mask &= ~same
    return SWITCH


@njit
def _return(ctx, warp, u, frame, consts, pc, active, mask):
    """RET, BRX: lanes of the mask jump to the byte address in a register, lane by lane; the others go on."""
    row = source(u, A, frame, consts)
    first = first_lane(mask)
    address = load_u32(row, first)
    same = _same_word(row, mask)
    target = np.int64(address >> np.uint32(4)) + field(u, TARGET)
    if address & np.uint32(15) or target < 0 or target >= field(u, M0):
        report_fault(ctx, Fault.CALL_TARGET, pc, first, np.int64(address), 0, 0)
        return FAULTED
    if active & ~mask:
        push_split(warp, pc + 1, active & ~mask, RUNNABLE)
    if mask & ~same:
        push_split(warp, pc, mask & ~same, RUNNABLE)
    push_split(warp, target, same, RUNNABLE)
    return SWITCH


@njit
def _control(op, ctx, warp, u, frame, consts, t, pc, active, mask):
    """Execute a control micro-op; says whether the running split goes on."""
    if op == Op.BRA:
        taken = mask & np.int64(predicate(u, PS0, frame))
        if field(u, M0) and taken:  # .ANY: all lanes follow one
            taken = active
        return _branch(warp, pc, active, taken, field(u, TARGET))
    if op == Op.BRA_DIV or op == Op.BRA_CONV:
        wanted = np.int64(load_u32(source(u, A, frame, consts), 0) ^ np.uint32(field(u, A_XOR)))
        wanted &= load_i64(warp, Warp.ALIVE)
        together = wanted & mask == wanted  # a lane whose guard is false counts as elsewhere
        if together:  # where they are not, the code goes on to a WARPSYNC
            note_convergence(warp, wanted)
        taken = together == (op == Op.BRA_CONV)
        return _branch(warp, pc, active, active if taken else np.int64(0), field(u, TARGET))
    if op == Op.HOST_CALL and mask:
        row, lane = source(u, A, frame, consts), first_lane(mask)
        put(ctx, Context.CALL_ADDRESS, np.int64(load_u32(row, lane)) | np.int64(load_u32(row + 128, lane)) << 32)
        put(ctx, Context.CALL_MASK, mask)
        store_i64(warp, Warp.PC, pc + 1)
        return HOST_CALL
    if op == Op.WARPSYNC and mask:
        if get(ctx, Context.CHECK):
            row, flip = source(u, A, frame, consts), np.uint32(field(u, A_XOR))
            check_warpsync(get(ctx, Context.CHECK), pc, get(ctx, Context.WARP), mask, row, flip)
        return _warpsync(
            warp, source(u, A, frame, consts), np.uint32(field(u, A_XOR)), field(u, TARGET), pc, active, mask
        )
    if op == Op.COLLECTIVE_END and mask:
        end_collective(warp, active)
        return SWITCH
    if op == Op.EXIT:
        if mask == 0:
            store_i64(warp, Warp.PC, pc + 1)
            return CONTINUE
        store_i64(warp, Warp.ALIVE, load_i64(warp, Warp.ALIVE) & ~mask)
        if active & ~mask:
            push_split(warp, pc + 1, active & ~mask, RUNNABLE)
        return SWITCH
    if op == Op.BAR:
        if mask == 0:
            store_i64(warp, Warp.PC, pc + 1)
            return CONTINUE
        if arrive(ctx, warp, u, frame, consts, pc, active, mask):
            return SWITCH
    elif op == Op.CLUSTER_ARRIVE and mask:
        arrive_at_cluster(ctx, warp, active)
    elif op == Op.CLUSTER_WAIT and mask:
        wait_for_cluster(warp, pc, active)
        return SWITCH
    elif op == Op.BARRIER_RESULT:
        read_result(warp, u, frame, t, mask)
    if op == Op.BSYNC and mask:
        barrier = field(u, M0)
        if load_i64(warp, Warp.SPLITS):
            push_split(warp, pc, active, WAITING + barrier)
            return SWITCH
        note_convergence(warp, active)
    elif op == Op.BSSY and mask:
        store_i64(warp, Warp.BARRIERS + field(u, M0), active)
    elif op == Op.BREAK and mask:
        entry = Warp.BARRIERS + field(u, M0)
        leaving = mask & np.int64(predicate(u, PS0, frame))
        store_i64(warp, entry, load_i64(warp, entry) & ~leaving)
    elif op == Op.BMOV_READ and mask:
        _barrier_to_register(warp, u, frame, t, mask)
    elif op == Op.BMOV_WRITE and mask:
        row = source(u, A, frame, consts)
        store_i64(warp, Warp.BARRIERS + field(u, M0), np.int64(load_u32(row, first_lane(active))))
    elif op == Op.RET and mask:
        return _return(ctx, warp, u, frame, consts, pc, active, mask)
    elif op == Op.TRAP and mask:
        report_fault(ctx, Fault.TRAP, pc, 0, 0, 0, 0)
        return FAULTED
    elif op == Op.SPECIAL:
        read_special(ctx, u, frame, t, mask)
    elif op == Op.QUERY_SPACE:
        query_space(ctx, u, frame, consts, mask)
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
    """Execute a micro-op that is not control flow; what its function returns."""
    into = get(ctx, Context.ADDRESS)
    if tracing:
        memory = family == Family.MEMORY or family == Family.BULK
        slot = _record(ctx, pc, mask, memory, op == Op.LDGSTS)
        if memory:
            into = slot
        if family == Family.BULK:  # not every lane writes its entry
            for lane in range(32):
                store_i64(into, lane, np.int64(-1))
    step = load_i64(get(ctx, Context.STEPS), family)
    return call_step(step, op, ctx, u, frame, consts, t, pc, np.int64(mask), into)


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
                result = _execute(family, op, ctx, u, frame, consts, t, pc, mask, tracing)
                if result != _DONE:
                    outcome = FAULTED if result == _FAILED else POLLED
                    pc += 1
                    break
            elif tracing:
                _record(ctx, pc, mask, False, False)
            pc += 1
            continue
        if tracing:
            dynamic = op == Op.BAR and (field(u, M0) < 0 or field(u, M1) < 0)
            slot = _record(ctx, pc, mask, dynamic, False)
            if dynamic:
                record_barrier(slot, u, frame, consts, mask)
        put(ctx, Context.EXECUTED, executed)
        outcome = _control(op, ctx, warp, u, frame, consts, t, pc, np.int64(active), np.int64(mask))
        if outcome == SWITCH:
            status = switch(warp)
            store_i64(warp, Warp.STATUS, status)
            outcome = CONTINUE if status == READY else STOP
        if outcome != CONTINUE:
            break
        pc, active = load_i64(warp, Warp.PC), load_i64(warp, Warp.ACTIVE)
    put(ctx, Context.BUDGET, get(ctx, Context.BUDGET) - (executed - start))
    put(ctx, Context.EXECUTED, executed)
    if outcome in (CONTINUE, POLLED):
        yield_split(warp, pc, active)
    elif outcome == FULL_TRACE:
        store_i64(warp, Warp.PC, pc)
        store_i64(warp, Warp.ACTIVE, active)
    return outcome
