"""The spec of a datapath that sums products: how they are aligned, what is cut off, what the sum is kept in.

One *step* consumes `ReductionTree.products` products, passes them through the stages in order and joins the
accumulator at exactly one stage; a longer dot product is a sequence of steps in order of k. `hw.reference` is
the meaning of these fields in exact rationals; `hw.evaluate`, `hw.tensor_core` and `hw.mac` compute the same fast.

A product of significands sa, sb and exponents ea, eb (see `mx_formats.element.Decoded`) has the exponent ea + eb
and a significand in [0, 4) that is not normalised. Rounding acts on a term's value, never on its bits.

Special values are the same in every tree. The result is `Accumulator.nan` if an element, scale or the accumulator
is NaN, if infinity meets zero in a product, or if infinities of both signs meet; otherwise an infinity among
products or accumulator is the result. The sign of a zero is `Accumulator.zero`.
"""

import math
from dataclasses import dataclass
from enum import Enum


class Align(Enum):
    """What the terms of a stage are aligned to."""

    EXACT = "nothing is cut off"
    ANCHOR = "a fixed exponent"
    LARGEST = "the largest exponent among the terms"
    WINDOW = "the one term; the accumulator is placed in a window around it"


class Rounding(Enum):
    """What happens to bits below the last one kept."""

    EXACT = "there are none"
    TOWARD_ZERO = "cut off the magnitude"
    FLOOR = "cut off in two's complement"
    NEAREST_EVEN = "round to nearest, ties to even"


class Zero(Enum):
    """The sign of a sum that is zero."""

    POSITIVE = "+0 always"
    ROUNDED = "+0 if exact; a sum that only rounds to zero keeps its sign"


@dataclass(frozen=True)
class Window:
    """Where an accumulator may lie relative to the term it joins, d = its exponent minus the term's.

    Attributes:
        left: at d >= left the term is dropped and the accumulator returned.
        right: at d <= -right the accumulator is dropped and the term returned.
    """

    left: int
    right: int


@dataclass(frozen=True)
class Stage:
    """One level of the tree.

    Attributes:
        fan_in: terms joined, the accumulator not counted.
        align: what they are aligned to.
        fraction_bits: bits kept below the exponent aligned to, where a significand of 1 has weight 2**0;
            None where nothing is cut off.
        rounding: of each term, at that last bit, before the terms are summed exactly.
        anchor: the exponent for `Align.ANCHOR`, before shared exponents.
        zeros_join: a zero term takes part in the search for the largest exponent, with the exponents its codes
            decode to (`emin` of each element), or those of the terms it is the sum of; otherwise it does not.
            A sum to which no term brought an exponent brings none, nor does one times a scale of zero.
        lowest: for `Align.LARGEST`, the exponent aligned to is never below this; None for no limit.
        accumulator: the accumulator joins here. In `Align.LARGEST` it is one more term, with its own exponent
            (the smallest normal one if subnormal), and never takes part when zero.
        window: for `Align.WINDOW` only, where the accumulator alone is rounded at `fraction_bits`. If either
            side is exactly zero, the other is the result.
    """

    fan_in: int
    align: Align
    fraction_bits: int | None = None
    rounding: Rounding = Rounding.EXACT
    anchor: int | None = None
    zeros_join: bool = False
    lowest: int | None = None
    accumulator: bool = False
    window: Window | None = None

    def __post_init__(self) -> None:
        if self.fan_in < 1:
            raise ValueError(f"Stage.fan_in: got {self.fan_in}, must be 1 or more")
        exact = self.align is Align.EXACT
        if exact != (self.fraction_bits is None) and self.align is not Align.ANCHOR:
            raise ValueError(f"Stage.fraction_bits: got {self.fraction_bits} with {self.align}, None goes with EXACT")
        if (self.fraction_bits is None) != (self.rounding is Rounding.EXACT):
            raise ValueError(f"Stage.rounding: got {self.rounding} with fraction_bits {self.fraction_bits}")
        if (self.align is Align.ANCHOR) != (self.anchor is not None):
            raise ValueError(f"Stage.anchor: got {self.anchor} with {self.align}, must be set for ANCHOR only")
        if self.lowest is not None and self.align is not Align.LARGEST:
            raise ValueError(f"Stage.lowest: got {self.lowest} with {self.align}, must be None but for LARGEST")
        if (self.align is Align.WINDOW) != (self.window is not None):
            raise ValueError(f"Stage.window: got {self.window} with {self.align}, must be set for WINDOW only")
        if self.window is not None and (self.fan_in != 1 or not self.accumulator):
            raise ValueError(f"Stage.window: joins one term and the accumulator, not fan_in {self.fan_in}")


@dataclass(frozen=True)
class Accumulator:
    """The format a step's sum is rounded to; bit pattern sign | exponent | mantissa, right aligned.

    The bias is 2**(exponent_bits - 1) - 1; the largest exponent field holds infinity (mantissa 0) and NaN.

    Attributes:
        exponent_bits: width of the exponent field.
        mantissa_bits: stored fraction bits.
        rounding: of the sum, toward zero or to nearest even. Beyond the largest number the result is infinity
            in either case.
        subnormals: kept and produced; otherwise exponent field 0 is read as +0 and a result below the smallest
            normal number becomes +0.
        nan: the one NaN pattern produced.
        zero: the sign of a zero result.
    """

    exponent_bits: int
    mantissa_bits: int
    rounding: Rounding
    subnormals: bool
    nan: int
    zero: Zero = Zero.POSITIVE

    def __post_init__(self) -> None:
        if self.rounding not in (Rounding.TOWARD_ZERO, Rounding.NEAREST_EVEN):
            raise ValueError(f"Accumulator.rounding: got {self.rounding}, must be TOWARD_ZERO or NEAREST_EVEN")

    @property
    def bits(self) -> int:
        """Width of the pattern."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def bias(self) -> int:
        """Exponent bias."""
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def emin(self) -> int:
        """Exponent of the smallest normal number."""
        return 1 - self.bias

    @property
    def infinity(self) -> int:
        """Pattern of +infinity."""
        return ((1 << self.exponent_bits) - 1) << self.mantissa_bits


@dataclass(frozen=True)
class ReductionTree:
    """How products become a sum.

    Attributes:
        name: for reports.
        stages: in the order the products meet them; each joins `fan_in` results of the one before.
        accumulator: the format between steps.
        scales_enter: index of the stage whose terms first carry the shared exponents of both blocks.
        source: where the rule was published.
    """

    name: str
    stages: tuple[Stage, ...]
    accumulator: Accumulator
    scales_enter: int
    source: str

    def __post_init__(self) -> None:
        joins = [index for index, stage in enumerate(self.stages) if stage.accumulator]
        if joins != [len(self.stages) - 1]:
            raise ValueError(f"ReductionTree.stages: accumulator joins at {joins}, must be the last stage alone")
        if not 0 <= self.scales_enter < len(self.stages):
            raise ValueError(f"ReductionTree.scales_enter: got {self.scales_enter}, legal 0..{len(self.stages) - 1}")
        anchored = [index for index, stage in enumerate(self.stages) if stage.align is Align.ANCHOR]
        if anchored and self.scales_enter <= max(anchored):
            raise ValueError(
                f"ReductionTree.scales_enter: got {self.scales_enter}, must come after anchored stage {max(anchored)}, "
                "whose fixed width no shared exponent fits"
            )

    @property
    def products(self) -> int:
        """Products one step consumes."""
        return math.prod(stage.fan_in for stage in self.stages)
