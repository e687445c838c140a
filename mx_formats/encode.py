"""Floats to element codes: round to nearest even, saturating (OCP MX 1.0, section 6.3, and OFP8 1.0)."""

from typing import NamedTuple

import numpy as np
from numba import njit

from mx_formats.bits import bits_float, float_bits
from mx_formats.element import ElementFormat, NanCodes

_u32 = np.uint32
_SIGN, _MAGNITUDE, INFINITY_BITS = _u32(0x80000000), _u32(0x7FFFFFFF), _u32(0x7F800000)


class Rule(NamedTuple):
    """An element format as the numbers its conversion needs.

    Attributes:
        integer: two's complement.
        drop: mantissa bits of a float32 that the element has no room for.
        rebias: subtracted from a rounded float32 pattern to make it a code.
        smallest_normal: pattern of 2**emin as float32.
        magic: pattern of the float32 whose last bit has the weight of the element's smallest subnormal.
        largest: code of the largest finite number.
        lowest: most negative integer code value.
        sign: the code's sign bit.
        nan: the NaN code produced, -1 if the format has none.
    """

    integer: bool
    drop: np.uint32
    rebias: np.uint32
    smallest_normal: np.uint32
    magic: np.uint32
    largest: np.uint32
    lowest: np.int32
    sign: np.uint32
    nan: int


def rule_of(element: ElementFormat) -> Rule:
    """The conversion's numbers; ValueError for a format as wide as float32 itself."""
    m = element.mantissa_bits
    if m > 22:
        raise ValueError(f"encode: {element.name} has {m} mantissa bits, legal 22 or fewer (a float32 has 23)")
    all_ones = (1 << (element.bits - 1)) - 1
    largest = element.max_significand
    if not element.is_integer:
        largest += (element.emax - element.emin) << m
    return Rule(
        element.is_integer,
        _u32(23 - m),
        _u32((127 - element.bias) << m),
        _u32((element.emin + 127) << 23),
        _u32((element.emin - m + 23 + 127) << 23),
        _u32(largest),
        np.int32(-largest if element.symmetric else -largest - 1),
        _u32(1 << (element.bits - 1)),
        -1 if element.nan is NanCodes.NONE else all_ones,
    )


def code_dtype(element: ElementFormat) -> np.dtype:
    """Smallest unsigned dtype that holds a code."""
    return np.dtype(np.uint8 if element.bits <= 8 else np.uint16 if element.bits <= 16 else np.uint32)


def encode(values: np.ndarray, element: ElementFormat) -> np.ndarray:
    """Convert float32 to element codes.

    Args:
        values: float32 of any shape.
        element: target format. The sign of zero is kept where there is one, infinity becomes the largest finite
            number, NaN the NaN code with all mantissa bits set and sign 0.

    Returns:
        Codes of the same shape, uint8 (formats up to 8 bits), uint16 or uint32.

    Raises:
        ValueError: not float32, a NaN and the format has none, or a format with 23 mantissa bits.
    """
    values = np.asarray(values)
    if values.dtype != np.float32:
        raise ValueError(f"encode: values are {values.dtype}, must be float32; convert explicitly first")
    rule = rule_of(element)
    if rule.nan < 0 and np.isnan(values).any():
        raise ValueError(f"encode: values hold NaN, which has no code in {element.name}; remove it first")
    flat = np.ascontiguousarray(values).reshape(-1)
    codes = np.empty(flat.size, code_dtype(element))
    _encode(flat, codes, rule)
    return codes.reshape(values.shape)


@njit(cache=True, nogil=True, error_model="numpy")
def _encode(values, codes, rule):
    encode_run(values, codes, np.float32(1.0), rule)
    if rule.nan >= 0:
        for i in range(len(values)):
            if np.isnan(values[i]):
                codes[i] = rule.nan


@njit(cache=True, nogil=True, error_model="numpy")
def encode_run(values, codes, factor, rule):
    """Codes of values * factor, no NaN among them; float32[n] to codes[n], `factor` a power of two, float32."""
    if rule.integer:
        for i in range(len(values)):
            codes[i] = _encode_integer(values[i] * factor, rule)
    else:
        for i in range(len(values)):
            codes[i] = _encode_float(values[i] * factor, rule)


@njit(inline="always")
def _encode_integer(value, rule):
    # Adding 1.5 * 2**23 units makes a float32 round to a whole unit, which is then its low bits.
    limit = np.float32(4 * (rule.largest + 1)) * bits_float(rule.magic - _u32(23 << 23))
    value = min(max(value, -limit), limit)
    one_and_half = rule.magic | _u32(0x400000)
    units = np.int32(float_bits(value + bits_float(one_and_half)) - one_and_half)
    units = min(max(units, rule.lowest), np.int32(rule.largest))
    return _u32(units) & _u32(2 * rule.sign - 1)


@njit(inline="always")
def _encode_float(value, rule):
    bits = float_bits(value)
    magnitude = bits & _MAGNITUDE
    # Below 2**emin, adding `magic` rounds to a multiple of the smallest subnormal; above, round the pattern itself.
    small = _u32(float_bits(bits_float(magnitude) + bits_float(rule.magic)) - rule.magic)
    odd = _u32(magnitude >> rule.drop) & _u32(1)
    half = _u32(_u32(1) << _u32(rule.drop - _u32(1)))
    normal = _u32(_u32(_u32(magnitude + half - _u32(1)) + odd) >> rule.drop)
    code = small if magnitude < rule.smallest_normal else _u32(normal - rule.rebias)
    code = min(code, rule.largest)
    return code | rule.sign if bits & _SIGN else code
