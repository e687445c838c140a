"""Every rule on every format against exact rationals, and the fast kernels against the general one."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mx_formats.block import BLOCK_FORMATS, MXFP4, MXFP8_E4M3, MXFP8_E5M2, MXINT8, NVFP4, BlockFormat
from mx_formats.conversion import OCP, Conversion, Overflow, Rounding, ScaleRule, Specials
from mx_formats.element import BF16, E2M1, E4M3, E5M2, ELEMENTS, FP16, FP32, INT8, decode_to_float
from mx_formats.encode import encode
from mx_formats.fast_kernel import encodes_fast
from mx_formats.general_kernel import plan_of, quantizer, tables_of
from mx_formats.philox import philox4x32, random_word
from mx_formats.quantize import Quantized, dequantize, quantize, round_trip
from mx_formats.reference import encode_reference, quantize_reference, scale_values
from mx_formats.scale import E8M0, FP32_SCALE, UE4M3, decode_scale
from mx_formats.scale_choice import rule_for

NARROW = [element for element in ELEMENTS.values() if element.bits <= 8]
DIRECTED = [rounding for rounding in Rounding if rounding is not Rounding.STOCHASTIC]
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def rules_of(block_format):
    for rule in ScaleRule:
        try:
            yield rule_for(block_format, Conversion(rule))
        except ValueError:
            continue


CASES = [(block_format, rule) for block_format in BLOCK_FORMATS.values() for rule in rules_of(block_format)]


def hard_blocks(rng, count, size):
    """Normal, log-normal, far apart, subnormal, and exact powers of two and their neighbours as the largest."""
    yield rng.standard_normal((count, size)).astype(np.float32)
    yield rng.lognormal(0, 3, (count, size)).astype(np.float32)
    yield (rng.standard_normal((count, size)) * np.exp2(rng.integers(-149, 120, (count, size)))).astype(np.float32)
    tops = (
        np.exp2(rng.integers(-149, 128, (count, 1))).astype(np.float32)
        * np.float32([[1], [1.75], [1.5]] * count)[:count]
    )
    blocks = (rng.uniform(-1, 1, (count, size)) * tops).astype(np.float32)
    towards = rng.choice(np.float32([0, 3e38, 1]), (count, 1))
    blocks[:, :1] = np.where(towards == 1, tops, np.nextafter(tops, towards))
    yield blocks


@pytest.mark.parametrize(("block_format", "rule"), CASES, ids=lambda case: getattr(case, "name", None))
def test_every_rule_equals_the_rationals(block_format, rule):
    small = replace(block_format, block_size=4)
    count = 3 if rule is ScaleRule.LEAST_SQUARES else 60
    for x in hard_blocks(np.random.default_rng(0), count, 4):
        if rule is ScaleRule.LEAST_SQUARES:
            x = np.clip(x, -(2.0**40), 2.0**40).astype(np.float32)
        quantized = quantize(x, small, conversion=Conversion(rule))
        for row in range(count):
            expected = quantize_reference(x[row].tolist(), small, Conversion(rule), quantized.tensor_scale)
            assert (without_negative_zeros(quantized.codes[row], x[row], small), quantized.scales[row, 0]) == expected


def without_negative_zeros(codes, values, block_format):
    sign = 1 << (block_format.element.bits - 1)
    pairs = zip(codes.tolist(), values, strict=True)
    return [0 if code == sign and value == 0 else code for code, value in pairs]


@pytest.mark.parametrize("rounding", DIRECTED)
@pytest.mark.parametrize("block_format", [MXFP8_E4M3, MXINT8, NVFP4], ids=lambda block_format: block_format.name)
def test_every_rounding_equals_the_rationals(block_format, rounding):
    small = replace(block_format, block_size=4)
    conversion = Conversion(rounding=rounding)
    for x in hard_blocks(np.random.default_rng(1), 40, 4):
        quantized = quantize(x, small, conversion=conversion)
        for row in range(len(x)):
            codes, _ = quantize_reference(x[row].tolist(), small, conversion, quantized.tensor_scale)
            assert without_negative_zeros(quantized.codes[row], x[row], small) == codes


@settings(max_examples=300, deadline=None)
@given(FLOATS, st.sampled_from(NARROW), st.sampled_from(list(Rounding)), st.integers(0, 2**64 - 1))
def test_any_cast_equals_the_rationals(value, element, rounding, seed):
    code = int(encode(np.float32([value]), element, rounding, seed=seed)[0])
    expected = encode_reference(Fraction(value), element, rounding, int(random_word(np.uint64(seed), np.uint64(0))))
    assert (0 if value == 0 and code == 1 << (element.bits - 1) else code) == expected


@settings(max_examples=200, deadline=None)
@given(
    st.lists(FLOATS, min_size=3, max_size=3),
    st.sampled_from(NARROW),
    st.sampled_from([E8M0, UE4M3, FP32_SCALE]),
    st.sampled_from([1.0, float(np.float32(1e-3)), float(np.float32(7.7e5))]),
)
def test_any_element_with_any_scale_equals_the_rationals(values, element, scale, tensor_scale):
    two_level = scale is UE4M3
    small = BlockFormat(element, scale, 3, tensor_scale=two_level)
    tensor_scale = tensor_scale if two_level else 1.0
    quantized = quantize(np.float32(values), small, tensor_scale=tensor_scale)
    if scale is FP32_SCALE:
        # The reference would enumerate 2**31 codes: the scale is checked by NumPy's float32 division.
        expected_scale = np.float32(np.abs(np.float32(values)).max() / np.float64(element.max_value))
        np.testing.assert_array_equal(decode_scale(quantized.scales, scale), [expected_scale])
        return
    codes, scale_code = quantize_reference(values, small, OCP, tensor_scale)
    assert quantized.scales[0] == scale_code
    assert without_negative_zeros(quantized.codes, np.float32(values), small) == codes


@pytest.mark.parametrize("block_format", BLOCK_FORMATS.values(), ids=list(BLOCK_FORMATS))
def test_fast_kernels_equal_the_general_one(block_format):
    rng = np.random.default_rng(2)
    for rule in rules_of(block_format):
        conversion = Conversion(rule)
        if not encodes_fast(block_format, conversion):
            continue
        plan, tables = plan_of(block_format, conversion, 1.0), tables_of(block_format)
        for x in hard_blocks(rng, 2000, block_format.block_size):
            x[5, 3], x[6, 2], x[7, 1] = np.nan, np.inf, -np.inf
            codes, scales = np.empty(x.shape, np.uint8), np.empty(len(x), np.uint8)
            assert quantizer(block_format.block_size)(x, codes, scales, 0, 1, 0, plan, *tables) == -1
            quantized = quantize(x, block_format, conversion=conversion)
            np.testing.assert_array_equal(quantized.codes, codes)
            np.testing.assert_array_equal(quantized.scales[:, 0], scales)
            factors = decode_scale(scales, block_format.scale)[:, None]
            with np.errstate(over="ignore"):
                expected = (decode_to_float(codes, block_format.element) * factors).astype(np.float32)
            for values in (dequantize(quantized), round_trip(x, block_format, conversion=conversion)):
                np.testing.assert_array_equal(values.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("size", [16, 32])
def test_block_sizes_that_the_compiler_knows_change_nothing(size, rounding):
    """The kernel for one size against that for any, specials in some blocks."""
    x = (np.random.default_rng(8).standard_normal((100, size)) * 2**16).astype(np.float32)
    x[3, 2], x[4, :2], x[5] = np.nan, (np.inf, -np.inf), 0
    block_format = BlockFormat(E5M2, UE4M3, size)
    conversion = Conversion(rounding=rounding, overflow=Overflow.SPECIAL, specials=Specials.ELEMENTS, seed=4)
    plan, tables = plan_of(block_format, conversion, 1.0), tables_of(block_format)
    results = []
    for kernel in (quantizer(size), quantizer(7)):
        codes, scales = np.empty(x.shape, np.uint8), np.empty(len(x), np.uint8)
        assert kernel(x, codes, scales, 0, 1, 0, plan, *tables) == -1
        results.append((codes, scales))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
    values = dequantize(Quantized(results[0][0], results[0][1][:, None], block_format))
    np.testing.assert_array_equal(values[[3, 4, 4, 5], [2, 0, 1, 9]], [np.nan, np.inf, -np.inf, 0])


@pytest.mark.parametrize("element", [E4M3, E5M2, E2M1, INT8], ids=lambda element: element.name)
def test_stochastic_rounding_is_unbiased(element):
    """The mean of n draws is within 5 standard errors; a step is split with variance at most step**2 / 4."""
    values = np.float32([0.3, 0.8, 1.3, 1.55, 1.95, -0.7])
    n = 40_000
    codes = encode(np.repeat(values, n), element, Rounding.STOCHASTIC, seed=7)
    means = decode_to_float(codes, element).reshape(len(values), n).mean(1)
    step = np.maximum(np.exp2(np.floor(np.log2(np.abs(values)))), 2.0**element.emin) * 2.0**-element.mantissa_bits
    np.testing.assert_array_less(np.abs(means - values), 5 * step / 2 / np.sqrt(n))


def test_stochastic_rounding_depends_on_place_and_seed_alone():
    x = np.random.default_rng(3).standard_normal((64, 64)).astype(np.float32)
    stochastic = Conversion(rounding=Rounding.STOCHASTIC, seed=5)
    whole = quantize(x, MXFP4, conversion=stochastic).codes
    np.testing.assert_array_equal(whole[:8], quantize(x[:8], MXFP4, conversion=stochastic).codes)
    assert (whole != quantize(x, MXFP4, conversion=replace(stochastic, seed=6)).codes).any()
    assert (whole[32:] != quantize(x[32:], MXFP4, conversion=stochastic).codes).any()


def test_philox_known_answers():
    """Random123's known-answer vectors for philox4x32-10."""
    u32 = np.uint32
    pi = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0]
    cases = [
        ([0] * 6, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ([0xFFFFFFFF] * 6, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (pi, (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
    ]
    for words, expected in cases:
        assert tuple(int(word) for word in philox4x32(*(u32(word) for word in words))) == expected
    seed = np.uint64(0xA409382200000000 | 0x299F31D0)
    words = philox4x32(u32(3), u32(0), u32(0), u32(0), u32(0x299F31D0), u32(0xA4093822))
    assert [random_word(seed, np.uint64(12 + i)) for i in range(4)] == list(words)


def test_overflow_to_specials():
    """OFP8 1.0: without saturation E4M3 overflows to NaN, E5M2 to infinity; 464 is a tie that goes to 448."""
    values = np.float32([448, 464, 464.01, -1e6, np.inf, -np.inf])
    expected = np.array([0x7E, 0x7E, 0x7F, 0xFF, 0x7F, 0xFF], np.uint8)
    np.testing.assert_array_equal(encode(values, E4M3, overflow=Overflow.SPECIAL), expected)
    values = np.float32([57344, 61439, 61440, -1e6, np.inf, -np.inf])
    expected = np.array([0x7B, 0x7B, 0x7C, 0xFC, 0x7C, 0xFC], np.uint8)
    np.testing.assert_array_equal(encode(values, E5M2, overflow=Overflow.SPECIAL), expected)
    toward_zero = encode(values, E5M2, Rounding.TOWARD_ZERO, Overflow.SPECIAL)
    np.testing.assert_array_equal(toward_zero, [0x7B, 0x7B, 0x7B, 0xFB, 0x7C, 0xFC])
    np.testing.assert_array_equal(encode(values, E5M2, Rounding.UP, Overflow.SPECIAL)[2:4], [0x7C, 0xFB])
    with pytest.raises(ValueError, match="SPECIAL, but E2M1 has neither infinity nor NaN"):
        encode(values, E2M1, overflow=Overflow.SPECIAL)


@pytest.mark.parametrize("element", [FP16, BF16], ids=lambda element: element.name)
def test_ieee_overflow_as_numpy_and_torch_round(element):
    import torch

    patterns = np.random.default_rng(4).integers(0, 1 << 32, 1 << 16, dtype=np.uint64).astype(np.uint32)
    values = patterns.view(np.float32)
    values = values[~np.isnan(values)]
    dtype = torch.float16 if element is FP16 else torch.bfloat16
    expected = torch.from_numpy(values).to(dtype).view(torch.uint16).numpy()
    np.testing.assert_array_equal(encode(values, element, overflow=Overflow.SPECIAL), expected)


def test_specials_in_their_element():
    x = np.ones(64, np.float32)
    x[3], x[4], x[5] = np.nan, np.inf, -np.inf
    quantized = quantize(x, MXFP8_E5M2, conversion=Conversion(specials=Specials.ELEMENTS, overflow=Overflow.SPECIAL))
    np.testing.assert_array_equal(dequantize(quantized), x)
    saturated = dequantize(quantize(x, MXFP8_E5M2, conversion=Conversion(specials=Specials.ELEMENTS)))
    np.testing.assert_array_equal(saturated[:6], [1, 1, 1, np.nan, 1.75, -1.75])
    with pytest.raises(ValueError, match="block 0 holds a NaN, which has no code in E2M1"):
        quantize(x, MXFP4, conversion=Conversion(specials=Specials.ELEMENTS))
    with pytest.raises(ValueError, match=r"x: nan at \(3,\), must be finite"):
        quantize(x, MXFP4, conversion=Conversion(specials=Specials.REJECT))


def test_wide_elements_are_exact():
    x = np.random.default_rng(5).standard_normal((4, 32)).astype(np.float32)
    for element, values in [(FP32, x), (FP16, x.astype(np.float16).astype(np.float32))]:
        # FP16 keeps its 11 bits wherever the shared exponent puts the block.
        block = BlockFormat(element, E8M0, 32)
        np.testing.assert_array_equal(dequantize(quantize(values, block)), values)


def test_two_levels_use_the_whole_range():
    """The largest block of a tensor gets the largest UE4M3 scale: 448 * 6 * global = amax."""
    x = np.random.default_rng(6).standard_normal((32, 64)).astype(np.float32)
    quantized = quantize(x, NVFP4)
    assert quantized.tensor_scale == np.float32(np.abs(x).max() / 2688)
    assert quantized.scales.max() == UE4M3.largest
    blocks = np.abs(x).reshape(-1, 16).max(1) / (6 * quantized.tensor_scale)
    exact = decode_scale(quantized.scales, UE4M3).reshape(-1)
    np.testing.assert_allclose(exact, blocks, rtol=1 / 15)
    zeros = quantize(np.zeros(16, np.float32), NVFP4)
    assert (zeros.tensor_scale, zeros.scales[0], zeros.codes.any()) == (1.0, 0, False)


def test_scale_tables():
    for scale in (E8M0, UE4M3):
        values = decode_scale(np.arange(1 << scale.bits, dtype=np.uint8), scale)
        assert [Fraction(value) for value in values[: scale.largest + 1]] == list(scale_values(scale).values())
        assert np.isnan(values[scale.nan])
    assert decode_scale(np.uint8([0x80 | 0x38]), UE4M3)[0] == 1  # the sign bit is ignored


def test_bad_choices_are_named():
    x = np.zeros(32, np.float32)
    with pytest.raises(ValueError, match="scale_rule: FLOOR does not apply to NVFP4, legal NEAREST, ROUND_UP, LEAST"):
        quantize(x, NVFP4, conversion=Conversion(ScaleRule.FLOOR))
    with pytest.raises(ValueError, match="scale_rule: NEAREST does not apply to MXFP4, legal FLOOR, CEIL"):
        quantize(x, MXFP4, conversion=Conversion(ScaleRule.NEAREST))
    with pytest.raises(ValueError, match=r"seed: got -1, legal 0\.\.2\*\*64 - 1"):
        Conversion(seed=-1)
    with pytest.raises(ValueError, match=r"Conversion.rounding: got 'nearest', legal Rounding.NEAREST_EVEN, "):
        Conversion(rounding="nearest")
    with pytest.raises(ValueError, match="tensor_scale: got nan, must be positive"):
        quantize(x, NVFP4, tensor_scale=float("nan"))
    with pytest.raises(ValueError, match=r"tensor_scale: got 2\.0, must be 1 for MXFP4"):
        quantize(x, MXFP4, tensor_scale=2.0)
    with pytest.raises(ValueError, match="tensor_scale: True with E8M0 scales"):
        BlockFormat(E2M1, E8M0, 16, tensor_scale=True)
    with pytest.raises(ValueError, match="FP32 has 23 mantissa bits, legal with UE4M3 scales up to 10"):
        BlockFormat(FP32, UE4M3, 16)
