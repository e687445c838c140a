"""Softmax of rows that do not fit on chip: three passes over memory, or two.

`softmax_passes(x, way)` takes a float32 matrix (rows, columns) whose rows are contiguous. A program owns a row and
walks it in chunks, several times:

* `recompute`: the maximum; the sum of exp(x - max); exp(x - max) / sum. Three reads and one write of the row.
* `reload`: the maximum; exp(x - max), written, and its sum; what was written, divided. Three reads and two writes.
* `two-pass`: the sum alone, of numbers m * 2^n with n kept beside m, so that no maximum is needed against overflow;
  then the quotients. Two reads and one write (Dukhan and Ablavatski, arXiv 2001.04438).

Checked against float64. exp is good to 2^-21 where its argument is small. The first two ways round x - max once,
which exp turns into a relative error of |x - max| * 2^-22; the third takes n * ln(2) off x in two fused steps. A lane
adds one term a chunk and a tree adds the lanes: (chunks + log2(lanes)) * 2^-24. What a power of two pushes below 2^-126
is lost.
"""

# Triton's annotations describe the kernel's body, not its launch.
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false

import argparse

import torch
import triton
import triton.language as tl
from torch import Tensor

LOG2_E = tl.constexpr(1.4426950408889634)
# ln(2) in two parts: the first has few enough bits that its products with n are nearly exact.
LN2_HIGH = tl.constexpr(0.693145751953125)
LN2_LOW = tl.constexpr(1.4286068202862268e-06)
NOTHING = tl.constexpr(-1.0e9)  # an exponent below that of any float32's exp


@triton.jit
def recompute_kernel(x_ptr, y_ptr, columns, BLOCK: tl.constexpr):
    """Normalise row program_id(0), exponentials computed twice."""
    x_ptr += tl.program_id(0).to(tl.int64) * columns
    y_ptr += tl.program_id(0).to(tl.int64) * columns
    lane = tl.arange(0, BLOCK)
    peak = row_peak(x_ptr, columns, BLOCK)
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for start in range(0, columns, BLOCK):
        inside = start + lane < columns
        total += tl.exp(tl.load(x_ptr + start + lane, mask=inside, other=-float("inf")) - peak)
    scale = 1 / tl.sum(total, axis=0)
    for start in range(0, columns, BLOCK):
        inside = start + lane < columns
        weight = tl.exp(tl.load(x_ptr + start + lane, mask=inside, other=-float("inf")) - peak)
        tl.store(y_ptr + start + lane, weight * scale, mask=inside)


@triton.jit
def reload_kernel(x_ptr, y_ptr, columns, BLOCK: tl.constexpr):
    """Normalise row program_id(0), exponentials kept in the output until their sum is known."""
    x_ptr += tl.program_id(0).to(tl.int64) * columns
    y_ptr += tl.program_id(0).to(tl.int64) * columns
    lane = tl.arange(0, BLOCK)
    peak = row_peak(x_ptr, columns, BLOCK)
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for start in range(0, columns, BLOCK):
        inside = start + lane < columns
        weight = tl.exp(tl.load(x_ptr + start + lane, mask=inside, other=-float("inf")) - peak)
        tl.store(y_ptr + start + lane, weight, mask=inside)
        total += weight
    scale = 1 / tl.sum(total, axis=0)
    for start in range(0, columns, BLOCK):
        inside = start + lane < columns
        weight = tl.load(y_ptr + start + lane, mask=inside, other=0)
        tl.store(y_ptr + start + lane, weight * scale, mask=inside)


@triton.jit
def row_peak(x_ptr, columns, BLOCK: tl.constexpr):
    """Return the largest element of a row."""
    lane = tl.arange(0, BLOCK)
    peak = tl.full((BLOCK,), -float("inf"), dtype=tl.float32)
    for start in range(0, columns, BLOCK):
        x = tl.load(x_ptr + start + lane, mask=start + lane < columns, other=-float("inf"))
        peak = tl.maximum(peak, x)
    return tl.max(peak, axis=0)


@triton.jit
def two_pass_kernel(x_ptr, y_ptr, columns, BLOCK: tl.constexpr):
    """Normalise row program_id(0) without its maximum: every sum is a mantissa and an exponent."""
    x_ptr += tl.program_id(0).to(tl.int64) * columns
    y_ptr += tl.program_id(0).to(tl.int64) * columns
    lane = tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    top = tl.full((BLOCK,), NOTHING, dtype=tl.float32)
    for start in range(0, columns, BLOCK):
        inside = start + lane < columns
        mantissa, exponent = wide_exp(tl.load(x_ptr + start + lane, mask=inside, other=0))
        exponent = tl.where(inside, exponent, NOTHING)
        higher = tl.maximum(top, exponent)
        total = total * power_of_two(top - higher) + mantissa * power_of_two(exponent - higher)
        top = higher
    highest = tl.max(top, axis=0)
    scale = 1 / tl.sum(total * power_of_two(top - highest), axis=0)
    for start in range(0, columns, BLOCK):
        inside = start + lane < columns
        mantissa, exponent = wide_exp(tl.load(x_ptr + start + lane, mask=inside, other=0))
        tl.store(y_ptr + start + lane, mantissa * scale * power_of_two(exponent - highest), mask=inside)


@triton.jit
def wide_exp(x):
    """Return (m, n), n a whole number, with exp(x) = m * 2^n and m within a factor of sqrt(2) of 1."""
    exponent = tl.floor(x * LOG2_E + 0.5)
    rest = tl.fma(exponent, -LN2_LOW, tl.fma(exponent, -LN2_HIGH, x))
    return tl.exp(rest), exponent


@triton.jit
def power_of_two(exponent):
    """Return 2^exponent of whole numbers up to 0, and 0 for those below -126."""
    biased = tl.maximum(exponent + 127, 0).to(tl.int32)
    return (biased << 23).to(tl.float32, bitcast=True)


WAYS = {"recompute": recompute_kernel, "reload": reload_kernel, "two-pass": two_pass_kernel}


def softmax_passes(x: Tensor, way: str = "two-pass", block: int = 1024, warps: int = 4) -> Tensor:
    """Return the softmax of each row of `x`.

    Args:
        x: (rows, columns) float32, contiguous, finite, magnitudes up to 2^20.
        way: a name in `WAYS`.
        block: elements of a chunk, a power of two.
        warps: warps a program.

    Raises:
        ValueError: `x` is no contiguous float32 matrix, or there is no such way.
    """
    if x.ndim != 2 or x.dtype != torch.float32 or not x.is_contiguous():
        raise ValueError(
            f"softmax_passes: x has shape {tuple(x.shape)}, {x.dtype}, strides {x.stride()}; need a contiguous float32 "
            "matrix"
        )
    if way not in WAYS:
        raise ValueError(f"softmax_passes: way is {way!r}, must be one of {', '.join(WAYS)}")
    y = torch.empty_like(x)
    WAYS[way][(len(x),)](x, y, x.shape[1], BLOCK=block, num_warps=warps)
    return y


def error_ratio(x: Tensor, y: Tensor, way: str, block: int) -> tuple[float, float]:
    """Return the largest error of y = softmax(x) against float64, and its largest ratio to the bound (1 passes)."""
    exact = torch.softmax(x.double(), dim=1)
    additions = triton.cdiv(x.shape[1], block) + block.bit_length()
    relative = 2 * 2.0**-21 + (additions + 3) * 2.0**-24
    below = (x.double() - x.double().amax(1, keepdim=True)).abs()
    # Of the element itself, and of the sum it is divided by.
    rounding = 0 if way == "two-pass" else (below + (below * exact).sum(1, keepdim=True)) * 2.0**-22
    bound = (relative + rounding) * exact + x.shape[1] * 2.0**-125
    error = (y.double() - exact).abs()
    return float(error.max()), float((error / bound).max())


def main() -> None:
    """Normalise a seeded matrix each way and check it."""
    parser = argparse.ArgumentParser(description="Softmax of long rows in three passes or two.")
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--columns", type=int, default=5000)
    parser.add_argument("--spread", type=float, default=30.0, help="standard deviation of the inputs")
    parser.add_argument("--way", choices=WAYS, default="two-pass")
    parser.add_argument("--block", type=int, default=1024, help="elements of a chunk")
    args = parser.parse_args()
    device = triton.runtime.driver.active.get_active_torch_device()
    x = args.spread * torch.randn(args.rows, args.columns, generator=torch.Generator().manual_seed(0))
    x = x.to(device)
    error, ratio = error_ratio(x, softmax_passes(x, args.way, args.block), args.way, args.block)
    print(
        f"softmax_passes: {args.rows} x {args.columns}, {args.way}: max |error| {error:.3g}, {ratio:.3f} of its bound"
    )
    if not ratio <= 1:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
