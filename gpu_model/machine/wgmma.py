"""Warpgroup matrix products (HGMMA, QGMMA, IGMMA): B, and A or registers, from shared memory.

Each of the four warps computes its 16 of the 64 rows when it issues the instruction. The hardware reads later,
at any time before the wait that orders it, so that a correct program cannot tell.
"""

import numpy as np
from numba import carray, njit  # pyright: ignore[reportPrivateImportUsage]

from gpu_model.machine.capture import (
    A_ROWS,
    AFTER,
    B_ROWS,
    BEFORE,
    flip_signs,
    keep_matrix,
    keep_rows,
    keep_sums,
    new_record,
)
from gpu_model.machine.context import (
    CLUSTER_RANK_SHIFT,
    RANK,
    SHARED,
    SHARED_END,
    SHARED_SPACE,
    WARP,
    Context,
    Fault,
    get,
    report_fault,
)
from gpu_model.machine.fragments import load_a, load_bits, load_matrix, matrix_address, matrix_end, negate, part
from gpu_model.machine.integer import blend, predicate
from gpu_model.machine.lanes import as_pointer, load_u32
from gpu_model.machine.microop import M0, M1, M2, M3, PS0, A, B, C, D, Op, field, source
from gpu_model.machine.tensor import load_accumulator, scratch, store_accumulator
from gpu_model.machine.tensor_rules import BASE_OFFSET
from hw.tensor_core import COLUMNS, ROWS, mma_e8m13, mma_f16, mma_f32, mma_s32

# M2: where A is, orientations, signs, and the accumulator.
A_REGISTERS, TRANSPOSE_A, TRANSPOSE_B, NEGATE_A, NEGATE_B, HALF, NARROW_SUM, ZERO, SATURATE, SIGNED_A, SIGNED_B = (
    1 << bit for bit in range(11)
)
_WARPGROUP = 4  # warps


@njit
def _descriptor(row):
    low, high = np.int64(load_u32(row, 0)), np.int64(load_u32(row + 128, 0))
    return low | high << 32


@njit
def _shared_start(ctx):
    """Host address of the block's own shared memory; descriptors hold offsets in it."""
    return get(ctx, SHARED) + (get(ctx, RANK) << CLUSTER_RANK_SHIFT)


@njit
def _inside(ctx, row, descriptor, lines, depth, size, transposed):
    """Whether a matrix lies in shared memory and its descriptor is one we know; reports the fault."""
    if descriptor >> 49 & 7:
        report_fault(ctx, Fault.DESCRIPTOR, row, 0, (descriptor & 0x3FFF) << 4, BASE_OFFSET, SHARED_SPACE)
        return False
    end = matrix_end(descriptor, lines, depth, size, transposed)
    if end <= get(ctx, SHARED_END) - (get(ctx, RANK) << CLUSTER_RANK_SHIFT):
        return True
    report_fault(ctx, Fault.OUT_OF_BOUNDS, row, 0, (descriptor & 0x3FFF) << 4, end, SHARED_SPACE)
    return False


@njit
def _matrices(ctx, u, frame, consts, row, columns, depth, bits):
    """Check both descriptors; returns (fine, A's, B's)."""
    registers, flags = source(u, B, frame, consts), field(u, M2)
    a, b = _descriptor(registers), _descriptor(registers + 256)
    fine = _inside(ctx, row, b, columns, depth, bits >> 3, flags & TRANSPOSE_B)
    if fine and not flags & A_REGISTERS:
        fine = _inside(ctx, row, a, ROWS * _WARPGROUP, depth, bits >> 3, flags & TRANSPOSE_A)
    return fine, a, b


@njit
def _accumulator(u, frame, consts, tile, flags, acc):
    """The accumulator of 8 columns; zero where the instruction does not accumulate."""
    if flags & ZERO or not predicate(u, PS0, frame) & np.uint32(1):
        acc[:] = np.uint32(0)
    else:
        registers = 2 if flags & HALF else 4
        load_accumulator(source(u, C, frame, consts) + 128 * registers * tile, acc, flags & HALF)


@njit
def _write(u, frame, t, tile, flags, acc, mask):
    registers = 2 if flags & HALF else 4
    store_accumulator(t, acc, flags & HALF)
    for register in range(registers):
        blend(frame + field(u, D) + 128 * (registers * tile + register), t + 128 * register, mask)


@njit
def _steps(sig_a, exp_a, sig_b, exp_b, acc, flags, shape, top, total):
    """The fused steps of one tile, in order of k."""
    depth, step, fraction, left = shape
    for k in range(0, depth, step):
        if flags & HALF:
            mma_f16(sig_a, exp_a, sig_b, exp_b, acc, k, k + step, left, fraction, top, total)
        elif flags & NARROW_SUM:
            mma_e8m13(sig_a, exp_a, sig_b, exp_b, acc, k, k + step, left, fraction, top, total)
        else:
            mma_f32(sig_a, exp_a, sig_b, exp_b, acc, k, k + step, left, fraction, top, total)


@njit
def _capture(ctx, u, frame, consts, descriptors, shape, tile, acc):
    """A record of one tile with its operands and the accumulator before; 0 where there is no room, or for FP16 sums."""
    flags, kinds, bits = field(u, M2), field(u, M1), field(u, M1) >> 8
    record = np.int64(0) if flags & HALF else new_record(ctx, kinds & 15, (kinds >> 4) & 15, bits, shape[0], tile)
    if record:
        a, b, shared, first = descriptors
        if flags & A_REGISTERS:
            keep_rows(record, A_ROWS, source(u, A, frame, consts), 4)
        else:
            keep_matrix(record, A_ROWS, shared, a, first, ROWS, bits, flags & TRANSPOSE_A)
        keep_matrix(record, B_ROWS, shared, b, COLUMNS * tile, COLUMNS, bits, flags & TRANSPOSE_B)
        if bool(flags & NEGATE_A) != bool(flags & NEGATE_B):
            flip_signs(record, bits)
        keep_sums(record, BEFORE, acc)
    return record


@njit
def _wgmma(ctx, u, frame, consts, t, row, mask):
    sig_a, exp_a, sig_b, exp_b, acc, top, total = scratch(get(ctx, Context.TENSOR))
    columns, flags, packed = field(u, M0), field(u, M2), field(u, M3)
    kind_a, kind_b, bits = field(u, M1) & 15, (field(u, M1) >> 4) & 15, field(u, M1) >> 8
    depth = 256 // bits
    shape = (depth, packed & 0xFF, np.int32((packed >> 8) & 0xFF), np.int32(packed >> 16))
    fine, a, b = _matrices(ctx, u, frame, consts, row, columns, depth, bits)
    if not fine:
        return 0
    shared, first = _shared_start(ctx), ROWS * (get(ctx, WARP) % _WARPGROUP)
    if flags & A_REGISTERS:
        load_a(source(u, A, frame, consts), depth, kind_a, bits, sig_a, exp_a)
    else:
        load_matrix(shared, a, first, ROWS, depth, kind_a, bits, flags & TRANSPOSE_A, sig_a, exp_a)
    if bool(flags & NEGATE_A) != bool(flags & NEGATE_B):
        negate(sig_a, ROWS, depth)
    for tile in range(columns // COLUMNS):
        load_matrix(shared, b, COLUMNS * tile, COLUMNS, depth, kind_b, bits, flags & TRANSPOSE_B, sig_b, exp_b)
        _accumulator(u, frame, consts, tile, flags, acc)
        record = _capture(ctx, u, frame, consts, (a, b, shared, first), shape, tile, acc)
        _steps(sig_a, exp_a, sig_b, exp_b, acc, flags, shape, top, total)
        if record:
            keep_sums(record, AFTER, acc)
        _write(u, frame, t, tile, flags, acc, mask)
    return 1


@njit
def _signed(bits, signed):
    return np.int32(bits) - np.int32(256) if signed and bits > 127 else np.int32(bits)


@njit
def _load_bytes(shared, descriptor, first, lines, signed, out):
    for line in range(lines):
        for k in range(32):
            out[k, line] = _signed(load_bits(shared + matrix_address(descriptor, first + line, k, 1, 0), 1), signed)


@njit
def _load_byte_registers(a, signed, out):
    for lane in range(32):
        for register in range(4):
            word = load_u32(a + 128 * register, lane)
            for i in range(4):
                k, line = 4 * (lane & 3) + 16 * (register >> 1) + i, (lane >> 2) + 8 * (register & 1)
                out[k, line] = _signed(part(word, i, 8), signed)


@njit
def _wgmma_integer(ctx, u, frame, consts, t, row, mask):
    """IGMMA: 8-bit integers, exact; the sum wraps or saturates."""
    sig_a, _, sig_b, _, acc, _, _ = scratch(get(ctx, Context.TENSOR))
    columns, flags = field(u, M0), field(u, M2)
    fine, a, b = _matrices(ctx, u, frame, consts, row, columns, 32, 8)
    if not fine:
        return 0
    shared = _shared_start(ctx)
    if flags & A_REGISTERS:
        _load_byte_registers(source(u, A, frame, consts), flags & SIGNED_A, sig_a)
    else:
        _load_bytes(shared, a, ROWS * (get(ctx, WARP) % _WARPGROUP), ROWS, flags & SIGNED_A, sig_a)
    integers = carray(as_pointer(acc.ctypes.data), (COLUMNS, ROWS), np.int32)
    for tile in range(columns // COLUMNS):
        _load_bytes(shared, b, COLUMNS * tile, COLUMNS, flags & SIGNED_B, sig_b)
        _accumulator(u, frame, consts, tile, flags, acc)
        mma_s32(sig_a, sig_b, integers, 0, 32, flags & SATURATE)
        _write(u, frame, t, tile, flags, acc, mask)
    return 1


@njit
def wgmma_step(op, ctx, u, frame, consts, t, row, mask):
    """Execute one warpgroup product for a warp's rows; 0 after a fault."""
    if op == Op.WGMMA_INTEGER:
        return _wgmma_integer(ctx, u, frame, consts, t, row, mask)
    return _wgmma(ctx, u, frame, consts, t, row, mask)
