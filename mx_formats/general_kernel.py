"""Every conversion there is: the kernels behind `mx_formats.quantize` where the fast ones end.

A quotient by a scale that is no power of two is taken in float64. It is within half an ulp of a number that the
product of at most 11 + 28 significand bits cannot come closer to than that, so no comparison with a representable
value or a midpoint goes wrong; only the chance in stochastic rounding is that of the rounded quotient.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from mx_formats.bits import bits_float, float_bits, shift_left
from mx_formats.block import BlockFormat
from mx_formats.conversion import Conversion, Rounding, ScaleRule, Specials
from mx_formats.element import ElementFormat, NanCodes, decode_to_float
from mx_formats.lane_code import LaneRule, draw_chances, lane_code, lane_magnitude, lane_rule, scratch_of
from mx_formats.layout import block_number
from mx_formats.scale import ScaleFormat, decode_scale
from mx_formats.scale_choice import increment_of, power_of_two_code, rule_for

_u32, _u64, _i64 = np.uint32, np.uint64, np.int64
_MAGNITUDE, INFINITY_BITS = _u32(0x7FFFFFFF), _u32(0x7F800000)
_TRIED = 8  # scales whose errors are summed side by side
_DRAWN = 1 << 10  # elements whose random words are drawn together
_KNOWN_SIZES = (16, 32)
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


class Plan(NamedTuple):
    """A block format and a conversion as numbers.

    Attributes:
        searched: the scale is the best of many.
        by_exponent: scales are powers of two.
        increment: of `power_of_two_code`.
        emax: of the element.
        max_value: of the element, float64.
        bias: of the scale.
        largest_scale: code.
        nan_scale: code.
        octave: scale codes to a factor of two.
        scale_rule: how scales with a mantissa round; unused for powers of two.
        tensor_scale: float64.
        rule: how elements round and overflow.
        nearest: the same element, rounded to nearest even; where the scale is searched for.
        seed: uint64.
        elementwise: NaN and infinity stay in their element.
    """

    searched: bool
    by_exponent: bool
    increment: int
    emax: int
    max_value: float
    bias: int
    largest_scale: int
    nan_scale: int
    octave: int
    scale_rule: LaneRule
    tensor_scale: float
    rule: LaneRule
    nearest: LaneRule
    seed: np.uint64
    elementwise: bool


def plan_of(block_format: BlockFormat, conversion: Conversion, tensor_scale: float) -> Plan:
    """The numbers; ValueError for choices that do not go with the format."""
    element, scale = block_format.element, block_format.scale
    rule = rule_for(block_format, conversion)
    searched = rule is ScaleRule.LEAST_SQUARES
    to_scale = Rounding.NEAREST_EVEN if rule is ScaleRule.NEAREST else Rounding.UP
    return Plan(
        searched=searched,
        by_exponent=scale.is_power_of_two,
        increment=increment_of(ScaleRule.ROUND_UP if searched else rule, element),
        emax=element.emax,
        max_value=element.max_value,
        bias=scale.bias,
        largest_scale=scale.largest,
        nan_scale=scale.nan,
        octave=1 if scale.magnitudes is None else 1 << scale.magnitudes.mantissa_bits,
        scale_rule=lane_rule(scale.magnitudes or element, to_scale),
        tensor_scale=float(tensor_scale),
        rule=lane_rule(element, conversion.rounding, conversion.overflow),
        nearest=lane_rule(element, overflow=conversion.overflow),
        seed=_u64(conversion.seed),
        elementwise=conversion.specials is Specials.ELEMENTS,
    )


def tables_of(block_format: BlockFormat) -> tuple[np.ndarray, np.ndarray]:
    """float64 values of every scale code and every element code; empty for those wider than 8 and 16 bits."""
    return _scale_table(block_format.scale), _element_table(block_format.element)


@functools.cache
def _scale_table(scale: ScaleFormat) -> np.ndarray:
    return decode_scale(np.arange(1 << scale.bits, dtype=np.uint8), scale) if scale.bits <= 8 else np.empty(0)


@functools.cache
def _element_table(element: ElementFormat) -> np.ndarray:
    return (
        decode_to_float(np.arange(1 << element.bits, dtype=np.uint32), element) if element.bits <= 16 else np.empty(0)
    )


def quantizer(size: int) -> Callable[..., int]:
    """Kernel(values, codes, scales, first, across, down, plan, scale table, element table) for blocks of `size`.

    float32[n, size] to codes[n, size] and scales[n], all in C order; returns a block with a NaN that has no code, or
    -1. `first` is the place of the first block among all, counted along the rows of a `Grid` of `across` blocks a row;
    `down` is `Grid.down_of`.
    """
    return _quantizer(size if size in _KNOWN_SIZES else 0)


@functools.cache
def _quantizer(known: int) -> Callable[..., int]:
    """For blocks of `known` elements, a constant, which keeps them in vector registers; 0 for any size."""

    @njit(**_OPTIONS)
    def quantize(values, codes, scales, first, across, down, plan, scale_table, element_table):
        size = known if known > 0 else values.shape[1]
        together = max(_DRAWN // size, 1) if plan.rule.stochastic else 1
        firsts, chances = np.empty(together, np.uint64), np.empty((together, size))
        counters, words = scratch_of(together, size)
        for block in range(len(scales)):
            turn = block % together
            if plan.rule.stochastic and turn == 0:
                for i in range(together):
                    firsts[i] = _u64(block_number(first + block + i, across, down) * size)
                draw_chances(plan.seed, firsts, chances, counters, words)
            top = _largest(values, block, size)
            if top >= INFINITY_BITS:
                if not plan.elementwise:
                    scales[block] = plan.nan_scale
                    codes[block] = 0
                    continue
                if top > INFINITY_BITS and plan.rule.nan < 0:
                    return block
                top = largest_finite_pattern(values[block])
            if plan.searched:
                code = _least_squares(values, block, top, plan, scale_table, element_table)
            else:
                code = _scale_code(top, plan)
            scales[block] = code
            factor = _divisor(_factor(code, plan.tensor_scale, scale_table))
            for i in range(size):
                codes[block, i] = lane_code(values[block, i], factor, chances[turn, i], plan.rule)
        return -1

    return quantize


def dequantizer(size: int) -> Callable[..., None]:
    """Kernel(codes, scales, out, tensor scale, scale table, element table, shift) for blocks of `size`, one rounding.

    codes[n, size] and scale codes[n] to float32[n, size]. Tables are those of `tables_of`; elements without one have
    a `float32_shift`.
    """
    return _dequantizer(size if size in _KNOWN_SIZES else 0)


@functools.cache
def _dequantizer(known: int) -> Callable[..., None]:
    @njit(**_OPTIONS)
    def dequantize(codes, scales, out, tensor_scale, scale_table, element_table, shift):
        size = known if known > 0 else codes.shape[1]
        for block in range(len(scales)):
            factor = abs(_factor(scales[block], tensor_scale, scale_table))
            for i in range(size):
                if shift < 0:
                    value = element_table[codes[block, i]] * factor
                else:
                    value = np.float64(bits_float(shift_left(_u32(codes[block, i]), _u32(shift)))) * factor
                out[block, i] = value if value == value else np.nan

    return dequantize


def float32_shift(element: ElementFormat) -> int:
    """Places by which a code moves up to be the float32 pattern of its value; -1 where none makes it one."""
    alike = (element.exponent_bits, element.bias, element.nan) == (8, 127, NanCodes.IEEE) and element.infinity
    return 23 - element.mantissa_bits if alike else -1


@njit(**_OPTIONS)
def encode_values(values, codes, rule, seed):
    """float32[n] to codes[n] without a scale; NaN becomes `rule.nan`."""
    firsts, chances = np.empty(1, np.uint64), np.empty((1, _DRAWN))
    counters, words = scratch_of(1, _DRAWN)
    for first in range(0, len(values), _DRAWN):
        if rule.stochastic:
            firsts[0] = _u64(first)
            draw_chances(seed, firsts, chances, counters, words)
        part, drawn, result = values[first : first + _DRAWN], chances[0], codes[first : first + _DRAWN]
        for i in range(len(part)):
            result[i] = lane_code(part[i], 1.0, drawn[i], rule)


@njit(**_OPTIONS)
def largest_finite_pattern(values):
    """Largest pattern without its sign among the finite ones of float32[n], as uint32; 0 if there is none."""
    largest = _u32(0)
    for i in range(len(values)):
        pattern = _u32(float_bits(values[i]) & _MAGNITUDE)
        largest = max(largest, pattern if pattern < INFINITY_BITS else _u32(0))
    return largest


@njit(inline="always")
def _largest(values, block, size):
    largest = _u32(0)
    for i in range(size):
        largest = max(largest, _u32(float_bits(values[block, i]) & _MAGNITUDE))
    return largest


@njit(inline="always")
def _divisor(factor):
    """A zero scale makes every finite element zero."""
    return factor if factor != 0 else np.inf


@njit(inline="always")
def _factor(code, tensor_scale, scale_table):
    if len(scale_table):
        return scale_table[code] * tensor_scale
    return np.float64(bits_float(_u32(code))) * tensor_scale


@njit(inline="always")
def _scale_code(largest, plan):
    if plan.by_exponent:
        return power_of_two_code(largest, plan.increment, plan.emax, plan.bias, plan.largest_scale)
    return _i64(lane_code(bits_float(largest), plan.max_value * plan.tensor_scale, 0.0, plan.scale_rule))


@njit(**_OPTIONS)
def _least_squares(values, block, largest, plan, scale_table, element_table):
    """The best code.

    Two octaves above the smallest that reaches the largest value, every grid is a part of a finer one that does too.
    Going down, the largest value alone is clipped ever further, so the search ends where its error exceeds the best
    sum.
    """
    best, chosen = np.inf, _i64(0)
    top = np.float64(bits_float(largest))
    size = values.shape[1]
    largest_number, beyond = plan.max_value, element_table[plan.nearest.beyond_positive]
    factors, errors, squares = np.empty(_TRIED), np.empty(_TRIED), np.empty((_TRIED, size))
    code = min(_scale_code(largest, plan) + 2 * plan.octave, _i64(plan.largest_scale))
    while code >= 0:
        for lane in range(_TRIED):
            factors[lane] = _factor(max(code - lane, 0), plan.tensor_scale, scale_table)
            divisor = _divisor(factors[lane])
            for i in range(size):
                value = values[block, i]
                rounded = lane_magnitude(value, divisor, largest_number, beyond, plan.nearest)
                difference = abs(np.float64(value)) - rounded * factors[lane]
                finite = _u32(float_bits(value) & _MAGNITUDE) < INFINITY_BITS
                squares[lane, i] = difference * difference if finite else 0.0
        errors[:] = 0
        for i in range(size):  # in order of the values, whatever is tried beside them
            for lane in range(_TRIED):
                errors[lane] += squares[lane, i]
        for lane in range(min(_TRIED, code + 1)):
            clipped = max(top - plan.max_value * factors[lane], 0.0)
            if clipped * clipped > best:
                return chosen
            if errors[lane] <= best:
                best, chosen = errors[lane], code - lane
        code -= _TRIED
    return chosen
