"""Every conversion there is, element by element: the kernels behind `mx_formats.quantize` where the fast ones end.

A quotient by a scale that is no power of two is taken in float64. It is within half an ulp of a number that the
product of at most 11 + 28 significand bits cannot come closer to than that, so no comparison with a representable
value or a midpoint goes wrong; only the chance in stochastic rounding is that of the rounded quotient.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from mx_formats.bits import float_bits
from mx_formats.block import BlockFormat
from mx_formats.conversion import Conversion, ScaleRule, Specials
from mx_formats.element import decode_to_float
from mx_formats.philox import random_word
from mx_formats.round_code import NEAREST_EVEN, ROUNDING_NUMBERS, STOCHASTIC, UP, Target, round_code, target_of
from mx_formats.scale import decode_scale
from mx_formats.scale_choice import increment_of, power_of_two_code, rule_for

_u32, _u64, _i64 = np.uint32, np.uint64, np.int64
_MAGNITUDE, INFINITY_BITS = _u32(0x7FFFFFFF), _u32(0x7F800000)
_POWER_OF_TWO, _ROUNDED, _LEAST_SQUARES = range(3)


class Plan(NamedTuple):
    """A block format and a conversion as numbers.

    Attributes:
        method: how the scale is found, one of the three above.
        increment: of `power_of_two_code`.
        emax: of the element.
        max_value: of the element, float64.
        bias: of the scale.
        largest_scale: code.
        nan_scale: code.
        octave: scale codes to a factor of two.
        scale_rounding: NEAREST_EVEN or UP, for `_ROUNDED`.
        scale_target: the scale's `Target`, unused for a power of two.
        tensor_scale: float64.
        target: the element's `Target`.
        rounding: of elements.
        seed: uint64.
        elementwise: NaN and infinity stay in their element.
    """

    method: int
    increment: int
    emax: int
    max_value: float
    bias: int
    largest_scale: int
    nan_scale: int
    octave: int
    scale_rounding: int
    scale_target: Target
    tensor_scale: float
    target: Target
    rounding: int
    seed: np.uint64
    elementwise: bool


def plan_of(block_format: BlockFormat, conversion: Conversion, tensor_scale: float) -> Plan:
    """The numbers; ValueError for choices that do not go with the format."""
    element, scale = block_format.element, block_format.scale
    rule = rule_for(block_format, conversion)
    method = _POWER_OF_TWO if scale.is_power_of_two else _ROUNDED
    if rule is ScaleRule.LEAST_SQUARES:
        method = _LEAST_SQUARES
    return Plan(
        method=method,
        increment=increment_of(ScaleRule.ROUND_UP if method == _LEAST_SQUARES else rule, element),
        emax=element.emax,
        max_value=element.max_value,
        bias=scale.bias,
        largest_scale=scale.largest,
        nan_scale=scale.nan,
        octave=1 if scale.magnitudes is None else 1 << scale.magnitudes.mantissa_bits,
        scale_rounding=NEAREST_EVEN if rule is ScaleRule.NEAREST else UP,
        scale_target=target_of(scale.magnitudes or element),
        tensor_scale=float(tensor_scale),
        target=target_of(element, conversion.overflow),
        rounding=ROUNDING_NUMBERS[conversion.rounding],
        seed=_u64(conversion.seed),
        elementwise=conversion.specials is Specials.ELEMENTS,
    )


def tables_of(block_format: BlockFormat) -> tuple[np.ndarray, np.ndarray]:
    """float64 values of every scale code and every element code; empty for those wider than 8 and 16 bits."""
    scale, element = block_format.scale, block_format.element
    scales, elements = np.empty(0), np.empty(0)
    if scale.bits <= 8:
        scales = decode_scale(np.arange(1 << scale.bits, dtype=np.uint8), scale)
    if element.bits <= 16:
        elements = decode_to_float(np.arange(1 << element.bits, dtype=np.uint32), element)
    return scales, elements


@njit(cache=True, nogil=True, error_model="numpy")
def quantize_blocks(values, codes, scales, plan, scale_table, element_table):
    """float32[n, size] to codes[n, size] and scales[n]; returns a block with a NaN that has no code, or -1."""
    size = values.shape[1]
    for block in range(len(scales)):
        largest, special = _largest_finite(values[block])
        if special and not plan.elementwise:
            scales[block] = plan.nan_scale
            codes[block] = 0
            continue
        code = _scale_code(values[block], largest, plan, scale_table, element_table)
        scales[block] = code
        factor = _factor(code, plan, scale_table)
        for i in range(size):
            value = values[block, i]
            if np.isnan(value):
                if plan.target.nan < 0:
                    return block
                codes[block, i] = plan.target.nan
                continue
            word = _u32(0)
            if plan.rounding == STOCHASTIC:
                word = random_word(plan.seed, _u64(block * size + i))
            codes[block, i] = round_code(_quotient(value, factor), plan.target, plan.rounding, word)
    return -1


@njit(cache=True, nogil=True, error_model="numpy")
def encode_values(values, codes, target, rounding, seed):
    """float32[n] to codes[n] without a scale; NaN becomes `target.nan`."""
    for i in range(len(values)):
        if np.isnan(values[i]):
            codes[i] = target.nan
            continue
        word = random_word(seed, _u64(i)) if rounding == STOCHASTIC else _u32(0)
        codes[i] = round_code(np.float64(values[i]), target, rounding, word)


@njit(cache=True, nogil=True, error_model="numpy")
def dequantize_blocks(codes, scales, out, element_table):
    """codes[n, size] and float64 scale values[n] to float32[n, size], one rounding."""
    for block in range(len(scales)):
        for i in range(codes.shape[1]):
            out[block, i] = element_table[codes[block, i]] * scales[block]


@njit(cache=True, nogil=True, error_model="numpy")
def _largest_finite(values):
    largest, special = _u32(0), False
    for i in range(len(values)):
        pattern = _u32(float_bits(values[i]) & _MAGNITUDE)
        if pattern >= INFINITY_BITS:
            special = True
        else:
            largest = max(largest, pattern)
    return largest, special


@njit(cache=True, nogil=True, error_model="numpy")
def _quotient(value, factor):
    """A zero scale makes every finite element zero."""
    if factor == 0 and not np.isinf(value):
        return np.copysign(0.0, np.float64(value))
    return np.float64(value) / factor


@njit(cache=True, nogil=True, error_model="numpy")
def _factor(code, plan, scale_table):
    if len(scale_table):
        return scale_table[code] * plan.tensor_scale
    return np.float64(np.uint32(code).view(np.float32)) * plan.tensor_scale


@njit(cache=True, nogil=True, error_model="numpy")
def _scale_code(values, largest, plan, scale_table, element_table):
    if plan.method == _POWER_OF_TWO or (plan.method == _LEAST_SQUARES and plan.octave == 1):
        code = power_of_two_code(largest, plan.increment, plan.emax, plan.bias, plan.largest_scale)
    else:
        ratio = np.float64(_u32(largest).view(np.float32)) / (plan.max_value * plan.tensor_scale)
        code = round_code(ratio, plan.scale_target, plan.scale_rounding, _u32(0))
    if plan.method != _LEAST_SQUARES:
        return code
    return _least_squares(values, largest, code, plan, scale_table, element_table)


@njit(cache=True, nogil=True, error_model="numpy")
def _least_squares(values, largest, unclipped, plan, scale_table, element_table):
    """The best code; `unclipped` is the smallest whose scale reaches the largest value.

    Two octaves above it every grid is a part of a finer one that reaches as far. Going down, the largest value alone
    is clipped ever further, so the search ends where its error exceeds the best sum.
    """
    best, chosen = np.inf, _i64(0)
    top = np.float64(_u32(largest).view(np.float32))
    code = min(unclipped + 2 * plan.octave, _i64(plan.largest_scale))
    while code >= 0:
        factor = scale_table[code] * plan.tensor_scale
        clipped = max(top - plan.max_value * factor, 0.0)
        if clipped * clipped > best:
            break
        error = 0.0
        for i in range(len(values)):
            value = np.float64(values[i])
            if np.isfinite(value):
                word = round_code(_quotient(value, factor), plan.target, NEAREST_EVEN, _u32(0))
                difference = value - element_table[word] * factor
                error += difference * difference
        if error <= best:
            best, chosen = error, code
        code -= 1
    return chosen
