"""Softmax of long rows: every way within its bound, also where exp alone overflows, and what it refuses."""

import pytest
import torch

from workloads.softmax_passes import WAYS, error_ratio, softmax_passes


def rows(columns: int, spread: float, shift: float) -> torch.Tensor:
    return shift + spread * torch.randn((3, columns), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("columns", "spread", "shift"),
    [(1, 1, 0), (255, 0, 5), (700, 1, 0), (700, 300, 0), (700, 5, 3000), (700, 5, -3000)],
)
def test_within_its_bound(gpu, way, columns, spread, shift):
    x = rows(columns, spread, shift)
    y = softmax_passes(x, way, block=128)
    assert error_ratio(x, y, way, 128)[1] <= 1
    assert y.sum(1).sub(1).abs().max() < 1e-5


def test_two_passes_hold_weights_far_apart(gpu):
    """Exponents up to 2^20 apart: what is far below the largest is 0, and equal ones share."""
    x = torch.tensor([[-1e6, 0, 1e6, 1e6] * 40, [-1e6, -1e6 + 1, -2e6, -1e6 + 1] * 40])
    y = softmax_passes(x, "two-pass", block=64)
    torch.testing.assert_close(y, torch.softmax(x.double(), 1).float(), rtol=2**-18, atol=0)
    assert (y[0].view(-1, 4)[:, :2] == 0).all()


def test_a_wrong_row_is_out_of_bound(gpu):
    x = rows(700, 5, 0)
    y = softmax_passes(x, "two-pass", block=128)
    y[1] *= 1 + 2**-17
    assert error_ratio(x, y, "two-pass", 128)[1] > 1


def test_what_it_refuses():
    with pytest.raises(ValueError, match=r"way is 'four', must be one of recompute, reload, two-pass"):
        softmax_passes(torch.zeros((2, 8)), "four")
    with pytest.raises(ValueError, match=r"shape \(8,\), torch.float32"):
        softmax_passes(torch.zeros(8))
    with pytest.raises(ValueError, match=r"torch.float16"):
        softmax_passes(torch.zeros((2, 8)).half())
