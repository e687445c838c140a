"""Tensor-core micro-ops: register fragments to matrices, sums by `hw.tensor_core`, and back.

Fragment layouts are those of the PTX ISA's mma.sync: lane 4g + t holds rows g and g + 8 of A and the
accumulator, and column g of B.
"""

import numpy as np
from numba import carray, njit  # pyright: ignore[reportPrivateImportUsage]

from gpu_model.machine.capture import AFTER, BEFORE, keep_fragments, keep_rows, new_record
from gpu_model.machine.context import Context, get
from gpu_model.machine.integer import blend
from gpu_model.machine.lanes import as_f64, as_pointer, as_u64, fma_f64, load_u32, store_u32
from gpu_model.machine.microop import M0, M1, M2, M3, A, B, C, D, Op, field, source
from hw.tensor_core import COLUMNS, ROWS, mma_f16, mma_f32, split_bf16, split_f16, split_tf32

F16, BF16, TF32 = 0, 1, 2


@njit
def _split(bits, kind):
    if kind == F16:
        return split_f16(bits)
    return split_bf16(bits)


@njit
def _load_halves(a, b, depth, kind, a_sig, a_exp, b_sig, b_exp):
    """Fragments of 16-bit operands: A is 16 x depth in depth/4 registers, B is depth x 8 in depth/8."""
    for lane in range(32):
        group, thread = lane >> 2, lane & 3
        for register in range(depth >> 2):
            word = load_u32(a + 128 * register, lane)
            row, k = group + 8 * (register & 1), 2 * thread + 8 * (register >> 1)
            a_sig[k, row], a_exp[k, row] = _split(word & 0xFFFF, kind)
            a_sig[k + 1, row], a_exp[k + 1, row] = _split(word >> np.uint32(16), kind)
        for register in range(depth >> 3):
            word = load_u32(b + 128 * register, lane)
            k = 2 * thread + 8 * register
            b_sig[k, group], b_exp[k, group] = _split(word & 0xFFFF, kind)
            b_sig[k + 1, group], b_exp[k + 1, group] = _split(word >> np.uint32(16), kind)


@njit
def _load_words(a, b, depth, a_sig, a_exp, b_sig, b_exp):
    """Fragments of 32-bit operands (TF32): depth 4 or 8."""
    for lane in range(32):
        group, thread = lane >> 2, lane & 3
        for register in range(depth >> 1):
            row, k = group + 8 * (register & 1), thread + 4 * (register >> 1)
            a_sig[k, row], a_exp[k, row] = split_tf32(load_u32(a + 128 * register, lane))
        for register in range(depth >> 2):
            k = thread + 4 * register
            b_sig[k, group], b_exp[k, group] = split_tf32(load_u32(b + 128 * register, lane))


@njit
def load_accumulator(c, acc, half):
    """Registers to acc[column, row]: FP32 or integer words, or pairs of halves."""
    for lane in range(32):
        group, column = lane >> 2, 2 * (lane & 3)
        if half:
            for register in range(2):
                word = load_u32(c + 128 * register, lane)
                acc[column, group + 8 * register] = word & np.uint32(0xFFFF)
                acc[column + 1, group + 8 * register] = word >> np.uint32(16)
        else:
            for register in range(4):
                acc[column + (register & 1), group + 8 * (register >> 1)] = load_u32(c + 128 * register, lane)


@njit
def store_accumulator(t, acc, half):
    """acc[column, row] to registers at `t`."""
    for lane in range(32):
        group, column = lane >> 2, 2 * (lane & 3)
        if half:
            for register in range(2):
                row = group + 8 * register
                store_u32(t + 128 * register, lane, np.uint32(acc[column, row] | acc[column + 1, row] << np.uint32(16)))
        else:
            for register in range(4):
                value = acc[column + (register & 1), group + 8 * (register >> 1)]
                store_u32(t + 128 * register, lane, np.uint32(value))


@njit
def _byte(word, index, signed):
    value = np.int64((word >> np.uint32(8 * index)) & np.uint32(0xFF))
    return value - 256 if signed and value > 127 else value


@njit
def _imma(t, a, b, c, depth, signed_a, signed_b, saturate, left, right):
    """Exact integer products: A 16 x depth bytes, B depth x 8 bytes, 32-bit accumulators, wrapping unless .SAT."""
    for lane in range(32):
        group, thread = lane >> 2, lane & 3
        for register in range(depth >> 3):
            word = load_u32(a + 128 * register, lane)
            row, k = group + 8 * (register & 1), 4 * thread + 16 * (register >> 1)
            for i in range(4):
                left[k + i, row] = _byte(word, i, signed_a)
        for register in range(depth >> 4):
            word = load_u32(b + 128 * register, lane)
            for i in range(4):
                right[4 * thread + 16 * register + i, group] = _byte(word, i, signed_b)
    for lane in range(32):
        group, column = lane >> 2, 2 * (lane & 3)
        for register in range(4):
            row, n = group + 8 * (register >> 1), column + (register & 1)
            total = np.int64(np.int32(load_u32(c + 128 * register, lane)))
            for k in range(depth):
                total += np.int64(left[k, row]) * np.int64(right[k, n])
            if saturate:
                total = min(max(total, -(1 << 31)), (1 << 31) - 1)
            store_u32(t + 128 * register, lane, np.uint32(total))


@njit
def _packed_product(x, y, bits, how):
    """Sum of the products of two words' elements; single bits by AND (0) or XOR (1)."""
    total = np.int64(0)
    if bits == 1:
        both = x ^ y if how else x & y
        for bit in range(32):
            total += np.int64((both >> np.uint32(bit)) & np.uint32(1))
        return total
    low = (np.int64(1) << bits) - 1
    for first in range(0, 32, bits):
        p, q = np.int64(x >> np.uint32(first)) & low, np.int64(y >> np.uint32(first)) & low
        p = p - low - 1 if how & 1 and p >> (bits - 1) else p
        q = q - low - 1 if how & 2 and q >> (bits - 1) else q
        total += p * q
    return total


@njit
def _imma_packed(t, a, b, c, words, bits, how, saturate, rows):
    """Integer products of packed words: lane 4g + i holds word i of rows g and g + 8 of A, and of column g of B."""
    for lane in range(32):
        for register in range(rows >> 2):
            row, column = (lane >> 2) + 8 * (register >> 1), 2 * (lane & 3) + (register & 1)
            total = np.int64(np.int32(load_u32(c + 128 * register, lane)))
            for part in range(words):
                from_a = a + 128 * ((row >> 3) + (rows >> 3) * part)
                for i in range(4):
                    x, y = load_u32(from_a, 4 * (row & 7) + i), load_u32(b + 128 * part, 4 * column + i)
                    total += _packed_product(x, y, bits, how)
            if saturate:
                total = min(max(total, -(1 << 31)), (1 << 31) - 1)
            store_u32(t + 128 * register, lane, np.uint32(total & 0xFFFFFFFF))


@njit
def _double(row, lane):
    return as_f64(np.uint64(load_u32(row, lane)) | np.uint64(load_u32(row + 128, lane)) << np.uint64(32))


@njit
def _dmma(t, a, b, c, depth, rows):
    """Double products: lane 4g + i holds element i of every four of rows g and g + 8 of A and of column g of B."""
    for lane in range(32):
        for register in range(rows >> 2):
            row, column = (lane >> 2) + 8 * (register >> 1), 2 * (lane & 3) + (register & 1)
            total = _double(c + 256 * register, lane)
            for k in range(depth):
                from_a = a + 256 * ((row >> 3) + (rows >> 3) * (k >> 2))
                x, y = _double(from_a, 4 * (row & 7) + (k & 3)), _double(b + 256 * (k >> 2), 4 * column + (k & 3))
                total = fma_f64(x, y, total)
            bits = np.uint64(0x7FFFFFFFFFFFFFFF) if total != total else as_u64(total)
            store_u32(t + 256 * register, lane, np.uint32(bits & np.uint64(0xFFFFFFFF)))
            store_u32(t + 256 * register + 128, lane, np.uint32(bits >> np.uint64(32)))


@njit
def _capture(ctx, a, b, c, t, kind, depth):
    """Keep operands and accumulators of an HMMA, while there is room."""
    bits = 32 if kind == TF32 else 16
    record = new_record(ctx, kind, kind, bits, depth, 0)
    if record:
        keep_fragments(record, a, b, depth, bits)
        keep_rows(record, BEFORE, c, 4)
        keep_rows(record, AFTER, t, 4)


# Scratch matrices, one after the other: A and B as significands and exponents, accumulator, and the sum's own.
_DEPTH = 32
_A, _B, _TILE = 4 * _DEPTH * ROWS, 4 * _DEPTH * COLUMNS, 4 * ROWS * COLUMNS
SCRATCH_BYTES = 2 * _A + 2 * _B + 4 * _TILE


@njit
def scratch(base):
    """The matrices at a scratch address: A's and B's significands and exponents, accumulator, and the sum's own."""
    a_sig = carray(as_pointer(base), (_DEPTH, ROWS), np.int32)
    a_exp = carray(as_pointer(base + _A), (_DEPTH, ROWS), np.int32)
    b_sig = carray(as_pointer(base + 2 * _A), (_DEPTH, COLUMNS), np.int32)
    b_exp = carray(as_pointer(base + 2 * _A + _B), (_DEPTH, COLUMNS), np.int32)
    rest = base + 2 * _A + 2 * _B
    acc = carray(as_pointer(rest), (COLUMNS, ROWS), np.uint32)
    top = carray(as_pointer(rest + _TILE), (COLUMNS, ROWS), np.int32)
    total = carray(as_pointer(rest + 2 * _TILE), (COLUMNS, ROWS), np.int64)
    return a_sig, a_exp, b_sig, b_exp, acc, top, total


@njit
def tensor_step(op, ctx, u, frame, consts, t, mask):
    """Execute one tensor-core micro-op; the whole warp takes part."""
    a_sig, a_exp, b_sig, b_exp, acc, top, total = scratch(get(ctx, Context.TENSOR))
    a, b, c = source(u, A, frame, consts), source(u, B, frame, consts), source(u, C, frame, consts)
    depth, half = field(u, M0), field(u, M2)
    if op in (Op.IMMA_PACKED, Op.DMMA):
        rows = field(u, M3)
        if op == Op.DMMA:
            _dmma(t, a, b, c, depth, rows)
        else:
            _imma_packed(t, a, b, c, depth, field(u, M1) & 0xFF, field(u, M1) >> 8, half, rows)
        for register in range(rows >> 1 if op == Op.DMMA else rows >> 2):
            blend(frame + field(u, D) + 128 * register, t + 128 * register, mask)
        return
    if op == Op.IMMA:
        _imma(t, a, b, c, depth, field(u, M1) & 1, field(u, M1) & 2, half, a_sig, b_sig)
        half = 0
    else:
        kind, fraction = field(u, M1) & 3, np.int32(field(u, M3) >> 8)
        if kind == TF32:
            _load_words(a, b, depth, a_sig, a_exp, b_sig, b_exp)
        else:
            _load_halves(a, b, depth, kind, a_sig, a_exp, b_sig, b_exp)
        load_accumulator(c, acc, half)
        # Twice the mantissa bits of an element are the fraction bits of a product.
        left = np.int32(fraction - (14 if kind == BF16 else 20))
        step = field(u, M3) & 0xFF
        for k in range(0, depth, step):
            if half:
                mma_f16(a_sig, a_exp, b_sig, b_exp, acc, k, k + step, left, fraction, top, total)
            else:
                mma_f32(a_sig, a_exp, b_sig, b_exp, acc, k, k + step, left, fraction, top, total)
        store_accumulator(t, acc, half)
        if not half:
            _capture(ctx, a, b, c, t, kind, depth)
    for register in range(2 if half else 4):
        blend(frame + field(u, D) + 128 * register, t + 128 * register, mask)
