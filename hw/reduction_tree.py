"""The spec of a datapath that sums products: how they are aligned, what is cut off, what the sum is kept in.

One *step* consumes `ReductionTree.products` products, passes them through the stages in order and joins the
accumulator at the last one; a longer dot product is a sequence of steps in order of k. `hw.reference` is the meaning
of these fields in exact rationals; `hw.evaluate`, `hw.tensor_core` and `hw.mac` compute the same fast.

A product of significands sa, sb and exponents ea, eb (see `mx_formats.element.Decoded`) has the exponent ea + eb
and a significand in [0, 4) that is not normalised. Rounding acts on a term's value, never on its bits.

Special values are the same in every tree. A sum is NaN if an element, scale or the accumulator is NaN, if infinity
meets zero in a product, or if infinities of both signs meet; otherwise an infinity among its terms is the result. The
sign of a zero is `Accumulator.zero`.
"""

import math
from dataclasses import dataclass, field
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
    IEEE = "as ROUNDED, and a sum of nothing but negative zeros is -0"


@dataclass(frozen=True)
class Window:
    """Where an accumulator may lie relative to what it joins, d = its exponent minus the one aligned to.

    Attributes:
        left: at d >= left the term is dropped and the accumulator returned; None where it never is.
        right: at d <= -right the accumulator is dropped.
    """

    left: int | None
    right: int


@dataclass(frozen=True)
class Accumulator:
    """A floating-point format that sums are rounded to; bit pattern sign | exponent | mantissa, right aligned.

    The bias is 2**(exponent_bits - 1) - 1; the largest exponent field holds infinity (mantissa 0) and NaN.

    Attributes:
        exponent_bits: width of the exponent field.
        mantissa_bits: stored fraction bits.
        rounding: of the sum. Beyond the largest number the result is infinity, however it is rounded.
        subnormals: kept and produced; otherwise exponent field 0 is read as zero and a result below the smallest
            normal number becomes zero.
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
        if not 2 <= self.exponent_bits <= 11:
            raise ValueError(f"Accumulator.exponent_bits: got {self.exponent_bits}, legal 2..11")
        if not 1 <= self.mantissa_bits <= 52:
            raise ValueError(f"Accumulator.mantissa_bits: got {self.mantissa_bits}, legal 1..52")
        if self.rounding is Rounding.EXACT:
            raise ValueError(
                f"Accumulator.rounding: got {self.rounding}, must name what happens to bits below the last"
            )
        if self.nan >> self.bits or self.nan & ~self.sign_bit <= self.infinity:
            raise ValueError(f"Accumulator.nan: got {self.nan:#x}, must be above {self.infinity:#x} without its sign")

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

    @property
    def sign_bit(self) -> int:
        """The sign's place in a pattern."""
        return 1 << (self.bits - 1)


@dataclass(frozen=True)
class IntegerAccumulator:
    """A two's complement fixed-point register; no NaN, no infinity, nothing rounded.

    Attributes:
        bits: width.
        fraction_bits: weight of the last bit is 2**-fraction_bits. Every product must be a multiple of it.
        saturate: sums beyond the range become the nearest end; otherwise they wrap.
    """

    bits: int
    fraction_bits: int
    saturate: bool = False

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 62:
            raise ValueError(f"IntegerAccumulator.bits: got {self.bits}, legal 2..62")


@dataclass(frozen=True)
class Stage:
    """One level of the tree.

    Attributes:
        fan_in: terms joined, the accumulator not counted.
        align: what they are aligned to.
        fraction_bits: bits kept below the exponent aligned to, where a significand of 1 has weight 2**0;
            None where nothing is cut off.
        rounding: of each term, at that last bit, before the terms are summed exactly. `Rounding.EXACT` with
            `fraction_bits` (`Align.ANCHOR` only) says that all terms must end there.
        anchor: the exponent for `Align.ANCHOR`, before shared exponents.
        integer_bits: for `Align.ANCHOR`, bits of a term's magnitude above the one of weight 2**(anchor - 1), the
            sign not counted: every product must be below 2**(anchor + integer_bits); None for as many as needed.
        zeros_join: a zero term takes part in the search for the largest exponent, with the exponents its codes
            decode to (`emin` of each element), or those of the terms it is the sum of; otherwise it does not.
            A sum to which no term brought an exponent brings none, nor does one times a scale of zero.
        lowest: for `Align.LARGEST`, the exponent aligned to is never below this; None for no limit.
        overflow: a term of magnitude 2**overflow or more is an infinity; None for no limit.
        interleaved: of n groups, group i joins the terms i, i + n, i + 2n, ...; otherwise consecutive ones.
        chain: the group is joined in this many equal parts in order, each with the sum so far as its accumulator,
            the first with +0. The sum so far is in the format `result`.
        accumulator: the accumulator joins here. In `Align.LARGEST` it is one more term, with its own exponent
            (the smallest normal one if subnormal), and never takes part when zero.
        accumulator_bits: fraction bits the accumulator alone is rounded at in `Align.LARGEST`; None for as many
            as the terms.
        window: for `Align.WINDOW`, where the accumulator alone is rounded at `fraction_bits`, and if either side is
            exactly zero, the other is the result. In `Align.LARGEST` it has no left edge.
        result: the format each sum is rounded to; None keeps it as it is, with the exponent aligned to.
    """

    fan_in: int
    align: Align
    fraction_bits: int | None = None
    rounding: Rounding = Rounding.EXACT
    anchor: int | None = None
    integer_bits: int | None = None
    zeros_join: bool = False
    lowest: int | None = None
    overflow: int | None = None
    interleaved: bool = False
    chain: int = 1
    accumulator: bool = False
    accumulator_bits: int | None = None
    window: Window | None = None
    result: Accumulator | None = None

    def __post_init__(self) -> None:
        if self.fan_in < 1:
            raise ValueError(f"Stage.fan_in: got {self.fan_in}, must be 1 or more")
        self._check_alignment()
        if self.chain < 1 or self.fan_in % self.chain:
            raise ValueError(f"Stage.chain: got {self.chain}, must divide fan_in {self.fan_in}")
        if self.chain > 1 and (self.result is None or self.accumulator):
            raise ValueError(f"Stage.chain: got {self.chain}, more than 1 needs a result and no accumulator")
        if self.window is not None and not self.accumulator:
            raise ValueError(f"Stage.window: got {self.window}, legal where the accumulator joins")
        if self.align is Align.WINDOW and (self.window is None or self.window.left is None or self.fan_in != 1):
            raise ValueError(f"Stage.window: got {self.window} with fan_in {self.fan_in}, WINDOW joins one term")
        if self.window is not None and (self.window.left is None) != (self.align is Align.LARGEST):
            raise ValueError(f"Stage.window: got {self.window} with {self.align}, a left edge goes with WINDOW")
        kept = self.accumulator_bits
        if kept is not None and (
            self.align is not Align.LARGEST or not self.accumulator or kept > (self.fraction_bits or 0)
        ):
            raise ValueError(
                f"Stage.accumulator_bits: got {kept} with {self.align} and fraction_bits {self.fraction_bits}, legal "
                "up to those where an accumulator joins in LARGEST"
            )

    def _check_alignment(self) -> None:
        anchored = self.align is Align.ANCHOR
        if (self.align is Align.EXACT) != (self.fraction_bits is None) and not anchored:
            raise ValueError(f"Stage.fraction_bits: got {self.fraction_bits} with {self.align}, None goes with EXACT")
        if (self.fraction_bits is None) != (self.rounding is Rounding.EXACT) and not (
            anchored and self.rounding is Rounding.EXACT
        ):
            raise ValueError(f"Stage.rounding: got {self.rounding} with fraction_bits {self.fraction_bits}")
        if anchored != (self.anchor is not None):
            raise ValueError(f"Stage.anchor: got {self.anchor} with {self.align}, must be set for ANCHOR only")
        if self.integer_bits is not None and not anchored:
            raise ValueError(f"Stage.integer_bits: got {self.integer_bits} with {self.align}, legal with ANCHOR only")
        if self.lowest is not None and self.align is not Align.LARGEST:
            raise ValueError(f"Stage.lowest: got {self.lowest} with {self.align}, must be None but for LARGEST")


@dataclass(frozen=True)
class ReductionTree:
    """How products become a sum; two trees are equal if they sum alike, whatever their names.

    Attributes:
        name: for reports.
        stages: in the order the products meet them; each joins `fan_in` results of the one before.
        accumulator: what the sum is kept in between steps.
        scales_enter: index of the stage whose terms first carry the shared exponents of both blocks.
        source: where the rule was published.
    """

    name: str = field(compare=False)
    stages: tuple[Stage, ...]
    accumulator: Accumulator | IntegerAccumulator
    scales_enter: int
    source: str = field(compare=False)

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

    @property
    def scaled_terms(self) -> int:
        """Terms of the stage at which the shared exponents enter: the most scales a step takes of each operand."""
        return self.products // math.prod(stage.fan_in for stage in self.stages[: self.scales_enter])
