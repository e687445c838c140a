"""Channel reordering: channels of like magnitude share a block (K-sort, arXiv 2403.20137).

The rows of W_k are sorted by norm, and W_q in the same order, so every query-key product keeps its value; blocks along
the head dimension then hold channels of one size. Done once, offline.
"""

import numpy as np


def k_sort(w_k: np.ndarray, w_q: np.ndarray, rotary: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sort the output channels of a head by the norms of the rows of W_k, largest first.

    Args:
        w_k: [head_dim, model_dim].
        w_q: the same shape.
        rotary: rotary embedding turns channels (i, i + head_dim / 2) together, so pairs move as one, by the norm of
            both rows, and stay that far apart.

    Returns:
        w_k, w_q and the order: row i of the results is row order[i] of the arguments.

    Raises:
        ValueError: shapes differ, or an odd head dimension with `rotary`.
    """
    if w_k.shape != w_q.shape or w_k.ndim != 2:
        raise ValueError(f"w_q: shape is {w_q.shape}, must be {w_k.shape} as w_k, [head_dim, model_dim]")
    energy = np.square(w_k.astype(np.float64)).sum(1)
    if rotary:
        half, odd = divmod(len(w_k), 2)
        if odd:
            raise ValueError(f"w_k: head_dim is {len(w_k)}, must be even for rotary pairs")
        first = np.argsort(-(energy[:half] + energy[half:]), kind="stable")
        order = np.concatenate([first, first + half])
    else:
        order = np.argsort(-energy, kind="stable")
    return w_k[order], w_q[order], order


def group_outliers(x: np.ndarray, size: int) -> np.ndarray:
    """An order of the last axis that puts channels with the largest magnitudes into the same blocks of `size`.

    Raises:
        ValueError: the size does not divide the axis.
    """
    if size < 1 or x.shape[-1] % size:
        raise ValueError(f"size: got {size}, must divide the last axis of length {x.shape[-1]}")
    return np.argsort(-np.abs(x).reshape(-1, x.shape[-1]).max(0), kind="stable")
