"""SqueezeLLM: a look-up table per row, weighted by sensitivity, and sparse outliers (ICML 2024)."""

from typing import NamedTuple

import numpy as np


class DenseAndSparse(NamedTuple):
    """A weight matrix.

    Attributes:
        codes: uint8[rows, columns], indices into the row's table; those of outliers mean nothing.
        tables: float16[rows, 2**bits], ascending.
        row_starts: int64[rows + 1], compressed sparse rows.
        columns: int32, columns of the outliers.
        values: float16, their values.
    """

    codes: np.ndarray
    tables: np.ndarray
    row_starts: np.ndarray
    columns: np.ndarray
    values: np.ndarray


def compress(
    weights: np.ndarray, sensitivity: np.ndarray, bits: int, outliers: float = 0.0045, rounds: int = 50
) -> DenseAndSparse:
    """Split off the largest magnitudes, and fit each row's table by k-means weighted with the sensitivities.

    Args:
        weights: float[rows, columns], finite.
        sensitivity: the same shape, not negative: the diagonal of the Fisher information.
        bits: of a code, 1 to 8.
        outliers: fraction of the weights, at most, kept in FP16 as they are.
        rounds: of Lloyd's algorithm at most, started from weighted quantiles; it stops when nothing moves.

    Raises:
        ValueError: shapes differ, a number out of range, or a weight that is not finite.
    """
    if sensitivity.shape != weights.shape or weights.ndim != 2:
        raise ValueError(f"sensitivity: shape is {sensitivity.shape}, must be {weights.shape}, [rows, columns]")
    if not 1 <= bits <= 8:
        raise ValueError(f"bits: got {bits}, legal 1..8")
    if not 0 <= outliers < 1:
        raise ValueError(f"outliers: got {outliers}, legal 0 up to but not 1")
    if not np.isfinite(weights).all() or (sensitivity < 0).any():
        raise ValueError("weights: must be finite, and sensitivity not negative")
    count = int(weights.size * outliers)
    sparse = np.zeros(weights.size, bool)
    sparse[np.argsort(-np.abs(weights).reshape(-1), kind="stable")[:count]] = True
    sparse = sparse.reshape(weights.shape)
    codes = np.zeros(weights.shape, np.uint8)
    tables = np.zeros((len(weights), 1 << bits), np.float16)
    for row in range(len(weights)):
        kept = ~sparse[row]
        if kept.any():
            tables[row] = _table(weights[row, kept], sensitivity[row, kept], 1 << bits, rounds)
            codes[row] = _nearest(weights[row], tables[row].astype(np.float64))
    rows, columns = np.nonzero(sparse)
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(weights)))])
    return DenseAndSparse(codes, tables, starts, columns.astype(np.int32), weights[sparse].astype(np.float16))


def expand(compressed: DenseAndSparse) -> np.ndarray:
    """float32[rows, columns]."""
    weights = np.take_along_axis(compressed.tables, compressed.codes.astype(np.int64), axis=1).astype(np.float32)
    rows = np.repeat(np.arange(len(weights)), np.diff(compressed.row_starts))
    weights[rows, compressed.columns] = compressed.values
    return weights


def bits_per_weight(rows: int, columns: int, bits: int, outliers: float) -> float:
    """Storage: codes, FP16 tables, and 16-bit values with 32-bit columns and row starts for the outliers."""
    table = (1 << bits) * 16 / columns
    sparse = outliers * (16 + 32) + 32 * (rows + 1) / (rows * columns) if outliers else 0.0
    return bits + table + sparse


def _table(values: np.ndarray, weight: np.ndarray, size: int, rounds: int) -> np.ndarray:
    order = np.argsort(values, kind="stable")
    values, weight = values[order].astype(np.float64), weight[order].astype(np.float64)
    weight = weight if weight.any() else np.ones_like(weight)
    share = (np.cumsum(weight) - weight / 2) / weight.sum()
    centres = np.interp((np.arange(size) + 0.5) / size, share, values)
    for _ in range(rounds):
        codes = _nearest(values, centres)
        mass = np.bincount(codes, weight, size)
        moved = np.where(mass > 0, np.bincount(codes, weight * values, size) / np.where(mass > 0, mass, 1), centres)
        if (moved == centres).all():
            break
        centres = np.sort(moved)
    return centres.astype(np.float16)


def _nearest(values: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Index of the nearest centre, of equals the larger."""
    return np.searchsorted((centres[1:] + centres[:-1]) / 2, values, side="right")
