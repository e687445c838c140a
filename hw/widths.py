"""How wide sums get: what a tree must hold, and whether it can.

A product of two elements is a multiple of 2**last and at most `largest` times that. Without rounding, sums stay
multiples of 2**last and need one bit more for each doubling of the terms.
"""

from dataclasses import dataclass

from hw.reduction_tree import Align, IntegerAccumulator, ReductionTree, Rounding, Stage
from mx_formats.element import ElementFormat, NanCodes


@dataclass(frozen=True)
class Range:
    """Multiples of 2**last up to `largest` of them, of either sign.

    Attributes:
        last: exponent of the last bit.
        largest: magnitude of the largest value, in units of 2**last.
    """

    last: int
    largest: int

    def times(self, count: int) -> "Range":
        """The range of a sum of `count` such values."""
        return Range(self.last, self.largest * count)

    @property
    def bits(self) -> int:
        """Two's complement width, the sign included."""
        return self.largest.bit_length() + 1

    @property
    def top(self) -> int:
        """Least e with every magnitude below 2**e."""
        return self.last + self.largest.bit_length()


def product_range(a: ElementFormat, b: ElementFormat, every_code: bool = True) -> Range:
    """Of a product of two finite elements; with `every_code`, also the one that a symmetric integer leaves unused."""
    largest = [_largest_magnitude(element, every_code) for element in (a, b)]
    return Range(_last(a) + _last(b), largest[0] * largest[1])


def _last(element: ElementFormat) -> int:
    """Exponent of the last bit of the smallest subnormal."""
    return element.emin - element.mantissa_bits


def _largest_magnitude(element: ElementFormat, every_code: bool) -> int:
    """In units of the last bit."""
    if element.is_integer:
        return element.max_significand + (every_code or not element.symmetric)
    return element.max_significand << (element.emax - element.emin)


def bits_needed(a: ElementFormat, b: ElementFormat, products: int) -> int:
    """Width of a two's complement word that holds every sum of this many products exactly, no scale applied.

    An integer format that is symmetric counts without its most negative code, which conversion never produces.

    Raises:
        ValueError: fewer than one product.
    """
    if products < 1:
        raise ValueError(f"products: got {products}, must be 1 or more")
    return product_range(a, b, every_code=False).times(products).bits


def check_tree(tree: ReductionTree, a: ElementFormat, b: ElementFormat) -> None:
    """ValueError, naming the field, its value and what is legal, if a stage cannot hold products of these elements."""
    terms: Range | None = product_range(a, b)
    for index, stage in enumerate(tree.stages):
        where = f"stage {index} of {tree.name!r} with {a.name} x {b.name}"
        if terms is not None and stage.align is Align.ANCHOR:
            _check_anchored(stage, terms, where)
        kept = stage.rounding is Rounding.EXACT and stage.result is None and stage.overflow is None
        terms = terms.times(stage.fan_in) if kept and terms is not None else None
    if isinstance(tree.accumulator, IntegerAccumulator):
        _check_integer(tree, tree.accumulator, a, b)


def _check_anchored(stage: Stage, terms: Range, where: str) -> None:
    assert stage.anchor is not None
    if stage.fraction_bits is not None and stage.rounding is Rounding.EXACT:
        needed = stage.anchor - terms.last
        if stage.fraction_bits < needed:
            raise ValueError(f"Stage.fraction_bits: got {stage.fraction_bits} in {where}, legal {needed} or more")
    if stage.integer_bits is not None:
        needed = terms.top - stage.anchor
        if stage.integer_bits < needed:
            raise ValueError(f"Stage.integer_bits: got {stage.integer_bits} in {where}, legal {needed} or more")


def _check_integer(tree: ReductionTree, register: IntegerAccumulator, a: ElementFormat, b: ElementFormat) -> None:
    for stage in tree.stages:
        if stage.rounding is not Rounding.EXACT or stage.result is not None:
            raise ValueError(f"ReductionTree.accumulator: got {register} after {stage}, legal after exact stages only")
    for element in (a, b):
        if element.infinity or element.nan is not NanCodes.NONE:
            raise ValueError(f"element: got {element.name}, which has NaN, legal without for {register}")
    needed = -product_range(a, b).last
    if register.fraction_bits < needed:
        raise ValueError(
            f"IntegerAccumulator.fraction_bits: got {register.fraction_bits} in {tree.name!r}, legal {needed} or more "
            f"for {a.name} x {b.name}"
        )
