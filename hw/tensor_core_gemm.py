"""Whole matrix products on tensor-core steps: the kernels of `hw.tensor_core`, tile by tile."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from hw.tensor_core import COLUMNS, NOT_A_NUMBER, ROWS, ZERO, mma_e8m13, mma_f16, mma_f32, new_scratch, split_codes
from mx_formats.element import ElementFormat

if TYPE_CHECKING:
    from hw.evaluate import Scales
    from hw.presets import TensorCore

_F16, _E8M13, _F32 = 16, 22, 32  # widths of the accumulators
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


def tensor_core_gemm(
    core: "TensorCore",
    element_a: ElementFormat,
    a: np.ndarray,
    element_b: ElementFormat,
    b: np.ndarray,
    sum_bits: int,
    out: np.ndarray,
    scales: "list[Scales] | None",
) -> np.ndarray:
    """out + a @ b.T in fused steps in order of k.

    Args:
        core: the rule.
        element_a: format of `a`.
        a: codes [m, k], k a multiple of `core.products`.
        element_b: format of `b`.
        b: codes [n, k].
        sum_bits: width of the accumulators, 16, 22 or 32.
        out: uint32[m, n], accumulators to start from.
        scales: powers of two [rows, steps, 1] of both operands, or None.

    Returns:
        uint32[m, n], accumulators.
    """
    a_sig, a_exp = _operand_tiles(element_a, a, ROWS, core.products, None if scales is None else scales[0])
    b_sig, b_exp = _operand_tiles(element_b, b, COLUMNS, core.products, None if scales is None else scales[1])
    m, n = out.shape
    low = np.uint32(10 if sum_bits == _E8M13 else 0)  # an E8M13 sum is the top of an FP32 register
    padded = np.pad(out << low, ((0, -m % ROWS), (0, -n % COLUMNS)))
    tiles = padded.reshape(len(a_sig), ROWS, len(b_sig), COLUMNS).transpose(0, 2, 3, 1)
    tiles = np.ascontiguousarray(tiles)
    left = np.int32(core.fraction_bits - element_a.mantissa_bits - element_b.mantissa_bits)
    fraction_bits = np.int32(core.fraction_bits)
    _tiles(a_sig, a_exp, b_sig, b_exp, tiles, core.products, left, fraction_bits, sum_bits, *new_scratch())
    return np.ascontiguousarray(tiles.transpose(0, 3, 1, 2).reshape(padded.shape)[:m, :n]) >> low


def _operand_tiles(
    element: ElementFormat, codes: np.ndarray, lines: int, products: int, scales: "Scales | None"
) -> tuple[np.ndarray, np.ndarray]:
    """Significands and exponents, those of the scales added, as [tile, k, line]; padded by zeros."""
    significand, exponent = split_codes(codes, element)
    if scales is not None:
        shift = np.repeat(scales.exponent[:, :, 0], products, axis=1)
        exponent = np.where(np.abs(exponent) < -ZERO // 2, exponent + shift, exponent)
        exponent = np.where(np.repeat(scales.nan[:, :, 0], products, axis=1), NOT_A_NUMBER, exponent)
    padding = ((0, -len(codes) % lines), (0, 0))
    significand = np.pad(significand, padding)
    exponent = np.pad(exponent.astype(np.int32), padding, constant_values=ZERO)
    shape = (-1, lines, codes.shape[1])
    tiled = [np.ascontiguousarray(part.reshape(shape).transpose(0, 2, 1)) for part in (significand, exponent)]
    return tiled[0], tiled[1]


@njit(**_OPTIONS)
def _tiles(a_sig, a_exp, b_sig, b_exp, out, products, left, fraction_bits, sum_bits, top, total):
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            sa, ea, sb, eb = a_sig[i], a_exp[i], b_sig[j], b_exp[j]
            for k in range(0, a_sig.shape[1], products):
                if sum_bits == _F32:
                    mma_f32(sa, ea, sb, eb, out[i, j], k, k + products, left, fraction_bits, top, total)
                elif sum_bits == _E8M13:
                    mma_e8m13(sa, ea, sb, eb, out[i, j], k, k + products, left, fraction_bits, top, total)
                else:
                    mma_f16(sa, ea, sb, eb, out[i, j], k, k + products, left, fraction_bits, top, total)
