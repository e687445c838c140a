"""MXFP4 matrix product: e2m1 elements in blocks of 32 that share a power-of-two scale (OCP MX v1.0).

`matmul_mxfp4(a, a_scale, b, b_scale)` takes packed uint8 codes a (M, K / 2) and b (N, K / 2), two elements a byte
with the first in the low bits, and E8M0 scales uint8 (M, K / 32) and (N, K / 32), all contiguous. It returns
float32 (M, N): the product of the decoded a and the transpose of the decoded b. `tl.dot_scaled` is one instruction
where the core has block-scaled tensor cores; elsewhere the compiler decodes to bfloat16 first, which is exact.

Checked against float64 products of operands decoded by table. Products are exact; a tensor-core step truncates the
accumulator near 24 bits of its largest term, so K products lose at most K * 2^-22 * sum|a b|.
"""

# Triton's annotations describe the kernel's body, not its launch.
# pyright: reportCallIssue=false, reportArgumentType=false

import argparse

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 32  # elements that share a scale
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])  # OCP MX v1.0, value of each code
SCALE_BIAS = 127  # an E8M0 code c means 2^(c - 127); 255 is NaN


@triton.jit
def matmul_mxfp4_kernel(
    a_ptr, a_scale_ptr, b_ptr, b_scale_ptr, c_ptr, m, n, k,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Compute one BLOCK_M x BLOCK_N tile of c = a @ b.T."""
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    column = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)[:, None]
    byte = tl.arange(0, BLOCK_K // 2)[None, :]
    group = tl.arange(0, BLOCK_K // 32)[None, :]
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(0, k, BLOCK_K):
        at = start // 2 + byte
        scale_at = start // 32 + group
        a = tl.load(a_ptr + row * (k // 2) + at, mask=(row < m) & (at < k // 2), other=0)
        b = tl.load(b_ptr + column * (k // 2) + at, mask=(column < n) & (at < k // 2), other=0)
        a_scale = tl.load(a_scale_ptr + row * (k // 32) + scale_at, mask=(row < m) & (scale_at < k // 32), other=0)
        b_scale = tl.load(
            b_scale_ptr + column * (k // 32) + scale_at, mask=(column < n) & (scale_at < k // 32), other=0
        )
        total = tl.dot_scaled(a, a_scale, "e2m1", b.T, b_scale, "e2m1", total)
    column = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    tl.store(c_ptr + row * n + column, total, mask=(row < m) & (column < n))


def matmul_mxfp4(
    a: Tensor, a_scale: Tensor, b: Tensor, b_scale: Tensor, tile: tuple[int, int, int] = (64, 64, 128), stages: int = 2
) -> Tensor:
    """Return decode(a) @ decode(b).T in float32.

    Args:
        a: (M, K / 2) uint8, packed e2m1.
        a_scale: (M, K / 32) uint8, E8M0.
        b: (N, K / 2) uint8, packed e2m1.
        b_scale: (N, K / 32) uint8, E8M0.
        tile: (BLOCK_M, BLOCK_N, BLOCK_K), powers of two, at least 16, 16 and 64.
        stages: software pipeline depth.

    Raises:
        ValueError: shapes do not fit together, or a tensor is not contiguous uint8.
    """
    m, n, k = a.shape[0], b.shape[0], a.shape[1] * 2
    tensors = {"a": (a, (m, k // 2)), "a_scale": (a_scale, (m, k // BLOCK))}
    tensors |= {"b": (b, (n, k // 2)), "b_scale": (b_scale, (n, k // BLOCK))}
    for name, (tensor, shape) in tensors.items():
        if tensor.shape != shape or tensor.dtype != torch.uint8 or not tensor.is_contiguous() or k % BLOCK:
            raise ValueError(
                f"matmul_mxfp4: {name} is {tuple(tensor.shape)} {tensor.dtype}, strides {tensor.stride()}; "
                f"need contiguous uint8 {shape} with K = {k} a multiple of {BLOCK}"
            )
    c = torch.empty((m, n), dtype=torch.float32, device=a.device)
    block_m, block_n, block_k = tile
    matmul_mxfp4_kernel[(triton.cdiv(m, block_m), triton.cdiv(n, block_n))](
        a, a_scale, b, b_scale, c, m, n, k,
        BLOCK_M=block_m, BLOCK_N=block_n, BLOCK_K=block_k, num_stages=stages, num_warps=4,
    )  # fmt: skip
    return c


def sample(rows: int, k: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return seeded codes (rows, k / 2) and scales (rows, k / 32), every code and scales 2^-8 to 2^8."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 256, (rows, k // 2), dtype=torch.uint8, generator=generator)
    scales = torch.randint(SCALE_BIAS - 8, SCALE_BIAS + 9, (rows, k // BLOCK), dtype=torch.uint8, generator=generator)
    return codes, scales


def decode(codes: Tensor, scales: Tensor) -> np.ndarray:
    """Return float64 (rows, K), the values of packed codes (rows, K / 2) and scales (rows, K / 32)."""
    packed = codes.cpu().numpy()
    elements = E2M1[np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(packed), -1)]
    return np.ldexp(elements, np.repeat(scales.cpu().numpy().astype(np.int32) - SCALE_BIAS, BLOCK, axis=1))


def error_ratio(a: np.ndarray, b: np.ndarray, c: Tensor) -> tuple[float, float]:
    """Return the largest error of c = a @ b.T against float64, and its largest ratio to the bound (1 passes)."""
    bound = a.shape[1] * 2.0**-22 * (np.abs(a) @ np.abs(b).T) + 2.0**-149
    error = np.abs(c.cpu().numpy() - a @ b.T)
    return float(error.max()), float((error / bound).max())


def main() -> None:
    """Multiply two seeded MXFP4 matrices and check the product."""
    parser = argparse.ArgumentParser(description="MXFP4 matrix product.")
    parser.add_argument("-m", type=int, default=80)
    parser.add_argument("-n", type=int, default=72)
    parser.add_argument("-k", type=int, default=320, help="a multiple of 32")
    parser.add_argument("--stages", type=int, default=2, help="software pipeline depth")
    args = parser.parse_args()
    device = triton.runtime.driver.active.get_active_torch_device()
    a, a_scale = sample(args.m, args.k, seed=0)
    b, b_scale = sample(args.n, args.k, seed=1)
    c = matmul_mxfp4(*(t.to(device) for t in (a, a_scale, b, b_scale)), stages=args.stages)
    error, ratio = error_ratio(decode(a, a_scale), decode(b, b_scale), c)
    print(f"matmul_mxfp4: {args.m} x {args.n} x {args.k}: max |error| {error:.3g}, {ratio:.3f} of its bound")
    if not ratio <= 1:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
