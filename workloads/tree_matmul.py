"""Half-precision matrix product split along K over ranks, the same bits for any number of ranks.

A row-split layer gives each rank a share of K, and the ranks add their partial results. Floating-point sums depend on
their order, so the number of ranks changes the result, unless the order is fixed: K is cut into leaves, a few leaves
make a subtree, and subtrees are added in one binary tree, inside a rank and on across ranks. The idea is that of
tree-based invariant kernels (TBIK): every leaf is rounded to float16 and every addition above it is one of float16.

`tree_matmul(a, b, ranks)` does that; `split_matmul(a, b, ranks)` is the usual way, a float32 sum in each rank, rounded
to float16 and added rank after rank.

Checked against float64. A leaf of L products loses at most L * 2^-22 * sum|a b| on the tensor cores (see matmul.py);
each of the D roundings that a product meets on its way up loses half a unit of float16, 2^-11 of a partial sum that is
at most sum|a b| before rounding, or 2^-25 where that is subnormal.
"""

# Triton's annotations describe the kernel's body, not its launch.
# pyright: reportArgumentType=false, reportCallIssue=false

import argparse

import torch
import triton
import triton.language as tl
from torch import Tensor

SUBTREES = 8  # at most, of the whole product


@triton.jit
def tree_sum(
    a_tile, b_tile, a_mask, b_mask, a_step, b_step, LEAVES: tl.constexpr, SUBTREES: tl.constexpr,
):  # fmt: skip
    """Return the float16 sum of SUBTREES (a power of two) of LEAVES leaves each, and the pointers after them."""
    if SUBTREES == 1:
        total = tl.zeros((a_tile.shape[0], b_tile.shape[1]), dtype=tl.float16)
        for _ in range(LEAVES):
            a = tl.load(a_tile, mask=a_mask, other=0)
            b = tl.load(b_tile, mask=b_mask, other=0)
            total += tl.dot(a, b).to(tl.float16)
            a_tile += a_step
            b_tile += b_step
    else:
        left, a_tile, b_tile = tree_sum(a_tile, b_tile, a_mask, b_mask, a_step, b_step, LEAVES, SUBTREES // 2)
        right, a_tile, b_tile = tree_sum(a_tile, b_tile, a_mask, b_mask, a_step, b_step, LEAVES, SUBTREES // 2)
        total = left + right
    return total, a_tile, b_tile


@triton.jit
def tree_matmul_kernel(
    a_ptr, b_ptr, c_ptr, m, n, a_m, a_k, b_k, b_n, c_m, c_n,
    LEAVES: tl.constexpr, SUBTREES: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Compute a tile of c = a @ b over SUBTREES x LEAVES leaves of BLOCK_K."""
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    depth = tl.arange(0, BLOCK_K)
    a_tile = a_ptr + row[:, None] * a_m + depth[None, :] * a_k
    b_tile = b_ptr + depth[:, None] * b_k + column[None, :] * b_n
    a_mask, b_mask = row[:, None] < m, column[None, :] < n
    total, _, _ = tree_sum(a_tile, b_tile, a_mask, b_mask, BLOCK_K * a_k, BLOCK_K * b_k, LEAVES, SUBTREES)
    inside = a_mask & b_mask
    tl.store(c_ptr + row[:, None] * c_m + column[None, :] * c_n, total, mask=inside)


@triton.jit
def chain_matmul_kernel(
    a_ptr, b_ptr, c_ptr, m, n, k, a_m, a_k, b_k, b_n, c_m, c_n,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Compute a tile of c = a @ b, one float32 sum along k, which is a multiple of BLOCK_K."""
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    depth = tl.arange(0, BLOCK_K)
    a_tile = a_ptr + row[:, None] * a_m + depth[None, :] * a_k
    b_tile = b_ptr + depth[:, None] * b_k + column[None, :] * b_n
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for _ in range(0, k, BLOCK_K):
        a = tl.load(a_tile, mask=row[:, None] < m, other=0)
        b = tl.load(b_tile, mask=column[None, :] < n, other=0)
        total = tl.dot(a, b, total)
        a_tile += BLOCK_K * a_k
        b_tile += BLOCK_K * b_k
    inside = (row[:, None] < m) & (column[None, :] < n)
    tl.store(c_ptr + row[:, None] * c_m + column[None, :] * c_n, total.to(tl.float16), mask=inside)


def subtrees_of(k: int, leaf: int) -> int:
    """Subtrees of a product along k: the largest power of two that divides its leaves, up to `SUBTREES`.

    Raises:
        ValueError: k is no multiple of a leaf.
    """
    if k % leaf:
        raise ValueError(f"tree_matmul: K is {k}, must be a multiple of the leaf, {leaf}")
    leaves = k // leaf
    return min(leaves & -leaves, SUBTREES)


def tree_matmul(a: Tensor, b: Tensor, ranks: int = 1, tile: tuple[int, int, int] = (32, 64, 256)) -> Tensor:
    """Return a @ b in float16, each rank a share of K; the same bits for any legal number of ranks.

    Args:
        a: (M, K) float16.
        b: (K, N) float16.
        ranks: a power of two that divides the subtrees.
        tile: (BLOCK_M, BLOCK_N, leaf), powers of two, at least 16.

    Raises:
        ValueError: K is no multiple of the leaf, or too few subtrees for the ranks.
    """
    k, leaf = a.shape[1], tile[2]
    subtrees = subtrees_of(k, leaf)
    if ranks < 1 or subtrees % ranks:
        raise ValueError(f"tree_matmul: ranks is {ranks}, must divide the {subtrees} subtrees of K = {k}")
    parts = []
    for a_part, b_part in _shares(a, b, ranks):
        c, grid = _output(a, b, tile)
        tree_matmul_kernel[grid](
            a_part, b_part, c, *c.shape, *a_part.stride(), *b_part.stride(), *c.stride(),
            LEAVES=k // leaf // subtrees, SUBTREES=subtrees // ranks,
            BLOCK_M=tile[0], BLOCK_N=tile[1], BLOCK_K=leaf,
        )  # fmt: skip
        parts.append(c)
    while len(parts) > 1:  # what the ranks' tree all-reduce does
        parts = [left + right for left, right in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def split_matmul(a: Tensor, b: Tensor, ranks: int = 1, tile: tuple[int, int, int] = (32, 64, 64)) -> Tensor:
    """Return a @ b in float16, each rank a share of K summed in float32, the ranks' results added in order.

    Arguments and errors as `tree_matmul`; any number of ranks that leaves each a multiple of the tile's K.
    """
    if a.shape[1] % (ranks * tile[2]):
        raise ValueError(f"split_matmul: K is {a.shape[1]}, must be a multiple of ranks x {tile[2]}")
    total = None
    for a_part, b_part in _shares(a, b, ranks):
        c, grid = _output(a, b, tile)
        chain_matmul_kernel[grid](
            a_part, b_part, c, *c.shape, a_part.shape[1], *a_part.stride(), *b_part.stride(), *c.stride(),
            BLOCK_M=tile[0], BLOCK_N=tile[1], BLOCK_K=tile[2],
        )  # fmt: skip
        total = c if total is None else total + c
    assert total is not None
    return total


def _shares(a: Tensor, b: Tensor, ranks: int) -> list[tuple[Tensor, Tensor]]:
    return list(zip(a.chunk(ranks, 1), b.chunk(ranks, 0), strict=True))


def _output(a: Tensor, b: Tensor, tile: tuple[int, int, int]) -> tuple[Tensor, tuple[int, int]]:
    c = torch.empty((a.shape[0], b.shape[1]), dtype=torch.float16, device=a.device)
    return c, (triton.cdiv(c.shape[0], tile[0]), triton.cdiv(c.shape[1], tile[1]))


def error_ratio(a: Tensor, b: Tensor, c: Tensor, leaf: int) -> tuple[float, float]:
    """Return the largest error of c = a @ b against float64, and its largest ratio to the bound (1 passes)."""
    exact = a.double() @ b.double()
    magnitude = a.double().abs() @ b.double().abs()
    leaves, subtrees = a.shape[1] // leaf, subtrees_of(a.shape[1], leaf)
    roundings = 1 + leaves // subtrees + subtrees.bit_length() - 1
    spread = roundings * 2.0**-11 * (1 + 2.0**-11) ** roundings
    bound = (spread + leaf * 2.0**-22) * magnitude + 2 * leaves * 2.0**-25
    error = (c.double() - exact).abs()
    return float(error.max()), float((error / bound).max())


def main() -> None:
    """Multiply two seeded matrices on several ranks; check the product, and its bits against those of one rank."""
    parser = argparse.ArgumentParser(description="Matrix product split along K, the same bits for any ranks.")
    parser.add_argument("-m", type=int, default=40)
    parser.add_argument("-n", type=int, default=72)
    parser.add_argument("-k", type=int, default=3072)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--tile", type=int, nargs=3, default=(32, 64, 256), metavar=("M", "N", "LEAF"))
    args = parser.parse_args()
    device = triton.runtime.driver.active.get_active_torch_device()
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(args.m, args.k, generator=generator).to(device, torch.float16)
    b = torch.randn(args.k, args.n, generator=generator).to(device, torch.float16)
    c = tree_matmul(a, b, args.ranks, tuple(args.tile))
    error, ratio = error_ratio(a, b, c, args.tile[2])
    differing = int((c != tree_matmul(a, b, 1, tuple(args.tile))).sum())
    print(
        f"tree_matmul: {args.m} x {args.n} x {args.k} on {args.ranks} ranks, float16: {differing} elements differ from "
        f"one rank's, max |error| {error:.3g}, {ratio:.3f} of its bound"
    )
    if differing or not ratio <= 1:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
