"""Conversion to element codes against ml_dtypes, torch and exact rationals."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mx_formats.conversion import Rounding
from mx_formats.element import BF16, E2M1, E2M3, E3M2, E4M3, E5M2, ELEMENTS, FP16, FP32, INT8, TF32, decode_to_float
from mx_formats.encode import encode
from mx_formats.reference import encode_reference, finite_values

SMALL = (E5M2, E4M3, E3M2, E2M3, E2M1, INT8)
ML_DTYPES = {
    E5M2: ml_dtypes.float8_e5m2,
    E4M3: ml_dtypes.float8_e4m3fn,
    E3M2: ml_dtypes.float6_e3m2fn,
    E2M3: ml_dtypes.float6_e2m3fn,
    E2M1: ml_dtypes.float4_e2m1fn,
    BF16: ml_dtypes.bfloat16,
    FP16: np.float16,
}


def probes(element):
    """Values of every code, all midpoints, their float32 neighbours, and random ones over the range."""
    finite = np.array(sorted({float(value) for value in finite_values(element).values()}))
    middle = (finite[1:] + finite[:-1]) / 2
    near = np.concatenate([finite, middle]).astype(np.float32)
    random = np.random.default_rng(0).standard_normal(20000) * np.exp2(
        np.random.default_rng(1).integers(-20, 17, 20000)
    )
    return np.concatenate(
        [near, np.nextafter(near, np.float32(9e9)), np.nextafter(near, np.float32(-9e9)), random]
    ).astype(np.float32)


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("element", [known for known in ELEMENTS.values() if known.bits <= 19], ids=lambda x: x.name)
def test_round_trip_of_every_code(element, rounding):
    """No rounding moves a value that has a code; symmetric integers never use the lowest."""
    codes = np.arange(1 << element.bits, dtype=element.code_dtype)
    values = decode_to_float(codes, element).astype(np.float32)
    kept = np.isfinite(values) & ~((codes == 1 << (element.bits - 1)) & element.is_integer & element.symmetric)
    np.testing.assert_array_equal(encode(values[kept], element, rounding), codes[kept])


@pytest.mark.parametrize("element", SMALL, ids=lambda element: element.name)
def test_equals_the_rational_reference(element):
    values = probes(element)[:1200]
    expected = [encode_reference(Fraction(float(value)), element) for value in values]
    codes = encode(values, element)
    negative_zero = (codes == 1 << (element.bits - 1)) & (values == 0)
    np.testing.assert_array_equal(np.where(negative_zero, 0, codes), expected)


@pytest.mark.parametrize("element", ML_DTYPES, ids=lambda element: element.name)
def test_equals_ml_dtypes_within_range(element):
    values = probes(element) if element.bits <= 8 else probes(E5M2)
    values = values[np.abs(values) <= element.max_value]
    expected = values.astype(ML_DTYPES[element]).view(np.uint8 if element.bits <= 8 else np.uint16)
    np.testing.assert_array_equal(encode(values, element), expected)


@pytest.mark.parametrize(("element", "dtype"), [(E4M3, torch.float8_e4m3fn), (E5M2, torch.float8_e5m2)])
def test_equals_torch_within_range(element, dtype):
    values = probes(element)
    values = values[np.abs(values) <= element.max_value]
    np.testing.assert_array_equal(encode(values, element), torch.from_numpy(values).to(dtype).view(torch.uint8).numpy())


@pytest.mark.parametrize("element", [*SMALL, FP16, BF16, TF32], ids=lambda element: element.name)
def test_saturates_with_sign(element):
    limit = np.float32(element.max_value)
    with np.errstate(over="ignore"):
        values = np.array([limit * 4, -limit * 4, np.inf, -np.inf], np.float32)
    np.testing.assert_array_equal(decode_to_float(encode(values, element), element), [limit, -limit] * 2)


@settings(max_examples=300, deadline=None)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.sampled_from(SMALL))
def test_any_float_equals_the_reference(value, element):
    code = int(encode(np.float32([value]), element)[0])
    if value == 0:
        assert code in (0, 1 << (element.bits - 1))
    else:
        assert code == encode_reference(Fraction(value), element)


def test_asymmetric_integers_use_their_lowest_code():
    asymmetric = type(INT8)("INT8A", 0, 6, 0, symmetric=False)
    np.testing.assert_array_equal(encode(np.float32([-2, -9, 9]), asymmetric), [0x80, 0x80, 0x7F])
    np.testing.assert_array_equal(encode(np.float32([-2, -9, 9]), INT8), [0x81, 0x81, 0x7F])


def test_nan_needs_a_code():
    assert encode(np.float32([np.nan]), E4M3)[0] == 0x7F
    assert encode(np.float32([-np.nan]), E5M2)[0] == 0x7F
    with pytest.raises(ValueError, match="NaN, which has no code in E2M1"):
        encode(np.float32([np.nan]), E2M1)


def test_unsupported_types_are_named():
    with pytest.raises(ValueError, match="values are float64, must be float32"):
        encode(np.zeros(3), E4M3)


def test_float32_is_itself():
    patterns = np.random.default_rng(0).integers(0, 1 << 32, 1 << 16, dtype=np.uint64).astype(np.uint32)
    values = patterns.view(np.float32)
    finite = np.isfinite(values)
    np.testing.assert_array_equal(encode(values[finite], FP32), patterns[finite])
