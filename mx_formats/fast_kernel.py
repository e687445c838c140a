"""The default conversion on vectors: power-of-two scales, nearest even, saturating, elements of up to 8 bits.

Rounding is one float32 addition. Adding 2**(e + 23 - m) to a magnitude of exponent e leaves it rounded to m mantissa
bits, and the sum's low bits are the rounded significand; the exponent is taken no lower than `emin`, so subnormals need
no case of their own. Each kernel is compiled per block size, which keeps a block in vector registers.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from mx_formats.bits import bits_float, float_bits, largest_pattern, shift_left, shift_right
from mx_formats.block import BlockFormat
from mx_formats.conversion import Conversion, Overflow, Rounding, ScaleRule, Specials
from mx_formats.element import ElementFormat
from mx_formats.scale_choice import increment_of, power_of_two_code, rule_for

_u32, _f32 = np.uint32, np.float32
_MAGNITUDE, _EXPONENT = _u32(0x7FFFFFFF), _u32(0x7F800000)
_UNIT_STEPS = _u32((127 + 23) << 23)  # 2**23: an integer in the low bits of its pattern is added to it
_SIZES = (8, 16, 32, 64, 128)
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


class Constants(NamedTuple):
    """A format as the numbers the kernels use.

    Attributes:
        integer: two's complement.
        largest: largest finite number, float32.
        lowest: its negative, or one step lower.
        smallest_normal: float32; 0 for integers.
        lift: added to an exponent field in place, to make the number whose addition rounds.
        drop: mantissa bits of float32 without room in the element.
        rebias: subtracted from the shifted exponent to make the code's exponent field; 1 less than the bias needs,
            for the significand's leading one adds it.
        sign_shift: of the code's sign bit.
        step: weight of the last bit of subnormals and integers, float32.
        first_normal: code of the smallest normal number.
        to_float: added to a shifted code to make a float32 pattern.
        last_finite: code of the largest number.
        infinity: code of infinity, or a code that does not occur.
    """

    integer: bool
    largest: np.float32
    lowest: np.float32
    smallest_normal: np.float32
    lift: np.uint32
    drop: np.uint32
    rebias: np.uint32
    sign_shift: np.uint32
    step: np.float32
    first_normal: np.uint32
    to_float: np.uint32
    last_finite: np.uint32
    infinity: np.uint32


def constants_of(element: ElementFormat) -> Constants:
    """The numbers of an element format of up to 8 bits."""
    m = element.mantissa_bits
    return Constants(
        integer=element.is_integer,
        largest=_f32(element.max_value),
        lowest=_f32(-element.max_value - (0.0 if element.symmetric else 2.0**-m)),
        smallest_normal=_f32(0.0 if element.is_integer else 2.0**element.emin),
        lift=_u32((23 - m) << 23),
        drop=_u32(23 - m),
        rebias=_u32((element.emin + 127) << m),
        sign_shift=_u32(element.bits - 1),
        step=_f32(2.0 ** (element.emin - m)),
        first_normal=_u32(1 << m),
        to_float=_u32((127 - element.bias) << 23),
        last_finite=_u32(element.largest_code),
        infinity=_u32(element.largest_code + 1 if element.infinity else 1 << element.bits),
    )


class ScaleConstants(NamedTuple):
    """The scale format and rule as numbers: see `power_of_two_code`."""

    increment: int
    emax: int
    bias: int
    largest: int
    nan: int


def scale_constants_of(block_format: BlockFormat, conversion: Conversion) -> ScaleConstants:
    """The numbers of a block format under a conversion."""
    element, scale = block_format.element, block_format.scale
    increment = increment_of(rule_for(block_format, conversion), element)
    return ScaleConstants(increment, element.emax, scale.bias, scale.largest, scale.nan)


def decodes_fast(block_format: BlockFormat) -> bool:
    """Whether the decoding kernel has this format."""
    return (
        block_format.block_size in _SIZES
        and block_format.element.bits <= 8
        and block_format.scale.is_power_of_two
        and block_format.scale.bias == 127
    )


def encodes_fast(block_format: BlockFormat, conversion: Conversion) -> bool:
    """Whether the encoding kernels have this format and conversion."""
    return (
        decodes_fast(block_format)
        and rule_for(block_format, conversion) is not ScaleRule.LEAST_SQUARES
        and conversion.rounding is Rounding.NEAREST_EVEN
        and conversion.overflow is Overflow.SATURATE
        and conversion.specials is Specials.NAN_BLOCK
    )


@njit(inline="always")
def _power_of_two(field):
    """2**(field - 127) as float32, field 0..254; the subnormal 2**-127 ends the range."""
    return bits_float(shift_left(_u32(field), _u32(23)) if field > 0 else _u32(1 << 22))


@njit(inline="always")
def _rounder(magnitude, c):
    """The pattern whose float32, added to a magnitude, rounds it."""
    return _u32(_u32(float_bits(max(magnitude, c.smallest_normal)) & _EXPONENT) + c.lift)


@njit(inline="always")
def _integer_rounder(c):
    """1.5 * 2**23 steps: keeps the exponent of a sum with either sign."""
    return _u32(float_bits(c.step) + _u32(23 << 23)) | _u32(1 << 22)


@njit(inline="always")
def _scaled_magnitude(bits, factor, c):
    return min(bits_float(_u32(bits & _MAGNITUDE)) * factor, c.largest)


@njit(inline="always")
def _float_code(value, factor, c):
    bits = float_bits(value)
    magnitude = _scaled_magnitude(bits, factor, c)
    rounder = _rounder(magnitude, c)
    significand = _u32(float_bits(magnitude + bits_float(rounder)) - rounder)
    field = _u32(shift_right(_u32(rounder - c.lift), c.drop) - c.rebias)
    return _u32(significand + field) | shift_left(shift_right(bits, _u32(31)), c.sign_shift)


@njit(inline="always")
def _integer_code(value, factor, c):
    rounder = _integer_rounder(c)
    clamped = min(max(value * factor, c.lowest), c.largest)
    units = _u32(float_bits(clamped + bits_float(rounder)) - rounder)
    return units & _u32(shift_left(_u32(2), c.sign_shift) - _u32(1))


@functools.cache
def quantizer(size: int) -> Callable[..., None]:
    """Kernel(values, codes, scales, constants, scale constants) for blocks of `size`.

    float32[n, size] to uint8[n, size] and uint8[n]; both must be C order.
    """

    @njit(**_OPTIONS)
    def quantize(values, codes, scales, c, s):
        for block in range(len(scales)):
            top = largest_pattern(values, block, size)
            if top >= _EXPONENT:
                scales[block] = s.nan
                codes[block] = 0
                continue
            code = power_of_two_code(top, s.increment, s.emax, s.bias, s.largest)
            scales[block] = code
            factor = _power_of_two(254 - code)
            if c.integer:
                for i in range(size):
                    codes[block, i] = _integer_code(values[block, i], factor, c)
            else:
                for i in range(size):
                    codes[block, i] = _float_code(values[block, i], factor, c)

    return quantize


@functools.cache
def round_tripper(size: int) -> Callable[..., None]:
    """Kernel(values, out, constants, scale constants): quantise and dequantise, float32[n, size] to the same."""

    @njit(**_OPTIONS)
    def round_trip(values, out, c, s):
        for block in range(len(values)):
            top = largest_pattern(values, block, size)
            if top >= _EXPONENT:
                out[block] = np.nan
                continue
            code = power_of_two_code(top, s.increment, s.emax, s.bias, s.largest)
            factor, scale = _power_of_two(254 - code), _power_of_two(code)
            if c.integer:
                rounder = bits_float(_integer_rounder(c))
                for i in range(size):
                    clamped = min(max(values[block, i] * factor, c.lowest), c.largest)
                    out[block, i] = (clamped + rounder - rounder) * scale
            else:
                for i in range(size):
                    bits = float_bits(values[block, i])
                    magnitude = _scaled_magnitude(bits, factor, c)
                    rounder = bits_float(_rounder(magnitude, c))
                    rounded = (magnitude + rounder - rounder) * scale
                    out[block, i] = bits_float(float_bits(rounded) | _u32(bits & ~_MAGNITUDE))

    return round_trip


@njit(inline="always")
def _float_value(code, scale, c):
    magnitude = _u32(code & _u32(shift_left(_u32(1), c.sign_shift) - _u32(1)))
    subnormal = _f32(np.int32(magnitude)) * c.step
    value = bits_float(_u32(shift_left(magnitude, c.drop) + c.to_float)) if magnitude >= c.first_normal else subnormal
    if magnitude > c.last_finite:
        value = _f32(np.inf) if magnitude == c.infinity else _f32(np.nan)
    return bits_float(float_bits(value * scale) | shift_left(shift_right(code, c.sign_shift), _u32(31)))


@functools.cache
def dequantizer(size: int) -> Callable[..., None]:
    """Kernel(codes, scales, out, constants, NaN scale code): uint8[n, size] and uint8[n] to float32[n, size]."""

    @njit(**_OPTIONS)
    def dequantize(codes, scales, out, c, nan):
        for block in range(len(scales)):
            if scales[block] == nan:
                out[block] = np.nan
                continue
            scale = _power_of_two(scales[block])
            if c.integer:
                half = shift_left(_u32(1), c.sign_shift)
                offset = bits_float(_UNIT_STEPS | half)
                for i in range(size):
                    units = bits_float(_UNIT_STEPS | _u32(_u32(codes[block, i]) ^ half)) - offset
                    out[block, i] = units * c.step * scale
            else:
                for i in range(size):
                    out[block, i] = _float_value(_u32(codes[block, i]), scale, c)

    return dequantize
