"""Block formats inside torch models: fake quantisation, and products summed by a datapath of one's choice.

`products` below is any function of two block tensors, [m, k] and [n, k] with blocks along k, to float32[m, n]: for a
reduction tree, `functools.partial(hw.evaluate.evaluate_gemm, tree)`. Gradients pass rounding as if it were the identity
(straight through).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mx_formats.block import BlockFormat
from mx_formats.conversion import OCP, Conversion
from mx_formats.quantize import Quantized, dequantize, quantize, round_trip

Products = Callable[[Quantized, Quantized], np.ndarray]


def float64_products(a: Quantized, b: Quantized) -> np.ndarray:
    """a @ b.T summed in float64 and rounded to float32: what the formats cost, without a datapath."""
    return (dequantize(a).astype(np.float64) @ dequantize(b).astype(np.float64).T).astype(np.float32)


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x, forward_format, backward_format, axis, conversion):
        ctx.rest = backward_format, axis, conversion
        return x if forward_format is None else _rounded(x, forward_format, axis, conversion)

    @staticmethod
    def backward(ctx: Any, *grad_outputs):
        backward_format, axis, conversion = ctx.rest
        (grad,) = grad_outputs
        grad = grad if backward_format is None else _rounded(grad, backward_format, axis, conversion)
        return grad, None, None, None, None


def fake_quantize(
    x: torch.Tensor,
    forward_format: BlockFormat | None,
    backward_format: BlockFormat | None = None,
    axis: int = -1,
    conversion: Conversion = OCP,
) -> torch.Tensor:
    """`x` rounded to one format on the way forward, its gradient to another on the way back; None rounds nothing.

    Args:
        x: float32, float16 or bfloat16 on the CPU; the result has its dtype.
        forward_format: of values.
        backward_format: of gradients.
        axis: blocks run along it; the last may be partial.
        conversion: of both.

    Raises:
        ValueError: as `mx_formats.quantize` does.
    """
    return _FakeQuantize.apply(x, forward_format, backward_format, axis, conversion)


class FakeQuantize(torch.nn.Module):
    """`fake_quantize` as a layer."""

    def __init__(
        self,
        forward_format: BlockFormat | None,
        backward_format: BlockFormat | None = None,
        axis: int = -1,
        conversion: Conversion = OCP,
    ) -> None:
        super().__init__()
        self.forward_format, self.backward_format = forward_format, backward_format
        self.axis, self.conversion = axis, conversion

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`x` in the forward format."""
        return fake_quantize(x, self.forward_format, self.backward_format, self.axis, self.conversion)


class _Matmul(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a, b, forward_format, backward_format, products, conversion):
        ctx.save_for_backward(a, b)
        ctx.rest = backward_format, products, conversion
        return _multiply(a, b, forward_format, products, conversion)

    @staticmethod
    def backward(ctx: Any, *grad_outputs):
        (grad,) = grad_outputs
        a, b = ctx.saved_tensors
        grad_a = grad_b = None
        if ctx.needs_input_grad[0]:
            grad_a = _multiply(grad, b.T, *ctx.rest)
        if ctx.needs_input_grad[1]:
            grad_b = _multiply(grad.T, a.T, *ctx.rest)
        return grad_a, grad_b, None, None, None, None


def mx_matmul(
    a: torch.Tensor,
    b: torch.Tensor,
    forward_format: BlockFormat,
    backward_format: BlockFormat | None = None,
    products: Products = float64_products,
    conversion: Conversion = OCP,
) -> torch.Tensor:
    """a @ b.T with both operands in a block format along k, and every product summed by `products`.

    The two products of the backward pass are made the same way, each along the axis it sums over. An axis that blocks
    do not divide is filled with zeros.

    Args:
        a: [m, k], float32, float16 or bfloat16.
        b: [n, k], the same dtype; the result has it too.
        forward_format: of both operands.
        backward_format: of gradients and what they are multiplied with; None is the forward one.
        products: the datapath.
        conversion: of all operands.

    Raises:
        ValueError: shapes or dtypes that do not fit, and what `quantize` and `products` raise.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"b: shape is {tuple(b.shape)}, must be [n, {a.shape[-1]}] for a of {tuple(a.shape)}")
    if a.dtype != b.dtype:
        raise ValueError(f"b: dtype is {b.dtype}, must be {a.dtype} as a")
    return _Matmul.apply(a, b, forward_format, backward_format or forward_format, products, conversion)


class MXLinear(torch.nn.Linear):
    """A linear layer whose products are `mx_matmul`'s; the bias is added after, in the dtype of the input."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        forward_format: BlockFormat,
        backward_format: BlockFormat | None = None,
        products: Products = float64_products,
        conversion: Conversion = OCP,
        bias: bool = True,
    ) -> None:
        super().__init__(in_features, out_features, bias)
        self.forward_format, self.backward_format = forward_format, backward_format
        self.products, self.conversion = products, conversion

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """[..., in_features] to [..., out_features]."""
        rows = input.reshape(-1, self.in_features)
        out = mx_matmul(
            rows, self.weight, self.forward_format, self.backward_format, self.products, self.conversion
        ).reshape(*input.shape[:-1], self.out_features)
        return out if self.bias is None else out + self.bias


def _rounded(x: torch.Tensor, block_format: BlockFormat, axis: int, conversion: Conversion) -> torch.Tensor:
    values = round_trip(x, block_format, axis, conversion, partial_blocks=True)
    return torch.from_numpy(values).to(x.dtype)


def _multiply(a, b, block_format: BlockFormat, products: Products, conversion: Conversion) -> torch.Tensor:
    filling = -a.shape[1] % block_format.block_size
    operands = (torch.nn.functional.pad(part, (0, filling)).contiguous() for part in (a, b))
    result = products(*(quantize(part, block_format, conversion=conversion) for part in operands))
    return torch.from_numpy(np.ascontiguousarray(result)).to(a.dtype)
