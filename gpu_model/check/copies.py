"""Which shared bytes an asynchronous copy touches, and on which mbarrier it completes."""

import numpy as np
from numba import njit

from gpu_model.machine.bulk import TO_GLOBAL, TO_SHARED
from gpu_model.machine.lanes import load_u32
from gpu_model.machine.microop import M0, M2, A, B, C, Op, field, source
from gpu_model.machine.tensor_copy import box_bytes, global_at, word64


@njit
def copy_size(op, ctx, u, frame, consts, row):
    """Bytes of a block or tensor copy that was executed."""
    if op == Op.BLOCK_COPY:
        return np.int64(load_u32(source(u, C, frame, consts), 0) & np.uint32(0xFFFF)) << 4
    return box_bytes(global_at(ctx, row, word64(source(u, B, frame, consts)), 128), field(u, M2))


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
