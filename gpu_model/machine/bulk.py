"""Asynchronous copies and their barriers: mbarriers (SYNCS), tensor and block copies (UTMA*, UBLKCP), STSM.

A copy completes when it is issued. That is one of the orders the hardware may choose, and a program cannot
tell unless it races.

An mbarrier is the 64-bit word that ptxas initialises: expected arrivals negated in bits 1..20, outstanding
bytes in bits 21..42, pending arrivals negated in bits 43..62, and the phase in bit 63, so that the last
arrival carries into the phase.
"""

import numpy as np
from numba import njit

from gpu_model.machine.context import (
    GLOBAL_SPACE,
    SHARED,
    SHARED_BYTES,
    SHARED_SPACE,
    Context,
    Fault,
    get,
    put,
    remember,
    report_fault,
)
from gpu_model.machine.integer import blend, set_predicate
from gpu_model.machine.lanes import load_u8, load_u16, load_u32, load_u64, store_u8, store_u32, store_u64
from gpu_model.machine.memory import find_range
from gpu_model.machine.microop import M0, M1, M2, PD0, A, B, C, D, Op, field, source
from gpu_model.machine.reduce import allowed, reduce_element
from gpu_model.tensormap import (
    BF16,
    BOX0_WORD,
    BOX_WORD,
    ELEMENT_BYTES,
    F16,
    F32_FTZ,
    F64,
    FILL_SHIFT,
    FLAGS_WORD,
    INTERLEAVE_SHIFT,
    MAX_RANK,
    RANK_SHIFT,
    SIZE_WORD,
    STRIDE_HIGH_WORD,
    STRIDE_WORD,
    SWIZZLE_SHIFT,
    TF32_SHIFT,
    TYPE_SHIFT,
)

FAILED, DONE, WAITING = 0, 1, 2  # results of `bulk_step`; WAITING: done, and the warp's turn should end

# M1 of an arrival: what arrives and how many bytes it announces or completes.
ARRIVE_ONE, ARRIVE_REGISTER, EXPECT_ONE, EXPECT_REGISTER, COMPLETE_REGISTER, COMPLETE_ONE, DROP = (
    1 << bit for bit in range(7)
)
_COUNT = np.uint64((1 << 20) - 1)
_BYTES_FIELD = np.uint64((1 << 22) - 1)
_ELEMENT_BYTES = np.array(ELEMENT_BYTES, np.int64)


@njit
def _lane_address(u, frame, consts, lane):
    base, uniform = source(u, A, frame, consts), source(u, C, frame, consts)
    return (np.int64(load_u32(base, lane)) + np.int64(load_u32(uniform, 0)) + field(u, M0)) & 0xFFFFFFFF


@njit
def _shared(ctx, row, lane, address, size, align):
    """Host address of shared bytes, 0 after a fault."""
    if address + size > get(ctx, SHARED_BYTES):
        report_fault(ctx, Fault.OUT_OF_BOUNDS, row, lane, address, size, SHARED_SPACE)
        return np.int64(0)
    if address % align:
        report_fault(ctx, Fault.MISALIGNED, row, lane, address, size, SHARED_SPACE)
        return np.int64(0)
    return get(ctx, SHARED) + address


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
def _change_barrier(ctx, address, arrivals, announced, drop):
    state = load_u64(address, 0)
    store_u64(address, 0, update_barrier(state, arrivals, announced, drop))
    put(ctx, Context.CHANGED, get(ctx, Context.CHANGED) + 1)
    return state


@njit
def _arrive(ctx, u, frame, consts, t, row, mask):
    how, count = field(u, M1), source(u, B, frame, consts)
    for lane in range(32):
        if not (mask >> lane) & 1:
            continue
        address = _shared(ctx, row, lane, _lane_address(u, frame, consts, lane), 8, 8)
        if address == 0:
            return FAILED
        value = np.int64(load_u32(count, lane))
        arrivals = value if how & ARRIVE_REGISTER else np.int64(how & ARRIVE_ONE)
        announced = np.int64(1) if how & EXPECT_ONE else value if how & EXPECT_REGISTER else np.int64(0)
        if how & COMPLETE_REGISTER:
            announced = -value
        elif how & COMPLETE_ONE:
            announced = np.int64(-1)
        state = _change_barrier(ctx, address, arrivals, announced, how & DROP)
        store_u32(t, lane, np.uint32(state & np.uint64(0xFFFFFFFF)))
        store_u32(t + 128, lane, np.uint32(state >> np.uint64(32)))
    blend(frame + field(u, D), t, mask)
    blend(frame + field(u, D) + 128, t + 128, mask)
    return DONE


@njit
def _test(ctx, u, frame, consts, row, mask):
    """SYNCS.PHASECHK: true where the phase that B's top bit names is complete."""
    phases, complete = source(u, B, frame, consts), np.uint32(0)
    for lane in range(32):
        if (mask >> lane) & 1:
            address = _shared(ctx, row, lane, _lane_address(u, frame, consts, lane), 8, 8)
            if address == 0:
                return FAILED
            now = np.uint32(load_u64(address, 0) >> np.uint64(63))
            complete |= np.uint32((now ^ (load_u32(phases, lane) >> np.uint32(31))) << np.uint32(lane))
    set_predicate(u, PD0, frame, complete, mask)
    return DONE if complete == mask else WAITING


@njit
def _set(ctx, u, frame, consts, row):
    """SYNCS.EXCH.64: write the barrier's word; the old one is the result."""
    address = _shared(ctx, row, 0, _lane_address(u, frame, consts, 0), 8, 8)
    if address == 0:
        return FAILED
    data, state = source(u, B, frame, consts), load_u64(address, 0)
    store_u64(address, 0, np.uint64(load_u32(data, 0)) | np.uint64(load_u32(data + 128, 0)) << np.uint64(32))
    for lane in range(32):
        store_u32(frame + field(u, D), lane, np.uint32(state & np.uint64(0xFFFFFFFF)))
        store_u32(frame + field(u, D) + 128, lane, np.uint32(state >> np.uint64(32)))
    put(ctx, Context.CHANGED, get(ctx, Context.CHANGED) + 1)
    return DONE


@njit
def _word64(row):
    return np.int64(load_u32(row, 0)) | np.int64(load_u32(row + 128, 0)) << 32


@njit
def _global(ctx, row, address, size):
    """Host address of global bytes; 0 after a fault."""
    low, high = get(ctx, Context.LAST_LOW), get(ctx, Context.LAST_HIGH)
    if low <= address <= high - size or find_range(ctx, address, size):
        return address + get(ctx, Context.LAST_SHIFT)
    report_fault(ctx, Fault.OUT_OF_BOUNDS, row, 0, address, size, GLOBAL_SPACE)
    return np.int64(0)


@njit
def swizzled(address, swizzle):
    """Where a shared byte lies: address bits 4 and up are flipped by bits 7 and up, one to three of them."""
    return address ^ ((address >> 3) & (((1 << swizzle) - 1) << 4))


@njit
def _move_chunk(ctx, row, op, element, kind, shared, remote, first, last):
    """Move or combine bytes first..last-1 of a 16-byte chunk; False after a fault."""
    if first >= last:
        return True
    start = _global(ctx, row, remote + first, last - first)
    if start == 0:
        return False
    host = start - first
    if op == Op.TENSOR_LOAD:
        for i in range(first, last):
            store_u8(shared, i, load_u8(host, i))
        return True
    for i in range(first, last):
        remember(ctx, host + i, np.int64(load_u8(host, i)), 1)
    if op == Op.TENSOR_STORE:
        for i in range(first, last):
            store_u8(host, i, load_u8(shared, i))
        return True
    size = _ELEMENT_BYTES[element]
    for i in range(first, last, size):
        reduce_element(shared + i, host + i, element, kind)
    return True


@njit
def _fill(shared, element, nan):
    """A 16-byte chunk outside the tensor: zeros, or NaN."""
    low = np.uint32(0)
    if nan:
        low = np.uint32(0x7FFF7FFF) if element in (F16, BF16) else np.uint32(0x7FFFFFFF)
    for word in range(4):
        wide = element == F64 and nan and word & 1 == 0
        store_u32(shared, word, np.uint32(0xFFFFFFFF) if wide else low)


@njit
def _supported(tensor, rank):
    flags = load_u32(tensor, FLAGS_WORD)
    element = (flags >> np.uint32(TYPE_SHIFT)) & np.uint32(15)
    plain = (flags >> np.uint32(INTERLEAVE_SHIFT)) & np.uint32(3) == 0 and (flags >> np.uint32(TF32_SHIFT)) & 1 == 0
    steps = load_u32(tensor, BOX0_WORD) & np.uint32(0x7FFF)
    same_rank = (flags >> np.uint32(RANK_SHIFT)) & np.uint32(7) == rank - 1
    return plain and same_rank and steps == 0 and element < len(_ELEMENT_BYTES) and element != F32_FTZ


@njit
def _tensor_row(ctx, row, op, tensor, kind, at, index, smem):
    """Copy one box row (dimension 0) whose coordinates are `at`; False after a fault."""
    flags = load_u32(tensor, FLAGS_WORD)
    element = np.int64((flags >> np.uint32(TYPE_SHIFT)) & np.uint32(15))
    swizzle = np.int64((flags >> np.uint32(SWIZZLE_SHIFT)) & np.uint32(3))
    nan, size = (flags >> np.uint32(FILL_SHIFT)) & np.uint32(1), _ELEMENT_BYTES[element]
    inner = (np.int64(load_u32(tensor, BOX0_WORD) >> np.uint32(24)) + 1) * size
    inside, remote = True, np.int64(load_u64(tensor, 0)) + at[0] * size
    for i in range(1, MAX_RANK):
        inside &= 0 <= at[i] <= np.int64(load_u32(tensor, SIZE_WORD + i))
        high = np.int64(load_u32(tensor, STRIDE_HIGH_WORD) >> np.uint32(4 * (i - 1))) & 15
        remote += at[i] * ((np.int64(load_u32(tensor, STRIDE_WORD + i - 1)) | high << 32) << 4)
    low, high = -at[0] * size, (np.int64(load_u32(tensor, SIZE_WORD)) + 1 - at[0]) * size  # bytes inside the tensor
    for chunk in range(0, inner, 16):
        shared = get(ctx, SHARED) + swizzled(smem + index * inner + chunk, swizzle)
        first, last = max(low - chunk, 0), min(high - chunk, 16)
        if op == Op.TENSOR_LOAD and (not inside or first > 0 or last < 16):
            _fill(shared, element, nan)
        if inside and not _move_chunk(ctx, row, op, element, kind, shared, remote + chunk, first, last):
            return False
    return True


@njit
def _tensor_copy(ctx, u, frame, consts, row, op):
    """UTMALDG, UTMASTG, UTMAREDG: a box of a tensor to or from shared memory."""
    operands, tensor_address = source(u, A, frame, consts), _word64(source(u, B, frame, consts))
    rank, kind, gather = field(u, M0), field(u, M1), field(u, M2)
    tensor = _global(ctx, row, tensor_address, 128)
    if tensor == 0:
        return FAILED
    element = (load_u32(tensor, FLAGS_WORD) >> np.uint32(TYPE_SHIFT)) & np.uint32(15)
    if not _supported(tensor, rank) or (op == Op.TENSOR_REDUCE and not allowed(element, kind)):
        report_fault(ctx, Fault.DESCRIPTOR, row, 0, tensor_address, 128, GLOBAL_SPACE)
        return FAILED
    loading = op == Op.TENSOR_LOAD
    first = 2 if loading else 1  # coordinates follow the shared address, and a load's barrier
    start, box, at = np.zeros(MAX_RANK, np.int64), np.ones(MAX_RANK, np.int64), np.zeros(MAX_RANK, np.int64)
    boxes = load_u32(tensor, BOX_WORD)
    for i in range(rank):
        start[i] = np.int64(np.int32(load_u32(operands + 128 * (first + i), 0)))
        if i > 0:
            box[i] = np.int64(boxes >> np.uint32(8 * (i - 1)) & np.uint32(0xFF)) + 1
    inner = (np.int64(load_u32(tensor, BOX0_WORD) >> np.uint32(24)) + 1) * _ELEMENT_BYTES[element]
    rows = 4 if gather else box[1] * box[2] * box[3] * box[4]
    smem = np.int64(load_u32(operands, 0))
    if _shared(ctx, row, 0, smem, rows * inner, 16) == 0:
        return FAILED
    for index in range(rows):
        at[:] = start
        rest = index
        for i in range(1, MAX_RANK):
            at[i] += rest % box[i]
            rest //= box[i]
        if gather:
            at[1] = np.int64(np.int32(load_u32(operands + 128 * (first + 1 + index), 0)))
        if not _tensor_row(ctx, row, op, tensor, kind, at, index, smem):
            return FAILED
    if not loading:
        put(ctx, Context.CHANGED, get(ctx, Context.CHANGED) + 1)
        return DONE
    return _complete(ctx, row, load_u32(operands + 128, 0), rows * inner)


@njit
def _complete(ctx, row, barrier, size):
    """Count a copy's bytes as arrived at its barrier."""
    address = _shared(ctx, row, 0, np.int64(barrier), 8, 8)
    if address == 0:
        return FAILED
    _change_barrier(ctx, address, np.int64(0), -size, 0)
    return DONE


@njit
def _block_copy(ctx, u, frame, consts, row, op):
    """UBLKCP: contiguous bytes, a multiple of 16, between shared and global memory."""
    local, remote = source(u, A, frame, consts), _word64(source(u, B, frame, consts))
    size = np.int64(load_u32(source(u, C, frame, consts), 0) & np.uint32(0xFFFF)) << 4
    shared = _shared(ctx, row, 0, np.int64(load_u32(local, 0)), size, 16)
    if shared == 0 or _global(ctx, row, remote, size) == 0:
        return FAILED
    move = Op.TENSOR_LOAD if op == Op.BLOCK_LOAD else Op.TENSOR_STORE
    for chunk in range(0, size, 16):
        if not _move_chunk(ctx, row, move, 0, 0, shared + chunk, remote + chunk, 0, 16):
            return FAILED
    return _complete(ctx, row, load_u32(local + 128, 0), size) if op == Op.BLOCK_LOAD else DONE


@njit
def _stsm(ctx, u, frame, consts, row):
    """STSM: LDSM backwards; lanes 8i..8i+7 give the rows of 8 x 8 matrix i of 16-bit elements."""
    data, matrices, transposed = source(u, B, frame, consts), field(u, M1), field(u, M2)
    for lane in range(8 * matrices):
        address = _shared(ctx, row, lane, _lane_address(u, frame, consts, lane), 16, 16)
        if address == 0:
            return FAILED
        words = data + 128 * (lane >> 3)
        for i in range(8):
            # Element (r, c) of a matrix is half c % 2 of lane 4r + c / 2.
            r, c = (i, lane & 7) if transposed else (lane & 7, i)
            half = load_u16(words, 2 * (4 * r + (c >> 1)) + (c & 1))
            store_u8(address, 2 * i, np.uint8(half & np.uint16(0xFF)))
            store_u8(address, 2 * i + 1, np.uint8(half >> np.uint16(8)))
    return DONE


@njit
def bulk_step(op, ctx, u, frame, consts, t, row, mask):
    """Execute one micro-op of this family: `DONE`, `WAITING`, or `FAILED` with the fault in the context."""
    if op == Op.BARRIER_ARRIVE:
        return _arrive(ctx, u, frame, consts, t, row, mask)
    if op == Op.BARRIER_TEST:
        waiting = _test(ctx, u, frame, consts, row, mask)
        return waiting if field(u, M1) or waiting == FAILED else DONE
    if op == Op.BARRIER_SET:
        return _set(ctx, u, frame, consts, row)
    if op == Op.STSM:
        return _stsm(ctx, u, frame, consts, row)
    if op == Op.BLOCK_LOAD or op == Op.BLOCK_STORE:
        return _block_copy(ctx, u, frame, consts, row, op)
    return _tensor_copy(ctx, u, frame, consts, row, op)
