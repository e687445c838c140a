"""Any `ReductionTree` in 64-bit integers: the stages as a table that one Numba kernel walks.

A term is a significand times 2**last (`last` is the exponent of its last bit) and the exponent it presents to an
alignment, `NO_EXPONENT` if none. `hw.reference` says what each step means.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from hw.reduction_tree import Accumulator, Align, ReductionTree, Rounding, Zero
from mx_formats.bits import leading_zeros
from mx_formats.element import INFINITE, NAN, ElementFormat, decode

_ALIGN = {align: index for index, align in enumerate(Align)}
_ROUNDING = {rounding: index for index, rounding in enumerate(Rounding)}
_EXACT, _ANCHOR, _LARGEST, _WINDOW = (
    _ALIGN[align] for align in (Align.EXACT, Align.ANCHOR, Align.LARGEST, Align.WINDOW)
)
_FLOOR, _NEAREST = _ROUNDING[Rounding.FLOOR], _ROUNDING[Rounding.NEAREST_EVEN]
_LAST = 1 << 40  # exponent of the last bit of nothing at all
NO_EXPONENT = -(1 << 40)
_WIDTH = 62  # bits of a sum's magnitude in int64, one kept free
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}


class _Stage(NamedTuple):
    """`hw.reduction_tree.Stage` in numbers; `fraction_bits` -1 where nothing is cut off."""

    fan_in: int
    align: int
    fraction_bits: int
    rounding: int
    anchor: int
    zeros_join: int
    accumulator: int
    left: int
    right: int
    scaled: int
    lowest: int


class _Format(NamedTuple):
    """`hw.reduction_tree.Accumulator` in numbers."""

    exponent_bits: int
    mantissa_bits: int
    rounding: int
    subnormals: bool
    nan: int
    signed_zero: bool


class Lowered(NamedTuple):
    """A tree for one pair of element formats, as `step` takes it.

    Attributes:
        stages: int64[stages, fields of `_Stage`].
        format: the accumulator.
        fraction_bits: of a product.
        products: consumed a step.
    """

    stages: np.ndarray
    format: _Format
    fraction_bits: int
    products: int


class Elements(NamedTuple):
    """What `mx_formats.element.decode` returns, as int64 arrays of one shape."""

    significand: np.ndarray
    exponent: np.ndarray
    kind: np.ndarray


def elements(codes: np.ndarray, element: ElementFormat) -> Elements:
    """Decode codes for the kernel."""
    return Elements(*(np.ascontiguousarray(column, np.int64) for column in decode(codes, element)))


def lower(tree: ReductionTree, a: ElementFormat, b: ElementFormat) -> Lowered:
    """Turn a tree into the kernel's table.

    Raises:
        ValueError: a sum of products of these elements may be wider than the kernel's integers.
    """
    fraction_bits = a.mantissa_bits + b.mantissa_bits
    span = a.emax - a.emin + b.emax - b.emin
    terms, rows = 1, []
    for index, stage in enumerate(tree.stages):
        terms *= stage.fan_in
        kept = span + fraction_bits if stage.fraction_bits is None else stage.fraction_bits
        above = 0 if stage.anchor is None else max(0, a.emax + b.emax - stage.anchor)
        width = kept + above + 2 + terms.bit_length() + 1
        if width > _WIDTH or (stage.fraction_bits is None and stage.accumulator):
            raise ValueError(
                f"tree: stage {index} of {tree.name!r} sums {a.name} x {b.name} in {width} bits or more, legal "
                f"{_WIDTH} and no exact accumulation; hw.reference has no limit"
            )
        window = stage.window
        rows.append(
            _Stage(
                stage.fan_in,
                _ALIGN[stage.align],
                -1 if stage.fraction_bits is None else stage.fraction_bits,
                _ROUNDING[stage.rounding],
                stage.anchor or 0,
                stage.zeros_join,
                stage.accumulator,
                window.left if window else 0,
                window.right if window else 0,
                index == tree.scales_enter,
                NO_EXPONENT if stage.lowest is None else stage.lowest,
            )
        )
    return Lowered(np.array(rows, np.int64), _format(tree.accumulator), fraction_bits, tree.products)


def _format(accumulator: Accumulator) -> _Format:
    rounding = _ROUNDING[accumulator.rounding]
    return _Format(
        accumulator.exponent_bits,
        accumulator.mantissa_bits,
        rounding,
        accumulator.subnormals,
        accumulator.nan,
        accumulator.zero is Zero.ROUNDED,
    )


@njit(**_OPTIONS)
def gemm(lowered, a, b, shift_a, shift_b, nan_a, nan_b, out):
    """Steps of a[m, :] with b[n, :] in order of k, for every output.

    Args:
        lowered: the tree.
        a: `Elements` of shape [m, k].
        b: `Elements` of shape [n, k].
        shift_a: int64[m, steps], exponent of the scale of `a` at each step.
        shift_b: int64[n, steps].
        nan_a: bool[m, steps], the scale is NaN.
        nan_b: bool[n, steps].
        out: uint32[m, n] patterns, read and written.
    """
    products = lowered.products
    terms = np.empty((products, 3), np.int64)
    for m in range(out.shape[0]):
        for n in range(out.shape[1]):
            for index in range(shift_a.shape[1]):
                first = index * products
                nan = nan_a[m, index] or nan_b[n, index]
                special = _special(lowered.format, a, b, m, n, first, products, nan, out[m, n])
                if special >= 0:
                    out[m, n] = special
                    continue
                _multiply(lowered, a, b, m, n, first, terms)
                out[m, n] = _step(lowered, terms, shift_a[m, index] + shift_b[n, index], out[m, n])


@njit(**_OPTIONS)
def _multiply(lowered, a, b, m, n, first, terms):
    for i in range(lowered.products):
        exponent = a.exponent[m, first + i] + b.exponent[n, first + i]
        terms[i, 0] = a.significand[m, first + i] * b.significand[n, first + i]
        terms[i, 1] = exponent - lowered.fraction_bits
        terms[i, 2] = exponent


@njit(**_OPTIONS)
def _step(lowered, terms, shift, pattern):
    kept = _unpack(lowered.format, pattern)
    count = lowered.products
    for index in range(len(lowered.stages)):
        stage = _row(lowered.stages, index)
        if stage.scaled:
            _scale(terms, count, shift)
        if stage.align == _WINDOW:
            terms[0, 0], terms[0, 1], terms[0, 2] = _join_window(stage, terms[0], kept)
            continue
        count //= stage.fan_in
        for group in range(count):
            joined = terms[group * stage.fan_in : (group + 1) * stage.fan_in]
            terms[group, 0], terms[group, 1], terms[group, 2] = _join(stage, joined, kept)
    return _pack(lowered.format, terms[0, 0], terms[0, 1])


@njit(**_OPTIONS)
def _scale(terms, count, shift):
    for i in range(count):
        terms[i, 1] += shift
        terms[i, 2] += shift


@njit(inline="always")
def _row(stages, index):
    row = stages[index]
    return _Stage(row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8], row[9], row[10])


@njit(**_OPTIONS)
def _join(stage, terms, kept):
    largest, lowest = np.int64(NO_EXPONENT), np.int64(_LAST)
    for i in range(len(terms)):
        if terms[i, 0] != 0 or stage.zeros_join:  # a sum that nothing joined presents NO_EXPONENT, the least
            largest = max(largest, terms[i, 2])
        if terms[i, 0] != 0:
            lowest = min(lowest, terms[i, 1])
    if stage.accumulator and kept[0] != 0:
        largest, lowest = max(largest, kept[2]), min(lowest, kept[1])
    exponent = max(largest, stage.lowest)
    if stage.align == _ANCHOR and largest > NO_EXPONENT // 2:
        exponent = np.int64(stage.anchor)
    if lowest == _LAST:
        return np.int64(0), np.int64(0), exponent
    last = lowest if stage.fraction_bits < 0 else exponent - stage.fraction_bits
    total = _cut(kept[0], kept[1] - last, stage.rounding) if stage.accumulator else np.int64(0)
    for i in range(len(terms)):
        total += _cut(terms[i, 0], terms[i, 1] - last, stage.rounding)
    if stage.align == _EXACT:
        exponent = last + 63 - leading_zeros(np.uint64(abs(total))) if total != 0 else np.int64(NO_EXPONENT)
    return total, last, exponent


@njit(**_OPTIONS)
def _join_window(stage, term, kept):
    if term[0] == 0:
        return kept
    difference = kept[2] - term[2]
    if kept[0] == 0 or difference <= -stage.right:
        return term[0], term[1], term[2]
    if difference >= stage.left:
        return kept
    last = min(term[1], term[2] - stage.fraction_bits) if difference < 0 else term[1]
    total = (term[0] << (term[1] - last)) + _cut(kept[0], kept[1] - last, stage.rounding)
    return total, last, term[2]


@njit(**_OPTIONS)
def _cut(significand, shift, rounding):
    """significand * 2**shift as an integer."""
    if significand == 0:
        return np.int64(0)
    if shift >= 0:
        return significand << shift
    down = min(-shift, 63)
    if rounding == _FLOOR:
        return significand >> down
    magnitude = abs(significand)
    if rounding == _NEAREST:
        magnitude = _nearest(magnitude, down)
    else:
        magnitude >>= down
    return -magnitude if significand < 0 else magnitude


@njit(**_OPTIONS)
def _nearest(magnitude, down):
    if down > 62:
        return np.int64(0)
    odd = (magnitude >> down) & 1
    return (magnitude + (np.int64(1) << (down - 1)) - 1 + odd) >> down


@njit(**_OPTIONS)
def _unpack(fmt, pattern):
    """Significand, exponent of its last bit, exponent; of a finite pattern."""
    m = fmt.mantissa_bits
    mantissa = np.int64(pattern) & ((1 << m) - 1)
    field = (np.int64(pattern) >> m) & ((1 << fmt.exponent_bits) - 1)
    if field == 0 and (mantissa == 0 or not fmt.subnormals):
        return np.int64(0), np.int64(0), np.int64(NO_EXPONENT)
    significand = mantissa | (np.int64(1) << m if field > 0 else 0)
    exponent = max(field, 1) - ((1 << (fmt.exponent_bits - 1)) - 1)
    negative = (np.int64(pattern) >> (m + fmt.exponent_bits)) & 1
    return -significand if negative else significand, exponent - m, exponent


@njit(**_OPTIONS)
def _pack(fmt, significand, last):
    if significand == 0:
        return np.uint32(0)
    m = fmt.mantissa_bits
    magnitude = abs(significand)
    bias = (1 << (fmt.exponent_bits - 1)) - 1
    exponent = last + 63 - leading_zeros(np.uint64(magnitude))
    sign = np.int64(1) << (m + fmt.exponent_bits) if significand < 0 else np.int64(0)
    if exponent < 1 - bias and not fmt.subnormals:
        return np.uint32(sign if fmt.signed_zero else 0)
    exponent = max(exponent, 1 - bias)
    down = exponent - m - last
    kept = _cut(magnitude, -down, fmt.rounding)
    infinity = ((np.int64(1) << fmt.exponent_bits) - 1) << m
    pattern = min(kept + (min(exponent - 1 + bias, 1 << fmt.exponent_bits) << m), infinity)
    return np.uint32(sign | pattern if pattern or fmt.signed_zero else 0)


@njit(**_OPTIONS)
def _special(fmt, a, b, m, n, first, products, nan, pattern):
    """Pattern of the result if an infinity or NaN decides it, else -1."""
    infinity = ((np.int64(1) << fmt.exponent_bits) - 1) << fmt.mantissa_bits
    sign_bit = np.int64(1) << (fmt.mantissa_bits + fmt.exponent_bits)
    kept = np.int64(pattern) & (sign_bit - 1)
    nan = nan or kept > infinity
    minus = kept == infinity and pattern >= sign_bit
    plus = kept == infinity and not minus
    for k in range(first, first + products):
        kind_a, kind_b = a.kind[m, k], b.kind[n, k]
        if kind_a == NAN or kind_b == NAN:
            nan = True
        elif kind_a == INFINITE or kind_b == INFINITE:
            product = a.significand[m, k] * b.significand[n, k]
            nan, plus, minus = nan or product == 0, plus or product > 0, minus or product < 0
    if nan or (plus and minus):
        return np.int64(fmt.nan)
    if plus or minus:
        return infinity | (sign_bit if minus else 0)
    return np.int64(-1)
