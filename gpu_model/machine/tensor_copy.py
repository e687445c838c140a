"""Tensor copies (UTMALDG, UTMASTG, UTMAREDG): a box of a tensor to or from shared memory.

A copy completes when it is issued. That is one of the orders the hardware may choose, and a program cannot
tell unless it races.
"""

import numpy as np
from numba import njit

from gpu_model.machine.context import (
    CLUSTER_RANK_SHIFT,
    GLOBAL_SPACE,
    Context,
    Fault,
    get,
    put,
    remember,
    report_fault,
)
from gpu_model.machine.lanes import load_u8, load_u32, load_u64, store_i64, store_u8, store_u32
from gpu_model.machine.mbarrier import DONE, FAILED, complete
from gpu_model.machine.microop import M0, M1, M2, M3, A, B, C, Op, field, source
from gpu_model.machine.ranges import find_range
from gpu_model.machine.reduce import reduce_element
from gpu_model.machine.tensor_rules import NO_REDUCTION, refusal
from gpu_model.machine.window import shared_at
from gpu_model.tensormap import (
    BF16,
    BOX0_WORD,
    BOX_WORD,
    ELEMENT_BYTES,
    F16,
    F64,
    FILL_SHIFT,
    FLAGS_WORD,
    MAX_RANK,
    RANK_SHIFT,
    SIZE_WORD,
    STRIDE_HIGH_WORD,
    STRIDE_WORD,
    SWIZZLE_SHIFT,
    TYPE_SHIFT,
)
from gpu_model.trace import CopyWord

_ELEMENT_BYTES = np.array(ELEMENT_BYTES, np.int64)
_OFFSET_MASK = (1 << CLUSTER_RANK_SHIFT) - 1
SHARED_ALIGNMENT = 128  # of a tensor copy's box in shared memory (PTX ISA)
GATHERED_ROWS = 4  # of GATHER4 and SCATTER4


@njit
def word64(row):
    """A 64-bit value in two registers."""
    return np.int64(load_u32(row, 0)) | np.int64(load_u32(row + 128, 0)) << 32


@njit
def global_at(ctx, row, address, size):
    """Host address of global bytes; 0 after a fault."""
    low, high = get(ctx, Context.LAST_LOW), get(ctx, Context.LAST_HIGH)
    if low <= address <= high - size or find_range(ctx, address, size):
        return address + get(ctx, Context.LAST_SHIFT)
    report_fault(ctx, Fault.OUT_OF_BOUNDS, row, 0, address, size, GLOBAL_SPACE)
    return np.int64(0)


@njit
def receiver(ctx, address, blocks, turn):
    """The address that a copy to `address` has in the turn-th block of the cluster, -1 if that gets none.

    Without a mask (`blocks` < 0) a copy has one receiver; with one, each block of the mask receives it at the
    same offset.
    """
    if blocks < 0:
        return address if turn == 0 else np.int64(-1)
    if not (blocks >> turn) & 1:
        return np.int64(-1)
    return (address & _OFFSET_MASK) | turn << CLUSTER_RANK_SHIFT


@njit
def swizzled(address, swizzle):
    """Where a shared byte lies: address bits 4 and up are flipped by bits 7 and up, one to three of them."""
    return address ^ ((address >> 3) & (((1 << swizzle) - 1) << 4))


@njit
def _move_chunk(ctx, row, op, element, kind, shared, remote, first, last):
    """Move or combine bytes first..last-1 of a 16-byte chunk; False after a fault."""
    if first >= last:
        return True
    start = global_at(ctx, row, remote + first, last - first)
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
def _element(tensor):
    return np.int64((load_u32(tensor, FLAGS_WORD) >> np.uint32(TYPE_SHIFT)) & np.uint32(15))


@njit
def _element_stride(tensor, dimension):
    """Elements between those that a copy takes; dimension 0 has none (cuTensorMapEncodeTiled)."""
    steps = np.int64(load_u32(tensor, BOX0_WORD)) >> 3 * dimension
    return (steps & 7) + 1 if dimension else np.int64(1)


@njit
def box_shape(tensor, gather):
    """Bytes of a row of the box of a tensor map, and how many of them it has in dimensions 1, 2, ..., int64[5]."""
    shape, boxes = np.ones(MAX_RANK, np.int64), np.int64(load_u32(tensor, BOX_WORD))
    shape[0] = (np.int64(load_u32(tensor, BOX0_WORD) >> np.uint32(24)) + 1) * _ELEMENT_BYTES[_element(tensor)]
    rank = np.int64(load_u32(tensor, FLAGS_WORD) >> np.uint32(RANK_SHIFT)) & 7
    for i in range(1, rank + 1):
        step = _element_stride(tensor, i)
        shape[i] = ((boxes >> 8 * (i - 1) & 0xFF) + step) // step
    if gather:
        shape[1:] = 1
        shape[1] = GATHERED_ROWS
    return shape


@njit
def box_bytes(tensor, gather):
    """Bytes of a box in shared memory; a swizzle moves bytes only among these."""
    size = np.int64(1)
    for length in box_shape(tensor, gather):
        size *= length
    return size


@njit
def _tensor_row(ctx, row, op, tensor, kind, at, index, smem, host):
    """Copy one box row (dimension 0) whose coordinates are `at`; False after a fault."""
    flags = load_u32(tensor, FLAGS_WORD)
    element = _element(tensor)
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
        shared = host - smem + swizzled(smem + index * inner + chunk, swizzle)
        first, last = max(low - chunk, 0), min(high - chunk, 16)
        if op == Op.TENSOR_LOAD and (not inside or first > 0 or last < 16):
            _fill(shared, element, nan)
        if inside and not _move_chunk(ctx, row, op, element, kind, shared, remote + chunk, first, last):
            return False
    return True


@njit
def _box(ctx, row, op, tensor, operands, kind, rank, gather, smem):
    """Copy a box to or from the shared memory at `smem`; its bytes, or -1 after a fault."""
    first = 2 if op == Op.TENSOR_LOAD else 1  # coordinates follow the shared address, and a load's barrier
    start, at, shape = np.zeros(MAX_RANK, np.int64), np.zeros(MAX_RANK, np.int64), box_shape(tensor, gather)
    for i in range(rank):
        start[i] = np.int64(np.int32(load_u32(operands + 128 * (first + i), 0)))
    rows = shape[1] * shape[2] * shape[3] * shape[4]
    host = shared_at(ctx, row, 0, smem, rows * shape[0], SHARED_ALIGNMENT)
    if host == 0:
        return np.int64(-1)
    for index in range(rows):
        at[:] = start
        rest = index
        for i in range(1, MAX_RANK):
            at[i] += rest % shape[i] * _element_stride(tensor, i)
            rest //= shape[i]
        if gather:
            at[1] = np.int64(np.int32(load_u32(operands + 128 * (first + 1 + index), 0)))
        if not _tensor_row(ctx, row, op, tensor, kind, at, index, smem, host):
            return np.int64(-1)
    return np.int64(rows * shape[0])


@njit
def record_bytes(into, shared, base, size):
    """Leave a copy of contiguous bytes in a trace's address row, as a box of one dimension."""
    for word in range(CopyWord.COUNT):
        store_i64(into, word, np.int64(-1))
    store_i64(into, CopyWord.SHARED, shared)
    store_i64(into, CopyWord.BYTES, size)
    store_i64(into, CopyWord.BASE, base)
    store_i64(into, CopyWord.ROWS, np.int64(0))
    for i in range(MAX_RANK):
        store_i64(into, CopyWord.START + i, np.int64(0))
        store_i64(into, CopyWord.BOX + i, size if i == 0 else np.int64(1))
        store_i64(into, CopyWord.SIZE + i, size if i == 0 else np.int64(1))
        store_i64(into, CopyWord.STRIDE + i, np.int64(1))
        store_i64(into, CopyWord.STEP + i, np.int64(1))


@njit
def _record_box(into, tensor, operands, first, rank, rows):
    """Leave a tensor copy in a trace's address row."""
    element, shape = _ELEMENT_BYTES[_element(tensor)], box_shape(tensor, rows)
    record_bytes(into, np.int64(load_u32(operands, 0)), np.int64(load_u64(tensor, 0)), box_bytes(tensor, rows))
    high = load_u32(tensor, STRIDE_HIGH_WORD)
    store_i64(into, CopyWord.ROWS, np.int64(rows))
    for i in range(5 if rows else rank):
        store_i64(into, CopyWord.START + i, np.int64(np.int32(load_u32(operands + 128 * (first + i), 0))))
    for i in range(rank):
        stride = element
        if i > 0:
            top = np.int64(high >> np.uint32(4 * (i - 1))) & 15
            stride = (np.int64(load_u32(tensor, STRIDE_WORD + i - 1)) | top << 32) << 4
        store_i64(into, CopyWord.BOX + i, shape[i] if i else shape[0] // element)
        store_i64(into, CopyWord.STEP + i, _element_stride(tensor, i))
        store_i64(into, CopyWord.SIZE + i, np.int64(load_u32(tensor, SIZE_WORD + i)) + 1)
        store_i64(into, CopyWord.STRIDE + i, stride)


@njit
def tensor_copy(ctx, u, frame, consts, row, op, into):
    """UTMALDG, UTMASTG, UTMAREDG; M0 rank, M1 reduction, M2 gather, M3 whether C names the receiving blocks."""
    operands, tensor_address = source(u, A, frame, consts), word64(source(u, B, frame, consts))
    rank, kind = field(u, M0), field(u, M1)
    tensor = global_at(ctx, row, tensor_address, 128)
    if tensor == 0:
        return FAILED
    reason = refusal(tensor, rank, kind if op == Op.TENSOR_REDUCE else NO_REDUCTION)
    if reason:
        report_fault(ctx, Fault.DESCRIPTOR, row, 0, tensor_address, reason, GLOBAL_SPACE)
        return FAILED
    smem, barrier = np.int64(load_u32(operands, 0)), np.int64(load_u32(operands + 128, 0))
    blocks = np.int64(load_u32(source(u, C, frame, consts), 0) >> np.uint32(16)) if field(u, M3) else np.int64(-1)
    _record_box(into, tensor, operands, 2 if op == Op.TENSOR_LOAD else 1, rank, field(u, M2))
    if op == Op.TENSOR_LOAD:
        store_i64(into, CopyWord.BARRIER, barrier)
        store_i64(into, CopyWord.RECEIVERS, blocks)
    for turn in range(16):
        here = receiver(ctx, smem, blocks, turn)
        if here < 0:
            continue
        size = _box(ctx, row, op, tensor, operands, kind, rank, field(u, M2), here)
        if size < 0:
            return FAILED
        if op == Op.TENSOR_LOAD and not complete(ctx, row, 0, receiver(ctx, barrier, blocks, turn), size):
            return FAILED
    if op != Op.TENSOR_LOAD:
        put(ctx, Context.CHANGED, get(ctx, Context.CHANGED) + 1)
    return DONE
