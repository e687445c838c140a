"""Conversion in exact rationals: slow, and plain enough to check against the standard by eye."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from mx_formats.block import BlockFormat
from mx_formats.element import FINITE, ElementFormat, decode


def finite_values(element: ElementFormat) -> dict[int, Fraction]:
    """Exact value of every finite code; +0 and -0 are both there."""
    codes = np.arange(1 << element.bits, dtype=np.uint32)
    rows = zip(codes.tolist(), *(column.tolist() for column in decode(codes, element)), strict=True)
    return {
        code: significand * Fraction(2) ** (exponent - element.mantissa_bits)
        for code, significand, exponent, kind in rows
        if kind == FINITE
    }


def encode_reference(value: Fraction, element: ElementFormat) -> int:
    """The code nearest to a finite value, ties to the even code, saturating; zero becomes +0."""
    half = 1 << (element.bits - 1)
    reserved = {half} if element.is_integer and element.symmetric else set()
    if not element.is_integer and value < 0:
        # Magnitudes round alike on both sides, and a result that rounds to zero is -0.
        return half | encode_reference(-value, element)
    candidates = {
        code: known
        for code, known in finite_values(element).items()
        if code not in reserved and (element.is_integer or code < half)
    }
    return min(candidates, key=lambda code: (abs(candidates[code] - value), code & 1))


def quantize_reference(values: Sequence[float], block_format: BlockFormat) -> tuple[list[int], int]:
    """Codes and scale code of one block of finite values, by the definition in `mx_formats.quantize`."""
    exact = [Fraction(value) for value in values]
    scale = block_format.scale
    largest = max(abs(value) for value in exact)
    shared = scale.emin
    if largest:
        shared = min(max(floor_log2(largest) - block_format.element.emax, scale.emin), scale.emax)
    codes = [encode_reference(value / Fraction(2) ** shared, block_format.element) for value in exact]
    return codes, shared + scale.bias


def floor_log2(value: Fraction) -> int:
    """Largest e with 2**e <= value."""
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    return exponent if value >= Fraction(2) ** exponent else exponent - 1
