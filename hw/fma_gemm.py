"""Whole matrix products as chains of FP32 fused multiply-adds in order of k, by the processor's own FMA."""

from typing import Any

import numpy as np
from numba import njit

from hw.summation import IEEE_F32
from mx_formats.bits import bits_float, float_bits, fused_multiply_add
from mx_formats.element import ElementFormat, decode_to_float
from mx_formats.quantize import Quantized
from mx_formats.scale import decode_scale

_COLUMNS = 128  # outputs of a row worked on together, sized to stay in registers and the first-level cache
_NAN = np.uint32(IEEE_F32.nan)
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


def fma_gemm(
    element_a: ElementFormat, a: np.ndarray, element_b: ElementFormat, b: np.ndarray, out: np.ndarray
) -> np.ndarray:
    """out + a @ b.T of plain codes.

    Args:
        element_a: format of `a`, of 32 bits or fewer.
        a: codes [m, k].
        element_b: format of `b`.
        b: codes [n, k].
        out: uint32[m, n], FP32 patterns to start from.

    Returns:
        uint32[m, n], FP32 patterns; the NaN is `IEEE_F32.nan`.
    """
    return _chains(_as_float32(decode_to_float(a, element_a)), _as_float32(decode_to_float(b, element_b)), out)


def fma_gemm_blocks(a: Quantized, b: Quantized) -> np.ndarray | None:
    """a @ b.T of block-scaled operands; None where float32 does not hold every scaled element exactly."""
    left, right = _scaled_elements(a), _scaled_elements(b)
    if left is None or right is None:
        return None
    return _chains(left, right, np.zeros((len(a.codes), len(b.codes)), np.uint32))


def _scaled_elements(operand: Quantized) -> np.ndarray | None:
    block, k = operand.format, operand.codes.shape[1]
    scales = np.repeat(decode_scale(operand.scales, block.scale), block.rows, axis=0)[: len(operand.codes)]
    with np.errstate(invalid="ignore"):
        values = decode_to_float(operand.codes, block.element) * np.repeat(scales, block.columns, axis=1)[:, :k]
    single = _as_float32(values)
    return single if ((single == values) | np.isnan(values)).all() else None


def _as_float32(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return values.astype(np.float32)


def _chains(a: np.ndarray, b: np.ndarray, start: np.ndarray) -> np.ndarray:
    columns = -len(b) % _COLUMNS
    transposed = np.ascontiguousarray(np.pad(b, ((0, columns), (0, 0))).T)
    out = np.ascontiguousarray(np.pad(start, ((0, 0), (0, columns))))
    _gemm(a, transposed, out)
    return np.ascontiguousarray(out[:, : len(b)])


@njit(**_OPTIONS)
def _gemm(a, b, out):
    sums = np.empty(_COLUMNS, np.float32)
    for first in range(0, out.shape[1], _COLUMNS):
        for m in range(out.shape[0]):
            for n in range(_COLUMNS):
                sums[n] = bits_float(out[m, first + n])
            for k in range(a.shape[1]):
                factor = a[m, k]
                for n in range(_COLUMNS):
                    sums[n] = fused_multiply_add(factor, b[k, first + n], sums[n])
            for n in range(_COLUMNS):
                out[m, first + n] = float_bits(sums[n]) if sums[n] == sums[n] else _NAN
