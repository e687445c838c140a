"""Block-scaled tensor-core sums of Blackwell, bit for bit and fast (rule: `hw.presets.block_scaled_core`).

Operands are in the layout of `hw.tensor_core`: k is the slow axis, output columns are the slow axis of a tile.
A scale is a significand with three fraction bits and an exponent; E8M0 has the significand 8. A NaN scale has
the exponent `NOT_A_NUMBER`.
"""

import numpy as np
from numba import njit

from hw.tensor_core import (
    COLUMNS,
    INFINITE,
    NAN_F32,
    NOT_A_NUMBER,
    ROWS,
    split_codes,
    split_f32,
    truncate_to_f32,
)
from mx_formats.element import E4M3
from mx_formats.scale import E8M0

GROUP = 16  # products that share a pair of scales, at least
GROUPS = 4  # of one OMMA
_FRACTION_BITS = 35
LOWEST_EXPONENT = -139  # terms are never aligned to less (MMA-Sim 2.1.1)
# Fraction bits of a group's term: one of each E2M1 element, three of each scale's significand.
_TERM_BITS = 2 + 6
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}


def scale_table(unsigned_e4m3: bool) -> tuple[np.ndarray, np.ndarray]:
    """Significand (three fraction bits) and exponent of every scale code, int32[256] each.

    UE4M3 ignores the sign bit.
    """
    codes = np.arange(256)
    if unsigned_e4m3:
        significand, exponent = split_codes((codes & 0x7F).astype(np.uint32), E4M3)
        return significand, exponent
    exponent = np.where(codes == E8M0.nan, NOT_A_NUMBER, codes - E8M0.bias)
    return np.full(256, 8, np.int32), exponent.astype(np.int32)


@njit(**_OPTIONS)
def add_scales(exponents, scale, k0, k1):
    """Add the exponent of each line's scale to its finite operands: exponents[k, line] += scale[line]."""
    for k in range(k0, k1):
        for line in range(exponents.shape[1]):
            if scale[line] == NOT_A_NUMBER:
                exponents[k, line] = NOT_A_NUMBER
            elif abs(exponents[k, line]) < INFINITE >> 3:
                exponents[k, line] += scale[line]


@njit(**_OPTIONS)
def _group_sum(a, b, m, n, group):
    total = np.int64(0)
    for k in range(GROUP * group, GROUP * (group + 1)):
        total += a[k, m] * b[k, n]
    return total


@njit(**_OPTIONS)
def _any_product(a, b, m, n, group):
    """A product of the group is not zero; where they cancel, the group still presents its exponent."""
    bits = np.int64(0)
    for k in range(GROUP * group, GROUP * (group + 1)):
        bits |= a[k, m] * b[k, n]
    return bits != 0


@njit(**_OPTIONS)
def _shift(significand, shift):
    """significand * 2**shift, cut off toward zero."""
    if shift >= 0:
        return significand << shift
    down = min(-shift, 63)
    return -((-significand) >> down) if significand < 0 else significand >> down


@njit(**_OPTIONS)
def _one(a, b, scales, m, n, pattern):
    """One output of an OMMA: the FP32 pattern of the new accumulator."""
    a_sig, a_exp, b_sig, b_exp = scales
    kept, kept_exponent = split_f32(pattern)
    nan, top = kept_exponent == NOT_A_NUMBER, max(kept_exponent, np.int32(LOWEST_EXPONENT))
    for group in range(GROUPS):
        ea, eb = a_exp[group, m], b_exp[group, n]
        nan = nan or ea == NOT_A_NUMBER or eb == NOT_A_NUMBER
        if a_sig[group, m] * b_sig[group, n] != 0 and _any_product(a, b, m, n, group):
            top = max(top, np.int32(ea + eb))
    if nan:
        return np.uint32(NAN_F32)
    if kept_exponent == INFINITE:
        return np.uint32(pattern)
    total = _shift(np.int64(kept) << (_FRACTION_BITS - 23), np.int64(kept_exponent) - top)
    for group in range(GROUPS):
        term = _group_sum(a, b, m, n, group) * a_sig[group, m] * b_sig[group, n]
        exponent = np.int64(a_exp[group, m]) + b_exp[group, n]
        total += _shift(term << (_FRACTION_BITS - _TERM_BITS), exponent - top)
    return truncate_to_f32(total, np.int32(top - _FRACTION_BITS))


@njit(**_OPTIONS)
def mma_block_scaled(a, b, a_sig, a_exp, b_sig, b_exp, acc):
    """One OMMA: acc[n, m] = sum over k of a[k, m] * b[k, n], each group of 16 times its scales, + acc[n, m].

    Args:
        a: int32[64, 16], E2M1 significands (value times 2).
        b: int32[64, 8].
        a_sig: int32[4, 16], significands of the scales of each group of k and row.
        a_exp: int32[4, 16], their exponents.
        b_sig: int32[4, 8].
        b_exp: int32[4, 8].
        acc: uint32[8, 16], FP32 patterns, read and written.
    """
    scales = (a_sig, a_exp, b_sig, b_exp)
    for n in range(COLUMNS):
        for m in range(ROWS):
            acc[n, m] = _one(a, b, scales, m, n, acc[n, m])
