"""Layer normalisation, forward.

`layer_norm(x, weight, bias)` takes a float32 or float16 matrix (rows, columns) and vectors (columns,) of the same
dtype, and returns (y, mean, rstd): y = (x - mean) * rstd * weight + bias in the dtype of x, and each row's float32
mean and 1 / sqrt(variance + eps), which a backward pass would need. One program normalises one row in three passes
over blocks of columns.

Checked against float64: a column sum of n float32 terms and its square root are good to about 2^-20, so the bound is
2^-18 of the largest term of each row, plus one rounding to the output dtype.
"""

# Triton's annotations describe the kernel's body, not its launch.
# pyright: reportArgumentType=false

import argparse

import torch
import triton
import triton.language as tl
from torch import Tensor

DTYPES = {"float32": torch.float32, "float16": torch.float16}


@triton.jit
def layer_norm_kernel(
    x_ptr, weight_ptr, bias_ptr, y_ptr, mean_ptr, rstd_ptr, row_stride, columns, eps, BLOCK: tl.constexpr
):
    """Normalise row `program`, BLOCK columns at a time."""
    row = tl.program_id(0)
    x_ptr += row * row_stride
    y_ptr += row * row_stride
    partial = tl.zeros([BLOCK], dtype=tl.float32)
    for start in range(0, columns, BLOCK):
        column = start + tl.arange(0, BLOCK)
        partial += tl.load(x_ptr + column, mask=column < columns, other=0).to(tl.float32)
    mean = tl.sum(partial, axis=0) / columns

    partial = tl.zeros([BLOCK], dtype=tl.float32)
    for start in range(0, columns, BLOCK):
        column = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + column, mask=column < columns, other=0).to(tl.float32)
        centred = tl.where(column < columns, x - mean, 0.0)
        partial += centred * centred
    rstd = 1 / tl.sqrt(tl.sum(partial, axis=0) / columns + eps)
    tl.store(mean_ptr + row, mean)
    tl.store(rstd_ptr + row, rstd)

    for start in range(0, columns, BLOCK):
        column = start + tl.arange(0, BLOCK)
        inside = column < columns
        x = tl.load(x_ptr + column, mask=inside).to(tl.float32)
        weight = tl.load(weight_ptr + column, mask=inside)
        bias = tl.load(bias_ptr + column, mask=inside)
        tl.store(y_ptr + column, (x - mean) * rstd * weight + bias, mask=inside)


def layer_norm(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5, block: int = 512
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (y, mean, rstd) of the rows of `x`.

    Args:
        x: (rows, columns), float32 or float16, contiguous.
        weight: (columns,), gain.
        bias: (columns,), offset.
        eps: added to the variance.
        block: columns read at once, a power of two.

    Raises:
        ValueError: `x` is no contiguous matrix, or `weight` or `bias` have another length.
    """
    if x.ndim != 2 or not x.is_contiguous():
        raise ValueError(f"layer_norm: x has shape {tuple(x.shape)}, strides {x.stride()}; need a contiguous matrix")
    rows, columns = x.shape
    if weight.shape != (columns,) or bias.shape != (columns,):
        raise ValueError(
            f"layer_norm: weight {tuple(weight.shape)} and bias {tuple(bias.shape)} must both be ({columns},)"
        )
    y = torch.empty_like(x)
    mean = torch.empty(rows, dtype=torch.float32, device=x.device)
    rstd = torch.empty_like(mean)
    layer_norm_kernel[(rows,)](x, weight, bias, y, mean, rstd, x.stride(0), columns, eps, BLOCK=block)
    return y, mean, rstd


def error_ratio(x: Tensor, weight: Tensor, bias: Tensor, y: Tensor, eps: float = 1e-5) -> tuple[float, float]:
    """Return the largest error of y against float64, and its largest ratio to the bound (1 passes)."""
    rows = x.double()
    rstd = (rows.var(1, correction=0, keepdim=True) + eps).rsqrt()
    exact = (rows - rows.mean(1, keepdim=True)) * rstd * weight.double() + bias.double()
    # What the row holds before centring: cancellation in x - mean makes its rounding relative to this.
    held = (rows.abs().amax(1, keepdim=True) * rstd * weight.double()).abs() + bias.double().abs()
    info = torch.finfo(y.dtype)
    bound = 2.0**-18 * held + info.eps / 2 * exact.abs() + info.tiny * info.eps / 2
    error = (y.double() - exact).abs()
    return float(error.max()), float((error / bound).max())


def main() -> None:
    """Normalise a seeded matrix and check it."""
    parser = argparse.ArgumentParser(description="Layer normalisation, forward.")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--columns", type=int, default=1000)
    parser.add_argument("--dtype", choices=DTYPES, default="float16")
    args = parser.parse_args()
    device = triton.runtime.driver.active.get_active_torch_device()
    generator = torch.Generator().manual_seed(0)
    x = (0.5 + 2 * torch.randn(args.rows, args.columns, generator=generator)).to(device, DTYPES[args.dtype])
    weight = torch.rand(args.columns, generator=generator).to(device, DTYPES[args.dtype])
    bias = torch.randn(args.columns, generator=generator).to(device, DTYPES[args.dtype])
    error, ratio = error_ratio(x, weight, bias, layer_norm(x, weight, bias)[0])
    print(f"layer_norm: {args.rows} x {args.columns}, {args.dtype}: max |error| {error:.3g}, {ratio:.3f} of its bound")
    if not ratio <= 1:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
