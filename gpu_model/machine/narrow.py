"""QMMA and OMMA: warp matrix products of 8-bit and narrower floats, plain and block-scaled.

A block scale is one byte of a scale register. The quad of lanes 4g..4g+3 holds the scales of rows g and g + 8
of A and of column g of B; the selector says which lanes and bytes of a quad (PTX ISA, mma block scaling).
"""

import numpy as np
from numba import carray, njit  # pyright: ignore[reportPrivateImportUsage]

from gpu_model.machine.capture import (
    AFTER,
    BEFORE,
    E8M0_SCALES,
    SCALES_A,
    SCALES_B,
    UE4M3_SCALES,
    keep_fragments,
    keep_scales,
    keep_sums,
    new_record,
)
from gpu_model.machine.context import Context, get
from gpu_model.machine.fragments import E2M1_DOUBLED, KINDS, load_a, load_b, part
from gpu_model.machine.integer import blend
from gpu_model.machine.lanes import as_pointer, load_u32
from gpu_model.machine.microop import M0, M1, M2, M3, TARGET, A, B, C, D, Op, field, source
from gpu_model.machine.tensor import load_accumulator, scratch, store_accumulator
from hw.block_scaled import GROUPS, add_scales, mma_block_scaled, scale_table
from hw.tensor_core import COLUMNS, ROWS, mma_e8m13, mma_f16, mma_f32
from mx_formats.element import E2M1

# M1, from bit 24 on
HALF, NARROW_SUM, SCALED, UNSIGNED_E4M3, FOUR_SCALES = (1 << bit for bit in range(24, 29))
_POWERS, _POWER_EXPONENTS = scale_table(False)
_UE4M3, _UE4M3_EXPONENTS = scale_table(True)
_OMMA_DEPTH = 64
_E2M1 = KINDS.index(E2M1)


@njit
def _scale(code, unsigned_e4m3):
    if unsigned_e4m3:
        return _UE4M3[code], _UE4M3_EXPONENTS[code]
    return _POWERS[code], _POWER_EXPONENTS[code]


@njit
def _scale_code(u, frame, consts, column, line, block):
    """The scale byte of a row of A (column M2) or a column of B (M3)."""
    selector = load_u32(source(u, TARGET, frame, consts), 0)
    if column == M2:
        byte, lane = selector & np.uint32(3), 2 * ((selector >> np.uint32(2)) & np.uint32(1)) + (line >> 3)
    else:
        byte, lane = (selector >> np.uint32(3)) & np.uint32(3), (selector >> np.uint32(5)) & np.uint32(3)
    word = load_u32(source(u, column, frame, consts), 4 * (line & 7) + np.int64(lane))
    return part(word, np.int64(byte) + block, 8)


@njit
def _scale_lines(u, frame, consts, column, lines, exponents, depth):
    """Add one E8M0 scale to each row of A or column of B."""
    scales = np.empty(lines, np.int32)
    for line in range(lines):
        scales[line] = _scale(_scale_code(u, frame, consts, column, line, 0), False)[1]
    add_scales(exponents, scales, 0, depth)


@njit
def _capture(ctx, u, frame, consts, acc, kinds, bits, depth, scale_kind, scales):
    """A record with operands, `scales` scales a line and the accumulator before; 0 where there is no room."""
    record = new_record(ctx, kinds & 15, kinds >> 4, bits, depth, 0)
    if record:
        keep_fragments(record, source(u, A, frame, consts), source(u, B, frame, consts), depth, bits)
        keep_sums(record, BEFORE, acc)
        for column, lines, place in ((M2, ROWS, SCALES_A), (M3, COLUMNS, SCALES_B)):
            for line in range(lines if scales else 0):
                word = np.uint32(0)
                for block in range(scales):
                    word |= _scale_code(u, frame, consts, column, line, block) << np.uint32(8 * block)
                keep_scales(record, place, scale_kind, scales, line, word)
    return record


@njit
def _qmma(ctx, u, frame, consts, t):
    sig_a, exp_a, sig_b, exp_b, acc, top, total = scratch(get(ctx, Context.TENSOR))
    packed, flags = field(u, M0), field(u, M1)
    kind_a, kind_b, depth = packed & 15, (packed >> 4) & 15, packed >> 8
    fraction, step, left = np.int32(flags & 0xFF), (flags >> 8) & 0xFF, np.int32((flags >> 16) & 0xFF)
    load_a(source(u, A, frame, consts), depth, kind_a, 8, sig_a, exp_a)
    load_b(source(u, B, frame, consts), depth, kind_b, 8, sig_b, exp_b)
    if flags & SCALED:
        _scale_lines(u, frame, consts, M2, ROWS, exp_a, depth)
        _scale_lines(u, frame, consts, M3, COLUMNS, exp_b, depth)
    load_accumulator(source(u, C, frame, consts), acc, flags & HALF)
    record = np.int64(0)
    if not flags & HALF:
        record = _capture(ctx, u, frame, consts, acc, packed & 255, 8, depth, E8M0_SCALES, 1 if flags & SCALED else 0)
    for k in range(0, depth, step):
        if flags & HALF:
            mma_f16(sig_a, exp_a, sig_b, exp_b, acc, k, k + step, left, fraction, top, total)
        elif flags & NARROW_SUM:
            mma_e8m13(sig_a, exp_a, sig_b, exp_b, acc, k, k + step, left, fraction, top, total)
        else:
            mma_f32(sig_a, exp_a, sig_b, exp_b, acc, k, k + step, left, fraction, top, total)
    store_accumulator(t, acc, flags & HALF)
    if record:
        keep_sums(record, AFTER, acc)


@njit
def _nibbles(registers, count, lines, out):
    """E2M1 fragments as integers (value times 2): count registers of A (16 lines) or B (8 lines)."""
    for lane in range(32):
        for register in range(count):
            word = load_u32(registers + 128 * register, lane)
            line, half = lane >> 2, register
            if lines == ROWS:
                line, half = line + 8 * (register & 1), register >> 1
            for i in range(8):
                out[8 * (lane & 3) + 32 * half + i, line] = E2M1_DOUBLED[part(word, i, 4)]


@njit
def _group_scales(u, frame, consts, column, lines, significands, exponents):
    flags = field(u, M1)
    for group in range(GROUPS):
        block = group if flags & FOUR_SCALES else group >> 1
        for line in range(lines):
            code = _scale_code(u, frame, consts, column, line, block)
            significands[group, line], exponents[group, line] = _scale(code, flags & UNSIGNED_E4M3)


@njit
def _omma(ctx, u, frame, consts, t):
    acc = scratch(get(ctx, Context.TENSOR))[4]
    base = get(ctx, Context.TENSOR)
    a = carray(as_pointer(base), (_OMMA_DEPTH, ROWS), np.int32)
    b = carray(as_pointer(base + 4 * _OMMA_DEPTH * ROWS), (_OMMA_DEPTH, COLUMNS), np.int32)
    _nibbles(source(u, A, frame, consts), 4, ROWS, a)
    _nibbles(source(u, B, frame, consts), 2, COLUMNS, b)
    a_sig, a_exp = np.empty((GROUPS, ROWS), np.int32), np.empty((GROUPS, ROWS), np.int32)
    b_sig, b_exp = np.empty((GROUPS, COLUMNS), np.int32), np.empty((GROUPS, COLUMNS), np.int32)
    _group_scales(u, frame, consts, M2, ROWS, a_sig, a_exp)
    _group_scales(u, frame, consts, M3, COLUMNS, b_sig, b_exp)
    load_accumulator(source(u, C, frame, consts), acc, 0)
    flags = field(u, M1)
    scale_kind = UE4M3_SCALES if flags & UNSIGNED_E4M3 else E8M0_SCALES
    scales = GROUPS if flags & FOUR_SCALES else 2
    record = _capture(ctx, u, frame, consts, acc, _E2M1 | _E2M1 << 4, 4, _OMMA_DEPTH, scale_kind, scales)
    mma_block_scaled(a, b, a_sig, a_exp, b_sig, b_exp, acc)
    store_accumulator(t, acc, 0)
    if record:
        keep_sums(record, AFTER, acc)


@njit
def narrow_step(op, ctx, u, frame, consts, t, mask):
    """Execute one QMMA or OMMA; the whole warp takes part."""
    if op == Op.OMMA:
        _omma(ctx, u, frame, consts, t)
    else:
        _qmma(ctx, u, frame, consts, t)
    for register in range(2 if field(u, M1) & HALF else 4):
        blend(frame + field(u, D) + 128 * register, t + 128 * register, mask)
