"""One number to one element code by any rule, without a branch: what a vector of float64 lanes can do.

A magnitude times a power of two counts steps of the element; its whole part is kept, and one step more if its fraction
reaches a threshold. Every rounding is a choice of thresholds: by the sign of the number, by whether the whole part is
odd, or at random.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from mx_formats.bits import bits_double, double_bits, float_bits, truncate
from mx_formats.conversion import Overflow, Rounding
from mx_formats.element import ElementFormat
from mx_formats.philox import philox4x32

_u32, _u64, _i64 = np.uint32, np.uint64, np.int64
_NEVER, _ANY, _HALF, _ABOVE_HALF = 2.0, 2.0**-1000, 0.5, math.nextafter(0.5, 1)
# Thresholds of positive numbers and of negative ones, each with an even and an odd whole part.
_THRESHOLDS = {
    Rounding.NEAREST_EVEN: (_ABOVE_HALF, _HALF, _ABOVE_HALF, _HALF),
    Rounding.NEAREST_AWAY: (_HALF, _HALF, _HALF, _HALF),
    Rounding.TOWARD_ZERO: (_NEVER, _NEVER, _NEVER, _NEVER),
    Rounding.UP: (_ANY, _ANY, _NEVER, _NEVER),
    Rounding.DOWN: (_NEVER, _NEVER, _ANY, _ANY),
    Rounding.STOCHASTIC: (_NEVER, _NEVER, _NEVER, _NEVER),  # `chances` holds a number's own
}
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


class LaneRule(NamedTuple):
    """An element format, a rounding and an overflow as the numbers a lane needs.

    Attributes:
        integer: two's complement.
        stochastic: thresholds differ from number to number.
        cap: float64 that overflows; magnitudes beyond it count as it.
        lowest_field: float64 exponent field of the smallest normal number.
        highest_field: beyond it steps grow no more; `lowest_field` for integers.
        units_field: the float64 exponent field of `steps * 2**exponent`, their product one step.
        mantissa_bits: of a code.
        largest: code of the largest finite number; the largest integer.
        of_infinity: magnitude of the code of an infinity, whatever the rounding.
        beyond_positive: code of a positive overflow; of integers, the largest.
        beyond_negative: magnitude of the code of a negative overflow; of integers, that of the lowest.
        sign: the code's sign bit.
        nan: the NaN code, -1 if the format has none.
        positive_even: threshold, as the next three.
        positive_odd: threshold.
        negative_even: threshold.
        negative_odd: threshold.
    """

    integer: bool
    stochastic: bool
    cap: float
    lowest_field: int
    highest_field: int
    units_field: int
    mantissa_bits: int
    largest: int
    of_infinity: int
    beyond_positive: int
    beyond_negative: int
    sign: int
    nan: int
    positive_even: float
    positive_odd: float
    negative_even: float
    negative_odd: float


def lane_rule(
    element: ElementFormat, rounding: Rounding = Rounding.NEAREST_EVEN, overflow: Overflow = Overflow.SATURATE
) -> LaneRule:
    """The numbers; ValueError for overflow to a special value that the format does not have."""
    nan = -1 if element.nan_code is None else element.nan_code
    largest = element.largest_code
    special = largest
    if overflow is Overflow.SPECIAL:
        if not element.infinity and nan < 0:
            raise ValueError(f"overflow: SPECIAL, but {element.name} has neither infinity nor NaN; legal SATURATE")
        special = largest + 1 if element.infinity else nan
    never_grows = {Rounding.TOWARD_ZERO: (True, True), Rounding.UP: (False, True), Rounding.DOWN: (True, False)}
    positive, negative = (largest if cut else special for cut in never_grows.get(rounding, (False, False)))
    if element.is_integer:
        positive, negative = largest, largest if element.symmetric else largest + 1
    lowest_field = element.emin + 1023
    thresholds = _THRESHOLDS[rounding]
    return LaneRule(
        integer=element.is_integer,
        stochastic=rounding is Rounding.STOCHASTIC,
        cap=2.0 ** (element.emax + 1),
        lowest_field=lowest_field,
        highest_field=lowest_field if element.is_integer else 2046,
        units_field=2046 + element.mantissa_bits,
        mantissa_bits=element.mantissa_bits,
        largest=largest,
        of_infinity=special,
        beyond_positive=positive,
        beyond_negative=negative,
        sign=1 << (element.bits - 1),
        nan=nan,
        positive_even=thresholds[0],
        positive_odd=thresholds[1],
        negative_even=thresholds[2],
        negative_odd=thresholds[3],
    )


@njit(inline="always")
def lane_code(value, factor, chance, r):
    """The code of value / factor.

    Args:
        value: float32; a NaN becomes `r.nan`.
        factor: positive float64, infinity to make zero of finite values.
        chance: float64 threshold for stochastic rounding.
        r: `LaneRule`.

    Returns:
        int64.
    """
    units, field = _round(value, factor, chance, r)
    negative = float_bits(value) >= _u32(1 << 31)
    beyond = r.beyond_negative if negative else r.beyond_positive
    if r.integer:
        units = min(units, beyond)
        code = (-units if negative else units) & (2 * r.sign - 1)
    else:
        code = units + ((field - r.lowest_field) << r.mantissa_bits)
        beyond = r.of_infinity if abs(value) == np.inf else beyond
        code = beyond if code > r.largest else code
        code = code | r.sign if negative else code
    return r.nan if value != value else code


@njit(inline="always")
def lane_magnitude(value, factor, largest, beyond, r):
    """The magnitude that a finite value / factor is rounded to, float64; `beyond` for a float above `largest`."""
    units, field = _round(value, factor, 0.0, r)
    if r.integer:
        units = min(units, r.beyond_negative if float_bits(value) >= _u32(1 << 31) else r.beyond_positive)
    magnitude = units * bits_double((field + 2046 - r.units_field) << 52)
    return beyond if magnitude > largest and not r.integer else magnitude


@njit(inline="always")
def _round(value, factor, chance, r):
    """Steps that the magnitude of a quotient is rounded to, and the exponent field that sets their size, as int64."""
    magnitude = abs(np.float64(value))
    magnitude = r.cap if magnitude == np.inf else min(magnitude / factor, r.cap)
    field = min(max(double_bits(magnitude) >> 52, r.lowest_field), r.highest_field)
    steps = magnitude * bits_double((r.units_field - field) << 52)
    whole = truncate(steps)
    odd = whole & 1 != 0
    if r.stochastic:
        threshold = chance
    else:
        of_negative = r.negative_odd if odd else r.negative_even
        of_positive = r.positive_odd if odd else r.positive_even
        threshold = of_negative if float_bits(value) >= _u32(1 << 31) else of_positive
    return _i64(whole) + (steps - whole >= threshold), field


@njit(**_OPTIONS)
def scratch_of(count, size):
    """Scratch of `draw_chances`: counters uint64, words uint32."""
    counters = count * _counters(size)
    return np.empty(counters, np.uint64), np.empty(4 * counters, np.uint32)


@njit(**_OPTIONS)
def draw_chances(seed, firsts, chances, counters, words):
    """Fill each row of `chances` with the thresholds of consecutive words of the stream of `seed`.

    A magnitude rounds up if its fraction of a step plus word * 2**-32 reaches 1.

    Args:
        seed: uint64.
        firsts: uint64[n], the number of each row's first word; a multiple of 4 if the row's length is.
        chances: float64[n, size].
        counters: of `scratch_of`.
        words: of `scratch_of`.
    """
    size = chances.shape[1]
    each = _counters(size)
    for row in range(len(firsts)):
        for i in range(each):
            counters[row * each + i] = (firsts[row] >> _u64(2)) + _u64(i)
    k0, k1 = _u32(seed & _u64(0xFFFFFFFF)), _u32(seed >> _u64(32))
    for i in range(len(counters)):
        low, high = _u32(counters[i]), _u32(counters[i] >> _u64(32))
        w0, w1, w2, w3 = philox4x32(low, high, _u32(0), _u32(0), k0, k1)
        words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3] = w0, w1, w2, w3
    for row in range(len(firsts)):
        start = 4 * each * row + _i64(firsts[row] & _u64(3))
        for i in range(size):
            chances[row, i] = 1.0 - np.float64(words[start + i]) * 2.0**-32


@njit(inline="always")
def _counters(size):
    """Counters that hold `size` consecutive words wherever these begin."""
    return size >> 2 if size & 3 == 0 else (size + 6) >> 2
