"""Widths that sums need, against published tables and against sums of the largest numbers."""

import numpy as np
import pytest

from hw.widths import bits_needed, product_range
from mx_formats import decode_to_float
from mx_formats.element import E2M1, E2M3, E3M2, E4M3, E5M2, INT8, INT8_FULL

# Lossless accumulators: bits for sums of 1, 4, 8, 32 and 64 products, and the exponent of the last bit.
TABLE = {
    E5M2: (-32, 65, 67, 68, 70, 71),
    E4M3: (-18, 37, 39, 40, 42, 43),
    E3M2: (-8, 19, 21, 22, 24, 25),
    E2M3: (-6, 13, 15, 16, 18, 19),
    E2M1: (-2, 9, 11, 12, 14, 15),
    INT8: (-12, 15, 17, 18, 20, 21),
    INT8_FULL: (-12, 16, 18, 19, 21, 22),
}


@pytest.mark.parametrize("element", TABLE, ids=lambda element: element.name)
def test_lossless_accumulators(element):
    last, *widths = TABLE[element]
    assert product_range(element, element).last == last
    assert [bits_needed(element, element, count) for count in (1, 4, 8, 32, 64)] == widths


@pytest.mark.parametrize("element", TABLE, ids=lambda element: element.name)
def test_the_width_is_the_least_that_holds_the_largest_sum(element):
    """The largest magnitude among all codes, squared, times the count, in units of the last bit."""
    values = decode_to_float(np.arange(1 << element.bits, dtype=np.uint8), element)
    values = np.abs(values[np.isfinite(values)])
    if element.is_integer and element.symmetric:
        values = values[values < 2]
    for count in (1, 3, 33):
        largest = int(count * values.max() ** 2 * 2.0 ** -TABLE[element][0])
        width = bits_needed(element, element, count)
        assert largest < 1 << (width - 1)
        assert largest >= 1 << (width - 2)


def test_mixed_elements_and_bad_counts():
    # 448 * 6 * 4 in units of 2**-10: 11 010 048, 24 bits and a sign.
    assert bits_needed(E4M3, E2M1, 4) == 25
    with pytest.raises(ValueError, match="products: got 0, must be 1 or more"):
        bits_needed(E4M3, E4M3, 0)
