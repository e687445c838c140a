"""The MXFP4 product: exact when every scale is equal, bounded elsewhere; its decoder against ml_dtypes."""

import itertools

import ml_dtypes
import numpy as np
import pytest
import torch

from hw.presets import TENSOR_CORES, tensor_core
from hw.reference import reference
from mx_formats.element import BF16
from workloads.matmul_mxfp4 import BLOCK, SCALE_BIAS, decode, error_ratio, matmul_mxfp4, sample


def product(m: int, n: int, k: int, stages: int = 2) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
    a, a_scale = sample(m, k, seed=0)
    b, b_scale = sample(n, k, seed=1)
    return decode(a, a_scale), decode(b, b_scale), matmul_mxfp4(a, a_scale, b, b_scale, stages=stages)


def test_decoder_is_ml_dtypes():
    codes = np.arange(16, dtype=np.uint8)
    packed = torch.from_numpy(np.tile(codes[0::2] | codes[1::2] << 4, 2))[None]
    expected = codes.view(ml_dtypes.float4_e2m1fn).astype(np.float64)
    for scale in (0, 100, 127, 254):
        factor = np.uint8(scale).reshape(1).view(ml_dtypes.float8_e8m0fnu).astype(np.float64)
        got = decode(packed, torch.tensor([[scale]], dtype=torch.uint8))
        np.testing.assert_array_equal(got[0, :16], expected * factor)


@pytest.mark.parametrize(("m", "n", "k"), [(64, 64, 128), (80, 72, 320), (1, 1, 32), (17, 30, 96)])
def test_within_bound(gpu, m, n, k):
    assert error_ratio(*product(m, n, k))[1] <= 1


def rule(a: np.ndarray, b: np.ndarray) -> int:
    """FP32 pattern of one output by the Ampere rule on operands decoded to bfloat16, which holds them exactly.

    The compiler gives each of a quad's four lanes eight neighbours out of 32 and feeds them pair by pair, the low half
    of an instruction from one run of 32 and the high half from the next: a fused step takes k = j, j + 1, j + 8, ...
    """
    assert TENSOR_CORES["ampere", BF16].products == 8
    padding = (0, -len(a) % (2 * BLOCK))
    left, right = (np.pad(vector, padding).astype(ml_dtypes.bfloat16).view(np.uint16) for vector in (a, b))
    total = 0
    for start in range(0, len(left), 2 * BLOCK):
        for j, half in itertools.product((0, 2, 4, 6), (0, BLOCK)):
            step = start + half + j + np.array([0, 1, 8, 9, 16, 17, 24, 25])
            total = reference(tensor_core("ampere", BF16), BF16, left[step], BF16, right[step], total)
    return total


def test_equals_the_tensor_core_rule(gpu):
    a, b, c = product(32, 40, 160)
    patterns = c.numpy().view(np.uint32)
    for row, column in np.random.default_rng(0).integers(0, (32, 40), (60, 2)):
        assert patterns[row, column] == rule(a[row], b[column]), (row, column)


@pytest.mark.parametrize("stages", [1, 3])
def test_stages_do_not_change_a_bit(gpu, stages):
    assert torch.equal(product(64, 64, 256, stages)[2], product(64, 64, 256)[2])


def test_equal_scales_are_exact(gpu):
    # Products are multiples of 1/4 up to 36, so 256 of them need 16 bits: no fused step truncates anything.
    (a, a_scale), (b, b_scale) = sample(48, 256, seed=2), sample(40, 256, seed=3)
    a_scale.fill_(SCALE_BIAS + 5)
    b_scale.fill_(SCALE_BIAS - 9)
    c = matmul_mxfp4(a, a_scale, b, b_scale)
    np.testing.assert_array_equal(c.numpy().astype(np.float64), decode(a, a_scale) @ decode(b, b_scale).T)


@pytest.mark.parametrize(("a_code", "b_code"), [(77, 77), (177, 177), (0, 252), (252, 0)])
def test_far_scales_are_exact(gpu, a_code, b_code):
    # Scale 0 is 2^-127, where bfloat16 is subnormal; 252 is the largest whose 6 * 2^125 is finite in bfloat16.
    (a, a_scale), (b, b_scale) = sample(16, 64, seed=4), sample(16, 64, seed=5)
    c = matmul_mxfp4(a, a_scale.fill_(a_code), b, b_scale.fill_(b_code))
    np.testing.assert_array_equal(c.numpy().astype(np.float64), decode(a, a_scale) @ decode(b, b_scale).T)


def test_scale_255_is_nan(gpu):
    a, a_scale = sample(16, 64, seed=5)
    b, b_scale = sample(16, 64, seed=6)
    a_scale[3, 1] = 255
    spoilt = matmul_mxfp4(a, a_scale, b, b_scale).isnan()
    assert spoilt[3].all()
    assert int(spoilt.sum()) == 16


def test_scale_shape_is_checked():
    a, a_scale = sample(4, 64, seed=0)
    with pytest.raises(ValueError, match=r"a_scale is \(4, 1\) torch.uint8.*need contiguous uint8 \(4, 2\)"):
        matmul_mxfp4(a, a_scale[:, :1].contiguous(), a, a_scale)
