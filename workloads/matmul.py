"""Half-precision matrix product with a software pipeline and grouped tile order.

`matmul(a, b)` takes float16 matrices (M, K) and (K, N), any strides, and returns float16 (M, N), accumulated in
float32 on the tensor cores. Sizes need not be multiples of the tile: loads beyond the edge give 0. Programs visit
tiles in groups of rows, so that those running together share columns of `b` in the L2 cache.

Checked against float64. A tensor-core step adds a few products to the accumulator and truncates near 24 bits of the
largest term, so K products lose at most K * 2^-22 * sum|a b|; the result is then rounded once to float16.
"""

# Triton's annotations describe the kernel's body, not its launch.
# pyright: reportCallIssue=false

import argparse

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def tile_of(program, m, n, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, GROUP_M: tl.constexpr):
    """Return the (row, column) of the tile of a program: down GROUP_M tiles, then the next column."""
    tiles_m = tl.cdiv(m, BLOCK_M)
    tiles_n = tl.cdiv(n, BLOCK_N)
    first = program // (GROUP_M * tiles_n) * GROUP_M
    height = min(tiles_m - first, GROUP_M)
    inside = program % (GROUP_M * tiles_n)
    return first + inside % height, inside // height


@triton.jit
def matmul_kernel(
    a_ptr, b_ptr, c_ptr, m, n, k,
    a_m, a_k, b_k, b_n, c_m, c_n,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, GROUP_M: tl.constexpr,
    ACCUMULATE: tl.constexpr,
):  # fmt: skip
    """Compute one BLOCK_M x BLOCK_N tile of c = a @ b; a_m is the stride of a along m, and so on."""
    tile_m, tile_n = tile_of(tl.program_id(0), m, n, BLOCK_M, BLOCK_N, GROUP_M)
    row = tile_m * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tile_n * BLOCK_N + tl.arange(0, BLOCK_N)
    depth = tl.arange(0, BLOCK_K)
    a_tile = a_ptr + row[:, None] * a_m + depth[None, :] * a_k
    b_tile = b_ptr + depth[:, None] * b_k + column[None, :] * b_n
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=ACCUMULATE)
    for start in range(0, k, BLOCK_K):
        a = tl.load(a_tile, mask=(row[:, None] < m) & (depth[None, :] < k - start), other=0)
        b = tl.load(b_tile, mask=(depth[:, None] < k - start) & (column[None, :] < n), other=0)
        total = tl.dot(a, b, total, out_dtype=ACCUMULATE)
        a_tile += BLOCK_K * a_k
        b_tile += BLOCK_K * b_k
    inside = (row[:, None] < m) & (column[None, :] < n)
    tl.store(c_ptr + row[:, None] * c_m + column[None, :] * c_n, total.to(c_ptr.dtype.element_ty), mask=inside)


def matmul(a: Tensor, b: Tensor, tile: tuple[int, int, int] = (64, 64, 32), stages: int = 3, warps: int = 4) -> Tensor:
    """Return a @ b in float16, accumulated in float32.

    Args:
        a: (M, K) float16.
        b: (K, N) float16.
        tile: (BLOCK_M, BLOCK_N, BLOCK_K), powers of two, at least 16.
        stages: software pipeline depth, 1 for none.
        warps: warps a program.

    Raises:
        ValueError: the inner sizes differ or a dtype is not float16.
    """
    if a.shape[1] != b.shape[0] or a.dtype != torch.float16 or b.dtype != torch.float16:
        raise ValueError(
            f"matmul: a is {tuple(a.shape)} {a.dtype}, b is {tuple(b.shape)} {b.dtype}; need float16 (M, K) and (K, N)"
        )
    (m, k), n = a.shape, b.shape[1]
    block_m, block_n, block_k = tile
    c = torch.empty((m, n), dtype=torch.float16, device=a.device)
    matmul_kernel[(triton.cdiv(m, block_m) * triton.cdiv(n, block_n),)](
        a, b, c, m, n, k, *a.stride(), *b.stride(), *c.stride(),
        BLOCK_M=block_m, BLOCK_N=block_n, BLOCK_K=block_k, GROUP_M=8, ACCUMULATE=tl.float32,
        num_stages=stages, num_warps=warps,
    )  # fmt: skip
    return c


def error_ratio(a: Tensor, b: Tensor, c: Tensor) -> tuple[float, float]:
    """Return the largest error of c = a @ b against float64, and its largest ratio to the bound (1 passes)."""
    exact = a.double() @ b.double()
    magnitude = a.double().abs() @ b.double().abs()
    info = torch.finfo(c.dtype)
    bound = a.shape[1] * 2.0**-22 * magnitude + info.eps / 2 * exact.abs() + info.tiny * info.eps / 2
    error = (c.double() - exact).abs()
    return float(error.max()), float((error / bound).max())


def main() -> None:
    """Multiply two seeded matrices and check the product."""
    parser = argparse.ArgumentParser(description="Half-precision matrix product.")
    parser.add_argument("-m", type=int, default=130)
    parser.add_argument("-n", type=int, default=112)
    parser.add_argument("-k", type=int, default=144)
    parser.add_argument("--tile", type=int, nargs=3, default=(64, 64, 32), metavar=("M", "N", "K"))
    parser.add_argument("--stages", type=int, default=3, help="software pipeline depth")
    parser.add_argument("--warps", type=int, default=4)
    args = parser.parse_args()
    device = triton.runtime.driver.active.get_active_torch_device()
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(args.m, args.k, generator=generator).to(device, torch.float16)
    b = torch.randn(args.k, args.n, generator=generator).to(device, torch.float16)
    error, ratio = error_ratio(a, b, matmul(a, b, tuple(args.tile), args.stages, args.warps))
    print(f"matmul: {args.m} x {args.n} x {args.k}, float16: max |error| {error:.3g}, {ratio:.3f} of its bound")
    if not ratio <= 1:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
