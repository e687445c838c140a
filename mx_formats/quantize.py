"""Tensors to block formats and back.

By default as OCP MX 1.0, section 6.3: the shared scale is 2**(floor(log2(largest magnitude)) - emax), clamped to the
scale format; elements are the values divided by it, rounded to nearest even, saturating. `Conversion` chooses
otherwise. What the standard leaves open is fixed here:

* an all-zero block gets the smallest scale, code 0, and zero elements;
* a largest magnitude too small for the scale's range gets code 0 as well, one too large the largest scale;
* a block that holds a NaN or an infinity is NaN as a whole: NaN scale, element codes 0;
* a partial block counts as if zeros filled it;
* dequantised values are float32, rounded to nearest even where float32 does not hold the product, infinite beyond it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mx_formats import fast_kernel
from mx_formats.block import BlockFormat
from mx_formats.conversion import OCP, Conversion, Specials
from mx_formats.element import check_codes, decode_to_float
from mx_formats.general_kernel import dequantize_blocks, plan_of, quantize_blocks, tables_of
from mx_formats.layout import (
    axis_from_end,
    check_whole_blocks,
    from_blocks,
    scale_shape,
    scales_from_blocks,
    scales_to_blocks,
    to_blocks,
)
from mx_formats.scale import decode_scale

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Quantized:
    """A tensor in a block format.

    Attributes:
        codes: element codes, right aligned, of the tensor's shape; uint8, or uint16 and uint32 for wider elements.
        scales: scale codes, uint8 or uint32; as `codes`, with the axes that blocks run along shorter by the block.
        format: of the blocks.
        axis: the axis that blocks run along, counted from the end (negative).
        tensor_scale: a further factor of all values, exact in float32; 1 for formats without one.
    """

    codes: np.ndarray
    scales: np.ndarray
    format: BlockFormat
    axis: int = -1
    tensor_scale: float = 1.0

    def __post_init__(self) -> None:
        if not -self.codes.ndim <= self.axis < 0:
            raise ValueError(f"Quantized.axis: got {self.axis}, legal {-self.codes.ndim}..-1")
        expected = scale_shape(self.codes.shape, self.format, self.axis)
        if self.scales.shape != expected:
            raise ValueError(f"Quantized.scales: shape is {self.scales.shape}, must be {expected}")
        if self.scales.dtype != self.format.scale.code_dtype:
            raise ValueError(f"Quantized.scales: dtype is {self.scales.dtype}, must be {self.format.scale.code_dtype}")
        check_codes(self.codes, self.format.element)
        check_tensor_scale(self.tensor_scale, self.format)


def check_tensor_scale(tensor_scale: float, block_format: BlockFormat) -> None:
    """ValueError for a factor that is not a positive finite float32, or that the format does not have."""
    if not (tensor_scale > 0 and math.isfinite(tensor_scale) and float(np.float32(tensor_scale)) == tensor_scale):
        raise ValueError(f"tensor_scale: got {tensor_scale}, must be positive, finite and exact in float32")
    if tensor_scale != 1 and not block_format.tensor_scale:
        raise ValueError(f"tensor_scale: got {tensor_scale}, must be 1 for {block_format.name}, which has none")


def quantize(
    x: np.ndarray | torch.Tensor,
    block_format: BlockFormat,
    axis: int = -1,
    conversion: Conversion = OCP,
    *,
    partial_blocks: bool = False,
    tensor_scale: float | None = None,
    out: Quantized | None = None,
) -> Quantized:
    """Convert a tensor to a block format.

    Args:
        x: float32, float16 or bfloat16 (all exact in float32), NumPy or a CPU torch tensor, any shape.
        block_format: the target.
        axis: the axis to cut into blocks; -1 for tiles, which lie in the last two.
        conversion: scale rule, rounding, overflow, NaN and infinity.
        partial_blocks: allow lengths that the block size does not divide.
        tensor_scale: for formats with one; None takes `tensor_scale_of(x, block_format)`.
        out: a result to overwrite, of the same shape, format and axis.

    Raises:
        ValueError: the block size does not divide the axis, a dtype without a rule (a float64 would be rounded
            twice), or a choice that the format does not have.
    """
    values = as_float32(x)
    axis = axis_from_end(values.shape, block_format, axis)
    if not partial_blocks:
        check_whole_blocks(values.shape, block_format, axis)
    if conversion.specials is Specials.REJECT and not np.isfinite(values).all():
        where = tuple(int(index) for index in np.argwhere(~np.isfinite(values))[0])
        raise ValueError(f"x: {values[where]} at {where}, must be finite under Specials.REJECT")
    if tensor_scale is None:
        tensor_scale = tensor_scale_of(values, block_format) if block_format.tensor_scale else 1.0
    check_tensor_scale(tensor_scale, block_format)
    blocks = to_blocks(values, block_format, axis)
    straight = blocks.size == values.size and axis == -1 and block_format.rows == 1
    if out is not None:
        _check_out(out, values.shape, block_format, axis)
    if out is not None and straight:
        codes, scales = out.codes.reshape(blocks.shape), out.scales.reshape(-1)
    else:
        codes = np.empty(blocks.shape, block_format.element.code_dtype)
        scales = np.empty(len(blocks), block_format.scale.code_dtype)
    _quantize_blocks(blocks, codes, scales, block_format, conversion, tensor_scale)
    codes = from_blocks(codes, values.shape, block_format, axis)
    scales = scales_from_blocks(scales, values.shape, block_format, axis)
    if out is not None and not straight:
        out.codes[...], out.scales[...] = codes, scales
        codes, scales = out.codes, out.scales
    return Quantized(codes, scales, block_format, axis, tensor_scale)


def dequantize(quantized: Quantized, out: np.ndarray | None = None) -> np.ndarray:
    """Values of a block tensor: float32, nearest even; blocks with a NaN scale are NaN.

    Args:
        quantized: the tensor.
        out: float32 of its shape in C order, to overwrite.

    Raises:
        ValueError: `out` does not fit.
    """
    block_format, axis, shape = quantized.format, quantized.axis, quantized.codes.shape
    if out is not None and (out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous):
        raise ValueError(f"out: is {out.dtype} of {out.shape}, must be float32 of {shape} in C order")
    codes = to_blocks(quantized.codes, block_format, axis)
    scales = scales_to_blocks(quantized.scales, axis)
    straight = out is not None and codes.size == quantized.codes.size and axis == -1 and block_format.rows == 1
    values = out.reshape(codes.shape) if straight and out is not None else np.empty(codes.shape, np.float32)
    _dequantize_blocks(codes, scales, values, block_format, quantized.tensor_scale)
    if straight and out is not None:
        return out
    values = from_blocks(values, shape, block_format, axis)
    if out is None:
        return values
    out[...] = values
    return out


def round_trip(
    x: np.ndarray | torch.Tensor,
    block_format: BlockFormat,
    axis: int = -1,
    conversion: Conversion = OCP,
    *,
    partial_blocks: bool = False,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """`dequantize(quantize(...))`, in one pass where there is a kernel for it: what a format does to a tensor.

    Args:
        x: as for `quantize`.
        block_format: as there.
        axis: as there.
        conversion: as there.
        partial_blocks: as there.
        out: float32 of the shape of `x` in C order, to overwrite.

    Returns:
        float32 of the shape of `x`.
    """
    values = as_float32(x)
    axis = axis_from_end(values.shape, block_format, axis)
    if block_format.rows > 1 or not fast_kernel.encodes_fast(block_format, conversion):
        return dequantize(quantize(values, block_format, axis, conversion, partial_blocks=partial_blocks), out)
    if out is not None and (out.shape != values.shape or out.dtype != np.float32 or not out.flags.c_contiguous):
        raise ValueError(f"out: is {out.dtype} of {out.shape}, must be float32 of {values.shape} in C order")
    if not partial_blocks:
        check_whole_blocks(values.shape, block_format, axis)
    blocks = to_blocks(values, block_format, axis)
    straight = blocks.size == values.size and axis == -1
    result = out.reshape(blocks.shape) if out is not None and straight else np.empty(blocks.shape, np.float32)
    constants = fast_kernel.constants_of(block_format.element)
    scale_constants = fast_kernel.scale_constants_of(block_format, conversion)
    fast_kernel.round_tripper(block_format.block_size)(blocks, result, constants, scale_constants)
    result = from_blocks(result, values.shape, block_format, axis)
    if out is None:
        return result
    if not straight:
        out[...] = result
    return out


def tensor_scale_of(x: np.ndarray | torch.Tensor, block_format: BlockFormat) -> float:
    """Largest finite magnitude / (largest element * largest scale), rounded to float32; 1 for an all-zero tensor.

    The smallest positive float32 where that would round to zero.
    """
    magnitudes = np.abs(as_float32(x))
    finite = magnitudes[np.isfinite(magnitudes)]
    largest = float(finite.max()) if finite.size else 0.0
    if largest == 0:
        return 1.0
    scale = np.float32(largest / (block_format.element.max_value * block_format.scale.max_value))
    return float(max(scale, np.finfo(np.float32).smallest_subnormal))


def as_float32(x: np.ndarray | torch.Tensor) -> np.ndarray:
    """The same values as float32; ValueError for a dtype that float32 does not hold exactly."""
    if not isinstance(x, np.ndarray) and hasattr(x, "detach"):  # a torch tensor; torch itself is slow to import
        if x.device.type != "cpu":
            raise ValueError(f"x: is on device {x.device}, must be on the CPU; use x.cpu()")
        x = x.detach()
        x = (x.float() if str(x.dtype) == "torch.bfloat16" else x).numpy()
    x = np.asarray(x)
    if x.dtype not in (np.float32, np.float16):
        raise ValueError(f"x: dtype {x.dtype} has no conversion rule, legal float32, float16, bfloat16")
    return x.astype(np.float32, copy=False)


def _check_out(out: Quantized, shape: tuple[int, ...], block_format: BlockFormat, axis: int) -> None:
    if out.codes.shape != shape or out.format != block_format or out.axis != axis:
        raise ValueError(
            f"out: is {out.codes.shape} of {out.format.name} along {out.axis}, must be {shape} of {block_format.name} "
            f"along {axis}"
        )
    if not (out.codes.flags.c_contiguous and out.scales.flags.c_contiguous):
        raise ValueError("out: is not in C order, must be")


def _quantize_blocks(blocks, codes, scales, block_format: BlockFormat, conversion: Conversion, tensor_scale) -> None:
    if fast_kernel.encodes_fast(block_format, conversion):
        kernel = fast_kernel.quantizer(block_format.block_size)
        constants = fast_kernel.constants_of(block_format.element)
        kernel(blocks, codes, scales, constants, fast_kernel.scale_constants_of(block_format, conversion))
        return
    plan = plan_of(block_format, conversion, tensor_scale)
    failed = quantize_blocks(blocks, codes, scales, plan, *tables_of(block_format))
    if failed >= 0:
        raise ValueError(
            f"x: block {failed} holds a NaN, which has no code in {block_format.element.name}; "
            "legal with Specials.NAN_BLOCK"
        )


def _dequantize_blocks(codes, scales, values, block_format: BlockFormat, tensor_scale: float) -> None:
    if fast_kernel.decodes_fast(block_format):
        constants = fast_kernel.constants_of(block_format.element)
        fast_kernel.dequantizer(block_format.block_size)(codes, scales, values, constants, block_format.scale.nan)
        return
    factors = decode_scale(scales, block_format.scale) * tensor_scale
    _, table = tables_of(block_format)
    if table.size:
        dequantize_blocks(codes, factors, values, table)
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            values[...] = decode_to_float(codes, block_format.element) * factors[:, None]
