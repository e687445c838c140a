"""Single-precision matrix product on the CUDA cores: every product is a fused multiply-add of IEEE 754.

`matmul_float32(a, b)` takes float32 matrices (M, K) and (K, N), any strides, and returns float32 (M, N). No tensor core
rounds its operands to TF32. Its inner loop reads three registers an instruction, many of them again in the next one.

Checked against float64. Each of the K steps rounds a partial sum of at most sum|a b|, so an element is off by at most
K * 2^-24 * sum|a b| to first order; 2^-12 of that covers the higher ones, and 2^-149 a step what is subnormal.
"""

# Triton's annotations describe the kernel's body, not its launch.
# pyright: reportCallIssue=false

import argparse

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def matmul_float32_kernel(
    a_ptr, b_ptr, c_ptr, m, n, k, a_m, a_k, b_k, b_n, c_m, c_n,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Compute one BLOCK_M x BLOCK_N tile of c = a @ b; a_m is the stride of a along m, and so on."""
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    depth = tl.arange(0, BLOCK_K)
    a_tile = a_ptr + row[:, None] * a_m + depth[None, :] * a_k
    b_tile = b_ptr + depth[:, None] * b_k + column[None, :] * b_n
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(0, k, BLOCK_K):
        a = tl.load(a_tile, mask=(row[:, None] < m) & (depth[None, :] < k - start), other=0)
        b = tl.load(b_tile, mask=(depth[:, None] < k - start) & (column[None, :] < n), other=0)
        total = tl.dot(a, b, total, input_precision="ieee")
        a_tile += BLOCK_K * a_k
        b_tile += BLOCK_K * b_k
    inside = (row[:, None] < m) & (column[None, :] < n)
    tl.store(c_ptr + row[:, None] * c_m + column[None, :] * c_n, total, mask=inside)


def matmul_float32(a: Tensor, b: Tensor, tile: tuple[int, int, int] = (64, 64, 32), warps: int = 4) -> Tensor:
    """Return a @ b in float32.

    Args:
        a: (M, K) float32.
        b: (K, N) float32.
        tile: (BLOCK_M, BLOCK_N, BLOCK_K), powers of two, at least 16.
        warps: warps a program.

    Raises:
        ValueError: the inner sizes differ or a dtype is not float32.
    """
    if a.shape[1] != b.shape[0] or a.dtype != torch.float32 or b.dtype != torch.float32:
        raise ValueError(
            f"matmul_float32: a is {tuple(a.shape)} {a.dtype}, b is {tuple(b.shape)} {b.dtype}; "
            "need float32 (M, K) and (K, N)"
        )
    (m, k), n = a.shape, b.shape[1]
    block_m, block_n, block_k = tile
    c = torch.empty((m, n), dtype=torch.float32, device=a.device)
    matmul_float32_kernel[(triton.cdiv(m, block_m), triton.cdiv(n, block_n))](
        a, b, c, m, n, k, *a.stride(), *b.stride(), *c.stride(),
        BLOCK_M=block_m, BLOCK_N=block_n, BLOCK_K=block_k, num_warps=warps,
    )  # fmt: skip
    return c


def error_ratio(a: Tensor, b: Tensor, c: Tensor) -> tuple[float, float]:
    """Return the largest error of c = a @ b against float64, and its largest ratio to the bound (1 passes)."""
    k = a.shape[1]
    bound = k * (2.0**-24 * (1 + 2.0**-12) * (a.double().abs() @ b.double().abs()) + 2.0**-149)
    error = (c.double() - a.double() @ b.double()).abs()
    return float(error.max()), float((error / bound).max())


def main() -> None:
    """Multiply two seeded matrices and check the product."""
    parser = argparse.ArgumentParser(description="Single-precision matrix product on the CUDA cores.")
    parser.add_argument("-m", type=int, default=70)
    parser.add_argument("-n", type=int, default=112)
    parser.add_argument("-k", type=int, default=80)
    parser.add_argument("--tile", type=int, nargs=3, default=(64, 64, 32), metavar=("M", "N", "K"))
    parser.add_argument("--warps", type=int, default=4)
    args = parser.parse_args()
    device = triton.runtime.driver.active.get_active_torch_device()
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(args.m, args.k, generator=generator).to(device)
    b = torch.randn(args.k, args.n, generator=generator).to(device)
    error, ratio = error_ratio(a, b, matmul_float32(a, b, tuple(args.tile), args.warps))
    print(f"matmul_float32: {args.m} x {args.n} x {args.k}: max |error| {error:.3g}, {ratio:.3f} of its bound")
    if not ratio <= 1:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
