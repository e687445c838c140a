"""Fused row softmax.

`softmax(x)` takes a float32, float16 or bfloat16 matrix (rows, columns) whose rows are contiguous and returns
exp(x - rowmax) / sum(exp(x - rowmax)) in the same dtype. A row stays on chip between its one read and its one write;
a program walks several rows, so that the compiler may fetch the next one early.

Checked against float64 within 2^-20 relative, plus one rounding to the output dtype. The kernel computes in float32:
the difference x - max is rounded once, exp2 and the division are good to about 2^-22, and a tree sum of n terms
loses at most log2(n) * 2^-24.
"""

# Triton's annotations describe the kernel's body, not its launch.
# pyright: reportCallIssue=false, reportGeneralTypeIssues=false

import argparse

import torch
import triton
import triton.language as tl
from torch import Tensor

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@triton.jit
def softmax_kernel(x_ptr, y_ptr, x_row_stride, y_row_stride, rows, columns, BLOCK: tl.constexpr, STAGES: tl.constexpr):
    """Normalise rows program, program + programs, ...; BLOCK is at least `columns`."""
    column = tl.arange(0, BLOCK)
    inside = column < columns
    for row in tl.range(tl.program_id(0), rows, tl.num_programs(0), num_stages=STAGES):
        x = tl.load(x_ptr + row * x_row_stride + column, mask=inside, other=-float("inf")).to(tl.float32)
        weight = tl.exp(x - tl.max(x, axis=0))
        tl.store(y_ptr + row * y_row_stride + column, weight / tl.sum(weight, axis=0), mask=inside)


def softmax(x: Tensor, programs: int = 64, stages: int = 2, warps: int = 4) -> Tensor:
    """Return the softmax of each row of `x`.

    Args:
        x: (rows, columns), float32, float16 or bfloat16, columns contiguous.
        programs: most programs launched; each walks every `programs`-th row.
        stages: software pipeline depth of the row loop.
        warps: warps a program.

    Raises:
        ValueError: `x` is no matrix, or its columns are not contiguous.
    """
    if x.ndim != 2 or x.stride(1) != 1:
        raise ValueError(f"softmax: x has shape {tuple(x.shape)}, strides {x.stride()}; need a matrix, last stride 1")
    rows, columns = x.shape
    y = torch.empty((rows, columns), dtype=x.dtype, device=x.device)
    softmax_kernel[(min(rows, programs),)](
        x, y, x.stride(0), y.stride(0), rows, columns,
        BLOCK=triton.next_power_of_2(columns), STAGES=stages, num_warps=warps,
    )  # fmt: skip
    return y


def error_ratio(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Return the largest error of y = softmax(x) against float64, and its largest ratio to the bound (1 passes)."""
    exact = torch.softmax(x.double(), dim=1)
    # Unit roundoff of the output dtype, and half the spacing of its subnormals.
    info = torch.finfo(y.dtype)
    bound = (2.0**-20 + info.eps / 2) * exact + info.tiny * info.eps / 2
    # |x - max| is rounded to 24 bits before exp, which turns it into a relative error.
    bound += exact * (x.double() - x.double().amax(1, keepdim=True)).abs() * 2.0**-22
    error = (y.double() - exact).abs()
    return float(error.max()), float((error / bound).max())


def main() -> None:
    """Normalise a seeded matrix and check it."""
    parser = argparse.ArgumentParser(description="Fused row softmax.")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--columns", type=int, default=781)
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--programs", type=int, default=64, help="most programs launched")
    parser.add_argument("--stages", type=int, default=2, help="software pipeline depth")
    args = parser.parse_args()
    device = triton.runtime.driver.active.get_active_torch_device()
    x = torch.randn(args.rows, args.columns, generator=torch.Generator().manual_seed(0)).to(device, DTYPES[args.dtype])
    error, ratio = error_ratio(x, softmax(x, args.programs, args.stages))
    print(f"softmax: {args.rows} x {args.columns}, {args.dtype}: max |error| {error:.3g}, {ratio:.3f} of its bound")
    if not ratio <= 1:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
