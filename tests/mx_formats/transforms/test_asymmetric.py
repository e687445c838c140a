"""Asymmetric groups: the nearest code by exact arithmetic, 0 kept, storage counted, bad input refused."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mx_formats.transforms.asymmetric import asymmetric_groups, bits_per_value


@given(
    arrays(np.float32, (2, 8), elements=st.floats(-1000, 1000, width=32)),
    st.integers(1, 8),
    st.sampled_from([2, 4, 8]),
)
def test_codes_are_nearest_and_within_the_range(x, bits, size):
    stored = asymmetric_groups(x, bits, size)
    most = 2**bits - 1
    decoded = stored.decode()
    for row, group in np.ndindex(2, 8 // size):
        step, zero = Fraction(float(stored.step[row, group])), int(stored.zero[row, group])
        for i in range(group * size, (group + 1) * size):
            value = Fraction(float(x[row, i]))
            code = int(stored.codes[row, i])
            legal = [abs((c - zero) * step - value) for c in range(most + 1)]
            assert legal[code] == min(legal)
            assert Fraction(float(decoded[row, i])) == (code - zero) * step
    assert (decoded[x == 0] == 0).all()


def test_a_group_as_worked_out_by_hand():
    """Range -1 to 2 in 2 bits: steps of 1, 0 is code 1; 0.4 rounds to 0."""
    stored = asymmetric_groups(np.float32([-1, 2, 0.4, 1]), 2, 4)
    assert stored.codes.tolist() == [0, 3, 1, 2]
    assert (stored.step.tolist(), stored.zero.tolist()) == ([1.0], [1])
    assert stored.decode().tolist() == [-1, 2, 0, 1]


@pytest.mark.parametrize(("bits", "size", "expected"), [(4, 128, 4 + 20 / 128), (2, 32, 2 + 18 / 32), (8, 1, 32)])
def test_storage(bits, size, expected):
    assert bits_per_value(bits, size) == expected
    stored = asymmetric_groups(np.ones((3, size * 2), np.float32), bits, size)
    assert stored.bits_per_value == expected
    held = stored.codes.size * bits + stored.step.nbytes * 8 + stored.zero.size * bits
    assert held / stored.codes.size == expected


def test_what_it_refuses():
    x = np.ones((2, 6), np.float32)
    with pytest.raises(ValueError, match="bits: got 9, legal 1 to 8"):
        asymmetric_groups(x, 9, 2)
    with pytest.raises(ValueError, match="size: got 4, must divide the last axis, 6"):
        asymmetric_groups(x, 4, 4)
    with pytest.raises(ValueError, match="not finite"):
        asymmetric_groups(np.float32([1, np.nan]), 4, 2)
    with pytest.raises(ValueError, match="step must be at most 65504"):
        asymmetric_groups(np.float32([-3e38, 3e38]), 4, 2)
