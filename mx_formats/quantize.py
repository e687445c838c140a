"""Tensors to block formats and back: OCP MX 1.0, section 6.3.

The shared scale is 2**(floor(log2(largest magnitude)) - emax), clamped to the scale format (the rule called FLOOR);
elements are the values divided by it, rounded to nearest even, saturating. What the standard leaves open is fixed here:

* an all-zero block gets the smallest scale, code 0, and zero elements;
* a largest magnitude too small for the scale's range gets code 0 as well;
* a block that holds a NaN or an infinity is NaN as a whole: scale code 255, element codes 0;
* an element times its scale beyond float32's range dequantises to infinity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from mx_formats.bits import bits_float, float_bits
from mx_formats.block import BlockFormat
from mx_formats.element import check_codes, decode_to_float
from mx_formats.encode import INFINITY_BITS, Rule, code_dtype, encode_run, rule_of

if TYPE_CHECKING:
    import torch

_u32 = np.uint32
_MAGNITUDE = _u32(0x7FFFFFFF)


@dataclass(frozen=True)
class Quantized:
    """A tensor in a block format.

    Attributes:
        codes: uint8 element codes, right aligned, of the tensor's shape.
        scales: uint8 scale codes; as `codes`, with `axis` shorter by the block size.
        format: of the blocks.
        axis: the axis that blocks run along, counted from the end (negative).
    """

    codes: np.ndarray
    scales: np.ndarray
    format: BlockFormat
    axis: int = -1

    def __post_init__(self) -> None:
        if not -self.codes.ndim <= self.axis < 0:
            raise ValueError(f"Quantized.axis: got {self.axis}, legal {-self.codes.ndim}..-1")
        expected = list(self.codes.shape)
        expected[self.axis] = blocks_along(self.codes.shape[self.axis], self.format)
        if self.scales.shape != tuple(expected):
            raise ValueError(f"Quantized.scales: shape is {self.scales.shape}, must be {tuple(expected)}")
        check_codes(self.codes, self.format.element)


def blocks_along(length: int, block_format: BlockFormat) -> int:
    """Blocks in an axis of `length`; ValueError if the block size does not divide it."""
    size = block_format.block_size
    if length % size:
        raise ValueError(f"block_size: {size} does not divide the axis of length {length}; pad it to a multiple")
    return length // size


def quantize(x: np.ndarray | torch.Tensor, block_format: BlockFormat, axis: int = -1) -> Quantized:
    """Convert a tensor to a block format, blocks running along `axis`.

    Args:
        x: float32, float16 or bfloat16 (all exact in float32), NumPy or a CPU torch tensor, any shape.
        block_format: the target; its element has 8 bits or fewer.
        axis: the axis to cut into blocks.

    Raises:
        ValueError: the block size does not divide the axis, or a dtype without a rule (a float64 would be rounded
            twice).
    """
    values = as_float32(x)
    if not -values.ndim <= axis < values.ndim:
        raise ValueError(f"axis: got {axis}, legal {-values.ndim}..{values.ndim - 1}")
    if block_format.element.bits > 8:
        raise ValueError(f"block_format.element: {block_format.element.name} has over 8 bits, legal 8 or fewer")
    last = np.ascontiguousarray(np.moveaxis(values, axis, -1))
    blocks = blocks_along(last.shape[-1], block_format)
    codes = np.empty(last.shape, code_dtype(block_format.element))
    scales = np.empty((*last.shape[:-1], blocks), np.uint8)
    scale = block_format.scale
    limits = (block_format.element.emax, scale.nan - 1, scale.nan, scale.bias)
    rows = (-1, block_format.block_size)
    _quantize(last.reshape(rows), codes.reshape(rows), scales.reshape(-1), rule_of(block_format.element), limits)
    codes, scales = (np.ascontiguousarray(np.moveaxis(part, -1, axis)) for part in (codes, scales))
    return Quantized(codes, scales, block_format, axis if axis < 0 else axis - values.ndim)


def dequantize(quantized: Quantized) -> np.ndarray:
    """Values of a block tensor: float32, exact but for overflow to infinity; blocks with a NaN scale are NaN."""
    block_format = quantized.format
    codes = np.ascontiguousarray(np.moveaxis(quantized.codes, quantized.axis, -1))
    scales = np.ascontiguousarray(np.moveaxis(quantized.scales, quantized.axis, -1))
    out = np.empty(codes.shape, np.float32)
    every_code = np.arange(1 << block_format.element.bits, dtype=np.uint8)
    table = decode_to_float(every_code, block_format.element).astype(np.float32)
    rows = (-1, block_format.block_size)
    _dequantize(codes.reshape(rows), scales.reshape(-1), out.reshape(rows), table, scale_values(block_format))
    return np.ascontiguousarray(np.moveaxis(out, -1, quantized.axis))


def scale_values(block_format: BlockFormat) -> np.ndarray:
    """float32 value of every scale code."""
    scale = block_format.scale
    values = np.ldexp(1.0, np.arange(1 << scale.bits) - scale.bias)
    values[scale.nan] = np.nan
    return values.astype(np.float32)


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


@njit(cache=True, nogil=True, error_model="numpy")
def _quantize(values, codes, scales, rule: Rule, limits):
    emax, highest, nan, bias = limits
    for block in range(len(scales)):
        largest = _largest_magnitude(values[block])
        if largest >= INFINITY_BITS:
            scales[block] = nan
            codes[block] = 0
            continue
        code = min(max(np.int64(largest >> _u32(23)) - emax, 0), highest)
        scales[block] = code
        # 2**(bias - code), as a float32 pattern; the subnormal 2**-127 ends the range.
        field = 127 + bias - code
        factor = bits_float(_u32(field << 23) if field > 0 else _u32(0x400000))
        encode_run(values[block], codes[block], factor, rule)


@njit(inline="always")
def _largest_magnitude(values):
    largest = _u32(0)
    for i in range(len(values)):
        largest = max(largest, _u32(float_bits(values[i]) & _MAGNITUDE))
    return largest


@njit(cache=True, nogil=True, error_model="numpy")
def _dequantize(codes, scales, out, table, scale_table):
    for block in range(len(scales)):
        scale = scale_table[scales[block]]
        for i in range(codes.shape[1]):
            out[block, i] = table[codes[block, i]] * scale
