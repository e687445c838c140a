"""The scale of a block from its largest magnitude: exact, from bit patterns."""

import numpy as np
from numba import njit

from mx_formats.bits import bits_float, float_bits
from mx_formats.block import BlockFormat
from mx_formats.conversion import Conversion, ScaleRule
from mx_formats.element import ElementFormat

_u32 = np.uint32
_FRACTION = (1 << 23) - 1

# What each rule adds to the float32 pattern of the largest magnitude before its exponent field is taken.
_INCREMENTS = {
    ScaleRule.FLOOR: lambda element: 0,
    ScaleRule.CEIL: lambda element: _FRACTION,
    ScaleRule.EVEN: lambda element: (1 << 22) >> element.mantissa_bits,
    ScaleRule.DOUBLE_FLOOR: lambda element: 1 << 23,
    # A carry exactly if the significand is above that of the largest number.
    ScaleRule.ROUND_UP: lambda element: _FRACTION - (_largest_significand(element) & _FRACTION),
}
_WITH_MANTISSA = (ScaleRule.NEAREST, ScaleRule.ROUND_UP, ScaleRule.LEAST_SQUARES)


def rule_for(block_format: BlockFormat, conversion: Conversion) -> ScaleRule:
    """The rule meant; ValueError for one that the scale format cannot follow."""
    scale = block_format.scale
    rule = conversion.scale_rule
    if rule is None:
        return ScaleRule.FLOOR if scale.is_power_of_two else ScaleRule.NEAREST
    legal = (*_INCREMENTS, ScaleRule.LEAST_SQUARES) if scale.is_power_of_two else _WITH_MANTISSA
    if scale.bits > 8 or block_format.element.bits > 8:
        legal = tuple(known for known in legal if known is not ScaleRule.LEAST_SQUARES)
    if rule not in legal:
        names = ", ".join(known.name for known in legal)
        raise ValueError(f"scale_rule: {rule.name} does not apply to {block_format.name}, legal {names}")
    return rule


def increment_of(rule: ScaleRule, element: ElementFormat) -> int:
    """What `power_of_two_code` adds for a rule; 0 for rules that it does not compute."""
    return _INCREMENTS.get(rule, _INCREMENTS[ScaleRule.FLOOR])(element)


def _largest_significand(element: ElementFormat) -> int:
    """With 23 fraction bits, its leading one included."""
    return element.max_significand << (23 - element.mantissa_bits)


@njit(cache=True, nogil=True)
def power_of_two_code(pattern, increment, emax, bias, largest):
    """Code of the power-of-two scale of a finite magnitude.

    Args:
        pattern: uint32, the magnitude's float32 pattern.
        increment: of `increment_of`.
        emax: of the element format.
        bias: of the scale format.
        largest: its largest code; the result is clamped to 0..largest.

    Returns:
        int64.
    """
    field = np.int64(0)
    if pattern < _u32(1 << 23):
        # Subnormal: 2**64 times it is normal, and exact.
        pattern = float_bits(bits_float(pattern) * np.float32(2.0**64))
        field -= 64
        if pattern == _u32(0):
            return np.int64(0)
    field += (np.int64(pattern) + increment) >> 23
    return min(max(field - 127 + bias - emax, np.int64(0)), np.int64(largest))
