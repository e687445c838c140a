"""How far a result is from what it should be."""

import numpy as np


def qsnr_db(exact: np.ndarray, approximate: np.ndarray) -> float:
    """Quantisation signal-to-noise ratio in dB: 10 log10(sum(exact**2) / sum((exact - approximate)**2)).

    Sums run in float64. Equal arrays give infinity.

    Raises:
        ValueError: shapes differ, a value is not finite, or `exact` is all zero.
    """
    exact, approximate = np.asarray(exact, np.float64), np.asarray(approximate, np.float64)
    if exact.shape != approximate.shape:
        raise ValueError(f"qsnr_db: approximate has shape {approximate.shape}, must be {exact.shape} as exact")
    if not (np.isfinite(exact).all() and np.isfinite(approximate).all()):
        raise ValueError("qsnr_db: a value is NaN or infinite, must all be finite; count or mask those first")
    signal = float(np.square(exact).sum())
    noise = float(np.square(exact - approximate).sum())
    if signal == 0:
        raise ValueError("qsnr_db: exact is all zero, so no ratio is defined")
    return float("inf") if noise == 0 else 10 * float(np.log10(signal / noise))


def crest_factors(x: np.ndarray, size: int) -> np.ndarray:
    """Largest magnitude over root mean square of each block of `size` along the last axis, float64; 1 if all zero.

    Raises:
        ValueError: the size does not divide the axis, or a value is not finite.
    """
    x = np.asarray(x, np.float64)
    if size < 1 or x.shape[-1] % size:
        raise ValueError(f"size: got {size}, must divide the last axis of length {x.shape[-1]}")
    if not np.isfinite(x).all():
        raise ValueError("crest_factors: a value is NaN or infinite, must all be finite")
    blocks = np.abs(x).reshape(*x.shape[:-1], -1, size)
    largest = blocks.max(-1)
    # Relative to the largest, so that no square overflows or underflows to zero.
    relative = blocks / np.where(largest == 0, 1, largest)[..., None]
    return np.where(largest == 0, 1.0, 1 / np.sqrt(np.maximum(np.square(relative).mean(-1), 1e-300)))
