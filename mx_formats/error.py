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
