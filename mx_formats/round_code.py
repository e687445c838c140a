"""One number to one element code by any rule, in integer arithmetic on the float64.

`mx_formats.fast_kernel` does the default rule on vectors; this does every rule and is what the fast one must equal.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from mx_formats.bits import double_bits
from mx_formats.conversion import Overflow, Rounding
from mx_formats.element import ElementFormat

NEAREST_EVEN, NEAREST_AWAY, TOWARD_ZERO, UP, DOWN, STOCHASTIC = range(6)
ROUNDING_NUMBERS = dict(zip(Rounding, range(6), strict=True))

_i64 = np.int64
_MANTISSA = _i64((1 << 52) - 1)
_MAGNITUDE = _i64((1 << 63) - 1)


class Target(NamedTuple):
    """An element format as the numbers its conversion needs.

    Attributes:
        integer: two's complement.
        mantissa_bits: below the binary point.
        emin: exponent of the smallest normal number.
        largest: code of the largest finite number.
        lowest: most negative integer.
        sign: the code's sign bit.
        beyond: magnitude of the code of an overflow; `largest` where it saturates.
        nan: the NaN code, -1 if the format has none.
    """

    integer: bool
    mantissa_bits: int
    emin: int
    largest: int
    lowest: int
    sign: int
    beyond: int
    nan: int


def target_of(element: ElementFormat, overflow: Overflow = Overflow.SATURATE) -> Target:
    """The numbers of a format; ValueError for overflow to a special value that the format does not have."""
    nan = -1 if element.nan_code is None else element.nan_code
    largest = element.largest_code
    beyond = largest
    if overflow is Overflow.SPECIAL:
        if not element.infinity and nan < 0:
            raise ValueError(f"overflow: SPECIAL, but {element.name} has neither infinity nor NaN; legal SATURATE")
        beyond = largest + 1 if element.infinity else nan
    return Target(
        integer=element.is_integer,
        mantissa_bits=element.mantissa_bits,
        emin=element.emin,
        largest=largest,
        lowest=-largest if element.symmetric else -largest - 1,
        sign=1 << (element.bits - 1),
        beyond=beyond,
        nan=nan,
    )


@njit(cache=True, nogil=True)
def round_code(value, target, rounding, word):
    """The code of a float64 that is not NaN.

    Args:
        value: float64, not subnormal.
        target: `Target`.
        rounding: one of the numbers above.
        word: uint32; for STOCHASTIC, a magnitude rounds up if its fraction of a step plus word * 2**-32 reaches 1.

    Returns:
        int64.
    """
    bits = double_bits(value)
    negative = bits < 0
    bits &= _MAGNITUDE
    exponent = (bits >> 52) - 1023
    step = -target.mantissa_bits
    above = _i64(0)
    if not target.integer:
        above = max(exponent, target.emin) - target.emin
        step += target.emin + above
    drop = step - (exponent - 52)
    if exponent == 1024:
        units, toward_zero = _i64(1 << 40), False
    elif bits == 0:
        units, toward_zero = _i64(0), True
    elif drop <= 20:  # far beyond the largest of any format
        units, toward_zero = _i64(1 << 40), _cuts(negative, rounding)
    else:
        units = _round_shift((bits & _MANTISSA) | _i64(1 << 52), drop, negative, rounding, word)
        toward_zero = _cuts(negative, rounding)
    if target.integer:
        units = max(-units, _i64(target.lowest)) if negative else min(units, _i64(target.largest))
        return units & (2 * target.sign - 1)
    code = units + (above << target.mantissa_bits)
    if code > target.largest:
        code = _i64(target.largest if toward_zero else target.beyond)
    return code | target.sign if negative else code


@njit(cache=True, nogil=True)
def _cuts(negative, rounding):
    """Whether magnitudes of this sign never grow."""
    return rounding == TOWARD_ZERO or (rounding == UP and negative) or (rounding == DOWN and not negative)


@njit(cache=True, nogil=True)
def _round_shift(significand, drop, negative, rounding, word):
    """significand * 2**-drop as an integer; drop >= 21, significand < 2**53."""
    sticky = _i64(0)
    if drop > 62:
        cut = min(drop - 62, 62)
        sticky = _i64(significand & ((_i64(1) << cut) - 1) != 0)
        significand >>= cut
        drop = 62
    one = _i64(1) << drop
    kept, rest = significand >> drop, significand & (one - 1)
    half = one >> 1
    if rounding == NEAREST_EVEN:
        up = rest > half or (rest == half and (sticky or kept & 1))
    elif rounding == NEAREST_AWAY:
        up = rest >= half
    elif rounding == STOCHASTIC:
        chance = _i64(word) << (drop - 32) if drop >= 32 else _i64(word) >> (32 - drop)
        up = rest + chance >= one
    else:
        up = (rest > 0 or sticky) and not _cuts(negative, rounding)
    return kept + up
