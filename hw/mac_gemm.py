"""Whole matrix products on the hybrid MAC: the cycles of `hw.mac`, for many outputs at once.

Each output is one MAC that takes its products in order of k, `lanes` a cycle, its accumulator starting at +0. Rows of A
run along the vector lanes of the machine that evaluates this; outputs that meet a NaN or an infinity are done again by
the plain `hw.mac.cycle`.
"""

import numpy as np
from numba import njit

from hw.mac import MacSpec, accumulate, cycle, decode_tables, stage_parameters
from mx_formats.bits import shift_floor
from mx_formats.quantize import Quantized

_ROWS = 64  # outputs of a column worked on together, sized to stay in the first-level cache
_i32 = np.int32
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}


def mac_gemm(spec: MacSpec, a: Quantized, b: Quantized) -> np.ndarray:
    """Accumulator patterns of a @ b.T.

    Args:
        spec: the MAC; both operands have its element.
        a: [m, k], blocks along k.
        b: [n, k], blocks along k.

    Returns:
        uint32[m, n] patterns; an output with k = 0 is +0.

    Raises:
        ValueError: operands of another element or shape, or a block size that is no multiple of the lanes.
    """
    _check_operands(spec, a, b)
    tables = decode_tables(spec.element)
    significand, exponent, _ = tables
    rows = len(a.codes)
    a_codes, a_scales = (_tiles(part) for part in (a.codes, a.scales))
    out = np.zeros((len(b.codes), len(a_codes), _ROWS), np.uint32)
    _gemm(
        significand[a_codes],
        exponent[a_codes],
        a_scales.astype(np.int32),
        significand[b.codes],
        exponent[b.codes],
        b.scales.astype(np.int32),
        out,
        spec.lanes,
        stage_parameters(spec),
    )
    out = out.reshape(len(b.codes), -1)
    special_rows, special_columns = (_special_lines(part, tables) for part in (a, b))
    if special_rows.any() or special_columns.any():
        _redo_specials(
            a.codes, a.scales, b.codes, b.scales, special_rows, special_columns, out, spec.lanes, tables,
            stage_parameters(spec),
        )  # fmt: skip
    return np.ascontiguousarray(out[:, :rows].T)


def _tiles(part: np.ndarray) -> np.ndarray:
    """[m, k] to [tile, k, row], so that the rows of one tile at one k are a vector; the last tile padded by zeros."""
    padded = np.pad(part, ((0, -len(part) % _ROWS), (0, 0)))
    return np.ascontiguousarray(padded.reshape(-1, _ROWS, part.shape[1]).transpose(0, 2, 1))


def _check_operands(spec: MacSpec, a: Quantized, b: Quantized) -> None:
    for name, operand in (("a", a), ("b", b)):
        if operand.format.element != spec.element:
            raise ValueError(f"{name}: element is {operand.format.element.name}, must be the MAC's {spec.element.name}")
        if operand.codes.ndim != 2 or operand.axis != -1:
            raise ValueError(f"{name}: must be 2-D with blocks along the last axis, got {operand.codes.ndim}-D")
        if not operand.format.scale.is_power_of_two or operand.format.rows > 1:
            raise ValueError(f"{name}: format is {operand.format.name}, legal power-of-two scales of blocks along k")
        if operand.format.block_size % spec.lanes:
            raise ValueError(f"{name}: block_size {operand.format.block_size} is no multiple of {spec.lanes} lanes")
    if a.codes.shape[1] != b.codes.shape[1]:
        raise ValueError(f"b: k is {b.codes.shape[1]}, must be {a.codes.shape[1]} as in a")


def _special_lines(operand: Quantized, tables: tuple[np.ndarray, ...]) -> np.ndarray:
    """Which rows hold a NaN or infinity, in elements or scales."""
    return (tables[2][operand.codes] != 0).any(axis=1) | (operand.scales == operand.format.scale.nan).any(axis=1)


@njit(**_OPTIONS)
def _gemm(a_sig, a_exp, a_scale, b_sig, b_exp, b_scale, out, lanes, parameters):
    top, total = np.empty(_ROWS, np.int32), np.empty(_ROWS, np.int32)
    columns, depth = b_sig.shape
    a_block = depth // max(a_scale.shape[1], 1)
    b_block = depth // max(b_scale.shape[1], 1)
    _, left, fixed, anchor, _, _ = parameters
    for tile in range(len(a_sig)):
        for n in range(columns):
            for k in range(0, depth, lanes):
                if fixed:
                    top[:] = anchor
                else:
                    _largest(a_exp, b_exp, tile, n, k, lanes, top)
                _sum_products(a_sig, a_exp, b_sig, b_exp, tile, n, k, lanes, _i32(left), top, total)
                shared = np.int64(b_scale[n, k // b_block]) - 127
                _accumulate_rows(total, top, a_scale, k // a_block, shared, out, n, tile, parameters)


@njit(**_OPTIONS)
def _largest(a_exp, b_exp, tile, n, k, lanes, top):
    for row in range(_ROWS):
        top[row] = _i32(a_exp[tile, k, row] + b_exp[n, k])
    for lane in range(1, lanes):
        b = b_exp[n, k + lane]
        for row in range(_ROWS):
            top[row] = max(top[row], _i32(a_exp[tile, k + lane, row] + b))


@njit(**_OPTIONS)
def _sum_products(a_sig, a_exp, b_sig, b_exp, tile, n, k, lanes, left, top, total):
    total[:] = 0
    for lane in range(lanes):
        significand, exponent = _i32(b_sig[n, k + lane] << left), b_exp[n, k + lane]
        for row in range(_ROWS):
            product = _i32(significand * a_sig[tile, k + lane, row])
            drop = _i32(_i32(top[row] - exponent) - a_exp[tile, k + lane, row])
            total[row] = _i32(total[row] + shift_floor(product, drop))


@njit(**_OPTIONS)
def _accumulate_rows(total, top, a_scale, block, shared, out, n, tile, parameters):
    for row in range(_ROWS):
        e_in = np.int64(top[row]) + a_scale[tile, block, row] + shared
        out[n, tile, row] = accumulate(np.int64(total[row]), e_in, out[n, tile, row], parameters)


@njit(**_OPTIONS)
def _redo_specials(a_codes, a_scales, b_codes, b_scales, special_rows, special_columns, out, lanes, tables, parameters):
    a_block = a_codes.shape[1] // a_scales.shape[1]
    b_block = b_codes.shape[1] // b_scales.shape[1]
    for n in range(len(b_codes)):
        for m in range(len(a_codes)):
            if not (special_rows[m] or special_columns[n]):
                continue
            accumulator = np.uint32(0)
            for k in range(0, a_codes.shape[1], lanes):
                a, b = a_codes[m, k : k + lanes], b_codes[n, k : k + lanes]
                scale_a, scale_b = a_scales[m, k // a_block], b_scales[n, k // b_block]
                accumulator = cycle(a, b, scale_a, scale_b, accumulator, tables, parameters)
            out[n, m] = accumulator
