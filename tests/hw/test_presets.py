"""Published ways to sum, against libm, NumPy, torch, MMA-Sim or exact fractions."""

import ctypes
from dataclasses import replace
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmasim.arithmetic import fdpa

from hw.cdna3 import PRODUCTS, cdna3
from hw.evaluate import evaluate_codes, evaluate_gemm, evaluate_steps
from hw.mac import MacSpec
from hw.mx_macs import fp32_addition_mac, hybrid_mac, long_integer_mac, mxdotp
from hw.presets import NVIDIA_F32, TENSOR_CORES, integer_tensor_core
from hw.presets import tensor_core as tensor_core_tree
from hw.reference import reference
from hw.summation import IEEE_BF16, IEEE_F16, IEEE_F32, IEEE_F64, binary_tree, exact, pairwise, sequential_fma
from mx_formats import MXFP8_E4M3, NVFP4, dequantize, quantize
from mx_formats.element import BF16, E2M1, E2M3, E3M2, E4M3, E4M3_FNUZ, E5M2, E5M2_FNUZ, FP16, FP32, INT8, TF32
from mx_formats.scale import E8M0

LIBM = ctypes.CDLL("libm.so.6")
LIBM.fmaf.restype, LIBM.fmaf.argtypes = ctypes.c_float, [ctypes.c_float] * 3
MX = (E5M2, E4M3, E3M2, E2M3, E2M1, INT8)


def patterns(rng, shape, kind="all"):
    """FP32 patterns: all of them, or near each other so that sums cancel."""
    bits = rng.integers(0, 1 << 32, shape, dtype=np.uint32)
    return bits if kind == "all" else (bits & 0x80FFFFFF) | 0x3F000000


def one_nan(values):
    """Patterns of float32 values, one for every NaN."""
    values = values.view(np.float32)
    return np.where(np.isnan(values), 0x7FC00000, values.view(np.uint32))


@pytest.mark.parametrize("kind", ["all", "near"])
def test_sequential_fma_is_libm_fma(kind):
    rng = np.random.default_rng(1)
    a, b = patterns(rng, (30, 8), kind), patterns(rng, (30, 8), kind)
    if kind == "all":
        a[::3, :4], b[::5] = a[::3, :4] & 0x80FFFFFF, b[::5] & 0x80000001  # zeros of both signs, underflow
    start = patterns(rng, (30, 30)) * (rng.random((30, 30)) < 0.5).astype(np.uint32)
    start[0], start[1] = 0x80000000, 0
    want = start.view(np.float32).copy()
    fa, fb = a.view(np.float32), b.view(np.float32)
    for m in range(30):
        for n in range(30):
            for k in range(8):
                want[m, n] = LIBM.fmaf(fa[m, k], fb[n, k], want[m, n])
    got = evaluate_codes(sequential_fma(), FP32, a, FP32, b, start)
    np.testing.assert_array_equal(one_nan(got), one_nan(want))


@pytest.mark.parametrize("kind", ["all", "near"])
def test_pairwise_is_numpy_additions(kind):
    rng = np.random.default_rng(2)
    a, b = patterns(rng, (20, 32), kind), patterns(rng, (20, 32), kind)
    total = np.zeros((20, 20), np.float32)
    with np.errstate(all="ignore"):
        for step in range(2):
            part = slice(16 * step, 16 * step + 16)
            terms = a[:, None, part].view(np.float32) * b[None, :, part].view(np.float32)
            while terms.shape[2] > 1:
                terms = terms[..., ::2] + terms[..., 1::2]
            total = terms[..., 0] + total
    got = evaluate_codes(pairwise(16), FP32, a, FP32, b)
    np.testing.assert_array_equal(one_nan(got), one_nan(total))


def nearest_float32(value):
    """Correctly rounded float32 of a fraction, ties to even, by trying neighbours."""
    guess = np.float32(float(value))
    around = [np.nextafter(guess, np.float32(-np.inf)), guess, np.nextafter(guess, np.float32(np.inf))]
    return min(around, key=lambda x: (abs(Fraction(float(x)) - value), int(x.view(np.uint32)) & 1))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32), st.sampled_from([FP16, BF16]))
def test_a_long_accumulator_rounds_the_exact_sum_once(seed, element):
    rng = np.random.default_rng(seed)
    a, b = (rng.standard_normal((1, 64)) * 2.0 ** rng.integers(-6, 7, (1, 64)) for _ in range(2))
    b[:, 1::2], a[:, 1::2] = b[:, ::2], -a[:, ::2]  # pairs cancel but for their last bits
    if element is FP16:
        codes = [part.astype(np.float16).view(np.uint16) for part in (a, b)]
        codes[0][:, 1::2] ^= 1
        values = [part.view(np.float16).astype(float)[0] for part in codes]
    else:
        codes = [(part.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16) for part in (a, b)]
        codes[0][:, 1::2] ^= 1
        values = [(part.astype(np.uint32) << 16).view(np.float32).astype(float)[0] for part in codes]
    value = sum(Fraction(x) * Fraction(y) for x, y in zip(*values, strict=True))
    got = evaluate_codes(exact(64), element, codes[0], element, codes[1])
    assert got.view(np.float32)[0, 0] == nearest_float32(value)


def test_a_long_accumulator_takes_a_scale_a_block():
    """Blocks of 32 with scales far apart: as the exact sum of dequantised products."""
    rng = np.random.default_rng(3)
    spread = 2.0 ** np.repeat(rng.integers(-40, 40, (2, 4, 4)), 32, axis=2)
    x, y = rng.standard_normal((2, 4, 128)) * spread
    a, b = (quantize(part.astype(np.float32), MXFP8_E4M3) for part in (x, y))
    got = evaluate_gemm(exact(128, 4), a, b)
    left, right = dequantize(a).astype(float), dequantize(b).astype(float)
    for m in range(4):
        for n in range(4):
            value = sum(Fraction(p) * Fraction(q) for p, q in zip(left[m], right[n], strict=True))
            assert got[m, n] == nearest_float32(value)


def test_tensor_scales_come_on_top():
    x = np.random.default_rng(4).standard_normal((3, 64)).astype(np.float32)
    a = quantize(x, NVFP4)
    got = evaluate_gemm(exact(64, 4), a, a)
    blocks = evaluate_gemm(exact(64, 4), *[type(a)(a.codes, a.scales, a.format)] * 2)
    np.testing.assert_array_equal(got, blocks * (np.float32(a.tensor_scale) * np.float32(a.tensor_scale)))
    assert a.tensor_scale != 1


@pytest.mark.parametrize(("accumulator", "dtype"), [(IEEE_BF16, torch.bfloat16), (IEEE_F32, torch.float32)])
def test_binary_tree_is_the_same_for_any_number_of_devices(accumulator, dtype):
    """Leaves of 64 on Ampere's tensor core (by MMA-Sim), two in sequence, a tree of four; split over 1, 2 and 4."""
    rng = np.random.default_rng(5)
    x, y = (torch.from_numpy(rng.standard_normal((6, 512)).astype(np.float32)).bfloat16() for _ in range(2))
    leaf = tensor_core_tree("ampere", BF16).stages[0]
    chained = replace(leaf, fan_in=64, chain=8, accumulator=False, result=NVIDIA_F32)
    tree = binary_tree(chained, 2, 2, accumulator)
    codes = [part.view(torch.uint16).numpy() for part in (x, y)]
    got = evaluate_codes(tree, BF16, codes[0], BF16, codes[1])
    op = fdpa.MMA_T_FDPA(24, "RZ-FP32", 8, -132, "bf16", "bf16")
    for devices in (1, 2, 4):
        shards = []
        for shard in range(devices):
            length = 8 // devices
            leaves = [
                op(x[:, 64 * i : 64 * i + 64], y[:, 64 * i : 64 * i + 64].T, torch.zeros(6, 6)).to(dtype)
                for i in range(shard * length, (shard + 1) * length)
            ]
            level = [leaves[i] + leaves[i + 1] for i in range(0, length, 2)]
            while len(level) > 1:
                level = [level[i] + level[i + 1] for i in range(0, len(level), 2)]
            shards += level
        while len(shards) > 1:
            shards = [shards[i] + shards[i + 1] for i in range(0, len(shards), 2)]
        want = shards[0].view(torch.uint16 if dtype is torch.bfloat16 else torch.uint32).numpy()
        np.testing.assert_array_equal(got, want)


CDNA3_TYPES = {
    FP16: (np.uint16, torch.float16),
    BF16: (np.uint16, torch.bfloat16),
    E4M3_FNUZ: (np.uint8, torch.float8_e4m3fnuz),
    E5M2_FNUZ: (np.uint8, torch.float8_e5m2fnuz),
}


def narrow_fields(rng, element, shape, low, high):
    """Codes with exponent fields in low..high, zeros often."""
    m = element.mantissa_bits
    codes = rng.integers(0, 2, shape) << (element.bits - 1) | rng.integers(low, high, shape) << m
    codes |= rng.integers(0, 1 << m, shape)
    return np.where(rng.random(shape) < 0.2, 0, codes).astype(np.uint32)


@pytest.mark.parametrize("element", PRODUCTS, ids=lambda element: element.name)
def test_cdna3_equals_mma_sim(element):
    products, tree = PRODUCTS[element], cdna3(element)
    model = fdpa.MMA_GTR_FDPA if element.bits == 8 else fdpa.MMA_TR_FDPA
    theirs = model(F=24, F2=31, rho="RNE-FP32", L_max=products)
    top = (1 << element.exponent_bits) - 1
    ranges = [(0, top + 1), (0, 3), (top // 2 - 1, top // 2 + 2), (top - 3, top + 1), (0, top // 2 + 1)]
    for trial in range(20):
        rng = np.random.default_rng(trial)
        depth = products if element is E5M2_FNUZ else 2 * products
        a, b = (narrow_fields(rng, element, (24, depth), *ranges[trial % 5]) for _ in range(2))
        if trial % 4 == 0:
            a[:, 2::4], b[:, 2::4] = a[:, ::4] ^ (1 << (element.bits - 1)), b[:, ::4]
        start = patterns(rng, (24, 24)) >> np.uint32(rng.integers(0, 2))
        start = np.where(rng.random(start.shape) < 0.3, 0, start).astype(np.uint32)
        start[:4] = (start[:4] & 0x80FFFFFF) | 0x3D000000
        if element is E5M2_FNUZ:  # MMA-Sim drops a NaN or infinite accumulator under products of 2**25 and more
            start = np.where(start >> 23 & 0xFF == 0xFF, 0x40490FDB, start).astype(np.uint32)
        if element is TF32:
            parts = [torch.from_numpy((part << np.uint32(13)).view(np.float32)) for part in (a, b)]
        else:
            dtype, view = CDNA3_TYPES[element]
            parts = [torch.from_numpy(part.astype(dtype)).view(view) for part in (a, b)]
        want = theirs(parts[0], parts[1].T, torch.from_numpy(start).view(torch.float32)).view(torch.uint32).numpy()
        np.testing.assert_array_equal(evaluate_codes(tree, element, a, element, b, start), want, err_msg=str(trial))


def test_cdna3_names_what_it_has():
    with pytest.raises(ValueError, match="got E4M3, legal on CDNA3: FP16, BF16, TF32"):
        cdna3(E4M3)
    assert cdna3(FP32) == sequential_fma()
    assert cdna3(INT8) == integer_tensor_core(INT8, 16)


def test_integer_tensor_core_is_numpy():
    rng = np.random.default_rng(6)
    a, b = (rng.integers(0, 256, (5, 64)).astype(np.uint8) for _ in range(2))
    want = (a.view(np.int8).astype(np.int32) @ b.view(np.int8).astype(np.int32).T).view(np.uint32)
    np.testing.assert_array_equal(evaluate_codes(integer_tensor_core(INT8), INT8, a, INT8, b), want)


def mx_operands(rng, element, lanes, count):
    codes = [rng.integers(0, 1 << element.bits, (count, lanes)).astype(np.uint8) for _ in range(2)]
    return *codes, *(rng.integers(118, 137, (count, 1)).astype(np.uint8) for _ in range(2))


MACS = {
    "long-integer": long_integer_mac,
    "FP32-addition": fp32_addition_mac,
    "hybrid": hybrid_mac,
}


@pytest.mark.parametrize("element", MX, ids=lambda element: element.name)
@pytest.mark.parametrize("mac", MACS)
@pytest.mark.parametrize("mantissa_bits", [13, 16, 23])
def test_mac_kernels_equal_the_reference(mac, element, mantissa_bits):
    """All codes, accumulators of every exponent, zeros and specials among them."""
    rng = np.random.default_rng(mantissa_bits)
    spec = MacSpec(element, mantissa_bits)
    tree = MACS[mac](spec)
    a, b, scale_a, scale_b = mx_operands(rng, element, spec.lanes, 60)
    a[:6] = 0
    field = rng.choice([0, 1, 100, 120, 125, 127, 130, 150, 254, 255], 60).astype(np.uint32)
    start = field << mantissa_bits | rng.integers(0, 1 << mantissa_bits, 60).astype(np.uint32)
    start |= rng.integers(0, 2, 60).astype(np.uint32) << (mantissa_bits + 8)
    got = evaluate_steps(tree, element, a, element, b, start, scale_a, scale_b, E8M0)
    for row in range(60):
        scales = int(scale_a[row, 0]), int(scale_b[row, 0])
        assert got[row] == reference(tree, element, a[row].tolist(), element, b[row].tolist(), int(start[row]), *scales)


@pytest.mark.parametrize("element", MX, ids=lambda element: element.name)
def test_macs_are_right_where_nothing_is_lost(element):
    """Eight ones, eight minus ones, halves and zeros: sums that every tree must have exactly (biases, signs, zero)."""
    one = {INT8: 64}.get(element, element.bias << element.mantissa_bits)
    half = {INT8: 32, E2M3: 4, E2M1: 1}.get(element, one - (1 << element.mantissa_bits))
    minus = (256 - one) if element is INT8 else one | 1 << (element.bits - 1)
    row = np.array([[one, half, minus, 0, half, one, one, half] * 8], np.uint8)
    ones = np.full((1, 64), one, np.uint8)
    for make in (*MACS.values(), lambda spec: mxdotp(spec.lanes)):
        tree = make(MacSpec(element, 23))
        assert evaluate_codes(tree, element, row, element, ones).view(np.float32)[0, 0] == 28.0
        back = row.copy()
        back[0, 32:] = [minus, 0, one, 0, 0, minus, minus, 0] * 4
        cancelled = evaluate_codes(tree, element, back, element, ones).view(np.float32)[0, 0]
        assert cancelled == 4 * (1 + 0.5 - 1 + 0.5 + 1 + 1 + 0.5) - 4 * (1 - 1 + 1 + 1)
        zero = np.tile(np.array([[one, minus]], np.uint8), (1, 32))
        assert evaluate_codes(tree, element, zero, element, ones)[0, 0] == 0


def test_mxdotp_is_the_exact_sum_rounded_to_nearest():
    rng = np.random.default_rng(8)
    for element in (E4M3, E5M2):
        a, b, scale_a, scale_b = mx_operands(rng, element, 8, 200)
        a, b = (np.where((part & 0x7F) >= 0x7C, 0x30, part).astype(np.uint8) for part in (a, b))
        start = (rng.standard_normal(200) * 2.0 ** rng.integers(-30, 30, 200)).astype(np.float32)
        got = evaluate_steps(mxdotp(), element, a, element, b, start.view(np.uint32), scale_a, scale_b, E8M0)
        dtype = {E4M3: ml_dtypes.float8_e4m3fn, E5M2: ml_dtypes.float8_e5m2}[element]
        for row in range(200):
            pairs = zip(a[row].view(dtype), b[row].view(dtype), strict=True)
            products = [Fraction(float(x)) * Fraction(float(y)) for x, y in pairs]
            scale = Fraction(2) ** (int(scale_a[row, 0]) + int(scale_b[row, 0]) - 254)
            assert got.view(np.float32)[row] == nearest_float32(sum(products) * scale + Fraction(float(start[row])))


def test_a_truncating_tree_differs_from_a_rounding_one():
    """The three MACs of one spec are three rules, not one."""
    rng = np.random.default_rng(9)
    spec = MacSpec(E4M3, 13)
    a, b, scale_a, scale_b = mx_operands(rng, E4M3, 4, 500)
    start = np.full(500, 127 << 13, np.uint32)
    sums = [evaluate_steps(make(spec), E4M3, a, E4M3, b, start, scale_a, scale_b, E8M0) for make in MACS.values()]
    assert all((one != other).any() for one, other in zip(sums, sums[1:], strict=False))


def test_presets_name_what_they_cannot_do():
    with pytest.raises(ValueError, match="products: got 12, must be a power of two"):
        pairwise(12)
    with pytest.raises(ValueError, match="blocks: got 3, must divide the 64 products"):
        exact(64, 3)
    with pytest.raises(ValueError, match="element: got FP16, must be an integer format"):
        integer_tensor_core(FP16)
    assert {key[0] for key in TENSOR_CORES} == {"volta", "turing", "ampere", "ada", "hopper", "blackwell"}
    assert sequential_fma(IEEE_F64).accumulator.bits == 64
    assert sequential_fma(IEEE_F16).accumulator.bits == 16
