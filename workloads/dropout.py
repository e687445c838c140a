"""Seeded dropout, its mask drawn from Philox4x32-10 inside the kernel.

`dropout(x, p, seed)` takes a contiguous float32 tensor and returns x / (1 - p) where a uniform draw is above p, else
0. The draw of element i is word 0 of Philox4x32-10 (Salmon et al., SC'11) with counter (i, 0, 0, 0) and the 64-bit
seed as key, so the mask needs no memory: the same seed gives the same mask again in a backward pass.

Checked bit for bit against the generator written in NumPy below, which shares no code with Triton's. Every step is
an integer operation or one correctly rounded float32 operation.
"""

# Triton's annotations describe the kernel's body, not its launch.
# pyright: reportArgumentType=false

import argparse

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

MULTIPLIERS = 0xD2511F53, 0xCD9E8D57  # Philox4x32 round constants, Salmon et al. section 4.2
KEY_STEPS = 0x9E3779B9, 0xBB67AE85  # golden ratio and sqrt(3) - 1
UNIFORM_SCALE = np.float32(4.6566127342e-10)  # largest float that keeps 0x7FFFFFFF * scale below 1


@triton.jit
def dropout_kernel(x_ptr, y_ptr, length, p, gain, seed, BLOCK: tl.constexpr):
    """Keep each element with probability 1 - p and multiply it by `gain`."""
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = index < length
    x = tl.load(x_ptr + index, mask=inside)
    kept = tl.rand(seed, index) > p
    tl.store(y_ptr + index, tl.where(kept, x * gain, 0.0), mask=inside)


def dropout(x: Tensor, p: float, seed: int, block: int = 1024) -> Tensor:
    """Return `x` with a fraction p of its elements dropped and the others multiplied by 1 / (1 - p).

    Args:
        x: contiguous float32 tensor, at most 2^31 elements.
        p: probability to drop, 0 <= p < 1.
        seed: 64-bit key of the generator.
        block: elements a program handles, a power of two.

    Raises:
        ValueError: p is outside [0, 1).
    """
    if not 0 <= p < 1:
        raise ValueError(f"dropout: p is {p}, must be in [0, 1)")
    y = torch.empty_like(x)
    length = x.numel()
    dropout_kernel[(triton.cdiv(length, block),)](x, y, length, p, 1 / (1 - p), seed, BLOCK=block)
    return y


def philox4x32(counter: np.ndarray, seed: int, rounds: int = 10) -> np.ndarray:
    """Return uint32[n, 4], the Philox4x32 words of the counters uint32[n, 4] under a 64-bit key."""
    c0, c1, c2, c3 = counter.astype(np.uint64).T
    low, key0, key1 = np.uint64(0xFFFFFFFF), seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF
    for _ in range(rounds):
        first, second = c0 * np.uint64(MULTIPLIERS[0]), c2 * np.uint64(MULTIPLIERS[1])
        c0, c1, c2, c3 = second >> 32 ^ c1 ^ key0, second & low, first >> 32 ^ c3 ^ key1, first & low
        key0, key1 = key0 + KEY_STEPS[0] & 0xFFFFFFFF, key1 + KEY_STEPS[1] & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def expected(x: np.ndarray, p: float, seed: int) -> np.ndarray:
    """Return what `dropout` must give for a float32 vector, bit for bit."""
    counter = np.zeros((x.size, 4), np.uint32)
    counter[:, 0] = np.arange(x.size)
    word = philox4x32(counter, seed)[:, 0].view(np.int32)
    uniform = np.where(word < 0, -word - 1, word).astype(np.float32) * UNIFORM_SCALE
    return np.where(uniform > np.float32(p), x * np.float32(1 / (1 - p)), np.float32(0))


def main() -> None:
    """Drop part of a seeded vector and compare each bit."""
    parser = argparse.ArgumentParser(description="Seeded dropout with Philox4x32-10.")
    parser.add_argument("--length", type=int, default=5000, help="elements")
    parser.add_argument("--p", type=float, default=0.5, help="probability to drop")
    parser.add_argument("--seed", type=int, default=123)
    args = parser.parse_args()
    device = triton.runtime.driver.active.get_active_torch_device()
    x = torch.randn(args.length, generator=torch.Generator().manual_seed(0))
    y = dropout(x.to(device), args.p, args.seed).cpu().numpy()
    wrong = int((y != expected(x.numpy(), args.p, args.seed)).sum())
    kept = float((y != 0).mean())
    print(f"dropout: length {args.length}, p {args.p}, kept {kept:.3f}: {wrong} elements differ (exact)")
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
