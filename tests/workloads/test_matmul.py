"""Half-precision product: exact where no step can round, bounded elsewhere, and equal for any schedule."""

import numpy as np
import pytest
import torch

from hw.presets import TENSOR_CORES, tensor_core
from hw.reference import reference
from mx_formats.element import FP16
from workloads.matmul import error_ratio, matmul


def halves(m: int, n: int, k: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(m, k, generator=generator).half(), torch.randn(k, n, generator=generator).half()


def rule(a: torch.Tensor, b: torch.Tensor, row: int, column: int) -> np.float16:
    """One output by the Ampere rule, in exact rationals: fused steps in order of k, then one rounding to float16."""
    products = TENSOR_CORES["ampere", FP16].products
    left, right = (vector.contiguous().numpy().view(np.uint16) for vector in (a[row], b[:, column]))
    left, right = (np.pad(codes, (0, -len(codes) % products)) for codes in (left, right))
    total = 0
    for k in range(0, len(left), products):
        total = reference(
            tensor_core("ampere", FP16), FP16, left[k : k + products], FP16, right[k : k + products], total
        )
    with np.errstate(over="ignore"):
        return np.uint32(total).view(np.float32).astype(np.float16)


@pytest.mark.parametrize("spread", [0, 6, 12])
def test_equals_the_tensor_core_rule(gpu, spread):
    # The wider the exponents, the more bits each fused step cuts off.
    generator = torch.Generator().manual_seed(spread)
    a, b = halves(48, 40, 100, seed=spread)
    a, b = (torch.ldexp(t, torch.randint(-spread, spread + 1, t.shape, generator=generator)).half() for t in (a, b))
    c = matmul(a, b).numpy()
    for row, column in np.random.default_rng(spread).integers(0, (48, 40), (60, 2)):
        assert c[row, column].view(np.uint16) == rule(a, b, row, column).view(np.uint16), (row, column)


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
@pytest.mark.parametrize(("m", "n", "k"), [(64, 64, 128), (80, 48, 112), (67, 33, 45), (1, 1, 1)])
def test_within_bound(gpu, stages, m, n, k):
    a, b = halves(m, n, k)
    assert error_ratio(a, b, matmul(a, b, stages=stages))[1] <= 1


def test_stages_do_not_change_a_bit(gpu):
    a, b = halves(96, 80, 160)
    first = matmul(a, b, stages=1)
    for stages in (2, 3, 4):
        assert torch.equal(matmul(a, b, stages=stages), first)


def test_small_integers_are_exact(gpu):
    # |sum| <= 112 * 4 * 4 < 2048: every product, partial sum and float16 result is an integer held exactly.
    generator = torch.Generator().manual_seed(1)
    a = torch.randint(-4, 5, (70, 112), generator=generator)
    b = torch.randint(-4, 5, (112, 90), generator=generator)
    assert torch.equal(matmul(a.half(), b.half()).long(), a @ b)


@pytest.mark.parametrize(("tile", "warps"), [((16, 16, 16), 1), ((32, 64, 64), 2), ((128, 64, 32), 8)])
def test_tiles(gpu, tile, warps):
    a, b = halves(150, 100, 96)
    # All tiles walk k in order and the fused steps are the same, so not a bit may differ.
    assert torch.equal(matmul(a, b, tile=tile, warps=warps), matmul(a, b))


@pytest.mark.parametrize("transposed", ["a", "b", "both"])
def test_transposed_views(gpu, transposed):
    a, b = halves(64, 64, 64)
    view_a = a.T.contiguous().T if transposed != "b" else a
    view_b = b.T.contiguous().T if transposed != "a" else b
    assert torch.equal(matmul(view_a, view_b), matmul(a, b))


def test_overflow_is_infinity(gpu):
    a = torch.full((16, 16), 256.0, dtype=torch.float16)
    assert matmul(a, a).isinf().all()  # 16 * 2^16 = 2^20 is above 65504


def test_nan_stays_in_its_row_and_column(gpu):
    a, b = halves(32, 32, 32)
    a[3, 7] = torch.nan
    spoilt = matmul(a, b).isnan()
    assert spoilt[3].all()
    assert int(spoilt.sum()) == 32


def test_wrong_dtype_is_refused():
    with pytest.raises(ValueError, match=r"a is \(4, 4\) torch.float32, .* need float16"):
        matmul(torch.zeros(4, 4), torch.zeros(4, 4))
