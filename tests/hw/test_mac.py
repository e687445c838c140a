"""The hybrid MAC: the kernel against the exact reference, and both against what the rule says in words."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.mac import MacSpec, step
from hw.mx_macs import hybrid_mac
from hw.reference import reference
from mx_formats.element import E2M1, E2M3, E3M2, E4M3, E5M2, FP16, INT8, decode_to_float

MX_ELEMENTS = (E5M2, E4M3, E3M2, E2M3, E2M1, INT8)
SPECS = [MacSpec(element, m) for element in MX_ELEMENTS for m in (12, 16, 23)]
ONE, MINUS_ONE = 127 << 16, 1 << 24 | 127 << 16  # accumulator patterns at M = 16


def draw(rng, spec, count, kind):
    """Codes, scales and accumulators of `count` cycles; "near" puts accumulator and products within the window."""
    shape = (count, spec.lanes)
    a, b = (rng.integers(0, 1 << spec.element.bits, shape).astype(np.uint8) for _ in range(2))
    if kind == "sparse":
        a = np.where(rng.random(shape) < 0.7, 0, a).astype(np.uint8)
    if kind == "cancel" and spec.lanes > 1:  # the second half of the lanes undoes the first
        half = spec.lanes // 2
        a[:, half:], b[:, half:] = a[:, :half], b[:, :half]
        a[:, half:] ^= 1 << (spec.element.bits - 1)
        b[:, -1] ^= rng.integers(0, 2, count).astype(np.uint8)
    low, high = {"edge": (0, 256), "near": (110, 145)}.get(kind, (120, 135))
    xa, xb = (rng.integers(low, high, count).astype(np.uint8) for _ in range(2))
    field = np.clip(xa.astype(int) + xb - 127 + rng.integers(-2 * spec.mantissa_bits - 20, 40, count), 0, 255)
    sign = rng.integers(0, 2, count)
    mantissa = rng.integers(0, 1 << spec.mantissa_bits, count)
    acc = sign << (spec.bits - 1) | field << spec.mantissa_bits | np.where(rng.random(count) < 0.2, 0, mantissa)
    return a, b, xa, xb, acc.astype(np.uint32)


def by_reference(spec, a, b, xa, xb, acc):
    tree = hybrid_mac(spec)
    rows = zip(a.tolist(), b.tolist(), xa.tolist(), xb.tolist(), acc.tolist(), strict=True)
    return np.array([reference(tree, spec.element, ra, spec.element, rb, c, x, y) for ra, rb, x, y, c in rows])


@pytest.mark.parametrize("kind", ["near", "edge", "sparse", "cancel"])
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.element.name}-M{spec.mantissa_bits}")
def test_kernel_equals_reference(spec, kind):
    rng = np.random.default_rng(7)
    inputs = draw(rng, spec, 300, kind)
    np.testing.assert_array_equal(step(spec, *inputs), by_reference(spec, *inputs))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_kernel_equals_reference_on_adversarial_exponents(data):
    element = data.draw(st.sampled_from(MX_ELEMENTS))
    spec = MacSpec(element, data.draw(st.integers(12, 23)))
    codes = st.lists(st.integers(0, (1 << element.bits) - 1), min_size=spec.lanes, max_size=spec.lanes)
    scale, width = st.integers(0, 255), spec.bits
    row = [
        data.draw(codes),
        data.draw(codes),
        data.draw(scale),
        data.draw(scale),
        data.draw(st.integers(0, 2**width - 1)),
    ]
    types = (np.uint8, np.uint8, np.uint8, np.uint8, np.uint32)
    inputs = [np.array([value], dtype) for value, dtype in zip(row, types, strict=True)]
    np.testing.assert_array_equal(step(spec, *inputs), by_reference(spec, *inputs))


@pytest.mark.parametrize("element", MX_ELEMENTS, ids=lambda e: e.name)
def test_every_pair_of_codes(element):
    """One lane at a time, 2**(2 * bits) pairs: a single product is exact at M = 16, so float64 gives the value."""
    spec = MacSpec(element)
    codes = np.arange(1 << element.bits, dtype=np.uint8)
    pairs = np.array(np.meshgrid(codes, codes)).reshape(2, -1)
    a, b = (np.zeros((pairs.shape[1], spec.lanes), np.uint8) for _ in range(2))
    a[:, 0], b[:, 0] = pairs
    scale = np.full(pairs.shape[1], 127, np.uint8)
    out = step(spec, a, b, scale, scale, np.zeros(pairs.shape[1], np.uint32))
    with np.errstate(invalid="ignore"):
        expected = decode_to_float(a[:, 0], element) * decode_to_float(b[:, 0], element)
    value = accumulator_to_float(out, 16)
    np.testing.assert_array_equal(value, expected)


def accumulator_to_float(pattern, m):
    """E8M<m> with m <= 23 is FP32 with fewer mantissa bits."""
    return (pattern.astype(np.uint32) << np.uint32(23 - m)).view(np.float32).astype(np.float64)


@pytest.mark.parametrize(
    ("acc", "d", "expected"),
    [
        # 1.0 * 1.0 in one lane with scale 2**-d; the accumulator is 1.0, M = 16.
        (ONE, 16, ONE | 1),  # the product is the accumulator's last bit
        (ONE, 17, ONE),  # left edge: product dropped
        (MINUS_ONE, 16, (1 << 24) | (126 << 16) | 0xFFFE),  # -(1 - 2**-16)
    ],
)
def test_left_edge(acc, d, expected):
    assert one_product(acc, 127 - d) == expected


@pytest.mark.parametrize(
    ("sign", "d", "expected"),
    [
        # 1.0 * 1.0 = 2**16 last bits; the accumulator +-1.0 lies d binades lower.
        (0, 16, (127 + 16) << 16 | 1),
        (0, 17, (127 + 17) << 16),  # below the mantissa: cut
        (1, 17, (126 + 17) << 16 | 0xFFFF),  # 1 - 2**-17 truncates
        (1, 38, (126 + 38) << 16 | 0xFFFF),  # still -1 in the window's last bit: floor
        (1, 39, (127 + 39) << 16),  # right edge: accumulator dropped
    ],
)
def test_right_edge(sign, d, expected):
    assert one_product(sign << 24 | 127 << 16, 127 + d) == expected


def one_product(acc, scale):
    a = np.array([[0x38, 0, 0, 0]], np.uint8)  # E4M3 1.0
    ones = np.array([127], np.uint8)
    return int(step(MacSpec(E4M3), a, a, ones, np.array([scale], np.uint8), np.array([acc], np.uint32))[0])


def test_zero_products_return_the_accumulator_however_large_their_scale():
    zeros, big = np.zeros((1, 4), np.uint8), np.array([254], np.uint8)
    for acc, expected in ((ONE, ONE), (1 << 24, 0), (5, 0)):  # -0 and a subnormal pattern read as +0
        assert step(MacSpec(E4M3), zeros, zeros, big, big, np.array([acc], np.uint32))[0] == expected


def test_overflow_is_infinity_and_underflow_is_zero():
    a = np.array([[0x38, 0, 0, 0]], np.uint8)
    zero = np.zeros(1, np.uint32)
    for scale, expected in ((254, 255 << 16), (0, 0)):
        scales = np.array([scale], np.uint8)
        assert step(MacSpec(E4M3), a, a, scales, scales, zero)[0] == expected


def test_int8_lowest_code():
    """-128 * -128 is 4.0, the largest product an integer lane makes."""
    lowest, one = np.array([[0x80]], np.uint8), np.array([127], np.uint8)
    assert step(MacSpec(INT8), lowest, lowest, one, one, np.zeros(1, np.uint32))[0] == 129 << 16


def test_bad_input_is_named():
    spec, codes, one, acc = MacSpec(E2M1), np.zeros((1, 8), np.uint8), np.array([127], np.uint8), np.zeros(1, np.uint32)
    with pytest.raises(ValueError, match=r"a is uint8\(1, 4\), must be uint8\(1, 8\)"):
        step(spec, codes[:, :4], codes, one, one, acc)
    with pytest.raises(ValueError, match="0x1f does not fit in the 4 bits of E2M1"):
        step(spec, codes | 0x1F, codes, one, one, acc)
    with pytest.raises(ValueError, match="does not fit in 25 bits"):
        step(spec, codes, codes, one, one, acc | 1 << 25)
    with pytest.raises(ValueError, match=r"mantissa_bits: got 11, legal 12..23 for INT8"):
        MacSpec(INT8, 11)
    with pytest.raises(ValueError, match=r"FP16 has 16 bits, legal 8 or fewer"):
        MacSpec(FP16)
