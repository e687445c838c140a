"""Register fragments of the PTX ISA's matrix instructions (mma.sync and wgmma), as index arrays.

Elements are numbered as a thread holds them: word by word, low bits first. A warp's fragment has 16 (or 8) rows;
the four warps of a warpgroup hold 16 rows each.
"""

import numpy as np

_WARP = 32


def places_a(depth: int, bits: int, *, rows: int = 16, threads: int = _WARP) -> tuple[np.ndarray, np.ndarray]:
    """Row and k of each element of A, [elements, threads]."""
    per, thread, halves = 32 // bits, np.arange(threads), rows // 8
    word, inside = np.divmod(np.arange(rows * depth // _WARP)[:, None], per)
    row = 16 * (thread // _WARP) + thread % _WARP // 4 + 8 * (word % halves)
    return row, per * (thread % 4) + 4 * per * (word // halves) + inside


def places_b(depth: int, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Column and k of each element of B, [elements, threads]."""
    return places_a(depth, bits, rows=8)


def places_d(columns: int = 8, *, rows: int = 16, threads: int = _WARP) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each element of C and D, [elements, threads]."""
    element, thread = np.arange(rows * columns // _WARP)[:, None], np.arange(threads)
    row = 16 * (thread // _WARP) + thread % _WARP // 4 + 8 * (element // 2 % (rows // 8))
    return row, 8 * (element // (rows // 4)) + 2 * (thread % 4) + element % 2


def pack(elements: np.ndarray, bits: int) -> np.ndarray:
    """uint32[words, threads] of codes [words * 32 / bits, threads]."""
    per = 32 // bits
    grouped = elements.astype(np.uint32).reshape(-1, per, elements.shape[1])
    return np.bitwise_or.reduce(grouped << (bits * np.arange(per, dtype=np.uint32))[:, None], axis=1)


def unpack(words: np.ndarray, bits: int) -> np.ndarray:
    """The inverse of `pack`."""
    shifted = words[:, None, :] >> (bits * np.arange(32 // bits, dtype=np.uint32))[:, None]
    return shifted.reshape(-1, words.shape[1]) & np.uint32((1 << bits) - 1)
