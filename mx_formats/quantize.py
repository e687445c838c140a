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
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mx_formats import fast_kernel, general_kernel
from mx_formats.block import BlockFormat
from mx_formats.conversion import OCP, Conversion, Specials
from mx_formats.element import check_codes, decode_to_float
from mx_formats.general_kernel import (
    float32_shift,
    largest_finite_pattern,
    plan_of,
    tables_of,
)
from mx_formats.layout import Grid, axis_from_end, check_whole_blocks, gather, grid_of, scale_shape, scatter
from mx_formats.scale import decode_scale

if TYPE_CHECKING:
    import torch

_TOGETHER = 1 << 15  # elements whose codes are kept between quantising and dequantising in one pass


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
    values, axis, tensor_scale = _checked(x, block_format, axis, conversion, partial_blocks, tensor_scale)
    if out is None:
        codes = np.empty(values.shape, block_format.element.code_dtype)
        scales = np.empty(scale_shape(values.shape, block_format, axis), block_format.scale.code_dtype)
    else:
        _check_out(out, values.shape, block_format, axis)
        codes, scales = out.codes, out.scales
    work = _Work(block_format, conversion, tensor_scale, grid_of(values.shape, block_format, axis))
    _by_blocks(work.quantize, values, codes, scales.reshape(-1), work.grid)
    return Quantized(codes, scales, block_format, axis, tensor_scale)


def dequantize(quantized: Quantized, out: np.ndarray | None = None) -> np.ndarray:
    """Values of a block tensor: float32, nearest even; blocks with a NaN scale are NaN.

    Args:
        quantized: the tensor.
        out: float32 of its shape in C order, to overwrite.

    Raises:
        ValueError: `out` does not fit.
    """
    block_format, shape = quantized.format, quantized.codes.shape
    out = _float_out(out, shape)
    work = _Work(block_format, OCP, quantized.tensor_scale, grid_of(shape, block_format, quantized.axis))
    _by_blocks(work.dequantize, quantized.codes, out, np.ascontiguousarray(quantized.scales).reshape(-1), work.grid)
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
    """`dequantize(quantize(...))`, in one pass that keeps no codes: what a format does to a tensor.

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
    values, axis, tensor_scale = _checked(x, block_format, axis, conversion, partial_blocks, None)
    out = _float_out(out, values.shape)
    work = _Work(block_format, conversion, tensor_scale, grid_of(values.shape, block_format, axis))
    _by_blocks(work.round_trip, values, out, None, work.grid)
    return out


def tensor_scale_of(x: np.ndarray | torch.Tensor, block_format: BlockFormat) -> float:
    """Largest finite magnitude / (largest element * largest scale), rounded to float32; 1 for an all-zero tensor.

    The smallest positive float32 where that would round to zero.
    """
    pattern = largest_finite_pattern(np.ascontiguousarray(as_float32(x)).reshape(-1))
    largest = float(np.uint32(pattern).view(np.float32))
    if largest == 0:
        return 1.0
    scale = np.float32(largest / (block_format.element.max_value * block_format.scale.max_value))
    return float(max(scale, np.finfo(np.float32).smallest_subnormal))


def as_float32(x: np.ndarray | torch.Tensor) -> np.ndarray:
    """The same values as float32; ValueError for a dtype that float32 does not hold exactly."""
    if not isinstance(x, np.ndarray) and hasattr(x, "detach"):  # a torch tensor; torch itself is slow to import
        if x.device.type != "cpu":
            raise ValueError(f"x: is on device {x.device}, must be on the CPU; use x.cpu()")
        if str(x.dtype) not in ("torch.float32", "torch.float16", "torch.bfloat16"):
            raise ValueError(f"x: dtype {x.dtype} has no conversion rule, legal float32, float16, bfloat16")
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


def _float_out(out: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    if out is None:
        return np.empty(shape, np.float32)
    if out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise ValueError(f"out: is {out.dtype} of {out.shape}, must be float32 of {shape} in C order")
    return out


def _checked(x, block_format: BlockFormat, axis: int, conversion: Conversion, partial_blocks: bool, tensor_scale):
    """The values as float32, the axis from the end and the tensor's scale; ValueError for what `quantize` names."""
    if not isinstance(block_format, BlockFormat):
        raise ValueError(
            f"block_format: got {block_format!r}, must be a BlockFormat; mx_formats.BLOCK_FORMATS has them by name"
        )
    if not isinstance(conversion, Conversion):
        raise ValueError(f"conversion: got {conversion!r}, must be a Conversion, such as mx_formats.OCP")
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
    return values, axis, tensor_scale


def _by_blocks(kernel: Callable[..., None], source: np.ndarray, target: np.ndarray, scales, grid: Grid) -> None:
    """Run kernel(blocks, results, their scales, number of the first) over a tensor, in place where blocks lie so.

    Args:
        kernel: one of `_Work`.
        source: the tensor read.
        target: of its shape, in C order, written.
        scales: one a block in the order of the grid's rows; None for a kernel without.
        grid: where the blocks are.
    """
    if source.size == 0:
        return
    size = grid.rows * grid.columns
    if grid.in_order:
        kernel(np.ascontiguousarray(source).reshape(-1, size), target.reshape(-1, size), scales, 0)
        return
    view = grid.outer, grid.height, grid.width
    source, target = np.ascontiguousarray(source).reshape(view), target.reshape(view)
    for first, last in grid.chunks():
        shape = last - first, grid.across, grid.rows, grid.columns
        blocks, results = np.empty(shape, source.dtype), np.empty(shape, target.dtype)
        gather(source, first, last, grid.rows, grid.columns, blocks)
        places = slice(first * grid.across, last * grid.across)
        kernel(
            blocks.reshape(-1, size),
            results.reshape(-1, size),
            None if scales is None else scales[places],
            places.start,
        )
        scatter(results, target, first, last, grid.rows, grid.columns)


class _Work:
    """A conversion made ready: what the kernels take, found once."""

    def __init__(self, block_format: BlockFormat, conversion: Conversion, tensor_scale: float, grid: Grid) -> None:
        self.format, self.conversion, self.tensor_scale, self.grid = block_format, conversion, tensor_scale, grid
        self.encodes_fast = fast_kernel.encodes_fast(block_format, conversion)
        self.decodes_fast = fast_kernel.decodes_fast(block_format)
        if self.decodes_fast:
            self.constants = fast_kernel.constants_of(block_format.element)
        if self.encodes_fast:
            self.scale_constants = fast_kernel.scale_constants_of(block_format, conversion)
        else:
            self.plan = plan_of(block_format, conversion, tensor_scale)
        if not (self.encodes_fast and self.decodes_fast):
            self.tables = tables_of(block_format)

    def quantize(self, values: np.ndarray, codes: np.ndarray, scales: np.ndarray, place: int) -> None:
        """float32[n, size] to codes[n, size] and scales[n]; `place` of the first block along the grid's rows."""
        if self.encodes_fast:
            kernel = fast_kernel.quantizer(self.format.block_size)
            kernel(values, codes, scales, self.constants, self.scale_constants)
            return
        across, down = self.grid.across, self.grid.down_of
        kernel = general_kernel.quantizer(self.format.block_size)
        failed = kernel(values, codes, scales, place, across, down, self.plan, *self.tables)
        if failed >= 0:
            raise ValueError(
                f"x: block {self.grid.number(place + failed)} holds a NaN, which has no code in "
                f"{self.format.element.name}; legal with Specials.NAN_BLOCK"
            )

    def dequantize(self, codes: np.ndarray, values: np.ndarray, scales: np.ndarray, place: int) -> None:
        """Codes and scales to float32[n, size]."""
        if self.decodes_fast:
            kernel = fast_kernel.dequantizer(self.format.block_size)
            kernel(codes, scales, values, self.constants, self.format.scale.nan)
            return
        element, shift = self.format.element, float32_shift(self.format.element)
        if self.tables[1].size or shift >= 0:
            kernel = general_kernel.dequantizer(self.format.block_size)
            kernel(codes, scales, values, self.tensor_scale, *self.tables, shift)
        else:
            factors = decode_scale(scales, self.format.scale) * self.tensor_scale
            with np.errstate(over="ignore", invalid="ignore"):
                values[...] = decode_to_float(codes, element) * factors[:, None]

    def round_trip(self, values: np.ndarray, out: np.ndarray, scales: None, place: int) -> None:
        """float32[n, size] to float32[n, size]."""
        if self.encodes_fast:
            kernel = fast_kernel.round_tripper(self.format.block_size)
            kernel(values, out, self.constants, self.scale_constants)
            return
        step = max(_TOGETHER // self.format.block_size, 1)
        codes = np.empty((step, self.format.block_size), self.format.element.code_dtype)
        found = np.empty(step, self.format.scale.code_dtype)
        for first in range(0, len(values), step):
            part = slice(first, min(first + step, len(values)))
            count = part.stop - first
            self.quantize(values[part], codes[:count], found[:count], place + first)
            self.dequantize(codes[:count], out[part], found[:count], place + first)
