"""Packed-half micro-ops (HADD2, HMUL2, HFMA2, comparisons, minimum) on float16 and bfloat16 pairs.

Each half is computed as the exact value rounded once. `M0` says which 16 bits of each source feed the two
results, `M1` the element type, `M2` the flags.
"""

import math

import numpy as np
from numba import njit

from gpu_model.machine.floating import (
    FTZ,
    RELU,
    SATURATE,
    combine,
    outcome_f32,
    saturate_f32,
    set_pair,
)
from gpu_model.machine.integer import blend, predicate, set_predicate
from gpu_model.machine.lanes import as_f32, as_u32, load_u32, store_u32
from gpu_model.machine.microop import (
    A_AND,
    A_XOR,
    B_AND,
    B_XOR,
    C_AND,
    C_XOR,
    M0,
    M1,
    M2,
    M3,
    PD0,
    PD1,
    PS0,
    A,
    B,
    C,
    D,
    Op,
    field,
    source,
)
from gpu_model.machine.rounding import (
    NEAREST,
    ZERO,
    f16_to_f32,
    f32_to_f16,
    is_nan_f32,
    odd_sum,
    round_to_format,
)

FLOAT16, BFLOAT16 = 0, 1
PAIR, LOW_LOW, HIGH_HIGH, SINGLE = 0, 1, 2, 3  # which halves a source gives: as stored, H0_H0, H1_H1, a float32


@njit
def widen(bits, kind):
    """A 16-bit pattern as a float32 value."""
    return f16_to_f32(bits) if kind == FLOAT16 else as_f32(np.uint32(bits << np.uint32(16)))


@njit
def pick(word, half, select):
    """The 16 bits of a source word that feed result `half`."""
    high = half == 1 if select == PAIR else select == HIGH_HIGH
    return np.uint32(word >> np.uint32(16)) if high else np.uint32(word & np.uint32(0xFFFF))


@njit
def flush(bits, kind, flags):
    """A subnormal 16-bit pattern as a zero of its sign, if the flags say .FTZ."""
    exponent = np.uint32(0x7C00) if kind == FLOAT16 else np.uint32(0x7F80)
    return np.uint32(bits & np.uint32(0x8000)) if flags & FTZ and bits & exponent == 0 else bits


@njit
def narrow(value, kind, mode=NEAREST):
    """Round an odd-rounded double to float16 or bfloat16."""
    if kind == FLOAT16:
        return np.uint32(round_to_format(value, 5, 10, mode))
    return np.uint32(round_to_format(value, 8, 7, mode))


@njit
def _limit(bits, kind, flags):
    """Apply .SAT, .RELU and .FTZ to a 16-bit result."""
    exponent = np.uint32(0x7C00) if kind == FLOAT16 else np.uint32(0x7F80)
    nan = bits & np.uint32(0x7FFF) > exponent
    bits = flush(bits, kind, flags)
    if flags & RELU and bits & np.uint32(0x8000) and not nan:
        bits = np.uint32(0)
    if flags & SATURATE:
        one = np.uint32(0x3C00) if kind == FLOAT16 else np.uint32(0x3F80)
        if nan or bits & np.uint32(0x8000):
            bits = np.uint32(0)
        elif bits > one:
            bits = one
    return bits


@njit
def _exact(op, x, y, z):
    """The exact result of one half, as an odd-rounded double (a sum's zero keeps IEEE's sign)."""
    if op == Op.HADD2:
        return odd_sum(x, y)
    if op == Op.HMUL2:
        return x * y
    return odd_sum(x * y, z)


@njit
def _arithmetic(op, t, a, b, c, aa, ax, ba, bx, ca, cx, selects, kind, flags):
    select_a, select_b, select_c = selects & 3, (selects >> 2) & 3, (selects >> 4) & 3
    if select_a == SINGLE:
        _truncate(t, a, b, aa, ax, ba, bx, select_b, kind, flags)
        return
    for lane in range(32):
        x, y = (load_u32(a, lane) & aa) ^ ax, (load_u32(b, lane) & ba) ^ bx
        z = (load_u32(c, lane) & ca) ^ cx
        result = np.uint32(0)
        for half in range(2):
            fx = np.float64(widen(flush(pick(np.uint32(x), half, select_a), kind, flags), kind))
            fy = np.float64(widen(flush(pick(np.uint32(y), half, select_b), kind, flags), kind))
            fz = np.float64(widen(flush(pick(np.uint32(z), half, select_c), kind, flags), kind))
            bits = _limit(narrow(_exact(op, fx, fy, fz), kind), kind, flags)
            result |= np.uint32(bits << np.uint32(16 * half))
        store_u32(t, lane, result)


@njit
def _truncate(t, a, b, aa, ax, ba, bx, select_b, kind, flags):
    """HADD2 with a float32 source: the sum in both halves, rounded toward zero, as cvt.rz compiles to it."""
    for lane in range(32):
        x, y = as_f32(np.uint32((load_u32(a, lane) & aa) ^ ax)), np.uint32((load_u32(b, lane) & ba) ^ bx)
        total = odd_sum(np.float64(x), np.float64(widen(pick(y, 0, select_b), kind)))
        bits = _limit(narrow(total, kind, ZERO), kind, flags)
        store_u32(t, lane, np.uint32(bits | bits << np.uint32(16)))


@njit
def _to_single(t, a, b, aa, ax, ba, bx, selects, kind, flags):
    """HADD2.F32: the sum of two halves as a float32; -0 + half is the usual half to float conversion."""
    for lane in range(32):
        x, y = np.uint32((load_u32(a, lane) & aa) ^ ax), np.uint32((load_u32(b, lane) & ba) ^ bx)
        fx = widen(pick(x, 0, selects & 3), kind)
        fy = widen(pick(y, 0, (selects >> 2) & 3), kind)
        bits = as_u32(np.float32(fx + fy))
        bits = np.uint32(0x7FFFFFFF) if is_nan_f32(bits) else bits
        store_u32(t, lane, saturate_f32(bits) if flags & SATURATE else bits)


@njit
def _fused_half(t, a, b, c, aa, ax, ba, bx, ca, cx, selects):
    """HFMA2 on float16 as float32 FMA: exact there unless the sum needs more than 24 bits, else redone."""
    for lane in range(32):
        x, y = np.uint32((load_u32(a, lane) & aa) ^ ax), np.uint32((load_u32(b, lane) & ba) ^ bx)
        z = np.uint32((load_u32(c, lane) & ca) ^ cx)
        result = np.uint32(0)
        for half in range(2):
            fx, fy = f16_to_f32(pick(x, half, selects & 3)), f16_to_f32(pick(y, half, (selects >> 2) & 3))
            fz = f16_to_f32(pick(z, half, (selects >> 4) & 3))
            product = np.float32(fx * fy)  # 22 bits: exact
            total = np.float32(product + fz)
            error = (product - (total - (total - product))) + (fz - (total - product))
            if error == np.float32(0.0):
                bits = f32_to_f16(as_u32(total))
            else:
                bits = np.uint32(round_to_format(odd_sum(np.float64(product), np.float64(fz)), 5, 10, 0))
            result |= np.uint32(bits << np.uint32(16 * half))
        store_u32(t, lane, result)


@njit
def _compare(a, b, aa, ax, ba, bx, selects, kind, flags, code, half):
    result = np.uint32(0)
    for lane in range(32):
        x, y = np.uint32((load_u32(a, lane) & aa) ^ ax), np.uint32((load_u32(b, lane) & ba) ^ bx)
        fx = as_u32(widen(flush(pick(x, half, selects & 3), kind, flags), kind))
        fy = as_u32(widen(flush(pick(y, half, (selects >> 2) & 3), kind, flags), kind))
        result |= np.uint32(np.uint32(code & outcome_f32(fx, fy) != 0) << lane)
    return result


@njit
def _set(u, frame, t, low, high, kind, boolean, as_float):
    """HSET2: 1.0 or all ones in each half where its comparison holds."""
    other = predicate(u, PS0, frame)
    low, high = combine(low, other, boolean), combine(high, other, boolean)
    one = np.uint32(0xFFFF)
    if as_float:
        one = np.uint32(0x3C00) if kind == FLOAT16 else np.uint32(0x3F80)
    for lane in range(32):
        first = one if (low >> lane) & 1 else np.uint32(0)
        second = one if (high >> lane) & 1 else np.uint32(0)
        store_u32(t, lane, np.uint32(first | (second << np.uint32(16))))


@njit
def _minmax(t, a, b, aa, ax, ba, bx, selects, kind, flags, minimum, propagate_nan, exclusive):
    for lane in range(32):
        x, y = np.uint32((load_u32(a, lane) & aa) ^ ax), np.uint32((load_u32(b, lane) & ba) ^ bx)
        result = np.uint32(0)
        for half in range(2):
            p = flush(pick(x, half, selects & 3), kind, flags)
            q = flush(pick(y, half, (selects >> 2) & 3), kind, flags)
            fp, fq = widen(p, kind), widen(q, kind)
            if math.isnan(fp) or math.isnan(fq):
                both = math.isnan(fp) and math.isnan(fq)
                best = np.uint32(0x7FFF) if both or propagate_nan else (q if math.isnan(fp) else p)
            else:
                less = fp < fq or (fp == fq and math.copysign(1.0, fp) < math.copysign(1.0, fq))
                best = p if less == ((minimum >> lane) & 1 != 0) else q
            if exclusive and best & np.uint32(0x7FFF) <= (np.uint32(0x7C00) if kind == FLOAT16 else np.uint32(0x7F80)):
                signs = pick(load_u32(a, lane), half, selects & 3) ^ pick(load_u32(b, lane), half, (selects >> 2) & 3)
                best = np.uint32(best & np.uint32(0x7FFF) | signs & np.uint32(0x8000))
            result |= np.uint32(best << np.uint32(16 * half))
        store_u32(t, lane, result)


@njit
def half_step(op, u, frame, consts, t, mask):
    """Execute one packed-half micro-op for the lanes of `mask`."""
    a, b, c = source(u, A, frame, consts), source(u, B, frame, consts), source(u, C, frame, consts)
    aa, ax = np.uint32(field(u, A_AND)), np.uint32(field(u, A_XOR))
    ba, bx = np.uint32(field(u, B_AND)), np.uint32(field(u, B_XOR))
    ca, cx = np.uint32(field(u, C_AND)), np.uint32(field(u, C_XOR))
    selects, kind, flags, m3 = field(u, M0), field(u, M1), field(u, M2), field(u, M3)
    if op == Op.HADD2 and m3:
        _to_single(t, a, b, aa, ax, ba, bx, selects, kind, flags)
    elif op == Op.HFMA2 and kind == FLOAT16 and flags == 0:
        _fused_half(t, a, b, c, aa, ax, ba, bx, ca, cx, selects)
    elif op == Op.HSETP2:
        code, boolean = m3 & 15, m3 >> 4 & 3
        low = _compare(a, b, aa, ax, ba, bx, selects, kind, flags, code, 0)
        high = _compare(a, b, aa, ax, ba, bx, selects, kind, flags, code, 1)
        if m3 >> 6 & 1:  # .H0_H0 AND of both halves is written to the first predicate
            set_pair(u, frame, np.uint32(low & high), boolean, mask)
        else:
            other = predicate(u, PS0, frame)
            set_predicate(u, PD0, frame, combine(low, other, boolean), mask)
            set_predicate(u, PD1, frame, combine(high, other, boolean), mask)
        return
    elif op == Op.HSET2:
        code, boolean = m3 & 15, m3 >> 4 & 3
        low = _compare(a, b, aa, ax, ba, bx, selects, kind, flags, code, 0)
        high = _compare(a, b, aa, ax, ba, bx, selects, kind, flags, code, 1)
        _set(u, frame, t, low, high, kind, boolean, m3 >> 6 & 1)
    elif op == Op.HMNMX2:
        _minmax(t, a, b, aa, ax, ba, bx, selects, kind, flags, predicate(u, PS0, frame), m3 & 1, m3 & 2)
    else:
        _arithmetic(op, t, a, b, c, aa, ax, ba, bx, ca, cx, selects, kind, flags)
    blend(frame + field(u, D), t, mask)
