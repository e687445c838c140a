"""The definition itself, against numbers worked out by hand and against IEEE arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.presets import NVIDIA_F16, NVIDIA_F32, tensor_core
from hw.reduction_tree import Accumulator, Align, ReductionTree, Rounding, Stage, Zero
from hw.reference import exponent_of, pack, reference, round_integer, unpack
from mx_formats.element import FP16, FP32

IEEE = Accumulator(8, 23, Rounding.NEAREST_EVEN, subnormals=True, nan=0x7FC00000, zero=Zero.IEEE)
FMA = ReductionTree("sequential FMA", (Stage(1, Align.EXACT, accumulator=True),), IEEE, 0, "IEEE 754")
bits32 = st.integers(0, (1 << 32) - 1)


def f32(pattern):
    return float(np.uint32(pattern).view(np.float32))


def finite(pattern):
    return (pattern & 0x7FFFFFFF) < 0x7F800000


@given(bits32.filter(finite), bits32.filter(finite))
def test_one_exact_stage_is_an_ieee_addition(x, y):
    """x * 1 + y with nothing cut is x + y rounded once, which is what float32 addition does."""
    with np.errstate(over="ignore"):
        expected = int((np.uint32(x).view(np.float32) + np.uint32(y).view(np.float32)).view(np.uint32))
    assert reference(FMA, FP32, [x], FP32, [0x3F800000], y) == expected


@given(bits32.filter(finite))
def test_pack_undoes_unpack(pattern):
    assert pack(IEEE, unpack(IEEE, pattern)) == pattern
    assert pack(NVIDIA_F32, unpack(NVIDIA_F32, pattern)) == (0 if pattern == 0x80000000 else pattern)


def test_eight_products_below_the_cut_vanish():
    """1 + 8 * 2**-25: each product lies below 2**-24 and is cut, though their sum would not be."""
    tiny, small = 0x0800, 0x0C00  # 2**-13, 2**-12
    tree = tensor_core("ampere", FP16)
    assert reference(tree, FP16, [tiny] * 8, FP16, [small] * 8, 0x3F800000) == 0x3F800000
    # One binade up, each keeps its last bit: 8 * 2**-24 is 4 last places of a float32 one.
    assert reference(tree, FP16, [small] * 8, FP16, [small] * 8, 0x3F800000) == 0x3F800004


def test_a_subnormal_keeps_its_leading_zeros():
    """2**-24 (subnormal FP16) presents exponent -14, so it is cut as if it were 2**-14."""
    tree = tensor_core("ampere", FP16)
    # Products 2**-24 * 2**-14 presents -28 and aligns its companion 2**-14 * 2**-14 with it: nothing is lost.
    out = reference(tree, FP16, [0x0001, 0x0400] + [0] * 6, FP16, [0x0400, 0x0400] + [0] * 6, 0)
    assert f32(out) == 2.0**-38 + 2.0**-28


@pytest.mark.parametrize(
    ("a", "b", "acc", "expected"),
    [
        (0x7C00, 0x3C00, 0, 0x7F800000),  # inf * 1
        (0x7C00, 0xBC00, 0, 0xFF800000),  # inf * -1
        (0x7C00, 0x0000, 0, 0x7FFFFFFF),  # inf * 0
        (0x7C00, 0x3C00, 0xFF800000, 0x7FFFFFFF),  # inf - inf
        (0x3C00, 0x3C00, 0xFF800000, 0xFF800000),  # 1 - inf
        (0x7E00, 0x3C00, 0, 0x7FFFFFFF),  # NaN
        (0x3C00, 0x3C00, 0x7F800001, 0x7FFFFFFF),  # a NaN accumulator
        (0x3C00, 0x3C00, 0xBF800000, 0x00000000),  # 1 - 1
        (0x0000, 0x3C00, 0x80000000, 0x00000000),  # -0 is not kept
    ],
)
def test_specials(a, b, acc, expected):
    zeros = [0] * 7
    assert reference(tensor_core("ampere", FP16), FP16, [a, *zeros], FP16, [b, *zeros], acc) == expected


def test_half_sums_round_once_to_nearest_even():
    """1 + 2**-11 is a tie and goes to 1; a bit far below it breaks the tie."""
    tree = tensor_core("ampere", FP16, NVIDIA_F16)
    one, tie, far = 0x3C00, 0x1000, 0x0400  # 1, 2**-11, 2**-14
    assert reference(tree, FP16, [tie] + [0] * 7, FP16, [one] + [0] * 7, one) == one
    assert reference(tree, FP16, [tie, far] + [0] * 6, FP16, [one] * 2 + [0] * 6, one) == one + 1


@given(st.fractions(min_value=-100, max_value=100))
def test_roundings(value):
    assert round_integer(value, Rounding.FLOOR) <= value
    assert abs(round_integer(value, Rounding.TOWARD_ZERO)) <= abs(value)
    assert abs(round_integer(value, Rounding.NEAREST_EVEN) - value) <= Fraction(1, 2)
    if value:
        assert Fraction(2) ** exponent_of(value) <= abs(value) < Fraction(2) ** (exponent_of(value) + 1)


def test_operands_of_the_wrong_length_are_named():
    with pytest.raises(ValueError, match="got 3 and 8 codes, a step of .* takes 8"):
        reference(tensor_core("ampere", FP16), FP16, [0] * 3, FP16, [0] * 8, 0)
