"""Masked vector addition.

`add(x, y)` takes two contiguous vectors of one dtype and returns their sum, same length and dtype. The length needs
no particular divisor: the last program masks what lies beyond the end.

Checked bit for bit. One addition is correctly rounded (IEEE 754) for floats and exact modulo 2^n for integers, and
PyTorch does the same operation once per element.
"""

# Triton's annotations describe the kernel's body, not its launch.
# pyright: reportArgumentType=false

import argparse

import torch
import triton
import triton.language as tl
from torch import Tensor

DTYPES = {"float32": torch.float32, "float16": torch.float16, "int32": torch.int32, "int64": torch.int64}


@triton.jit
def add_kernel(x_ptr, y_ptr, sum_ptr, length, BLOCK: tl.constexpr):
    """Add elements [BLOCK * program, BLOCK * (program + 1)) that lie below `length`."""
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = index < length
    x = tl.load(x_ptr + index, mask=inside)
    y = tl.load(y_ptr + index, mask=inside)
    tl.store(sum_ptr + index, x + y, mask=inside)


def add(x: Tensor, y: Tensor, block: int = 1024) -> Tensor:
    """Return x + y.

    Args:
        x: contiguous vector, any integer or floating dtype.
        y: contiguous vector, same shape and dtype as `x`.
        block: elements a program handles, a power of two.

    Raises:
        ValueError: shapes or dtypes differ.
    """
    if x.shape != y.shape or x.dtype != y.dtype:
        raise ValueError(f"add: x is {tuple(x.shape)} {x.dtype}, y is {tuple(y.shape)} {y.dtype}; they must be equal")
    total = torch.empty_like(x)
    length = x.numel()
    add_kernel[(triton.cdiv(length, block),)](x, y, total, length, BLOCK=block)
    return total


def sample(length: int, dtype: torch.dtype, device: torch.device, seed: int = 0) -> Tensor:
    """Return a seeded vector: standard normal for floats, the dtype's whole range for integers."""
    generator = torch.Generator().manual_seed(seed)
    if dtype.is_floating_point:
        return torch.randn(length, generator=generator).to(device, dtype)
    limits = torch.iinfo(dtype)
    return torch.randint(limits.min, limits.max, (length,), generator=generator, dtype=dtype).to(device)


def main() -> None:
    """Add two vectors and compare each bit with PyTorch."""
    parser = argparse.ArgumentParser(description="Masked vector addition.")
    parser.add_argument("--length", type=int, default=5000, help="elements")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--block", type=int, default=1024, help="elements a program handles")
    args = parser.parse_args()
    device = triton.runtime.driver.active.get_active_torch_device()
    x = sample(args.length, DTYPES[args.dtype], device, seed=0)
    y = sample(args.length, DTYPES[args.dtype], device, seed=1)
    wrong = int((add(x, y, args.block) != x + y).sum())
    print(f"vector_add: length {args.length}, {args.dtype}: {wrong} elements differ (exact)")
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
