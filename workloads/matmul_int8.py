"""Exact 8-bit integer matrix product, as in a quantised linear layer.

`matmul_int8(x, weight)` takes int8 activations (M, K) and int8 weights (N, K), both with any strides, and returns
the int32 product x @ weight.T. Sizes need not be multiples of the tile.

Checked for equality with NumPy: integer products and sums are exact while K * 2^14 < 2^31, that is K < 131072, which
the function asserts.
"""

# Triton's annotations describe the kernel's body, not its launch.
# pyright: reportCallIssue=false

import argparse

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

MAX_DEPTH = 2**31 // 128**2  # products of magnitude 128 * 128 that an int32 can hold


@triton.jit
def matmul_int8_kernel(
    x_ptr, weight_ptr, y_ptr, m, n, k,
    x_m, x_k, weight_n, weight_k, y_m, y_n,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Compute one BLOCK_M x BLOCK_N tile of y = x @ weight.T."""
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.int32)
    for start in range(0, k, BLOCK_K):
        depth = start + tl.arange(0, BLOCK_K)
        x = tl.load(
            x_ptr + row[:, None] * x_m + depth[None, :] * x_k,
            mask=(row[:, None] < m) & (depth[None, :] < k),
            other=0,
        )
        weight = tl.load(
            weight_ptr + column[:, None] * weight_n + depth[None, :] * weight_k,
            mask=(column[:, None] < n) & (depth[None, :] < k),
            other=0,
        )
        total = tl.dot(x, weight.T, total, out_dtype=tl.int32)
    inside = (row[:, None] < m) & (column[None, :] < n)
    tl.store(y_ptr + row[:, None] * y_m + column[None, :] * y_n, total, mask=inside)


def matmul_int8(
    x: Tensor, weight: Tensor, tile: tuple[int, int, int] = (64, 64, 64), stages: int = 3, warps: int = 4
) -> Tensor:
    """Return x @ weight.T in int32, exact.

    Args:
        x: (M, K) int8.
        weight: (N, K) int8.
        tile: (BLOCK_M, BLOCK_N, BLOCK_K), powers of two, at least 16, 16 and 32.
        stages: software pipeline depth, 1 for none.
        warps: warps a program.

    Raises:
        ValueError: the inner sizes differ, a dtype is not int8, or K is so large that a sum could overflow.
    """
    if x.shape[1] != weight.shape[1] or x.dtype != torch.int8 or weight.dtype != torch.int8:
        raise ValueError(
            f"matmul_int8: x is {tuple(x.shape)} {x.dtype}, weight is {tuple(weight.shape)} {weight.dtype}; "
            "need int8 (M, K) and (N, K)"
        )
    (m, k), n = x.shape, weight.shape[0]
    if k >= MAX_DEPTH:
        raise ValueError(f"matmul_int8: K is {k}, must be below {MAX_DEPTH} so that int32 sums cannot overflow")
    block_m, block_n, block_k = tile
    y = torch.empty((m, n), dtype=torch.int32, device=x.device)
    matmul_int8_kernel[(triton.cdiv(m, block_m), triton.cdiv(n, block_n))](
        x, weight, y, m, n, k, *x.stride(), *weight.stride(), *y.stride(),
        BLOCK_M=block_m, BLOCK_N=block_n, BLOCK_K=block_k, num_stages=stages, num_warps=warps,
    )  # fmt: skip
    return y


def expected(x: Tensor, weight: Tensor) -> np.ndarray:
    """Return the int32 product computed by NumPy."""
    return x.cpu().numpy().astype(np.int32) @ weight.cpu().numpy().astype(np.int32).T


def main() -> None:
    """Multiply two seeded int8 matrices and compare each element."""
    parser = argparse.ArgumentParser(description="Exact 8-bit integer matrix product.")
    parser.add_argument("-m", type=int, default=100)
    parser.add_argument("-n", type=int, default=130)
    parser.add_argument("-k", type=int, default=208)
    parser.add_argument("--stages", type=int, default=3, help="software pipeline depth")
    args = parser.parse_args()
    device = triton.runtime.driver.active.get_active_torch_device()
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-128, 128, (args.m, args.k), dtype=torch.int8, generator=generator).to(device)
    weight = torch.randint(-128, 128, (args.n, args.k), dtype=torch.int8, generator=generator).to(device)
    wrong = int((matmul_int8(x, weight, stages=args.stages).cpu().numpy() != expected(x, weight)).sum())
    print(f"matmul_int8: {args.m} x {args.n} x {args.k}: {wrong} elements differ (exact)")
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
