"""Which shared bytes an asynchronous copy touches, and on which mbarrier it completes."""

import numpy as np
from numba import njit

from gpu_model.machine.bulk import TO_GLOBAL, TO_SHARED
from gpu_model.machine.lanes import load_u32
from gpu_model.machine.microop import M0, M2, A, B, C, Op, field, source
from gpu_model.machine.tensor_copy import global_at, word64
from gpu_model.tensormap import BOX0_WORD, BOX_WORD, ELEMENT_BYTES, FLAGS_WORD, MAX_RANK, TYPE_SHIFT

_ELEMENT_BYTES = np.array(ELEMENT_BYTES, np.int64)
_GATHERED_ROWS = 4


@njit
def _box_bytes(tensor, gathered):
    """Bytes of a tensor map's box in shared memory; a swizzle moves bytes only among these."""
    element = (load_u32(tensor, FLAGS_WORD) >> np.uint32(TYPE_SHIFT)) & np.uint32(15)
    size = (np.int64(load_u32(tensor, BOX0_WORD) >> np.uint32(24)) + 1) * _ELEMENT_BYTES[element]
    if gathered:
        return _GATHERED_ROWS * size
    for dimension in range(MAX_RANK - 1):
        size *= np.int64(load_u32(tensor, BOX_WORD) >> np.uint32(8 * dimension) & np.uint32(0xFF)) + 1
    return size


@njit
def copy_size(op, ctx, u, frame, consts, row):
    """Bytes of a block or tensor copy that was executed."""
    if op == Op.BLOCK_COPY:
        return np.int64(load_u32(source(u, C, frame, consts), 0) & np.uint32(0xFFFF)) << 4
    return _box_bytes(global_at(ctx, row, word64(source(u, B, frame, consts)), 128), field(u, M2))


@njit
def written_and_barrier(op, u, frame, consts):
    """Shared address that a copy writes and that of its mbarrier, -1 if it writes none."""
    if op != Op.TENSOR_LOAD and (op != Op.BLOCK_COPY or field(u, M0) == TO_GLOBAL):
        return np.int64(-1), np.int64(-1)
    operands = source(u, A, frame, consts)
    return np.int64(load_u32(operands, 0)), np.int64(load_u32(operands + 128, 0))


@njit
def read_address(op, u, frame, consts):
    """Shared address that a copy reads, -1 if it reads none."""
    if op == Op.TENSOR_LOAD:
        return np.int64(-1)
    if op != Op.BLOCK_COPY:
        return np.int64(load_u32(source(u, A, frame, consts), 0))
    from_global = field(u, M0) == TO_SHARED
    return np.int64(-1) if from_global else np.int64(load_u32(source(u, B, frame, consts), 0))
