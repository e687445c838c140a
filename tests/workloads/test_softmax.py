"""Fused softmax against PyTorch in float64, with the bound the script derives, and exact properties."""

import numpy as np
import pytest
import torch

from workloads.softmax import DTYPES, error_ratio, softmax


def random(*shape: int, dtype: torch.dtype = torch.float32, scale: float = 1.0) -> torch.Tensor:
    return (scale * torch.randn(*shape, generator=torch.Generator().manual_seed(0))).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [1, 33, 256, 781])
def test_within_bound(gpu, dtype, columns):
    x = random(5, columns, dtype=DTYPES[dtype], scale=4)
    assert error_ratio(x, softmax(x))[1] <= 1


@pytest.mark.parametrize(
    ("rows", "programs", "stages", "warps"), [(7, 3, 1, 4), (9, 2, 3, 4), (3, 64, 4, 1), (4, 2, 2, 8)]
)
def test_schedule_does_not_matter(gpu, rows, programs, stages, warps):
    x = random(rows, 512)
    y = softmax(x, programs, stages, warps)
    assert error_ratio(x, y)[1] <= 1
    if warps == 4:  # another warp count sums in another order
        assert torch.equal(y, softmax(x))


@pytest.mark.parametrize("columns", [2, 64, 1024])
def test_equal_scores_give_exact_fractions(gpu, columns):
    # exp2(0) is 1, the sum is a power of two and so is its reciprocal: no step rounds.
    assert softmax(torch.full((2, columns), 3.5)).eq(1 / columns).all()


def test_minus_infinity_has_no_weight(gpu):
    x = random(4, 100)
    x[:, ::3] = -torch.inf
    y = softmax(x)
    assert y[:, ::3].eq(0).all()
    assert error_ratio(torch.where(x.isinf(), -1e4, x), y)[1] <= 1


def test_large_scores_do_not_overflow(gpu):
    x = torch.tensor([[3e38, 0.0, -3e38], [100.0, 99.0, -100.0]])
    y = softmax(x)
    np.testing.assert_array_equal(y[0].numpy(), [1, 0, 0])
    assert error_ratio(x, y)[1] <= 1


def test_nan_spoils_its_row_only(gpu):
    x = random(3, 64)
    x[1, 5] = torch.nan
    y = softmax(x)
    assert y[1].isnan().all()
    assert torch.equal(y[[0, 2]], softmax(random(3, 64))[[0, 2]])


def test_row_stride(gpu):
    wide = random(6, 300)
    assert torch.equal(softmax(wide[:, :200]), softmax(wide[:, :200].contiguous()))


def test_strided_columns_are_refused():
    with pytest.raises(ValueError, match="last stride 1"):
        softmax(torch.zeros(4, 4).T[:, ::2])
