"""Rows of the format table, and block floating point by its textbook definition."""

import numpy as np
import pytest

from mx_formats.block import BLOCK_FORMATS, MXFP4, MXINT8, NVFP4, block_floating_point
from mx_formats.element import INT4, INT6, INT8, decode_to_float
from mx_formats.quantize import dequantize, quantize


def test_storage():
    """OCP MX 1.0: 8.25, 6.25 and 4.25 bits an element; NVFP4 4.5."""
    bits = {name: known.bits_per_element for name, known in BLOCK_FORMATS.items()}
    assert bits["MXFP8_E4M3"] == bits["MXINT8"] == 8.25
    assert bits["MXFP6_E3M2"] == bits["MXINT6"] == 6.25
    assert MXFP4.bits_per_element == 4.25
    assert NVFP4.bits_per_element == 4.5


@pytest.mark.parametrize(("element", "largest"), [(INT8, 127), (INT6, 31), (INT4, 7)])
def test_narrow_integers_are_symmetric(element, largest):
    """arXiv 2510.25602: +-127, +-31, +-7."""
    assert element.max_significand == largest
    assert decode_to_float(np.array([largest], np.uint8), element)[0] == element.max_value


@pytest.mark.parametrize("bits", [4, 8, 12, 16])
def test_block_floating_point_is_integers_over_the_largest_exponent(bits):
    x = np.random.default_rng(0).standard_normal((50, 32)).astype(np.float32)
    exponent = np.frexp(np.abs(x).max(1, keepdims=True))[1] - 1
    step = np.ldexp(1.0, exponent - (bits - 2))
    limit = 2 ** (bits - 1) - 1
    expected = np.clip(np.rint(x.astype(np.float64) / step), -limit, limit) * step
    np.testing.assert_array_equal(dequantize(quantize(x, block_floating_point(bits, 32))), expected)


def test_mxint8_is_a_block_floating_point():
    """But for its name in the table."""
    assert block_floating_point(8, 32) == MXINT8
    with pytest.raises(ValueError, match=r"bits: got 17, legal 2\.\.16"):
        block_floating_point(17, 32)
