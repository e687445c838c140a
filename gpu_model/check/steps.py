"""The machine's steps with checks on: call the original, then look at what it touched.

They take the place of the originals in a block's function table; `WATCH` micro-ops are the checker's own.
"""

import numpy as np
from numba import cfunc, njit

from gpu_model.check import clocks
from gpu_model.check.convergence import TOGETHER, see_running
from gpu_model.check.copies import copy_size, read_address, written_and_barrier
from gpu_model.check.layout import (
    ATOMIC,
    BULK,
    CLOSES_PRODUCTS,
    COPIES,
    COPIES_ARRIVE,
    INVOLVES_ALL,
    NOBODY,
    PRODUCTS,
    THREADS,
    Check,
    Kind,
    report,
)
from gpu_model.check.matrices import read_matrices
from gpu_model.check.shadow import last_writer, read_local, read_shared, write_local, write_shared
from gpu_model.check.watch import CLOSE_BULK, CLOSE_COPIES, FENCE
from gpu_model.machine.context import (
    GENERIC_SPACE,
    GLOBAL_SPACE,
    LOCAL_SPACE,
    SHARED,
    SHARED_SPACE,
    WARP,
    Context,
    get,
)
from gpu_model.machine.exchange import shuffle_source
from gpu_model.machine.families import STEP
from gpu_model.machine.integer import first_lane
from gpu_model.machine.lanes import call_step, load_i64, load_u8, load_u32, load_u64, store_i64
from gpu_model.machine.mbarrier import DONE, FAILED, lane_address
from gpu_model.machine.memory import SIZE_MASK, SPACE_MASK
from gpu_model.machine.microop import M0, M1, M2, M3, A, B, C, Family, Op, field, source
from gpu_model.machine.splits import WARP_BYTES, Warp
from gpu_model.machine.window import LOCAL_WINDOW, space_of

_BY_THREADS, _BY_BULK = 0, 2  # readers, see `gpu_model.check.shadow`


@njit
def _begin(ctx):
    """Note which lanes run; returns the check state, the warp and its running lanes."""
    chk, warp = get(ctx, Context.CHECK), get(ctx, WARP)
    active = load_i64(get(ctx, Context.WARP_STATES) + WARP_BYTES * warp, Warp.ACTIVE)
    store_i64(chk, Check.EVENT, load_i64(chk, Check.EVENT) + 1)
    see_running(clocks.lanes_of(chk, warp), active)
    return chk, warp, active


@njit
def _original(chk, family):
    return load_i64(load_i64(chk, Check.STEPS), family)


@njit
def _flags(chk, row):
    return load_i64(load_i64(chk, Check.ROW_FLAGS), row)


@njit
def _overwritten(chk, ctx, u, frame, consts, row, warp, mask, into, size):
    """Lanes of one store whose value another lane of it replaced."""
    data, shared = source(u, B, frame, consts), get(ctx, SHARED)
    for lane in range(32):
        if not (mask >> lane) & 1:
            continue
        address = load_i64(into, lane)
        for byte in range(size):
            word = load_u32(data + 128 * (byte >> 2), lane)
            if load_u8(shared, address + byte) != (word >> np.uint32(8 * (byte & 3))) & 0xFF:
                other = last_writer(chk, address + byte)
                report(chk, np.int64(Kind.WRITE_AFTER_WRITE), row, warp, lane, address, size, other)
                break


@njit
def _lane_access(chk, ctx, op, row, warp, lane, space, address, size):
    """One lane's access to shared or local memory."""
    if space == SHARED_SPACE:
        if op == Op.LOAD or op == Op.LDSM:
            read_shared(chk, row, warp, lane, address, size, _BY_THREADS, clocks.epoch_of(chk, THREADS, warp))
        else:
            agent, epoch = warp, clocks.epoch_of(chk, THREADS, warp)
            if op == Op.ATOM:
                agent = warp | ATOMIC
            elif op == Op.LDGSTS:
                agent = COPIES * load_i64(chk, Check.WARPS) + warp
                epoch = clocks.epoch_of(chk, COPIES, warp)
            write_shared(chk, get(ctx, SHARED), row, warp, lane, address, size, agent, epoch)
    elif space == LOCAL_SPACE:
        if op == Op.LOAD:
            read_local(chk, row, warp, lane, address, size)
        else:
            write_local(chk, warp, lane, address, size)


@njit
def _accesses(op, ctx, u, frame, consts, row, mask, into):
    """The lanes of a load, store, atomic or copy that completed; their addresses are at `into`."""
    space, size = field(u, M2) & SPACE_MASK, field(u, M1) & SIZE_MASK
    if op == Op.LDGSTS:
        space, into = SHARED_SPACE, into + 256
    elif op == Op.LDSM:
        mask, size = np.int64((1 << 8 * (field(u, M3) & 7)) - 1), 16
    if space == GLOBAL_SPACE:
        return
    chk, warp, _ = _begin(ctx)
    for lane in range(32):
        if not (mask >> lane) & 1:
            continue
        address, lies_in = load_i64(into, lane), space
        if space == GENERIC_SPACE:
            lies_in = space_of(address)
            address &= 0xFFFFFFFF if lies_in == SHARED_SPACE else LOCAL_WINDOW - 1
        _lane_access(chk, ctx, op, row, warp, lane, lies_in, address, size)
    if op == Op.STORE and space == SHARED_SPACE:
        _overwritten(chk, ctx, u, frame, consts, row, warp, mask, into, size)


@cfunc(STEP, cache=True)
def _memory(op, ctx, u, frame, consts, t, row, mask, into):
    outcome = call_step(
        _original(get(ctx, Context.CHECK), Family.MEMORY), op, ctx, u, frame, consts, t, row, mask, into
    )
    if outcome and op != Op.LDC:
        _accesses(op, ctx, u, frame, consts, row, mask, into)
    return outcome


@njit
def _arrive(chk, ctx, warp, row, lane, address, barrier, before):
    """A lane arrived at an mbarrier, whose word was `before`."""
    if _flags(chk, row) & COPIES_ARRIVE:
        clocks.arrive_copies(chk, COPIES, warp, barrier)
    else:
        clocks.arrive(chk, warp, barrier)
    _barrier_access(chk, ctx, row, warp, lane, address, ATOMIC)
    if (load_u64(get(ctx, SHARED) + address, 0) ^ before) >> np.uint64(63):
        clocks.complete_phase(chk, barrier)


@njit
def _barrier_access(chk, ctx, row, warp, lane, address, flag):
    epoch = clocks.epoch_of(chk, THREADS, warp)
    write_shared(chk, get(ctx, SHARED), row, warp, lane, address, 8, warp | flag, epoch)


@njit
def _arrivals(op, ctx, u, frame, consts, t, row, mask, into):
    """Lane by lane, so that each phase that ends is seen."""
    chk, warp, _ = _begin(ctx)
    for lane in range(32):
        if not (mask >> lane) & 1:
            continue
        address = lane_address(u, frame, consts, lane)
        barrier, _, before = _barrier_phase(chk, ctx, address)
        outcome = call_step(_original(chk, Family.BULK), op, ctx, u, frame, consts, t, row, np.int64(1) << lane, into)
        if outcome == FAILED:
            return outcome
        _arrive(chk, ctx, warp, row, lane, address, barrier, before)
    return np.int64(DONE)


@njit
def _barrier_word(op, ctx, u, frame, consts, row, mask):
    """After a barrier was set or tested."""
    chk, warp, _ = _begin(ctx)
    if op == Op.BARRIER_SET:
        lane = first_lane(mask)
        _barrier_access(chk, ctx, row, warp, lane, lane_address(u, frame, consts, 0), 0)
        return
    phases = source(u, B, frame, consts)
    for lane in range(32):
        if (mask >> lane) & 1:
            address = lane_address(u, frame, consts, lane)
            now = load_u64(get(ctx, SHARED) + address, 0) >> np.uint64(63)
            if now != np.uint64(load_u32(phases, lane) >> np.uint32(31)):
                clocks.wait_phase(chk, warp, clocks.barrier_number(chk, address))
            _barrier_access(chk, ctx, row, warp, lane, address, ATOMIC)


@njit
def _matrix_store(ctx, u, frame, consts, row):
    chk, warp, _ = _begin(ctx)
    epoch = clocks.epoch_of(chk, THREADS, warp)
    for lane in range(8 * field(u, M1)):
        address = lane_address(u, frame, consts, lane)
        write_shared(chk, get(ctx, SHARED), row, warp, lane, address, 16, warp, epoch)


@njit
def _barrier_phase(chk, ctx, address):
    """Number, open phase and word of the mbarrier at an address."""
    if address < 0 or address + 8 > load_i64(chk, Check.SHARED_BYTES):
        return np.int64(0), np.int64(0), np.uint64(0)  # the machine is about to fault
    barrier = clocks.barrier_number(chk, address)
    return barrier, clocks.open_phase(chk, barrier), load_u64(get(ctx, SHARED) + address, 0)


@njit
def _completed(chk, ctx, row, warp, lane, target, size, address, barrier, phase, before):
    """An asynchronous write that counts for an mbarrier's open phase."""
    agent = clocks.phase_agent(chk, barrier)
    write_shared(chk, get(ctx, SHARED), row, warp, lane, target, size, agent, phase)
    if (load_u64(get(ctx, SHARED) + address, 0) ^ before) >> np.uint64(63):
        clocks.complete_phase(chk, barrier)


@njit
def _copy(op, ctx, u, frame, consts, t, row, mask, into):
    """Copies into shared memory count for the mbarrier's open phase, copies out of it for the warp's open group."""
    chk, warp, active = _begin(ctx)
    lane = first_lane(active)
    target, address = written_and_barrier(op, u, frame, consts)
    barrier, phase, before = _barrier_phase(chk, ctx, address)
    outcome = call_step(_original(chk, Family.BULK), op, ctx, u, frame, consts, t, row, mask, into)
    if outcome == FAILED:
        return outcome
    size, origin = copy_size(op, ctx, u, frame, consts, row), read_address(op, u, frame, consts)
    if origin >= 0:
        read_shared(chk, row, warp, lane, origin, size, _BY_BULK, clocks.epoch_of(chk, BULK, warp))
    if target >= 0:
        _completed(chk, ctx, row, warp, lane, target, size, address, barrier, phase, before)
    return outcome


@njit
def _stores_that_complete(op, ctx, u, frame, consts, t, row, mask, into):
    """STAS, REDAS: lane by lane, as `_arrivals`."""
    chk, warp, _ = _begin(ctx)
    addresses = source(u, A, frame, consts)
    for lane in range(32):
        if not (mask >> lane) & 1:
            continue
        target, address = np.int64(load_u32(addresses, lane)), np.int64(load_u32(addresses + 128, lane))
        barrier, phase, before = _barrier_phase(chk, ctx, address)
        outcome = call_step(_original(chk, Family.BULK), op, ctx, u, frame, consts, t, row, np.int64(1) << lane, into)
        if outcome == FAILED:
            return outcome
        _completed(chk, ctx, row, warp, lane, target, field(u, M0), address, barrier, phase, before)
    return np.int64(DONE)


@cfunc(STEP, cache=True)
def _bulk(op, ctx, u, frame, consts, t, row, mask, into):
    if op == Op.BARRIER_ARRIVE:
        return _arrivals(op, ctx, u, frame, consts, t, row, mask, into)
    if op == Op.BARRIER_STORE:
        return _stores_that_complete(op, ctx, u, frame, consts, t, row, mask, into)
    if op == Op.BLOCK_COPY or Op.TENSOR_LOAD <= op <= Op.TENSOR_REDUCE:
        return _copy(op, ctx, u, frame, consts, t, row, mask, into)
    outcome = call_step(_original(get(ctx, Context.CHECK), Family.BULK), op, ctx, u, frame, consts, t, row, mask, into)
    if outcome != FAILED:
        if op == Op.STSM:
            _matrix_store(ctx, u, frame, consts, row)
        elif op == Op.BARRIER_SET or op == Op.BARRIER_TEST:
            _barrier_word(op, ctx, u, frame, consts, row, mask)
    return outcome


@cfunc(STEP, cache=True)
def _wgmma(op, ctx, u, frame, consts, t, row, mask, into):
    chk, warp, active = _begin(ctx)
    outcome = call_step(_original(chk, Family.WGMMA), op, ctx, u, frame, consts, t, row, mask, into)
    if outcome:
        read_matrices(chk, op, u, frame, consts, row, warp, first_lane(active), clocks.epoch_of(chk, PRODUCTS, warp))
        if _flags(chk, row) & CLOSES_PRODUCTS:
            clocks.close_group(chk, PRODUCTS, warp)
    return outcome


@njit
def _check_shuffle(ctx, u, frame, consts, row, mask):
    """Each lane's source must run the shuffle with it, and not by chance."""
    chk, warp, _ = _begin(ctx)
    lanes = clocks.lanes_of(chk, warp)
    b, c = source(u, B, frame, consts), source(u, C, frame, consts)
    for lane in range(32):
        if not (mask >> lane) & 1:
            continue
        target, _ = shuffle_source(lane, load_u32(b, lane), load_u32(c, lane), field(u, M0))
        if not (mask >> target) & 1:
            kind = np.int64(Kind.INACTIVE_SOURCE)
        elif not (load_i64(lanes, TOGETHER + lane) >> target) & 1:
            kind = np.int64(Kind.NOT_CONVERGED)
        else:
            continue
        report(chk, kind, row, warp, lane, target, 0, np.int64(NOBODY))


@njit
def _check_together(ctx, row, mask):
    """The lanes of a vote, match or reduction must be one group."""
    chk, warp, _ = _begin(ctx)
    group = load_i64(clocks.lanes_of(chk, warp), TOGETHER + first_lane(mask))
    for lane in range(32):
        if (mask >> lane) & 1 and not (group >> lane) & 1:
            report(chk, np.int64(Kind.NOT_CONVERGED), row, warp, lane, first_lane(mask), 0, np.int64(NOBODY))


@cfunc(STEP, cache=True)
def _exchange(op, ctx, u, frame, consts, t, row, mask, into):
    chk = get(ctx, Context.CHECK)
    if op == Op.SHFL:
        _check_shuffle(ctx, u, frame, consts, row, mask)
    else:
        _check_together(ctx, row, mask)
    return call_step(_original(chk, Family.EXCHANGE), op, ctx, u, frame, consts, t, row, mask, into)


@cfunc(STEP, cache=True)
def _predicate(op, ctx, u, frame, consts, t, row, mask, into):
    chk = get(ctx, Context.CHECK)
    if _flags(chk, row) & INVOLVES_ALL:
        _check_together(ctx, row, mask)
    return call_step(_original(chk, Family.PREDICATE), op, ctx, u, frame, consts, t, row, mask, into)


@cfunc(STEP, cache=True)
def _watch(op, ctx, u, frame, consts, t, row, mask, into):
    chk, warp, _ = _begin(ctx)
    what = field(u, M0)
    if what & CLOSE_COPIES:
        clocks.close_group(chk, COPIES, warp)
    if what & CLOSE_BULK:
        clocks.close_group(chk, BULK, warp)
    if what & FENCE:
        clocks.fence(chk, warp)
    if field(u, M1) >= 0:
        clocks.wait_groups(chk, COPIES, warp, field(u, M1))
    if field(u, M2) >= 0:
        clocks.wait_groups(chk, BULK, warp, field(u, M2))
    if field(u, M3) >= 0:
        clocks.wait_groups(chk, PRODUCTS, warp, field(u, M3))
    return 1


_CHECKED = {
    Family.MEMORY: _memory, Family.BULK: _bulk, Family.WGMMA: _wgmma, Family.EXCHANGE: _exchange,
    Family.WATCH: _watch,
}  # fmt: skip


def checked_steps(row_flags: np.ndarray) -> dict:
    """The steps to replace for a kernel with these row flags: comparisons only if there are votes among them."""
    return _CHECKED | ({Family.PREDICATE: _predicate} if (row_flags & INVOLVES_ALL).any() else {})
