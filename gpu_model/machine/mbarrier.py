"""mbarriers (SYNCS, ARRIVES): set, arrive, test, and the stores that complete on one (STAS, REDAS).

An mbarrier is the 64-bit word that ptxas initialises: expected arrivals negated in bits 1..20, outstanding
bytes in bits 21..42, pending arrivals negated in bits 43..62, and the phase in bit 63, so that the last
arrival carries into the phase. The state that an arrival returns has the phase in bit 63 and the pending
count from bit 32 on, which is where mbarrier.pending_count looks for it.
"""

import numpy as np
from numba import njit

from gpu_model.machine.atomics import combine
from gpu_model.machine.context import WARP, Context, get, put
from gpu_model.machine.integer import blend, set_predicate
from gpu_model.machine.lanes import load_u32, load_u64, store_i64, store_u32, store_u64
from gpu_model.machine.microop import M0, M1, M2, PD0, A, B, C, D, field, source
from gpu_model.machine.splits import WARP_BYTES, Warp
from gpu_model.machine.window import shared_at
from gpu_model.trace import OPERAND_SHIFT

FAILED, DONE, WAITING = 0, 1, 2  # results of these micro-ops; WAITING: done, and the warp's turn should end

# M1 of an arrival: what arrives and how many bytes it announces or completes.
ARRIVE_ONE, ARRIVE_REGISTER, EXPECT_ONE, EXPECT_REGISTER, COMPLETE_REGISTER, COMPLETE_ONE, DROP = (
    1 << bit for bit in range(7)
)
_COUNT = np.uint64((1 << 20) - 1)
_BYTES_FIELD = np.uint64((1 << 22) - 1)


@njit
def lane_address(u, frame, consts, lane):
    """A lane's shared address: register + uniform register + offset."""
    base, uniform = source(u, A, frame, consts), source(u, C, frame, consts)
    return (np.int64(load_u32(base, lane)) + np.int64(load_u32(uniform, 0)) + field(u, M0)) & 0xFFFFFFFF


@njit
def update_barrier(state, arrivals, announced, drop):
    """An mbarrier after `arrivals` threads arrived and its outstanding bytes grew by `announced`."""
    one = np.uint64(1)
    expected, pending = (state >> one) & _COUNT, (state >> np.uint64(43)) & _COUNT
    outstanding = ((state >> np.uint64(21)) + np.uint64(announced)) & _BYTES_FIELD
    phase = state >> np.uint64(63)
    if drop:
        expected = (expected + np.uint64(arrivals)) & _COUNT
    pending = (pending + np.uint64(arrivals)) & _COUNT
    if pending == 0 and outstanding == 0:
        phase ^= one
        pending = expected
    return phase << np.uint64(63) | pending << np.uint64(43) | outstanding << np.uint64(21) | expected << one


@njit
def counted(how, value):
    """Arrivals of one lane, and the bytes that it announces (negative: completes)."""
    arrivals = value if how & ARRIVE_REGISTER else np.int64(how & ARRIVE_ONE)
    announced = np.int64(1) if how & EXPECT_ONE else value if how & EXPECT_REGISTER else np.int64(0)
    if how & COMPLETE_REGISTER:
        announced = -value
    elif how & COMPLETE_ONE:
        announced = np.int64(-1)
    return arrivals, announced


@njit
def change_barrier(ctx, host, arrivals, announced, drop):
    """Update the mbarrier at a host address; returns what it was."""
    state = load_u64(host, 0)
    store_u64(host, 0, update_barrier(state, arrivals, announced, drop))
    put(ctx, Context.CHANGED, get(ctx, Context.CHANGED) + 1)
    return state


@njit
def complete(ctx, row, lane, barrier, size):
    """Count bytes as arrived at a barrier of any block of the cluster; False after a fault."""
    host = shared_at(ctx, row, lane, np.int64(barrier), 8, 8)
    if host == 0:
        return False
    change_barrier(ctx, host, np.int64(0), -size, 0)
    return True


@njit
def arrive(ctx, u, frame, consts, t, row, mask, into):
    """SYNCS.ARRIVE, ARRIVES: lane by lane; the state before is the result."""
    how, count = field(u, M1), source(u, B, frame, consts)
    for lane in range(32):
        if not (mask >> lane) & 1:
            continue
        address = lane_address(u, frame, consts, lane)
        host = shared_at(ctx, row, lane, address, 8, 8)
        if host == 0:
            return FAILED
        value = np.int64(load_u32(count, lane))
        store_i64(into, lane, address | value << OPERAND_SHIFT)
        arrivals, announced = counted(how, value)
        state = change_barrier(ctx, host, arrivals, announced, how & DROP)
        pending = (np.uint64(0) - (state >> np.uint64(43))) & _COUNT
        store_u32(t, lane, np.uint32(0))
        store_u32(t + 128, lane, np.uint32((state >> np.uint64(63)) << np.uint64(31) | pending))
    blend(frame + field(u, D), t, mask)
    blend(frame + field(u, D) + 128, t + 128, mask)
    return DONE


@njit
def test(ctx, u, frame, consts, row, mask, into):
    """SYNCS.PHASECHK: true where the phase that B's top bit names is complete."""
    phases, found = source(u, B, frame, consts), np.uint32(0)
    for lane in range(32):
        if not (mask >> lane) & 1:
            continue
        address = lane_address(u, frame, consts, lane)
        host = shared_at(ctx, row, lane, address, 8, 8)
        if host == 0:
            return FAILED
        asked = load_u32(phases, lane) >> np.uint32(31)
        now = np.uint32(load_u64(host, 0) >> np.uint64(63))
        found |= np.uint32((now ^ asked) << np.uint32(lane))
        store_i64(into, lane, address | np.int64(asked | (now ^ asked) << np.uint32(1)) << OPERAND_SHIFT)
        if now == asked:
            warp = get(ctx, Context.WARP_STATES) + WARP_BYTES * get(ctx, WARP)
            store_i64(warp, Warp.TESTED, address)
            store_i64(warp, Warp.TESTED_PHASE, np.int64(asked))
            store_i64(warp, Warp.TESTED_ROW, row)
    set_predicate(u, PD0, frame, found, mask)
    return DONE if found == mask else WAITING


@njit
def exchange(ctx, u, frame, consts, row, into):
    """SYNCS.EXCH.64: write the barrier's word; the old one is the result."""
    address = lane_address(u, frame, consts, 0)
    host = shared_at(ctx, row, 0, address, 8, 8)
    if host == 0:
        return FAILED
    data, state = source(u, B, frame, consts), load_u64(host, 0)
    store_u64(host, 0, np.uint64(load_u32(data, 0)) | np.uint64(load_u32(data + 128, 0)) << np.uint64(32))
    store_i64(into, 0, address)
    store_i64(into, 1, np.int64(load_u64(host, 0)))
    for lane in range(32):
        store_u32(frame + field(u, D), lane, np.uint32(state & np.uint64(0xFFFFFFFF)))
        store_u32(frame + field(u, D) + 128, lane, np.uint32(state >> np.uint64(32)))
    put(ctx, Context.CHANGED, get(ctx, Context.CHANGED) + 1)
    return DONE


@njit
def store(ctx, u, frame, consts, row, mask, into):
    """STAS, REDAS: store or combine M0 bytes at A's address; they complete on the barrier in A's second register.

    M1 is the kind of an atomic operation (EXCH to store), M2 its type.
    """
    addresses, data, size = source(u, A, frame, consts), source(u, B, frame, consts), field(u, M0)
    width = 8 if size == 8 else 4
    for lane in range(32):
        if not (mask >> lane) & 1:
            continue
        host = shared_at(ctx, row, lane, np.int64(load_u32(addresses, lane)), size, size)
        if host == 0:
            return FAILED
        for part in range(size // width):
            value = np.uint64(load_u32(data + 128 * part, lane))
            old = np.uint64(load_u32(host, part))
            if width == 8:
                value |= np.uint64(load_u32(data + 128, lane)) << np.uint64(32)
                old = load_u64(host, 0)
            new = combine(old, value, np.uint64(0), field(u, M1), field(u, M2), width, False)
            if width == 8:
                store_u64(host, 0, new)
            else:
                store_u32(host, part, np.uint32(new))
        store_i64(into, lane, np.int64(load_u32(addresses + 128, lane)))
        if not complete(ctx, row, lane, load_u32(addresses + 128, lane), size):
            return FAILED
    return DONE
