"""Conversion in exact rationals: slow, and plain enough to check against the standard by eye."""

import functools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from mx_formats.block import BlockFormat
from mx_formats.conversion import OCP, Conversion, Rounding, ScaleRule
from mx_formats.element import FINITE, ElementFormat, decode
from mx_formats.scale import ScaleFormat


@functools.cache
def finite_values(element: ElementFormat) -> dict[int, Fraction]:
    """Exact value of every finite code; +0 and -0 are both there."""
    codes = np.arange(1 << element.bits, dtype=np.uint32)
    rows = zip(codes.tolist(), *(column.tolist() for column in decode(codes, element)), strict=True)
    return {
        code: significand * Fraction(2) ** (exponent - element.mantissa_bits)
        for code, significand, exponent, kind in rows
        if kind == FINITE
    }


@functools.cache
def scale_values(scale: ScaleFormat) -> dict[int, Fraction]:
    """Exact value of every finite scale code."""
    if scale.magnitudes is None:
        return {code: Fraction(2) ** (code - scale.bias) for code in range(scale.largest + 1)}
    values = finite_values(scale.magnitudes)
    return {code: values[code] for code in range(scale.largest + 1)}


def encode_reference(
    value: Fraction, element: ElementFormat, rounding: Rounding = Rounding.NEAREST_EVEN, word: int = 0
) -> int:
    """The code of a finite value, saturating; zero becomes +0.

    Args:
        value: any rational.
        element: target format.
        rounding: choice between the two neighbours.
        word: 32 random bits for STOCHASTIC.
    """
    half = 1 << (element.bits - 1)
    if not element.is_integer and value < 0:
        # Magnitudes round alike on both sides but for UP and DOWN, and a result that rounds to zero is -0.
        mirrored = {Rounding.UP: Rounding.DOWN, Rounding.DOWN: Rounding.UP}.get(rounding, rounding)
        return half | encode_reference(-value, element, mirrored, word)
    reserved = {half} if element.is_integer and element.symmetric else set()
    candidates = {
        code: known
        for code, known in finite_values(element).items()
        if code not in reserved and (element.is_integer or code < half)
    }
    below = max((code for code in candidates if candidates[code] <= value), key=candidates.__getitem__, default=None)
    above = min((code for code in candidates if candidates[code] >= value), key=candidates.__getitem__, default=None)
    if below is None or above is None or below == above:
        return next(code for code in (below, above) if code is not None)
    return _choose(value, candidates, below, above, rounding, word)


def _choose(value: Fraction, values: dict[int, Fraction], below: int, above: int, rounding: Rounding, word: int) -> int:
    inner, outer = (below, above) if value > 0 else (above, below)
    fraction = (value - values[inner]) / (values[outer] - values[inner])
    match rounding:
        case Rounding.TOWARD_ZERO:
            return inner
        case Rounding.UP:
            return above
        case Rounding.DOWN:
            return below
        case Rounding.STOCHASTIC:
            return outer if fraction + Fraction(word, 1 << 32) >= 1 else inner
    if fraction == Fraction(1, 2):
        if rounding is Rounding.NEAREST_AWAY:
            return outer
        return inner if inner & 1 == 0 else outer
    return outer if fraction > Fraction(1, 2) else inner


def quantize_reference(
    values: Sequence[float], block_format: BlockFormat, conversion: Conversion = OCP, tensor_scale: float = 1.0
) -> tuple[list[int], int]:
    """Codes and scale code of one block of finite values, by the definition in `mx_formats.quantize`.

    Rounding is that of `conversion` but for STOCHASTIC, which depends on the block's place.
    """
    exact = [Fraction(value) for value in values]
    scale = scale_reference(exact, block_format, conversion, tensor_scale)
    return _elements(exact, block_format, conversion.rounding, scale, tensor_scale), scale


def _elements(
    exact: list[Fraction], block_format: BlockFormat, rounding: Rounding, scale: int, tensor_scale: float
) -> list[int]:
    factor = scale_values(block_format.scale)[scale] * Fraction(tensor_scale)
    if factor == 0:
        half = 1 << (block_format.element.bits - 1)
        return [half if value < 0 and not block_format.element.is_integer else 0 for value in exact]
    return [encode_reference(value / factor, block_format.element, rounding) for value in exact]


def scale_reference(
    exact: list[Fraction], block_format: BlockFormat, conversion: Conversion = OCP, tensor_scale: float = 1.0
) -> int:
    """Scale code of one block of finite values."""
    element, scale = block_format.element, block_format.scale
    largest = max(abs(value) for value in exact)
    top = Fraction(element.max_value)
    match conversion.scale_rule or (ScaleRule.FLOOR if scale.is_power_of_two else ScaleRule.NEAREST):
        case ScaleRule.LEAST_SQUARES:
            return min(scale_values(scale), key=lambda code: _squares(exact, block_format, code, tensor_scale))
        case ScaleRule.NEAREST | ScaleRule.ROUND_UP as rule if scale.magnitudes is not None:
            rounding = Rounding.NEAREST_EVEN if rule is ScaleRule.NEAREST else Rounding.UP
            return encode_reference(largest / top / Fraction(tensor_scale), scale.magnitudes, rounding)
        case rule:
            exponent = _exponent(largest, element, rule) if largest else scale.emin
            return min(max(exponent, scale.emin), scale.emax) + scale.bias


def _exponent(largest: Fraction, element: ElementFormat, rule: ScaleRule) -> int:
    floor = floor_log2(largest)
    match rule:
        case ScaleRule.FLOOR:
            return floor - element.emax
        case ScaleRule.DOUBLE_FLOOR:
            return floor - element.emax + 1
        case ScaleRule.CEIL:
            return ceil_log2(largest) - element.emax
        case ScaleRule.ROUND_UP:
            return ceil_log2(largest / Fraction(element.max_value))
        case ScaleRule.EVEN:
            step = Fraction(2) ** (floor - element.mantissa_bits)
            rounded = step * int(largest / step + Fraction(1, 2))
            return floor_log2(rounded) - element.emax
    raise ValueError(f"scale_rule: {rule.name} has no power of two")


def _squares(exact: list[Fraction], block_format: BlockFormat, code: int, tensor_scale: float) -> Fraction:
    factor = scale_values(block_format.scale)[code] * Fraction(tensor_scale)
    known = finite_values(block_format.element)
    codes = _elements(exact, block_format, Rounding.NEAREST_EVEN, code, tensor_scale)
    return sum(
        ((value - known[word] * factor) ** 2 for value, word in zip(exact, codes, strict=True)), start=Fraction(0)
    )


def floor_log2(value: Fraction) -> int:
    """Largest e with 2**e <= value."""
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    return exponent if value >= Fraction(2) ** exponent else exponent - 1


def ceil_log2(value: Fraction) -> int:
    """Smallest e with 2**e >= value."""
    return -floor_log2(1 / value)
