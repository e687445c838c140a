"""LLM.int8(): outlier columns in FP16, the rest in vector-wise INT8 (Dettmers et al., NeurIPS 2022)."""

from typing import NamedTuple

import numpy as np

THRESHOLD = 6.0


class Decomposition(NamedTuple):
    """Operands of x @ w, [m, k] by [k, n].

    Attributes:
        outliers: bool[k], the columns of x with a magnitude at the threshold or above.
        x_codes: int8[m, k], zero in outlier columns.
        x_scales: float32[m, 1], largest magnitude / 127.
        w_codes: int8[k, n], zero in outlier rows.
        w_scales: float32[1, n].
        x_wide: float16[m, outliers].
        w_wide: float16[outliers, n].
    """

    outliers: np.ndarray
    x_codes: np.ndarray
    x_scales: np.ndarray
    w_codes: np.ndarray
    w_scales: np.ndarray
    x_wide: np.ndarray
    w_wide: np.ndarray


def decompose(x: np.ndarray, w: np.ndarray, threshold: float = THRESHOLD) -> Decomposition:
    """Split both operands; integers are rounded to even.

    Raises:
        ValueError: shapes that do not fit, or a value that is not finite in FP16.
    """
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[0]:
        raise ValueError(f"w: shape is {w.shape}, must be [{x.shape[-1]}, n] for x of {x.shape}")
    with np.errstate(over="ignore"):
        if not (np.isfinite(x.astype(np.float16)).all() and np.isfinite(w.astype(np.float16)).all()):
            raise ValueError("x, w: a value is not finite in FP16, must all be")
    outliers = np.any(np.abs(x) >= threshold, axis=0, keepdims=True)[0]
    x_codes, x_scales = _absmax(np.where(outliers, 0, x), 1)
    w_codes, w_scales = _absmax(np.where(outliers[:, None], 0, w), 0)
    wide = x[:, outliers].astype(np.float16), w[outliers].astype(np.float16)
    return Decomposition(outliers, x_codes, x_scales, w_codes, w_scales, *wide)


def multiply(parts: Decomposition) -> np.ndarray:
    """float32[m, n]: the integer product in int32, exact, times both scales, plus the FP16 product in float32."""
    exact = parts.x_codes.astype(np.int32) @ parts.w_codes.astype(np.int32)
    narrow = exact.astype(np.float32) * (parts.x_scales * parts.w_scales)
    return narrow + parts.x_wide.astype(np.float32) @ parts.w_wide.astype(np.float32)


def _absmax(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    scales = (np.abs(values).max(axis, keepdims=True) / 127).astype(np.float32)
    codes = np.rint(values / np.where(scales == 0, 1, scales))
    return np.clip(codes, -127, 127).astype(np.int8), scales
