"""The hybrid MX MAC: one bit-exact value model for six element formats, driven by a `MacSpec`.

KU Leuven's hybrid reduction tree (arXiv 2511.06313), with the rule completed where the published design is wrong or
silent: zero, sign, E2M3's bias, specials, overflow. Integers below are exact and two's complement.

Notation
    M       mantissa bits of the accumulator
    lanes   products in one cycle: 1 for an integer element, 8 for 4-bit codes (16 in a variant), 4 otherwise
    E_in    biased exponent of the product sum, an ordinary signed integer (at least 10 bits), never wrapped
    A       accumulator: field E_acc in 1..254, magnitude 2**M + mantissa (M+1 bits) with its sign
    R       M + 1, the right extension of the adder

Stage 1, products -> S (signed, |S| < 2**(M+4)), least significant bit of weight 2**(e - M)
    Aligned elements (FP8, FP6): lane i has e_i = ea + eb, where exponent field 0 counts as field 1, also for zeros.
    e = max(e_i) over all lanes. Lane i contributes floor(p_i * 2**(M - 2m - (e - e_i))), p_i the signed product of the
    significands (2m fraction bits, m the element's mantissa bits). S is the exact sum of the lanes.
    Fixed elements (INT8, E2M1): e = `MacSpec.anchor` (0 and 5, or 6 for 16 products), and S is the exact sum of the
    products, placed with its last bit at 2**(e - M).

Stage 2, accumulate: E_in = e + Xa + Xb - 254 + 127 and d = E_acc - E_in
    1. S == 0                -> the accumulator is returned (as +0 if its field is 0).
    2. accumulator zero      -> S is normalised.
    3. d >= M+1              -> the accumulator is returned.
    4. d <= -(2M+7)          -> S is normalised.
    5. 0 <= d <= M           -> T = (A << d) + S,                  last bit of T is that of S.
    6. -(2M+7) < d < 0       -> T = (S << R) + floor(A << R, -d),  last bit of T is R below that of S; floor(x, s) is
                                the arithmetic right shift x >> s, so bits of A below the window are cut downward.
    T fits in 2M+7 bits, sign included, in both cases: one adder, a MUX chooses the side it extends to.

Normalise T (or S): zero -> +0. Otherwise take the magnitude; its leading one at bit p gives the field
    E_out = E_in - r + p - M (r = R in case 6, else 0), and the M bits below it are the mantissa, the rest is cut off
    (toward zero). E_out <= 0 -> +0. E_out >= 255 -> infinity with the sign of T.

Accumulator pattern, right aligned: sign | field (8 bits) | mantissa (M bits). Field 0 is read as +0 whatever the other
    bits; field 255 is infinity (mantissa 0) or NaN. The one NaN produced is field 255 with only the top mantissa bit.

Specials, before all the above: any NaN element, a scale code of 255, or a NaN accumulator -> NaN; infinity * 0 -> NaN;
    infinities of both signs among products and accumulator -> NaN; otherwise infinity with its sign.

A cycle reads and writes the accumulator pattern: nothing else is carried from cycle to cycle.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from mx_formats.bits import leading_zeros
from mx_formats.element import INFINITE, NAN, ElementFormat, check_codes, decode
from mx_formats.scale import E8M0

EXPONENT_BITS = 8
_TOP_FIELD = (1 << EXPONENT_BITS) - 1
E8M0_NAN = E8M0.nan


@dataclass(frozen=True)
class MacSpec:
    """One mode of the MAC.

    Attributes:
        element: format of both operands.
        mantissa_bits: M, of the accumulator; 10..23, and enough that stage 1 holds every product of a fixed element.
        four_bit_products: products of 4-bit codes a cycle: 8, half of the sixteen 2-bit multipliers, as published;
            or 16, all of them.
    """

    element: ElementFormat
    mantissa_bits: int = 16
    four_bit_products: int = 8

    def __post_init__(self) -> None:
        if self.element.bits > 8:
            raise ValueError(f"MacSpec.element: {self.element.name} has {self.element.bits} bits, legal 8 or fewer")
        if self.four_bit_products not in (8, 16):
            raise ValueError(f"MacSpec.four_bit_products: got {self.four_bit_products}, legal 8 or 16")
        lowest = max(10, 2 * self.element.mantissa_bits + self.anchor) if self.fixed else 10
        if not lowest <= self.mantissa_bits <= 23:
            raise ValueError(
                f"MacSpec.mantissa_bits: got {self.mantissa_bits}, legal {lowest}..23 for {self.element.name}"
            )

    @property
    def lanes(self) -> int:
        """Products one cycle consumes."""
        if self.element.is_integer:
            return 1
        return self.four_bit_products if self.element.bits == 4 else 4

    @property
    def fixed(self) -> bool:
        """Stage 1 is an exact fixed-point sum; otherwise products align to the largest exponent."""
        return self.element.is_integer or self.element.bits == 4

    @property
    def anchor(self) -> int:
        """Exponent e of a fixed element's product sum: the least with |sum| < 16 * 2**e; 0 for an integer."""
        if self.element.is_integer:
            return 0
        return 2 * self.element.emax + self.four_bit_products // 8

    @property
    def left_edge(self) -> int:
        """At d >= this the accumulator is returned."""
        return self.mantissa_bits + 1

    @property
    def right_edge(self) -> int:
        """At d <= -this the product sum is returned."""
        return 2 * self.mantissa_bits + 7

    @property
    def right_extension(self) -> int:
        """R, bits the adder extends below the product sum when the accumulator is the smaller."""
        return self.mantissa_bits + 1

    @property
    def bits(self) -> int:
        """Width of the accumulator pattern."""
        return 1 + EXPONENT_BITS + self.mantissa_bits

    @property
    def infinity(self) -> int:
        """Pattern of +infinity."""
        return 255 << self.mantissa_bits

    @property
    def nan(self) -> int:
        """The NaN pattern."""
        return self.infinity | 1 << (self.mantissa_bits - 1)


def step(
    spec: MacSpec, a: np.ndarray, b: np.ndarray, scale_a: np.ndarray, scale_b: np.ndarray, accumulator: np.ndarray
) -> np.ndarray:
    """One cycle of N independent MACs.

    Args:
        spec: the mode.
        a: uint8[N, lanes], element codes, right aligned.
        b: uint8[N, lanes].
        scale_a: uint8[N], E8M0 code shared by the lanes of `a`.
        scale_b: uint8[N].
        accumulator: uint32[N], patterns.

    Returns:
        uint32[N], the new accumulator patterns.

    Raises:
        ValueError: a shape, a dtype or a code is not as above.
    """
    accumulator = np.asarray(accumulator)
    count = len(accumulator)
    for name, got, shape, dtype in (
        ("a", a, (count, spec.lanes), np.uint8),
        ("b", b, (count, spec.lanes), np.uint8),
        ("scale_a", scale_a, (count,), np.uint8),
        ("scale_b", scale_b, (count,), np.uint8),
        ("accumulator", accumulator, (count,), np.uint32),
    ):
        if got.shape != shape or got.dtype != dtype:
            raise ValueError(f"mac.step: {name} is {got.dtype}{got.shape}, must be {np.dtype(dtype)}{shape}")
    if count and int(accumulator.max()) >> spec.bits:
        raise ValueError(f"mac.step: accumulator {int(accumulator.max()):#x} does not fit in {spec.bits} bits")
    out = np.empty(count, np.uint32)
    tables = decode_tables(spec.element)
    a, b = check_codes(a, spec.element), check_codes(b, spec.element)
    _step(a, b, scale_a, scale_b, accumulator, out, tables, stage_parameters(spec))
    return out


Tables = tuple[np.ndarray, np.ndarray, np.ndarray]  # significand int32, exponent int32, kind uint8, by code
Parameters = tuple[int, int, bool, int, int, int]  # M, left shift of a product, fixed, anchor, left edge, right edge


def decode_tables(element: ElementFormat) -> Tables:
    """Significand, exponent and kind of every code, as the kernels index them."""
    decoded = decode(np.arange(1 << element.bits, dtype=np.uint8), element)
    return decoded.significand, decoded.exponent, decoded.kind


def stage_parameters(spec: MacSpec) -> Parameters:
    """The numbers of the rule, as the kernels take them."""
    left = spec.mantissa_bits - 2 * spec.element.mantissa_bits
    return spec.mantissa_bits, left, spec.fixed, spec.anchor, spec.left_edge, spec.right_edge


@njit(cache=True, nogil=True, error_model="numpy")
def _step(a, b, scale_a, scale_b, accumulator, out, tables, parameters):
    for row in range(len(out)):
        out[row] = cycle(a[row], b[row], scale_a[row], scale_b[row], accumulator[row], tables, parameters)


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def cycle(a, b, scale_a, scale_b, accumulator, tables, parameters):
    """One cycle of one MAC: codes uint8[lanes] twice, scale codes, pattern; to the new pattern."""
    significand, exponent, _ = tables
    m, left, fixed, anchor, _, _ = parameters
    special = _special(a, b, scale_a, scale_b, accumulator, tables, m)
    if special >= 0:
        return np.uint32(special)
    largest = np.int64(anchor)
    if not fixed:
        largest = np.int64(-256)
        for lane in range(len(a)):
            largest = max(largest, np.int64(exponent[a[lane]]) + exponent[b[lane]])
    total = np.int64(0)
    for lane in range(len(a)):
        product = np.int64(significand[a[lane]]) * significand[b[lane]]
        drop = largest - exponent[a[lane]] - exponent[b[lane]]
        total += (product << left) >> min(drop, 63)
    return accumulate(total, largest + scale_a + scale_b - 127, accumulator, parameters)


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _special(a, b, scale_a, scale_b, accumulator, tables, m):
    """Pattern of the result if an infinity or NaN among the inputs decides it, else -1."""
    significand, _, kind = tables
    infinity, sign_bit = np.int64(_TOP_FIELD) << m, np.int64(1) << (m + EXPONENT_BITS)
    kept = np.int64(accumulator) & (sign_bit - 1)
    nan = scale_a == E8M0_NAN or scale_b == E8M0_NAN or kept > infinity
    minus = kept == infinity and accumulator >= sign_bit
    plus = kept == infinity and not minus
    for lane in range(len(a)):
        kind_a, kind_b = kind[a[lane]], kind[b[lane]]
        if kind_a == NAN or kind_b == NAN:
            nan = True
        elif kind_a == INFINITE or kind_b == INFINITE:
            product = significand[a[lane]] * significand[b[lane]]
            nan, plus, minus = nan or product == 0, plus or product > 0, minus or product < 0
    if nan or (plus and minus):
        return infinity | np.int64(1) << (m - 1)
    if plus or minus:
        return infinity | (sign_bit if minus else 0)
    return np.int64(-1)


@njit(inline="always")
def accumulate(total, e_in, accumulator, parameters):
    """Stage 2 and normalisation, without branches: product sum int64, E_in int64, pattern; to the new pattern.

    An infinite or NaN accumulator is returned as it is.
    """
    m, _, _, _, left_edge, right_edge = parameters
    field = (np.int64(accumulator) >> m) & _TOP_FIELD
    negative = np.int64(accumulator) >> (m + EXPONENT_BITS)
    magnitude = (np.int64(accumulator) & ((1 << m) - 1)) | (1 << m)
    d = field - e_in
    magnitude = 0 if field == 0 or d <= -right_edge else magnitude
    kept = -magnitude if negative else magnitude
    up = min(d, m) if d >= 0 else np.int64(m + 1)
    down = np.int64(0) if d >= 0 else min(-d, 63)
    extension = np.int64(0) if d >= 0 else np.int64(m + 1)
    pattern = _normalise((total << extension) + ((kept << up) >> down), e_in - extension, m)
    returned = total == 0 or (field > 0 and d >= left_edge) or field == _TOP_FIELD
    old = np.int64(accumulator) if field > 0 else np.int64(0)
    return np.uint32(old if returned else pattern)


@njit(inline="always")
def _normalise(total, e_in, m):
    magnitude = np.uint64(abs(total))
    zeros = leading_zeros(magnitude)
    field = e_in + 63 - zeros - m
    significand = np.int64((magnitude << np.uint64(min(zeros, 63))) >> np.uint64(63 - m))
    pattern = (field << m) + significand - (1 << m)
    pattern = np.int64(_TOP_FIELD) << m if field >= _TOP_FIELD else pattern
    pattern = pattern | (np.int64(1) << (m + EXPONENT_BITS)) if total < 0 else pattern
    return np.int64(0) if total == 0 or field <= 0 else pattern
