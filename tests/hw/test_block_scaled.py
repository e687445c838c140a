"""FP8 and block-scaled sums against exact rationals (rules: MMA-Sim, arXiv 2511.10909)."""

import numpy as np
import pytest

from hw.block_scaled import GROUPS, add_scales, mma_block_scaled, scale_table
from hw.presets import NVIDIA_E8M13, NVIDIA_F32, TENSOR_CORES, block_scaled_core, tensor_core
from hw.reference import reference
from hw.tensor_core import mma_e8m13, mma_f32, new_scratch, split_codes
from mx_formats.element import E2M1, E3M2, E4M3, E5M2
from mx_formats.scale import E8M0, UE4M3


def finite_codes(rng, element, shape):
    codes = rng.integers(0, 1 << element.bits, shape, dtype=np.uint32)
    special = split_codes(codes, element)[1] > 1 << 11
    return np.where(special, 1, codes)


def accumulators(rng, spread=20):
    values = rng.standard_normal((8, 16)) * 2.0 ** rng.integers(-spread, spread, (8, 16))
    return values.astype(np.float32).view(np.uint32)


def test_e8m13_is_the_top_of_an_fp32_register():
    assert NVIDIA_E8M13.nan == NVIDIA_F32.nan >> 10
    assert NVIDIA_E8M13.bits + 10 == NVIDIA_F32.bits


@pytest.mark.parametrize(
    ("generation", "a", "b"),
    [("ada", E4M3, E5M2), ("hopper", E4M3, E4M3), ("hopper", E5M2, E5M2), ("blackwell", E5M2, E3M2)],
)  # fmt: skip
def test_fp8_steps(generation, a, b):
    rng = np.random.default_rng(1)
    core = TENSOR_CORES[generation, a]
    k = core.products
    codes_a, codes_b, acc = finite_codes(rng, a, (k, 16)), finite_codes(rng, b, (k, 8)), accumulators(rng)
    before, narrow = acc.copy(), core.result_bits == 13
    left = np.int32(core.fraction_bits - a.mantissa_bits - b.mantissa_bits)
    mma = mma_e8m13 if narrow else mma_f32
    mma(
        *split_codes(codes_a, a),
        *split_codes(codes_b, b),
        acc,
        0,
        k,
        left,
        np.int32(core.fraction_bits),
        *new_scratch(),
    )
    tree, low = tensor_core(generation, a), 10 if narrow else 0
    for n in range(8):
        for m in range(16):
            # An FP32 accumulator enters an E8M13 sum without its lower bits: the alignment cuts them off anyway.
            want = reference(tree, a, codes_a[:, m], b, codes_b[:, n], int(before[n, m]) >> low) << low
            assert acc[n, m] == want, (m, n)


def test_fp8_nan_is_the_one_pattern():
    acc = np.zeros((8, 16), np.uint32)
    codes = np.full((32, 16), 0x7F, np.uint32)
    mma_e8m13(
        *split_codes(codes, E4M3),
        *split_codes(codes[:, :8], E4M3),
        acc,
        0,
        32,
        np.int32(7),
        np.int32(13),
        *new_scratch(),
    )
    assert (acc == 0x7FFFFFFF).all()


def test_one_scale_a_line():
    rng = np.random.default_rng(2)
    a, b, acc = finite_codes(rng, E4M3, (32, 16)), finite_codes(rng, E5M2, (32, 8)), accumulators(rng)
    before = acc.copy()
    (sig_a, exp_a), (sig_b, exp_b) = split_codes(a, E4M3), split_codes(b, E5M2)
    scale_a, scale_b = rng.integers(0, 256, 16), rng.integers(90, 160, 8)
    exponents = scale_table(False)[1]
    add_scales(exp_a, exponents[scale_a], 0, 32)
    add_scales(exp_b, exponents[scale_b], 0, 32)
    mma_f32(sig_a, exp_a, sig_b, exp_b, acc, 0, 32, np.int32(20), np.int32(25), *new_scratch())
    tree = tensor_core("blackwell", E4M3)
    for n in range(8):
        for m in range(16):
            args = a[:, m], E5M2, b[:, n], int(before[n, m]), int(scale_a[m]), int(scale_b[n])
            assert acc[n, m] == reference(tree, E4M3, *args)


@pytest.mark.parametrize("scale", [E8M0, UE4M3], ids=lambda scale: scale.name)
def test_block_scaled_groups(scale):
    rng = np.random.default_rng(3)
    a, b, acc = rng.integers(0, 16, (64, 16)), rng.integers(0, 16, (64, 8)), accumulators(rng)
    before = acc.copy()
    low, high = (110, 145) if scale is E8M0 else (0, 256)
    scale_a, scale_b = rng.integers(low, high, (GROUPS, 16)), rng.integers(low, high, (GROUPS, 8))
    significands, exponents = scale_table(scale is UE4M3)
    doubled = np.array([0, 1, 2, 3, 4, 6, 8, 12])  # E2M1 values times two (OCP MX 1.0)
    doubled = np.concatenate([doubled, -doubled]).astype(np.int32)
    mma_block_scaled(
        doubled[a],
        doubled[b],
        significands[scale_a],
        exponents[scale_a],
        significands[scale_b],
        exponents[scale_b],
        acc,
    )
    tree = block_scaled_core()
    for n in range(8):
        for m in range(16):
            want = reference(tree, E2M1, a[:, m], E2M1, b[:, n], int(before[n, m]), scale_a[:, m], scale_b[:, n], scale)
            assert acc[n, m] == want, (m, n)
