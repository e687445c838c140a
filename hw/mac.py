"""The hybrid MX MAC: one bit-exact value model for six element formats, driven by a `MacSpec`.

KU Leuven's hybrid reduction tree (arXiv 2511.06313), with the rule completed where the published design is wrong or
silent: zero, sign, E2M3's bias, specials, overflow. Integers below are exact and two's complement.

Notation
    M       mantissa bits of the accumulator
    lanes   products in one cycle: 1 for an integer element, 8 for 4-bit codes, 4 otherwise
    E_in    biased exponent of the product sum, an ordinary signed integer (at least 10 bits), never wrapped
    A       accumulator: field E_acc in 1..254, magnitude 2**M + mantissa (M+1 bits) with its sign
    R       M + 1, the right extension of the adder

Stage 1, products -> S (signed, |S| < 2**(M+4)), least significant bit of weight 2**(e - M)
    Aligned elements (FP8, FP6): lane i has e_i = ea + eb, where exponent field 0 counts as field 1, also for zeros.
    e = max(e_i) over all lanes. Lane i contributes floor(p_i * 2**(M - 2m - (e - e_i))), p_i the signed product of the
    significands (2m fraction bits, m the element's mantissa bits). S is the exact sum of the lanes.
    Fixed elements (INT8, E2M1): e = `MacSpec.anchor` (0 and 5), and S is the exact sum of the products, placed with
    its last bit at 2**(e - M).

Stage 2, accumulate: E_in = e + Xa + Xb - 254 + 127 and d = E_acc - E_in
    1. S == 0                -> the accumulator is returned (as +0 if its field is 0).
    2. accumulator zero      -> S is normalised.
    3. d >= M+1              -> the accumulator is returned.
    4. d <= -(2M+7)          -> S is normalised.
    5. 0 <= d <= M           -> T = (A << d) + S,                  last bit of T is that of S.
    6. -(2M+7) < d < 0       -> T = (S << R) + floor(A << R, -d),  last bit of T is R below that of S; floor(x, s) is
                                the arithmetic right shift x >> s, so bits of A below the window are cut downward.
    T fits in 2M+7 bits, sign included, in both cases: one adder, a MUX chooses the side it extends to.

Normalise T (or S): zero -> +0. Otherwise take the magnitude; its leading one at bit p gives the field
    E_out = E_in - r + p - M (r = R in case 6, else 0), and the M bits below it are the mantissa, the rest is cut off
    (toward zero). E_out <= 0 -> +0. E_out >= 255 -> infinity with the sign of T.

Accumulator pattern, right aligned: sign | field (8 bits) | mantissa (M bits). Field 0 is read as +0 whatever the other
    bits; field 255 is infinity (mantissa 0) or NaN. The one NaN produced is field 255 with only the top mantissa bit.

Specials, before all the above: any NaN element, a scale code of 255, or a NaN accumulator -> NaN; infinity * 0 -> NaN;
    infinities of both signs among products and accumulator -> NaN; otherwise infinity with its sign.

A cycle reads and writes the accumulator pattern: nothing else is carried from cycle to cycle.
"""

from dataclasses import dataclass

from mx_formats.element import ElementFormat

EXPONENT_BITS = 8
SCALE_NAN = 255


@dataclass(frozen=True)
class MacSpec:
    """One mode of the MAC.

    Attributes:
        element: format of both operands.
        mantissa_bits: M, of the accumulator; 10..23, and enough that stage 1 holds every product of a fixed element.
    """

    element: ElementFormat
    mantissa_bits: int = 16

    def __post_init__(self) -> None:
        if self.element.bits > 8:
            raise ValueError(f"MacSpec.element: {self.element.name} has {self.element.bits} bits, legal 8 or fewer")
        lowest = max(10, 2 * self.element.mantissa_bits + self.anchor) if self.fixed else 10
        if not lowest <= self.mantissa_bits <= 23:
            raise ValueError(
                f"MacSpec.mantissa_bits: got {self.mantissa_bits}, legal {lowest}..23 for {self.element.name}"
            )

    @property
    def lanes(self) -> int:
        """Products one cycle consumes."""
        if self.element.is_integer:
            return 1
        return 8 if self.element.bits == 4 else 4

    @property
    def fixed(self) -> bool:
        """Stage 1 is an exact fixed-point sum; otherwise products align to the largest exponent."""
        return self.element.is_integer or self.element.bits == 4

    @property
    def anchor(self) -> int:
        """Exponent e of a fixed element's product sum: the least with |sum| < 16 * 2**e; 0 for an integer."""
        return 0 if self.element.is_integer else 2 * self.element.emax + 1

    @property
    def left_edge(self) -> int:
        """At d >= this the accumulator is returned."""
        return self.mantissa_bits + 1

    @property
    def right_edge(self) -> int:
        """At d <= -this the product sum is returned."""
        return 2 * self.mantissa_bits + 7

    @property
    def right_extension(self) -> int:
        """R, bits the adder extends below the product sum when the accumulator is the smaller."""
        return self.mantissa_bits + 1

    @property
    def bits(self) -> int:
        """Width of the accumulator pattern."""
        return 1 + EXPONENT_BITS + self.mantissa_bits

    @property
    def infinity(self) -> int:
        """Pattern of +infinity."""
        return 255 << self.mantissa_bits

    @property
    def nan(self) -> int:
        """The NaN pattern."""
        return self.infinity | 1 << (self.mantissa_bits - 1)
