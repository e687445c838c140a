"""Symmetric clipping of integers, and clipping a tensor's range for the least squared error.

With scale = amax / 127 rounded to a narrow type, amax / scale can round to 128, which two's complement stores as -128
only with the wrong sign's magnitude: the range is made symmetric (arXiv 2510.25602, which needs it for INT8 training).
"""

import numpy as np
import torch


def integers(x: torch.Tensor, bits: int = 8) -> torch.Tensor:
    """x / (amax / (2**(bits - 1) - 1)) of each row, both divisions in the dtype of `x`, rounded to even; not clipped.

    Args:
        x: a floating dtype, [..., n].
        bits: of the integers.

    Returns:
        float32 integers; a row of zeros stays zero.
    """
    scale = x.abs().amax(-1, keepdim=True) / (2 ** (bits - 1) - 1)
    return torch.round((x / torch.where(scale == 0, torch.ones_like(scale), scale)).float())


def clip_symmetric(values: torch.Tensor, bits: int = 8) -> torch.Tensor:
    """Integers clamped to +-(2**(bits - 1) - 1)."""
    limit = 2 ** (bits - 1) - 1
    return values.clamp(-limit, limit)


def best_clip(x: np.ndarray, bits: int, steps: int = 100) -> float:
    """The limit, `amax * i / steps` for i in 1..steps, whose symmetric integers have the least squared error.

    Of equals the larger; float64.

    Raises:
        ValueError: a value is not finite, or fewer than one step.
    """
    x = np.asarray(x, np.float64)
    if steps < 1:
        raise ValueError(f"steps: got {steps}, must be 1 or more")
    if not np.isfinite(x).all():
        raise ValueError("best_clip: a value is NaN or infinite, must all be finite")
    amax = float(np.abs(x).max())
    if amax == 0:
        return 0.0
    largest = 2 ** (bits - 1) - 1
    limits = amax * np.arange(steps, 0, -1) / steps
    errors = [np.square(x - _clipped(x, limit, largest)).sum() for limit in limits]
    return float(limits[int(np.argmin(errors))])


def _clipped(x: np.ndarray, limit: float, largest: int) -> np.ndarray:
    step = limit / largest
    return np.clip(np.rint(x / step), -largest, largest) * step
