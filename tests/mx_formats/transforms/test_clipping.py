import numpy as np
import pytest
import torch

from mx_formats.transforms.clipping import best_clip, clip_symmetric, integers


@pytest.mark.parametrize(("dtype", "percent"), [(torch.bfloat16, 16.82), (torch.float16, 0.02), (torch.float32, 0)])
def test_published_share_of_maxima_that_round_to_128(dtype, percent):
    """arXiv 2510.25602: x / (x / 127) in each arithmetic. Every significand of one binade, or 2**20 of float32's."""
    steps = min(2 ** {torch.bfloat16: 7, torch.float16: 10, torch.float32: 20}[dtype], 2**20)
    x = (1 + torch.arange(steps, dtype=torch.float64) / steps).to(dtype)[:, None]
    found = integers(x)
    share = 100 * (found == 128).double().mean().item()
    assert share == pytest.approx(percent, abs=0.8 if dtype is torch.bfloat16 else 0.1)
    assert clip_symmetric(found).max() == 127


def test_best_clip_is_the_least_error_of_its_grid():
    x = np.random.default_rng(0).standard_t(3, 4000)
    amax = np.abs(x).max()

    def error(limit):
        return np.square(x - np.clip(np.rint(x / limit * 7), -7, 7) * limit / 7).sum()

    limits = amax * np.arange(1, 101) / 100
    assert best_clip(x, 4) == min(limits, key=error)
    assert error(best_clip(x, 4)) < 0.5 * error(amax)
    assert best_clip(np.linspace(-1, 1, 101), 8) == 1
    assert best_clip(np.zeros(4), 8) == 0


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="steps: got 0"):
        best_clip(np.ones(2), 8, 0)
    with pytest.raises(ValueError, match="NaN or infinite"):
        best_clip(np.array([np.nan]), 8)
