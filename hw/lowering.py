"""A `ReductionTree` for one pair of element formats as a table of integers, as `hw.tree_kernel` walks it."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from hw.reduction_tree import Accumulator, Align, IntegerAccumulator, ReductionTree, Rounding, Stage, Zero
from hw.wide_sum import CAPACITY, WIDTH
from hw.widths import Range, check_tree, product_range
from mx_formats.element import ElementFormat, decode

ALIGN = {align: index for index, align in enumerate(Align)}
ROUNDING = {rounding: index for index, rounding in enumerate(Rounding)}
ZERO = {zero: index for index, zero in enumerate(Zero)}
NO_EXPONENT = -(1 << 40)
NO_LIMIT = 1 << 50
_SCALE_GROWTH = 2  # a product of two scales' significands is below 4
_SCALES = 2 * 254  # exponents two scales can add, either way


class Format(NamedTuple):
    """An `Accumulator` or `IntegerAccumulator` in numbers.

    Attributes:
        exponent_bits: of a float; 0 for an integer, -1 where a stage rounds its sum to no format.
        mantissa_bits: of a float; the fraction bits of an integer.
        rounding: index in `ROUNDING`.
        subnormals: 1 or 0.
        nan: pattern.
        zero: index in `ZERO`.
        bits: width of a pattern.
        saturate: 1 or 0.
    """

    exponent_bits: int
    mantissa_bits: int
    rounding: int
    subnormals: int
    nan: int
    zero: int
    bits: int
    saturate: int


class Row(NamedTuple):
    """A `Stage` in numbers; `fraction_bits` -1 where nothing is cut off."""

    fan_in: int
    align: int
    fraction_bits: int
    rounding: int
    anchor: int
    zeros_join: int
    lowest: int
    overflow: int
    interleaved: int
    chain: int
    accumulator: int
    accumulator_bits: int
    left: int
    right: int
    scaled: int


class Lowered(NamedTuple):
    """A tree as the kernel takes it.

    Attributes:
        stages: int64[stages, fields of `Row`].
        results: int64[stages, fields of `Format`], what each stage rounds to.
        format: of the accumulator.
        fraction_bits: of a product.
        products: consumed a step.
        widest_scale: bits that the significands of both scales may have together.
    """

    stages: np.ndarray
    results: np.ndarray
    format: Format
    fraction_bits: int
    products: int
    widest_scale: int


class Elements(NamedTuple):
    """What `mx_formats.element.decode` returns, as int64 arrays of one shape, and the sign bit."""

    significand: np.ndarray
    exponent: np.ndarray
    kind: np.ndarray
    minus: np.ndarray


def elements(codes: np.ndarray, element: ElementFormat) -> Elements:
    """Decode codes for the kernel."""
    significand, exponent, kind = (np.ascontiguousarray(column, np.int64) for column in decode(codes, element))
    minus = (codes >> codes.dtype.type(element.bits - 1)).astype(np.int64)
    return Elements(significand, exponent, kind, minus * (significand != 0) if element.is_integer else minus)


def lower(tree: ReductionTree, a: ElementFormat, b: ElementFormat) -> Lowered:
    """Turn a tree into the kernel's table.

    Raises:
        ValueError: the tree cannot hold products of these elements, or a sum is wider than the kernel's integers.
    """
    check_tree(tree, a, b)
    stages, scales_enter = merge_exact(tree)
    fraction_bits = a.mantissa_bits + b.mantissa_bits
    rows, results = [], []
    terms, above = 1, 2
    below: int | None = fraction_bits  # bits of a term below its exponent; None where there is no limit
    exact: Range | None = product_range(a, b)  # of a term that nothing has rounded
    width, widest_scale = fraction_bits + 4, 0  # bits of a term's significand: two below 4, and the sign
    for index, stage in enumerate(stages):
        where = f"stage {index} of {tree.name!r} with {a.name} x {b.name}"
        if index == scales_enter:
            above += _SCALE_GROWTH
            widest_scale, exact = max(WIDTH - width, 0), None if tree.scaled_terms > 1 else exact
        joined = stage.fan_in + stage.accumulator
        if stage.align is Align.EXACT and joined > 1 and width > WIDTH:
            raise ValueError(
                f"Stage.align: got EXACT in {where}, whose terms are exact sums that may leave {WIDTH} bits; legal of "
                "narrower sums here, hw.reference has no limit"
            )
        exact = exact.times(stage.fan_in) if exact and stage.rounding is Rounding.EXACT and not stage.result else None
        terms *= stage.fan_in // stage.chain + (stage.accumulator or stage.chain > 1)
        kept = _bits_below(stage, a, b)
        growth = above + terms.bit_length()
        if stage.window is not None and stage.window.left is not None:
            below = WIDTH if below is None else max(below, getattr(tree.accumulator, "mantissa_bits", 0))
            _check_width(stage, below + stage.window.left, growth, where)
        if kept is not None:
            growth += _bits_above(stage, a, b)
            _check_width(stage, kept, growth, where)
        if stage.align is Align.EXACT or stage.result is not None:
            terms, above = 1, 1
        below = kept if stage.result is None else stage.result.mantissa_bits
        if stage.result is not None:
            width = stage.result.mantissa_bits + 2
        elif kept is not None:
            width = kept + growth
        elif joined > 1:
            width = WIDTH + 1 if exact is None else exact.bits
        rows.append(_row(stage, index == scales_enter))
        results.append(_format(stage.result))
    if isinstance(tree.accumulator, Accumulator):
        _check_span(tree, a, b)
    products = tree.products
    stage_table, result_table = np.array(rows, np.int64), np.array(results, np.int64)
    return Lowered(stage_table, result_table, _format(tree.accumulator), fraction_bits, products, widest_scale)


def merge_exact(tree: ReductionTree) -> tuple[list[Stage], int]:
    """The stages with exact sums of exact sums made one, and where the scales enter among them."""
    stages, scales_enter = [_plain_exact(stage) for stage in tree.stages], tree.scales_enter
    index = 0
    while index + 1 < len(stages):
        first, second = stages[index], stages[index + 1]
        plain = first.rounding is Rounding.EXACT and first.result is None and first.overflow is None
        alone = index + 2 == len(stages)  # one group takes all the terms, however they are dealt out
        plain = plain and not first.interleaved and (alone or not second.interleaved)
        if plain and second.align is Align.EXACT and second.chain == 1 and second.overflow is None:
            stages[index : index + 2] = [replace(second, fan_in=first.fan_in * second.fan_in, interleaved=False)]
            scales_enter -= scales_enter > index
        else:
            index += 1
    return stages, scales_enter


def _plain_exact(stage: Stage) -> Stage:
    """An anchored sum that cuts nothing off and takes an accumulator of any exponent is an exact sum."""
    if stage.align is Align.ANCHOR and stage.rounding is Rounding.EXACT and stage.accumulator:
        return replace(stage, align=Align.EXACT, anchor=None, integer_bits=None, fraction_bits=None)
    return stage


def _bits_below(stage: Stage, a: ElementFormat, b: ElementFormat) -> int | None:
    """Bits of a sum below the exponent aligned to; None for an exact one."""
    if stage.align is Align.EXACT:
        return None
    if stage.fraction_bits is not None and stage.rounding is not Rounding.EXACT:
        return stage.fraction_bits
    return (stage.anchor or 0) - (a.emin + b.emin - a.mantissa_bits - b.mantissa_bits)


def _bits_above(stage: Stage, a: ElementFormat, b: ElementFormat) -> int:
    """Bits of an anchored product above those that any term may have."""
    return 0 if stage.anchor is None else max(0, a.emax + b.emax - stage.anchor)


def _check_width(stage: Stage, kept: int, above: int, where: str) -> None:
    """ValueError if an aligned sum may leave int64."""
    if kept + above > WIDTH:
        raise ValueError(
            f"Stage.fraction_bits: got {stage.fraction_bits} in {where}, a sum of {kept + above} bits or more; legal "
            f"up to {WIDTH} bits here, hw.reference has no limit"
        )


def _check_span(tree: ReductionTree, a: ElementFormat, b: ElementFormat) -> None:
    formats = [tree.accumulator, *(stage.result for stage in tree.stages)]
    floats = [fmt for fmt in formats if isinstance(fmt, Accumulator)]
    lowest = min(a.emin + b.emin - _SCALES, *(fmt.emin for fmt in floats)) - 128
    highest = max(a.emax + b.emax + _SCALES, *(fmt.bias for fmt in floats)) + 128
    if highest - lowest > CAPACITY:
        raise ValueError(f"accumulator: {tree.name!r} spans {highest - lowest} bits, legal up to {CAPACITY}")


def _row(stage: Stage, scaled: bool) -> Row:
    window = stage.window
    bits = -1 if stage.fraction_bits is None or stage.rounding is Rounding.EXACT else stage.fraction_bits
    return Row(
        stage.fan_in,
        ALIGN[stage.align],
        bits,
        ROUNDING[stage.rounding],
        stage.anchor or 0,
        stage.zeros_join,
        NO_EXPONENT if stage.lowest is None else stage.lowest,
        NO_LIMIT if stage.overflow is None else stage.overflow,
        stage.interleaved,
        stage.chain,
        stage.accumulator,
        bits if stage.accumulator_bits is None else stage.accumulator_bits,
        NO_LIMIT if window is None or window.left is None else window.left,
        NO_LIMIT if window is None else window.right,
        scaled,
    )


def _format(accumulator: Accumulator | IntegerAccumulator | None) -> Format:
    if accumulator is None:
        return Format(-1, 0, 0, 0, 0, 0, 0, 0)
    if isinstance(accumulator, IntegerAccumulator):
        return Format(0, accumulator.fraction_bits, 0, 0, 0, 0, accumulator.bits, accumulator.saturate)
    return Format(
        accumulator.exponent_bits,
        accumulator.mantissa_bits,
        ROUNDING[accumulator.rounding],
        accumulator.subnormals,
        accumulator.nan,
        ZERO[accumulator.zero],
        accumulator.bits,
        0,
    )
