"""Bit equality with ml_dtypes, torch, torchao and gfloat, on 2**20 values of three distributions.

Where torchao is known to differ, its blocks are left out by the condition under which it does (docs/differences.md);
where it takes a quotient in float32, each difference is checked against exact rationals instead.
"""

import warnings
from dataclasses import replace
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
import torch

from mx_formats.block import BLOCK_FORMATS, NVFP4, OCP_FORMATS
from mx_formats.conversion import Conversion, Overflow, Rounding, ScaleRule
from mx_formats.element import BF16, E2M1, E2M3, E3M2, E4M3, E5M2, FP16, INT8, decode_to_float
from mx_formats.encode import encode
from mx_formats.packing import pack
from mx_formats.quantize import dequantize, quantize, tensor_scale_of
from mx_formats.reference import encode_reference, quantize_reference
from mx_formats.scale import E8M0, UE4M3, decode_scale

COUNT = 1 << 20


def _normal(rng):
    return rng.standard_normal(COUNT)


def _lognormal(rng):
    return rng.lognormal(0, 3, COUNT) * rng.choice([-1, 1], COUNT)


def _wide(rng):
    """Blocks of 32 whose exponents lie anywhere in float32's range."""
    return rng.standard_normal(COUNT) * np.repeat(np.exp2(rng.integers(-140, 124, COUNT // 32)), 32)


@pytest.fixture(scope="module", params=[_normal, _lognormal, _wide], ids=["normal", "lognormal", "wide"])
def values(request):
    return request.param(np.random.default_rng(0)).astype(np.float32)


@pytest.fixture(scope="module")
def torchao():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("torchao", reason="torchao is not installed; pip install -e '.[test]'")
        from torchao.prototype.mx_formats import mx_tensor, nvfp4_tensor

    return mx_tensor, nvfp4_tensor


ML_DTYPES = [
    (E5M2, ml_dtypes.float8_e5m2),
    (E4M3, ml_dtypes.float8_e4m3fn),
    (E3M2, ml_dtypes.float6_e3m2fn),
    (E2M3, ml_dtypes.float6_e2m3fn),
    (E2M1, ml_dtypes.float4_e2m1fn),
    (BF16, ml_dtypes.bfloat16),
    (FP16, np.float16),
]


@pytest.mark.parametrize(("element", "dtype"), ML_DTYPES, ids=[element.name for element, _ in ML_DTYPES])
def test_casts_equal_ml_dtypes(element, dtype, values):
    """Formats with infinity or NaN overflow to them there, the others saturate."""
    special = element.infinity or element.nan_code is not None
    overflow = Overflow.SPECIAL if special else Overflow.SATURATE
    with np.errstate(over="ignore"):
        expected = values.astype(dtype).view(element.code_dtype)
    np.testing.assert_array_equal(encode(values, element, overflow=overflow), expected)


TORCH_CASTS = [
    (E4M3, torch.float8_e4m3fn, Overflow.SATURATE),
    (E5M2, torch.float8_e5m2, Overflow.SPECIAL),
    (BF16, torch.bfloat16, Overflow.SPECIAL),
    (FP16, torch.float16, Overflow.SPECIAL),
]


@pytest.mark.parametrize(("element", "dtype", "overflow"), TORCH_CASTS, ids=[case[0].name for case in TORCH_CASTS])
def test_casts_equal_torch(element, dtype, overflow, values):
    """torch 2.13 saturates E4M3 and overflows the others to infinity."""
    expected = torch.from_numpy(values).to(dtype).view(torch.uint8 if element.bits == 8 else torch.uint16).numpy()
    np.testing.assert_array_equal(encode(values, element, overflow=overflow), expected)


GFLOAT_ROUNDINGS = {
    Rounding.NEAREST_EVEN: "TiesToEven",
    Rounding.NEAREST_AWAY: "TiesToAway",
    Rounding.TOWARD_ZERO: "TowardZero",
    Rounding.UP: "TowardPositive",
    Rounding.DOWN: "TowardNegative",
}
GFLOAT_FORMATS = {
    E5M2: "format_info_ocp_e5m2",
    E4M3: "format_info_ocp_e4m3",
    E3M2: "format_info_ocp_e3m2",
    E2M3: "format_info_ocp_e2m3",
    E2M1: "format_info_ocp_e2m1",
    FP16: "format_info_binary16",
    BF16: "format_info_bfloat16",
}


@pytest.mark.parametrize("rounding", GFLOAT_ROUNDINGS)
@pytest.mark.parametrize("element", GFLOAT_FORMATS, ids=lambda element: element.name)
def test_roundings_equal_gfloat(element, rounding, values):
    gfloat = pytest.importorskip("gfloat", reason="gfloat is not installed; pip install -e '.[test]'")
    formats = pytest.importorskip("gfloat.formats")
    mode = getattr(gfloat.RoundMode, GFLOAT_ROUNDINGS[rounding])
    expected = gfloat.round_ndarray(getattr(formats, GFLOAT_FORMATS[element]), values.astype(np.float64), mode, True)
    ours = decode_to_float(encode(values, element, rounding), element)
    np.testing.assert_array_equal(ours, expected)
    np.testing.assert_array_equal(np.signbit(ours), np.signbit(expected))


TORCHAO_RULES = {
    ScaleRule.FLOOR: "FLOOR",
    ScaleRule.CEIL: "CEIL",
    ScaleRule.EVEN: "EVEN",
    ScaleRule.ROUND_UP: "RCEIL",
}


def _torchao_type(mx_tensor, element):
    return {
        E5M2: torch.float8_e5m2,
        E4M3: torch.float8_e4m3fn,
        E3M2: mx_tensor.DTYPE_FP6_E3M2,
        E2M3: mx_tensor.DTYPE_FP6_E2M3,
        E2M1: torch.float4_e2m1fn_x2,
    }[element]


@pytest.mark.parametrize("rule", TORCHAO_RULES)
@pytest.mark.parametrize("name", [name for name, known in OCP_FORMATS.items() if known.element is not INT8])
def test_blocks_equal_torchao(name, rule, values, torchao):
    mx_tensor, _ = torchao
    block_format = OCP_FORMATS[name]
    element = block_format.element
    mode = mx_tensor.ScaleCalculationMode[TORCHAO_RULES[rule]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scales, codes = mx_tensor.to_mx(torch.from_numpy(values), _torchao_type(mx_tensor, element), 32, mode)
    scales = scales.view(torch.uint8).numpy()
    codes = codes.view(torch.uint8).numpy().reshape(len(scales), -1)
    ours = quantize(values, block_format, conversion=Conversion(rule))

    # torchao divides by 2**-126 or 1 where it stores 2**-127, and takes a logarithm in float32 for RCEIL.
    kept = ours.scales > 0
    if rule is ScaleRule.ROUND_UP:
        ratio = np.abs(values).reshape(-1, 32).max(1) / np.float32(element.max_value)
        logarithm = torch.log2(torch.from_numpy(ratio)).numpy()
        kept &= (logarithm != np.rint(logarithm)) & (scales > 0)
    assert kept.mean() > 0.85
    expected = ours.codes.reshape(-1, 32)
    expected = pack(expected, element) if element.bits == 4 else expected
    np.testing.assert_array_equal(scales[kept], ours.scales[kept])
    np.testing.assert_array_equal(codes[kept], expected[kept])

    back = mx_tensor.to_dtype(
        torch.from_numpy(codes.reshape(-1)).view(torch.float8_e4m3fn if element is E4M3 else torch.uint8)
        if element is not E5M2
        else torch.from_numpy(codes.reshape(-1)).view(torch.float8_e5m2),
        torch.from_numpy(scales).view(torch.float8_e8m0fnu),
        _torchao_type(mx_tensor, element),
        32,
        torch.float32,
    )
    np.testing.assert_array_equal(back.numpy().reshape(-1, 32)[kept], dequantize(ours).reshape(-1, 32)[kept])


@pytest.mark.parametrize("two_level", [True, False])
def test_nvfp4_equals_torchao(two_level, values, torchao):
    """torchao multiplies by a reciprocal in float32: where a result differs, ours is the rational one."""
    _, nvfp4_tensor = torchao
    values = np.clip(values, -1e30, 1e30)
    block_format = replace(NVFP4, tensor_scale=two_level)
    tensor_scale = tensor_scale_of(values, NVFP4) if two_level else 1.0
    scale_argument = torch.tensor(tensor_scale) if two_level else None
    scales, packed = nvfp4_tensor.nvfp4_quantize(torch.from_numpy(values[None]), 16, scale_argument)
    scales = scales.view(torch.uint8).numpy().reshape(-1)
    packed = packed.view(torch.uint8).numpy().reshape(-1, 8)
    ours = quantize(values, block_format, tensor_scale=tensor_scale)

    # torchao never goes below the smallest normal scale, 2**-6.
    kept = decode_scale(ours.scales, UE4M3) > 2.0**-6
    blocks = values.reshape(-1, 16)
    for block in np.flatnonzero(kept & (scales != ours.scales)):
        _, expected = quantize_reference(blocks[block].tolist(), block_format, tensor_scale=tensor_scale)
        assert ours.scales[block] == expected
    kept &= scales == ours.scales
    codes = np.stack([packed & 15, packed >> 4], axis=-1).reshape(-1, 16)
    different = np.argwhere((codes != ours.codes.reshape(-1, 16)) & kept[:, None])
    assert len(different) < 1e-4 * values.size
    for block, place in different:
        factor = Fraction(decode_scale(ours.scales[block : block + 1], UE4M3)[0]) * Fraction(tensor_scale)
        expected = encode_reference(Fraction(float(blocks[block, place])) / factor, E2M1)
        assert ours.codes.reshape(-1, 16)[block, place] == expected
    assert kept.any() or not two_level


def test_e8m0_scales_decode_as_torch_and_ml_dtypes_do():
    codes = np.arange(256, dtype=np.uint8)
    ours = decode_scale(codes, E8M0)
    np.testing.assert_array_equal(ours, codes.view(ml_dtypes.float8_e8m0fnu).astype(np.float64))
    np.testing.assert_array_equal(ours, torch.from_numpy(codes).view(torch.float8_e8m0fnu).double().numpy())


@pytest.mark.parametrize("name", BLOCK_FORMATS)
def test_every_code_of_every_format_round_trips(name):
    """Each finite code, in a block whose first element is the largest code and so keeps the scale at hand."""
    block_format = BLOCK_FORMATS[name]
    element = block_format.element
    table = decode_to_float(np.arange(1 << element.bits, dtype=np.uint8), element)
    codes = np.flatnonzero(np.isfinite(table)).astype(np.uint8)
    if element.is_integer:
        codes = codes[codes != 1 << (element.bits - 1)]
    blocks = np.full((len(codes), block_format.block_size), element.largest_code, np.uint8)
    blocks[:, 1] = codes
    x = table[blocks].astype(np.float32)
    quantized = quantize(x, block_format, tensor_scale=2.0**-8 if block_format.tensor_scale else None)
    np.testing.assert_array_equal(quantized.codes, blocks)
    np.testing.assert_array_equal(dequantize(quantized), x)


@pytest.mark.parametrize("element", [E4M3, E5M2], ids=lambda element: element.name)
def test_all_products_of_two_fp8_numbers_are_exact(element):
    """float64 holds each of the 2**16 products, so exactness is that of `decode_to_float`."""
    table = decode_to_float(np.arange(256, dtype=np.uint8), element)
    finite = table[np.isfinite(table)]
    products = finite[:, None] * finite[None, :]
    exact = [Fraction(value) for value in finite]
    assert all(Fraction(products[i, j]) == a * b for i, a in enumerate(exact) for j, b in enumerate(exact))
