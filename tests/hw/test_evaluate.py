"""Whole matrix products: every kernel against the exact reference, step by step."""

from dataclasses import replace

import numpy as np
import pytest

from hw.evaluate import accumulator_values, evaluate_codes, evaluate_gemm
from hw.mac import MacSpec
from hw.mx_macs import hybrid_mac
from hw.presets import NVIDIA_F16, NVIDIA_F32, block_scaled_core, tensor_core
from hw.reduction_tree import Window
from hw.reference import reference
from hw.summation import exact, sequential_fma
from mx_formats import (
    E8M0,
    MXFP4,
    MXFP8_E4M3,
    MXFP8_E5M2,
    MXINT8,
    NVFP4,
    OCP_FORMATS,
    Quantized,
    dequantize,
    quantize,
)
from mx_formats.element import BF16, E2M1, E4M3, E5M2, FP16, INT8, TF32, decode_to_float


def by_reference(tree, element_a, a, element_b, b, acc, scales_a=None, scales_b=None, block_size=32):
    out = acc.copy()
    for m in range(len(a)):
        for n in range(len(b)):
            for k in range(0, a.shape[1], tree.products):
                step = slice(k, k + tree.products)
                xa, xb = (
                    (127, 127) if scales_a is None else (scales_a[m, k // block_size], scales_b[n, k // block_size])
                )
                operands = element_a, a[m, step].tolist(), element_b, b[n, step].tolist()
                out[m, n] = reference(tree, *operands, int(out[m, n]), int(xa), int(xb))
    return out


@pytest.mark.parametrize("name", OCP_FORMATS)
def test_hybrid_gemm_equals_the_reference(name):
    """Random codes, NaNs and infinities among them, and scales near each other; 70 rows leave a tile part empty."""
    block_format = OCP_FORMATS[name]
    rng = np.random.default_rng(5)
    a, b = (random_blocks(rng, block_format, rows) for rows in (3, 2))
    tree = hybrid_mac(MacSpec(block_format.element))
    element = block_format.element
    zeros = np.zeros((3, 2), np.uint32)
    expected = by_reference(tree, element, a.codes, element, b.codes, zeros, a.scales, b.scales)
    many = Quantized(np.tile(a.codes, (24, 1))[:70], np.tile(a.scales, (24, 1))[:70], block_format)
    out = evaluate_gemm(tree, many, b)
    np.testing.assert_array_equal(out.view(np.uint32)[:3], expected << np.uint32(7))
    np.testing.assert_array_equal(out.view(np.uint32), np.tile(out.view(np.uint32)[:3], (24, 1))[:70])


def random_blocks(rng, block_format, rows, k=96):
    codes = rng.integers(0, 1 << block_format.element.bits, (rows, k)).astype(np.uint8)
    scales = rng.integers(120, 135, (rows, k // 32)).astype(np.uint8)
    quiet = quantize(rng.standard_normal((rows, k)).astype(np.float32), block_format)
    codes[1:], scales[1:] = quiet.codes[1:], quiet.scales[1:]  # the first row is where the specials are
    return Quantized(codes, scales, block_format)


def test_a_nan_scale_touches_only_its_outputs():
    x = np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)
    x[2, 40] = np.inf
    a, b = quantize(x, MXFP4), quantize(x[:2], MXFP4)
    out = evaluate_gemm(hybrid_mac(MacSpec(E2M1)), a, b)
    np.testing.assert_array_equal(np.isnan(out), [[False, False]] * 2 + [[True, True]] + [[False, False]])


@pytest.mark.parametrize("name", ["MXFP6_E2M3", "MXFP4", "MXINT8"])
def test_hybrid_is_exact_where_sums_fit(name):
    """Small integers in one binade fit the accumulator's 17 bits, so the tree equals float64."""
    rng = np.random.default_rng(1)
    x, y = (rng.integers(-3, 4, (8, 64)).astype(np.float32) for _ in range(2))
    x[:, ::32], y[:, ::32] = 3, 3  # one scale for all
    a, b = (quantize(part, OCP_FORMATS[name]) for part in (x, y))
    expected = dequantize(a).astype(np.float64) @ dequantize(b).T.astype(np.float64)
    np.testing.assert_array_equal(evaluate_gemm(hybrid_mac(MacSpec(a.format.element)), a, b), expected)


@pytest.mark.parametrize(
    ("generation", "element", "accumulator"),
    [
        ("volta", FP16, NVIDIA_F32),
        ("turing", FP16, NVIDIA_F16),
        ("ampere", FP16, NVIDIA_F32),
        ("ada", BF16, NVIDIA_F32),
        ("hopper", TF32, NVIDIA_F32),
        ("blackwell", FP16, NVIDIA_F16),
    ],
)
def test_tensor_core_gemm_equals_the_reference(generation, element, accumulator):
    rng = np.random.default_rng(2)
    a, b = (rng.integers(0, 1 << element.bits, (rows, 32)).astype(np.uint32) for rows in (18, 3))
    acc = rng.integers(0, 1 << accumulator.bits, (18, 3)).astype(np.uint32)
    tree = tensor_core(generation, element, accumulator)
    expected = by_reference(tree, element, a, element, b, acc)
    np.testing.assert_array_equal(evaluate_codes(tree, element, a, element, b, acc), expected)


def test_the_general_kernel_knows_the_hybrid_window():
    """A hybrid tree with another edge is no `MacSpec`, and still equals its reference."""
    spec = MacSpec(E4M3)
    tree = hybrid_mac(spec)
    products, accumulate = tree.stages
    wider = replace(tree, stages=(products, replace(accumulate, window=Window(spec.mantissa_bits + 5, 39))))
    rng = np.random.default_rng(4)
    a, b = (random_blocks(rng, MXFP8_E4M3, rows) for rows in (4, 3))
    expected = by_reference(wider, E4M3, a.codes, E4M3, b.codes, np.zeros((4, 3), np.uint32), a.scales, b.scales)
    np.testing.assert_array_equal(evaluate_gemm(wider, a, b).view(np.uint32), expected << np.uint32(7))


@pytest.mark.parametrize("tree", [sequential_fma(), exact(1), None], ids=["FMA", "exact", "tensor core"])
@pytest.mark.parametrize(("one", "other"), [(E4M3, E4M3), (E5M2, E5M2), (E4M3, E5M2)], ids=lambda x: x.name)
def test_all_products_of_two_fp8_codes_are_exact(one, other, tree):
    """All 2**16 of them, against float64; infinities and NaN among them."""
    tree = tensor_core("blackwell", one) if tree is None else tree
    codes = np.zeros((256, tree.products), np.uint8)
    codes[:, 0] = np.arange(256)
    with np.errstate(invalid="ignore"):
        want = decode_to_float(codes[:, :1], one) * decode_to_float(codes[:, 0], other)
    got = accumulator_values(tree, evaluate_codes(tree, one, codes, other, codes))
    np.testing.assert_array_equal(got, want)


def test_bad_input_is_named():
    x = np.ones((2, 32), np.float32)
    tree, codes = tensor_core("ampere", FP16), np.zeros((2, 32), np.uint16)
    with pytest.raises(ValueError, match=r"shapes are \(2, 32\) and \(2, 24\)"):
        evaluate_codes(tree, FP16, codes, FP16, codes[:, :24])
    with pytest.raises(ValueError, match="k: got 12, must be a multiple of the 8 products"):
        evaluate_codes(tree, FP16, codes[:, :12], FP16, codes[:, :12])
    int8 = quantize(x, MXINT8)
    with pytest.raises(ValueError, match=r"k is 64, must be 32"):
        evaluate_gemm(hybrid_mac(MacSpec(INT8)), int8, quantize(np.ones((2, 64), np.float32), MXINT8))


@pytest.mark.parametrize(
    ("tree", "block"),
    [
        (tensor_core("blackwell", E4M3), MXFP8_E4M3),
        (tensor_core("blackwell", E5M2, NVIDIA_F16), MXFP8_E5M2),
        (tensor_core("hopper", E4M3), MXFP8_E4M3),
        (tensor_core("blackwell", E2M1), MXFP4),
        (block_scaled_core(), NVFP4),
        (block_scaled_core(), MXFP4),
    ],
    ids=lambda x: x.name,
)
def test_scaled_tensor_core_gemm_equals_the_reference(tree, block):
    """All codes and scales far apart, NaN scales among them; two scales or eight a step of 64 products."""
    rng = np.random.default_rng(11)
    element, scale = block.element, block.scale
    a, b = (rng.integers(0, 1 << element.bits, (rows, 128)).astype(np.uint8) for rows in (5, 3))
    legal = [0, 100, 118, 120, 126, 127, 130, 135, 150, 254] if scale is E8M0 else [0, 1, 0x38, 0x40, 0x7E, 0xB8]
    parts = [rng.choice(legal, (len(part), 128 // block.block_size)).astype(np.uint8) for part in (a, b)]
    parts[0][4, 0] = scale.nan
    got = evaluate_gemm(tree, Quantized(a, parts[0], block), Quantized(b, parts[1], block))
    shares = max(tree.products // block.block_size, 1)
    groups = tree.scaled_terms if shares > 1 else 1
    for m in range(5):
        for n in range(3):
            total = 0
            for step in range(128 // tree.products):
                k = slice(step * tree.products, (step + 1) * tree.products)
                first = step * tree.products // block.block_size
                shared = parts[0][m, first : first + shares], parts[1][n, first : first + shares]
                scales = [np.repeat(codes, groups // shares) for codes in shared]
                total = reference(tree, element, a[m, k].tolist(), element, b[n, k].tolist(), total, *scales, scale)
            want = accumulator_values(tree, np.array([total], np.uint32))[0]
            np.testing.assert_array_equal(got[m, n], want)


def test_scales_that_a_step_cannot_take_are_named():
    x = quantize(np.ones((2, 64), np.float32), MXFP4)
    with pytest.raises(ValueError, match="block_size: 32 is no multiple of the 64 products of 'exact"):
        evaluate_gemm(exact(64), x, x)
    with pytest.raises(ValueError, match="b: scales are UE4M3, must be E8M0 as in a"):
        evaluate_gemm(block_scaled_core(), x, quantize(np.ones((2, 64), np.float32), NVFP4))


@pytest.mark.parametrize("block", [MXFP8_E4M3, MXFP8_E5M2, MXINT8, NVFP4], ids=lambda block: block.name)
@pytest.mark.parametrize("near", [True, False])
def test_a_chain_of_fmas_takes_scales(block, near):
    """By the processor's own FMA where float32 holds the scaled elements, by the general kernel where it does not."""
    rng = np.random.default_rng(12)
    a, b = (rng.integers(0, 1 << block.element.bits, (rows, 64)).astype(np.uint8) for rows in (6, 5))
    low, high = (block.scale.bias - 4, block.scale.bias + 5) if near else (0, 256)
    scales = [rng.integers(low, high, (len(part), 64 // block.block_size)).astype(np.uint8) for part in (a, b)]
    got = evaluate_gemm(sequential_fma(), Quantized(a, scales[0], block), Quantized(b, scales[1], block))
    for m in range(6):
        for n in range(5):
            total = 0
            for k in range(64):
                shared = int(scales[0][m, k // block.block_size]), int(scales[1][n, k // block.block_size])
                codes = block.element, [int(a[m, k])], block.element, [int(b[n, k])]
                total = reference(sequential_fma(), *codes, total, *shared, block.scale)
            want = accumulator_values(sequential_fma(), np.array([total], np.uint32))[0]
            np.testing.assert_array_equal(got[m, n], want)
