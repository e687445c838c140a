"""Random Hadamard rotation: spreads an outlier over its block (arXiv 2510.25602 uses 32 x 32)."""

import numpy as np


def hadamard_matrix(size: int) -> np.ndarray:
    """Sylvester's matrix of +-1, int8[size, size].

    Raises:
        ValueError: the size is no power of two.
    """
    if size < 1 or size & (size - 1):
        raise ValueError(f"size: got {size}, must be a power of two")
    row, column = np.ogrid[:size, :size]
    return (1 - 2 * (np.bitwise_count(row & column) & 1).astype(np.int8)).astype(np.int8)


def random_signs(size: int, seed: int) -> np.ndarray:
    """float64[size] of +-1 from NumPy's PCG64 under `seed`."""
    return np.random.default_rng(seed).choice([-1.0, 1.0], size)


def rotate(x: np.ndarray, seed: int, size: int = 32) -> np.ndarray:
    """Each block of `size` along the last axis times diag(signs) @ H / sqrt(size), in float64, rounded to float32.

    Rotating both operands of a dot product along k with one seed leaves it unchanged, but for rounding.

    Raises:
        ValueError: `size` is no power of two or does not divide the axis.
    """
    return _times(x, random_signs(size, seed)[:, None] * hadamard_matrix(size) / np.sqrt(size), size)


def rotate_back(x: np.ndarray, seed: int, size: int = 32) -> np.ndarray:
    """The inverse of `rotate`."""
    return _times(x, (random_signs(size, seed)[:, None] * hadamard_matrix(size) / np.sqrt(size)).T, size)


def _times(x: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    if x.shape[-1] % size:
        raise ValueError(f"size: got {size}, must divide the last axis of length {x.shape[-1]}")
    blocks = x.reshape(-1, size).astype(np.float64) @ matrix
    return blocks.reshape(x.shape).astype(np.float32)
