"""Fused multiply-add of doubles in a directed rounding mode, by 128-bit integers.

The host rounds to nearest only. Both terms are normalised to 126 bits; bits shifted out on alignment are
kept as one sticky bit, which leaves every rounding of 53 bits correct.
"""

import math

import numpy as np
from numba import njit

from gpu_model.machine.lanes import as_f64, as_u64, fma_f64
from gpu_model.machine.rounding import DOWN, NEAREST, ZERO

_LOW = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)
_TOP = 125  # position of the leading bit of a normalised term
_LEAST = -1074  # exponent of the last bit of a subnormal
_INFINITY = np.uint64(0x7FF0000000000000)


@njit
def _split(value):
    """|value| as a 53-bit integer and the exponent of its last bit."""
    bits = as_u64(value)
    field = np.int64(bits >> np.uint64(52)) & 0x7FF
    significand = bits & np.uint64((1 << 52) - 1)
    if field:
        significand |= np.uint64(1 << 52)
    return significand, max(field, 1) - 1075


@njit
def _multiply(a, b):
    """128-bit product of two words below 2^53."""
    low = (a & _LOW) * (b & _LOW)
    middle = (a >> np.uint64(32)) * (b & _LOW) + (low >> np.uint64(32))
    other = (a & _LOW) * (b >> np.uint64(32)) + (middle & _LOW)
    high = (a >> np.uint64(32)) * (b >> np.uint64(32)) + (middle >> np.uint64(32)) + (other >> np.uint64(32))
    return high, (other << np.uint64(32)) | (low & _LOW)


@njit
def _shift_right(high, low, count):
    """Shift 128 bits right; whatever falls off is kept in the last bit."""
    sticky = False
    while count > 0:
        step = np.uint64(min(count, 63))
        sticky = sticky or low & ((_ONE << step) - _ONE) != 0
        low = (low >> step) | (high << (np.uint64(64) - step))
        high = high >> step
        count = 0 if high | low == 0 else count - np.int64(step)
    return high, low | np.uint64(sticky)


@njit
def _normalise(high, low, exponent):
    """Bring the leading bit of a positive integer up to `_TOP`."""
    while high >> np.uint64(_TOP - 64) == 0:
        high = (high << _ONE) | (low >> np.uint64(63))
        low = low << _ONE
        exponent -= 1
    return high, low, exponent


@njit
def _round(high, low, exponent, negative, mode):
    """Round high:low * 2^exponent, its leading bit at `_TOP`, to a double."""
    last = max(exponent + _TOP - 52, _LEAST)
    kept_high, kept = _shift_right(high, low, last - exponent - 1)
    # Two bits more than the result: a half and a sticky one (the shift leaves the sticky bit in the half's place).
    rest = np.uint64(kept & _ONE) != 0
    kept = (kept >> _ONE) | (kept_high << np.uint64(63))
    up = rest and mode != ZERO and (mode == DOWN) == negative
    bits = kept + (np.uint64(last - _LEAST) << np.uint64(52)) + np.uint64(up)
    if bits >= _INFINITY:
        stays = mode == ZERO or (mode == DOWN) != negative
        bits = _INFINITY - _ONE if stays else _INFINITY
    return as_f64(bits | np.uint64(negative) << np.uint64(63))


@njit
def fma_directed(x, y, z, mode):
    """x * y + z rounded once toward zero, down or up (`mode` of `gpu_model.machine.rounding`)."""
    nearest = fma_f64(x, y, z)
    if mode == NEAREST or not (math.isfinite(x) and math.isfinite(y) and math.isfinite(z)):
        return nearest
    negative = math.copysign(1.0, x) * math.copysign(1.0, y) < 0.0
    other = math.copysign(1.0, z) < 0.0
    if x == 0.0 or y == 0.0:
        if z != 0.0:
            return z
        minus = negative if negative == other else mode == DOWN
        return -0.0 if minus else 0.0
    first, e1 = _split(x)
    second, e2 = _split(y)
    high, low = _multiply(first, second)
    high, low, exponent = _normalise(high, low, e1 + e2)
    if z != 0.0:
        addend, e3 = _split(z)
        return _add(high, low, exponent, negative, addend, e3, other, mode)
    return _round(high, low, exponent, negative, mode)


@njit
def _add(high, low, exponent, negative, addend, addend_exponent, other, mode):
    """Add a 53-bit term to a normalised one and round."""
    high2, low2, exponent2 = _normalise(np.uint64(0), addend, addend_exponent)
    if exponent2 > exponent or (exponent2 == exponent and (high2 > high or (high2 == high and low2 > low))):
        high, low, exponent, high2, low2, exponent2 = high2, low2, exponent2, high, low, exponent
        negative, other = other, negative
    high2, low2 = _shift_right(high2, low2, exponent - exponent2)
    if negative == other:
        total = low + low2
        high = high + high2 + np.uint64(total < low)
        if high >> np.uint64(_TOP - 63):
            high, total = _shift_right(high, total, 1)
            exponent += 1
    else:
        total = low - low2
        high = high - high2 - np.uint64(low < low2)
    if high | total == 0:
        return -0.0 if mode == DOWN else 0.0
    high, total, exponent = _normalise(high, total, exponent)
    return _round(high, total, exponent, negative, mode)
