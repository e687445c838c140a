"""NVIDIA tensor-core sums, bit for bit and fast: the kernels a SASS machine calls for each HMMA.

The rule (MMA-Sim 2.1.1, arXiv 2511.10909) is the one stage of `hw.presets.tensor_core`: products and accumulator are
aligned to the largest exponent of those that are not zero (and never to less than `lowest_exponent`), each is truncated
toward zero at F fraction bits, and the sum is exact; it is then truncated to FP32 or rounded to nearest even FP16, and
a zero is always +0. An instruction longer than one fused step runs the steps in order of k.

Operands are pairs of int32 arrays made by the `split_*` helpers: a signed significand with the format's mantissa bits
as fraction, not normalised, and the exponent of a significand in [0, 2). Zero, infinity and NaN are told by exponents
no finite number has, so that the inner loops have no branches: `ZERO` loses every search for the largest exponent,
`INFINITE` and `NOT_A_NUMBER` win it and send that output to the slow path.

Layout: k is the slow axis of both operands and the output is column after column, so that the 16 rows of an output
column are one vector: a[k, 16], b[k, 8], accumulator[8, 16] (accumulator[n, m] is row m, column n).
"""

import numpy as np
from numba import njit

from mx_formats.bits import leading_zeros, shift_toward_zero
from mx_formats.element import FINITE, ElementFormat, decode
from mx_formats.element import INFINITE as INFINITE_KIND

ROWS, COLUMNS = 16, 8  # of one mma output tile
ZERO = -(1 << 12)
INFINITE = 1 << 14
NOT_A_NUMBER = 1 << 15
_SPECIAL = 1 << 11  # an exponent sum at or above this involves an infinity or NaN, also when the other factor is zero

NAN_F32 = 0x7FFFFFFF
INFINITY_F32 = 0x7F800000
NAN_F16 = 0x7FFF
INFINITY_F16 = 0x7C00

_i32 = np.int32
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(**_OPTIONS)
def lowest_exponent(fraction_bits: int, half: bool) -> int:
    """Terms are never aligned to less: the exponent of a zero term in MMA-Sim, by F and the format of the sum.

    FP32 sums: -131, -132, -133 at 23, 24, 25 fraction bits; FP16 sums: -19, -20, -21. FP8 products cut at 13 bits
    end at 2**-32, above all that this could cut off.
    """
    return (4 if half else -108) - max(fraction_bits, 23)


def new_scratch() -> tuple[np.ndarray, np.ndarray]:
    """Working arrays of `mma_f32` and `mma_f16`, one pair a thread: int32[8, 16] and int64[8, 16]."""
    return np.empty((COLUMNS, ROWS), np.int32), np.empty((COLUMNS, ROWS), np.int64)


def operand_table(element: ElementFormat) -> tuple[np.ndarray, np.ndarray]:
    """Significand and exponent of every code of a format of 16 bits or fewer, as int32[2**bits] each."""
    if element.bits > 16:
        raise ValueError(f"operand_table: {element.name} has {element.bits} bits, legal 16 or fewer")
    return split_codes(np.arange(1 << element.bits, dtype=np.uint32), element)


def split_codes(codes: np.ndarray, element: ElementFormat) -> tuple[np.ndarray, np.ndarray]:
    """Significand and exponent of unsigned codes of any format and shape, as int32 arrays of that shape."""
    significand, exponent, kind = decode(codes, element)
    exponent = np.where(significand == 0, ZERO, exponent)
    special = np.where(kind == INFINITE_KIND, INFINITE, NOT_A_NUMBER)
    return significand, np.where(kind == FINITE, exponent, special).astype(np.int32)


@njit(**_OPTIONS)
def split_f16(bits: int) -> tuple[np.int32, np.int32]:
    """Significand (10 fraction bits) and exponent of an FP16 pattern."""
    return _split(bits, _i32(5), _i32(10))


@njit(**_OPTIONS)
def split_bf16(bits: int) -> tuple[np.int32, np.int32]:
    """Significand (7 fraction bits) and exponent of a BF16 pattern."""
    return _split(bits, _i32(8), _i32(7))


@njit(**_OPTIONS)
def split_tf32(bits: int) -> tuple[np.int32, np.int32]:
    """Significand (10 fraction bits) and exponent of an FP32 pattern read as TF32: the last 13 bits are ignored."""
    return _split(_i32(np.uint32(bits) >> np.uint32(13)), _i32(8), _i32(10))


@njit(**_OPTIONS)
def split_f32(bits: int) -> tuple[np.int32, np.int32]:
    """Significand (23 fraction bits) and exponent of an FP32 pattern."""
    return _split(bits, _i32(8), _i32(23))


@njit(inline="always")
def _split(bits, exponent_bits, mantissa_bits):
    top_field = _i32((1 << exponent_bits) - 1)
    field = _i32((_i32(bits) >> mantissa_bits) & top_field)
    mantissa = _i32(bits & ((1 << mantissa_bits) - 1))
    negative = _i32((_i32(bits) >> _i32(exponent_bits + mantissa_bits)) & 1)
    hidden = _i32(1 << mantissa_bits) if field > 0 else _i32(0)
    significand = _i32(mantissa | hidden)
    exponent = _i32(max(field, _i32(1)) - (top_field >> 1))
    if field == top_field:
        exponent = _i32(INFINITE if mantissa == 0 else NOT_A_NUMBER)
        significand = _i32(1)
    elif significand == 0:
        exponent = _i32(ZERO)
    return (_i32(-significand) if negative else significand), exponent


@njit(**_OPTIONS)
def mma_f32(a_sig, a_exp, b_sig, b_exp, acc, k0, k1, left, fraction_bits, top, total):
    """One fused step into FP32: acc[n, m] = sum over k0 <= k < k1 of a[k, m] * b[k, n] + acc[n, m].

    Args:
        a_sig: int32[K, 16], significands of A.
        a_exp: int32[K, 16], exponents of A.
        b_sig: int32[K, 8], significands of B.
        b_exp: int32[K, 8], exponents of B.
        acc: uint32[8, 16], FP32 patterns, read and written.
        k0: first k of the step.
        k1: end of the step; k1 - k0 must be a multiple of 4.
        left: int32, F minus the fraction bits of a product (both elements' mantissa bits), 0 or more.
        fraction_bits: int32, F, up to 27.
        top: int32[8, 16] scratch.
        total: int64[8, 16] scratch.
    """
    lowest = _i32(lowest_exponent(fraction_bits, False))
    for n in range(COLUMNS):
        for m in range(ROWS):
            top[n, m] = max(split_f32(acc[n, m])[1], lowest)
    _largest_exponent(a_exp, b_exp, k0, k1, top)
    for n in range(COLUMNS):
        for m in range(ROWS):
            significand, exponent = split_f32(acc[n, m])
            kept = _i32(significand << max(fraction_bits - _i32(23), _i32(0)))
            total[n, m] = shift_toward_zero(kept, _i32(top[n, m] - exponent + max(_i32(23) - fraction_bits, _i32(0))))
    _sum_products(a_sig, a_exp, b_sig, b_exp, k0, k1, left, top, total)
    worst = _i32(ZERO)
    for n in range(COLUMNS):
        for m in range(ROWS):
            worst = max(worst, top[n, m])
            if top[n, m] < _SPECIAL:
                acc[n, m] = truncate_to_f32(total[n, m], _i32(top[n, m] - fraction_bits))
    if worst >= _SPECIAL:
        _resolve_specials(a_sig, a_exp, b_sig, b_exp, acc, k0, k1, top, True)


@njit(**_OPTIONS)
def mma_e8m13(a_sig, a_exp, b_sig, b_exp, acc, k0, k1, left, fraction_bits, top, total):
    """As `mma_f32`, with sums that keep 13 mantissa bits: the lower 10 bits of every finite result are zero."""
    mma_f32(a_sig, a_exp, b_sig, b_exp, acc, k0, k1, left, fraction_bits, top, total)
    for n in range(COLUMNS):
        for m in range(ROWS):
            if acc[n, m] != NAN_F32:
                kept = acc[n, m] & np.uint32(0xFFFFFC00)
                acc[n, m] = kept if kept & np.uint32(0x7FFFFFFF) else np.uint32(0)


@njit(**_OPTIONS)
def mma_f16(a_sig, a_exp, b_sig, b_exp, acc, k0, k1, left, fraction_bits, top, total):
    """One fused step into FP16: as `mma_f32`, with acc uint32[8, 16] holding FP16 patterns in the low half."""
    lowest = _i32(lowest_exponent(fraction_bits, True))
    for n in range(COLUMNS):
        for m in range(ROWS):
            top[n, m] = max(split_f16(acc[n, m])[1], lowest)
    _largest_exponent(a_exp, b_exp, k0, k1, top)
    for n in range(COLUMNS):
        for m in range(ROWS):
            significand, exponent = split_f16(acc[n, m])
            total[n, m] = shift_toward_zero(_i32(significand << (fraction_bits - _i32(10))), _i32(top[n, m] - exponent))
    _sum_products(a_sig, a_exp, b_sig, b_exp, k0, k1, left, top, total)
    worst = _i32(ZERO)
    for n in range(COLUMNS):
        for m in range(ROWS):
            worst = max(worst, top[n, m])
            if top[n, m] < _SPECIAL:
                acc[n, m] = _round_to_f16(total[n, m], _i32(top[n, m] - fraction_bits))
    if worst >= _SPECIAL:
        _resolve_specials(a_sig, a_exp, b_sig, b_exp, acc, k0, k1, top, False)


# Four products at a time: the running maximum and sum stay in registers for four, and LLVM makes 16-lane vectors.
@njit(**_OPTIONS)
def _largest_exponent(a_exp, b_exp, k0, k1, top):
    for k in range(k0, k1, 4):
        for n in range(COLUMNS):
            b0, b1, b2, b3 = b_exp[k, n], b_exp[k + 1, n], b_exp[k + 2, n], b_exp[k + 3, n]
            for m in range(ROWS):
                low = max(_i32(b0 + a_exp[k, m]), _i32(b1 + a_exp[k + 1, m]))
                high = max(_i32(b2 + a_exp[k + 2, m]), _i32(b3 + a_exp[k + 3, m]))
                top[n, m] = max(top[n, m], max(low, high))


@njit(**_OPTIONS)
def _sum_products(a_sig, a_exp, b_sig, b_exp, k0, k1, left, top, total):
    for k in range(k0, k1, 4):
        for n in range(COLUMNS):
            e0, e1, e2, e3 = b_exp[k, n], b_exp[k + 1, n], b_exp[k + 2, n], b_exp[k + 3, n]
            s0, s1 = _i32(b_sig[k, n] << left), _i32(b_sig[k + 1, n] << left)
            s2, s3 = _i32(b_sig[k + 2, n] << left), _i32(b_sig[k + 3, n] << left)
            for m in range(ROWS):
                t = top[n, m]
                p0 = shift_toward_zero(_i32(s0 * a_sig[k, m]), _i32(_i32(t - e0) - a_exp[k, m]))
                p1 = shift_toward_zero(_i32(s1 * a_sig[k + 1, m]), _i32(_i32(t - e1) - a_exp[k + 1, m]))
                p2 = shift_toward_zero(_i32(s2 * a_sig[k + 2, m]), _i32(_i32(t - e2) - a_exp[k + 2, m]))
                p3 = shift_toward_zero(_i32(s3 * a_sig[k + 3, m]), _i32(_i32(t - e3) - a_exp[k + 3, m]))
                total[n, m] += _i32(_i32(p0 + p1) + _i32(p2 + p3))


@njit(inline="always")
def truncate_to_f32(total, exponent):
    """FP32 pattern of total * 2**exponent, truncated toward zero; overflow is infinity."""
    magnitude = np.uint64(abs(total))
    lead = min(leading_zeros(magnitude), 63)
    field = np.int64(63 - lead) + exponent + 127
    significand = np.int64((magnitude << np.uint64(lead)) >> np.uint64(40))
    below = min(max(1 - field, 0), 31)  # a subnormal loses its hidden bit and more
    pattern = ((max(field, 1) - 1) << 23) + (significand >> below)
    pattern = INFINITY_F32 if field >= 255 else pattern
    pattern = 0 if total == 0 else pattern
    return np.uint32(pattern | (0x80000000 if total < 0 and pattern != 0 else 0))


@njit(inline="always")
def _round_to_f16(total, exponent):
    """FP16 pattern of total * 2**exponent, rounded to nearest even; overflow is infinity."""
    magnitude = np.uint64(abs(total))
    lead = min(leading_zeros(magnitude), 63)
    field = np.int64(63 - lead) + exponent + 15
    # The leading one sits at bit 62, so that adding a half cannot leave 64 bits.
    aligned = (magnitude << np.uint64(lead)) >> np.uint64(1)
    drop = np.uint64(52 + min(max(1 - field, 0), 11))
    odd = (aligned >> drop) & np.uint64(1)
    half = np.uint64(1) << (drop - np.uint64(1))
    significand = np.int64((aligned + half - np.uint64(1) + odd) >> drop)
    pattern = ((max(field, 1) - 1) << 10) + significand
    pattern = 0 if field < -10 or total == 0 else min(pattern, INFINITY_F16)
    return np.uint32(pattern | (0x8000 if total < 0 and pattern != 0 else 0))


@njit(**_OPTIONS)
def _resolve_specials(a_sig, a_exp, b_sig, b_exp, acc, k0, k1, top, single):
    """Overwrite the outputs in which an infinity or NaN takes part; `acc` still holds their accumulators."""
    for n in range(COLUMNS):
        for m in range(ROWS):
            if top[n, m] < _SPECIAL:
                continue
            kept, kind = split_f32(acc[n, m]) if single else split_f16(acc[n, m])
            nan, plus, minus = kind == NOT_A_NUMBER, kind == INFINITE and kept > 0, kind == INFINITE and kept < 0
            for k in range(k0, k1):
                ea, eb, sign = a_exp[k, m], b_exp[k, n], a_sig[k, m] * b_sig[k, n]
                if ea == NOT_A_NUMBER or eb == NOT_A_NUMBER:
                    nan = True
                elif ea == INFINITE or eb == INFINITE:
                    nan, plus, minus = nan or sign == 0, plus or sign > 0, minus or sign < 0
            if nan or (plus and minus):
                acc[n, m] = NAN_F32 if single else NAN_F16
            else:
                infinity = INFINITY_F32 if single else INFINITY_F16
                sign_bit = 0x80000000 if single else 0x8000
                acc[n, m] = infinity | (sign_bit if minus else 0)


@njit(**_OPTIONS)
def mma_s32(a, b, acc, k0, k1, saturate):
    """Integer mma, exact: acc[n, m] += sum over k0 <= k < k1 of a[k, m] * b[k, n].

    Args:
        a: int32[K, 16], operands of 8 bits or fewer.
        b: int32[K, 8], operands of 8 bits or fewer.
        acc: int32[8, 16], read and written.
        k0: first k.
        k1: end of k; at most 2**16 of them, so that a sum of products fits in 32 bits.
        saturate: clamp the result to int32 (`.SAT`); otherwise it wraps.
    """
    for n in range(COLUMNS):
        for m in range(ROWS):
            total = np.int64(acc[n, m])
            for k in range(k0, k1):
                total += a[k, m] * b[k, n]
            if saturate:
                total = min(max(total, -(1 << 31)), (1 << 31) - 1)
            acc[n, m] = _i32(total)
