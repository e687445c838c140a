"""Block conversion against exact rationals, an independent NumPy path and the standard's rules."""

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mx_formats.block import BLOCK_FORMATS, MXFP4, MXFP8_E4M3, MXFP8_E5M2, MXINT8, OCP_FORMATS, BlockFormat
from mx_formats.element import E4M3
from mx_formats.quantize import Quantized, dequantize, quantize
from mx_formats.reference import quantize_reference
from mx_formats.scale import E8M0

FORMATS = pytest.mark.parametrize("block_format", OCP_FORMATS.values(), ids=list(OCP_FORMATS))
OTHER_NAMES = {
    "MXFP8_E4M3": ml_dtypes.float8_e4m3fn,
    "MXFP6_E3M2": ml_dtypes.float6_e3m2fn,
    "MXFP6_E2M3": ml_dtypes.float6_e2m3fn,
    "MXFP4": ml_dtypes.float4_e2m1fn,
}


def tensors(rng, shape):
    yield rng.standard_normal(shape).astype(np.float32)
    yield rng.lognormal(0, 3, shape).astype(np.float32)
    yield (rng.standard_normal(shape) * np.exp2(rng.integers(-140, 120, (*shape[:-1], 1)))).astype(np.float32)


@FORMATS
def test_blocks_equal_the_rational_reference(block_format):
    for x in tensors(np.random.default_rng(0), (6, 32)):
        quantized = quantize(x, block_format)
        for row in range(len(x)):
            codes, scale = quantize_reference(x[row].tolist(), block_format)
            assert quantized.scales[row, 0] == scale
            assert quantized.codes[row].tolist() == codes


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=4, max_size=4),
    st.sampled_from(list(OCP_FORMATS.values())),
)
def test_any_block_equals_the_rational_reference(values, block_format):
    small = BlockFormat(block_format.element, E8M0, 4)
    quantized = quantize(np.float32(values), small)
    codes, scale = quantize_reference(values, small)
    assert quantized.scales.tolist() == [scale]
    sign = 1 << (small.element.bits - 1)
    no_negative_zero = [
        0 if code == sign and value == 0 else code for code, value in zip(quantized.codes.tolist(), values, strict=True)
    ]
    assert no_negative_zero == codes


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_equals_frexp_and_ml_dtypes(name):
    """The same rule written with frexp and an ml_dtypes cast, on 2**17 values a distribution."""
    block_format = BLOCK_FORMATS[name]
    element = block_format.element
    for x in tensors(np.random.default_rng(1), (4096, 32)):
        exponent = np.clip(np.frexp(np.abs(x).max(1, keepdims=True))[1] - 1 - element.emax, -127, 127)
        scaled = np.ldexp(x.astype(np.float64), -exponent)
        clipped = np.clip(scaled, -element.max_value, element.max_value).astype(np.float32)
        quantized = quantize(x, block_format)
        np.testing.assert_array_equal(quantized.scales, exponent + 127)
        np.testing.assert_array_equal(quantized.codes, clipped.astype(OTHER_NAMES[name]).view(np.uint8))
        values = np.ldexp(clipped.astype(OTHER_NAMES[name]).astype(np.float64), exponent)
        np.testing.assert_array_equal(dequantize(quantized), values)


@FORMATS
def test_scale_of_the_largest_float_below_a_power_of_two(block_format):
    """A logarithm in float32 rounds this up (the known fault of other libraries); the exponent field does not."""
    below = np.nextafter(np.float32(2.0**40), np.float32(0))
    quantized = quantize(np.full(32, below), block_format)
    assert quantized.scales[0] == 39 - block_format.element.emax + 127


@FORMATS
def test_zero_and_tiny_blocks_get_the_smallest_scale(block_format):
    assert quantize(np.zeros(32, np.float32), block_format).scales[0] == 0
    tiny = np.full(32, 1e-45, np.float32)
    assert quantize(tiny, block_format).scales[0] == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@FORMATS
def test_a_block_with_a_special_is_nan_and_leaves_its_neighbour(block_format, bad):
    x = np.ones(64, np.float32)
    x[5] = bad
    quantized = quantize(x, block_format)
    assert quantized.scales[0] == E8M0.nan
    assert not quantized.codes[:32].any()
    back = dequantize(quantized)
    assert np.isnan(back[:32]).all()
    np.testing.assert_array_equal(back[32:], 1)


@FORMATS
def test_quantising_twice_changes_nothing(block_format):
    for x in tensors(np.random.default_rng(2), (64, 64)):
        once = dequantize(quantize(x, block_format))
        np.testing.assert_array_equal(dequantize(quantize(once, block_format)), once)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_blocks_run_along_the_axis(axis):
    x = np.random.default_rng(3).standard_normal((64, 96, 32)).astype(np.float32)
    quantized = quantize(x, MXFP8_E4M3, axis=axis)
    moved = quantize(np.moveaxis(x, axis, -1), MXFP8_E4M3)
    np.testing.assert_array_equal(np.moveaxis(quantized.codes, axis, -1), moved.codes)
    np.testing.assert_array_equal(np.moveaxis(quantized.scales, axis, -1), moved.scales)
    np.testing.assert_array_equal(np.moveaxis(dequantize(quantized), axis, -1), dequantize(moved))


def test_torch_and_half_inputs_are_the_same_values():
    x = torch.randn(4, 32, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    expected = quantize(x.float().numpy(), MXFP4)
    np.testing.assert_array_equal(quantize(x, MXFP4).codes, expected.codes)
    half = x.float().numpy().astype(np.float16)
    np.testing.assert_array_equal(quantize(half, MXINT8).codes, quantize(half.astype(np.float32), MXINT8).codes)


def test_overflow_beyond_float32_is_infinity():
    codes = np.full(32, 0x7B, np.uint8)  # 57344
    assert np.isinf(dequantize(Quantized(codes, np.array([254], np.uint8), MXFP8_E5M2))).all()


def test_names_and_storage():
    assert [block_format.name for block_format in BLOCK_FORMATS.values()] == list(BLOCK_FORMATS)
    assert MXFP4.bits_per_element == 4.25
    assert BlockFormat(E4M3, E8M0, 16).name == "E4M3 x 16 / E8M0"


def test_bad_input_is_named():
    x = np.zeros((2, 40), np.float32)
    with pytest.raises(ValueError, match="block_format: got 'MXFP4', must be a BlockFormat"):
        quantize(x, "MXFP4")
    with pytest.raises(ValueError, match="conversion: got 'RCEIL', must be a Conversion"):
        quantize(x, MXFP4, conversion="RCEIL", partial_blocks=True)
    with pytest.raises(ValueError, match="block_size: 32 does not divide the axis of length 40"):
        quantize(x, MXFP4)
    with pytest.raises(ValueError, match="dtype float64 has no conversion rule, legal float32, float16, bfloat16"):
        quantize(x.astype(np.float64), MXFP4)
    with pytest.raises(ValueError, match=r"axis: got 2, legal -2\.\.1"):
        quantize(x, MXFP4, axis=2)
    with pytest.raises(ValueError, match=r"scales: shape is \(2,\), must be \(1,\)"):
        Quantized(np.zeros(32, np.uint8), np.zeros(2, np.uint8), MXFP4)
    with pytest.raises(ValueError, match="block_size: got 0"):
        BlockFormat(E4M3, E8M0, 0)
