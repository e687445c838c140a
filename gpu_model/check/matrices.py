"""What a warpgroup product reads of shared memory: 16-byte pieces of the matrices its descriptors name."""

import numpy as np
from numba import njit

from gpu_model.check.shadow import read_shared
from gpu_model.machine.fragments import matrix_address
from gpu_model.machine.lanes import load_u32
from gpu_model.machine.microop import M0, M1, M2, B, Op, field, source
from gpu_model.machine.wgmma import A_REGISTERS, TRANSPOSE_A, TRANSPOSE_B
from hw.tensor_core import ROWS

_READER = 1  # matrix products, see `gpu_model.check.shadow`
_WARPGROUP = 4  # warps
_PIECE = 16  # contiguous bytes of a matrix in any layout


@njit
def _read_matrix(chk, row, warp, lane, registers, first, lines, depth, size, transposed, epoch):
    descriptor = np.int64(load_u32(registers, 0)) | np.int64(load_u32(registers + 128, 0)) << 32
    per = _PIECE // size
    for line in range(first, first + lines, per if transposed else 1):
        for k in range(0, depth, 1 if transposed else per):
            address = matrix_address(descriptor, line, k, size, transposed)
            read_shared(chk, row, warp, lane, address, _PIECE, _READER, epoch)


@njit
def read_matrices(chk, op, u, frame, consts, row, warp, lane, epoch):
    """Look at the bytes of B, and of A unless it is in registers, that a warp's share of a product reads."""
    registers, flags = source(u, B, frame, consts), field(u, M2)
    size = 1 if op == Op.WGMMA_INTEGER else field(u, M1) >> 11
    depth = 32 // size
    _read_matrix(chk, row, warp, lane, registers + 256, 0, field(u, M0), depth, size, flags & TRANSPOSE_B, epoch)
    if not flags & A_REGISTERS:
        first = ROWS * (warp % _WARPGROUP)
        _read_matrix(chk, row, warp, lane, registers, first, ROWS, depth, size, flags & TRANSPOSE_A, epoch)
