"""Codes and their values against ml_dtypes, torch and the standard's table."""

import ml_dtypes
import numpy as np
import pytest
import torch

from mx_formats.element import (
    BF16,
    E2M1,
    E2M3,
    E3M2,
    E4M3,
    E5M2,
    ELEMENTS,
    FINITE,
    FP16,
    FP32,
    INFINITE,
    INT8,
    NAN,
    TF32,
    decode,
    decode_to_float,
)

ML_DTYPES = {
    E5M2: ml_dtypes.float8_e5m2,
    E4M3: ml_dtypes.float8_e4m3fn,
    E3M2: ml_dtypes.float6_e3m2fn,
    E2M3: ml_dtypes.float6_e2m3fn,
    E2M1: ml_dtypes.float4_e2m1fn,
    BF16: ml_dtypes.bfloat16,
    FP16: np.float16,
}

# OCP MX 1.0, element formats: bits, largest normal, smallest normal, largest subnormal, smallest subnormal, emax.
OCP_TABLE = [
    (E5M2, 8, 57344, 2**-14, 0.75 * 2**-14, 2**-16, 15),
    (E4M3, 8, 448, 2**-6, 0.875 * 2**-6, 2**-9, 8),
    (E3M2, 6, 28, 0.25, 0.1875, 2**-4, 4),
    (E2M3, 6, 7.5, 1, 0.875, 2**-3, 2),
    (E2M1, 4, 6, 1, 0.5, 0.5, 2),
]


@pytest.mark.parametrize("row", OCP_TABLE, ids=lambda row: row[0].name)
def test_ocp_table(row):
    element, bits, largest, smallest_normal, largest_subnormal, smallest_subnormal, emax = row
    assert (element.bits, element.max_value, element.emax) == (bits, largest, emax)
    values = decode_to_float(np.arange(1 << (bits - 1), dtype=np.uint8), element)
    first_normal = 1 << element.mantissa_bits
    expected = [0, smallest_subnormal, largest_subnormal, smallest_normal]
    np.testing.assert_array_equal(values[[0, 1, first_normal - 1, first_normal]], expected)


@pytest.mark.parametrize("element", ML_DTYPES, ids=lambda element: element.name)
def test_every_code_decodes_as_ml_dtypes_does(element):
    codes = np.arange(1 << element.bits, dtype=np.uint32)
    stored = codes.astype(np.uint8 if element.bits <= 8 else np.uint16).view(ML_DTYPES[element])
    with np.errstate(invalid="ignore"):  # signalling NaNs
        expected = stored.astype(np.float64)
    ours = decode_to_float(codes, element)
    np.testing.assert_array_equal(ours, expected)
    np.testing.assert_array_equal(np.signbit(ours)[~np.isnan(ours)], np.signbit(expected)[~np.isnan(ours)])


@pytest.mark.parametrize(("element", "dtype"), [(E4M3, torch.float8_e4m3fn), (E5M2, torch.float8_e5m2)])
def test_every_code_decodes_as_torch_does(element, dtype):
    codes = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(decode_to_float(codes, element), torch.from_numpy(codes).view(dtype).double().numpy())


def test_int8_is_twos_complement_with_six_fraction_bits():
    codes = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(decode_to_float(codes, INT8), codes.view(np.int8) / 64.0)
    assert (INT8.bits, INT8.max_value, INT8.emax) == (8, 127 / 64, 0)


def test_float32_patterns_decode_exactly():
    codes = np.random.default_rng(0).integers(0, 1 << 32, 1 << 16, dtype=np.uint64).astype(np.uint32)
    with np.errstate(invalid="ignore"):  # signalling NaNs
        expected = codes.view(np.float32).astype(np.float64)
        np.testing.assert_array_equal(decode_to_float(codes, FP32), expected)
        np.testing.assert_array_equal(
            decode_to_float(codes >> np.uint32(13), TF32), (codes & np.uint32(0xFFFFE000)).view(np.float32)
        )


def test_kinds_and_subnormal_exponents():
    decoded = decode(np.array([0x00, 0x01, 0x7B, 0x7C, 0x7D], np.uint8), E5M2)
    np.testing.assert_array_equal(decoded.kind, [FINITE, FINITE, FINITE, INFINITE, NAN])
    np.testing.assert_array_equal(decoded.exponent[:3], [-14, -14, 15])
    np.testing.assert_array_equal(decoded.significand[:3], [0, 1, 7])


def test_names_are_the_table():
    assert [element.name for element in ELEMENTS.values()] == list(ELEMENTS)


def test_codes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="0x40 does not fit in the 6 bits of E3M2"):
        decode(np.array([0x40], np.uint8), E3M2)
    with pytest.raises(ValueError, match="dtype is int64, must be an unsigned integer"):
        decode(np.array([1]), E3M2)
