"""IEEE 754 by its definition: exact fractions rounded once. Slow, short, and shared with nothing under test."""

import math
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Format:
    """A binary interchange format.

    Attributes:
        exponent: exponent bits.
        mantissa: stored fraction bits.
        nan: the NaN pattern an operation produces (PTX ISA: canonical NaN).
    """

    exponent: int
    mantissa: int
    nan: int

    @property
    def bias(self) -> int:
        """Exponent bias."""
        return (1 << self.exponent - 1) - 1

    @property
    def infinity(self) -> int:
        """Pattern of +infinity."""
        return ((1 << self.exponent) - 1) << self.mantissa

    @property
    def sign(self) -> int:
        """The sign bit."""
        return 1 << self.exponent + self.mantissa


F16, BF16 = Format(5, 10, 0x7FFF), Format(8, 7, 0x7FFF)
F32, F64 = Format(8, 23, 0x7FFFFFFF), Format(11, 52, 0x7FFFFFFFFFFFFFFF)
FORMATS = {"f16": F16, "bf16": BF16, "f32": F32, "f64": F64}
NEAREST, ZERO, DOWN, UP = "rn", "rz", "rm", "rp"
MODES = (NEAREST, ZERO, DOWN, UP)


def is_nan(bits: int, form: Format) -> bool:
    """Whether a pattern is a NaN."""
    return bits & ~form.sign > form.infinity


def is_infinite(bits: int, form: Format) -> bool:
    """Whether a pattern is an infinity."""
    return bits & ~form.sign == form.infinity


def negative(bits: int, form: Format) -> bool:
    """Whether the sign bit is set."""
    return bool(bits & form.sign)


def flush(bits: int, form: Format) -> int:
    """A subnormal becomes a zero of its sign."""
    return bits if bits & form.infinity else bits & form.sign


def exact(bits: int, form: Format) -> Fraction:
    """Value of a finite pattern."""
    magnitude = bits & ~form.sign
    field = magnitude >> form.mantissa
    significand = (magnitude & (1 << form.mantissa) - 1) | (bool(field) << form.mantissa)
    value = Fraction(significand) * Fraction(2) ** (max(field, 1) - form.bias - form.mantissa)
    return -value if negative(bits, form) else value


def to_integer(value: Fraction, mode: str) -> int:
    """Round to an integer: to nearest even, toward zero, down or up."""
    return {NEAREST: round, ZERO: math.trunc, DOWN: math.floor, UP: math.ceil}[mode](value)


def rounded(value: Fraction, form: Format, mode: str = NEAREST, minus_zero: bool = False) -> int:
    """The pattern nearest to a value in a rounding mode; an exact zero takes the given sign."""
    if value == 0:
        return form.sign if minus_zero else 0
    sign = form.sign if value < 0 else 0
    magnitude = abs(value)
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    exponent -= magnitude < Fraction(2) ** exponent
    exponent = max(exponent, 1 - form.bias)
    unit = Fraction(2) ** (exponent - form.mantissa)
    steps = abs(to_integer(value / unit, mode))
    # A significand that rounds up to a power of two carries into the exponent by itself.
    bits = steps + ((exponent + form.bias - 1) << form.mantissa)
    if bits >= form.infinity:
        stays = mode == ZERO or (mode == DOWN and not sign) or (mode == UP and sign)
        bits = form.infinity - 1 if stays else form.infinity
    return sign | bits


def _zero_sum(first: bool, second: bool, mode: str) -> bool:
    """Sign of an exact zero sum of two terms with these signs."""
    return first if first == second else mode == DOWN


def fma(a: int, b: int, c: int, form: Format, mode: str = NEAREST) -> int:
    """a * b + c, rounded once."""
    if any(is_nan(x, form) for x in (a, b, c)):
        return form.nan
    sign = negative(a, form) != negative(b, form)
    if is_infinite(a, form) or is_infinite(b, form):
        if 0 in (a & ~form.sign, b & ~form.sign):
            return form.nan
        if is_infinite(c, form) and negative(c, form) != sign:
            return form.nan
        return form.infinity | (form.sign if sign else 0)
    if is_infinite(c, form):
        return c
    total = exact(a, form) * exact(b, form) + exact(c, form)
    return rounded(total, form, mode, _zero_sum(sign, negative(c, form), mode))


def multiply(a: int, b: int, form: Format, mode: str = NEAREST) -> int:
    """a * b, rounded once."""
    sign = negative(a, form) != negative(b, form)
    return fma(a, b, form.sign if sign else 0, form, mode)


def add(a: int, b: int, form: Format, mode: str = NEAREST) -> int:
    """a + b, rounded once."""
    return fma(a, form.bias << form.mantissa, b, form, mode)


def subtract(a: int, b: int, form: Format, mode: str = NEAREST) -> int:
    """a - b, rounded once."""
    return add(a, b if is_nan(b, form) else b ^ form.sign, form, mode)


def divide(a: int, b: int, form: Format, mode: str = NEAREST) -> int:
    """a / b, rounded once."""
    if is_nan(a, form) or is_nan(b, form):
        return form.nan
    sign = form.sign if negative(a, form) != negative(b, form) else 0
    zero_a, zero_b = not a & ~form.sign, not b & ~form.sign
    if (zero_a and zero_b) or (is_infinite(a, form) and is_infinite(b, form)):
        return form.nan
    if is_infinite(a, form) or zero_b:
        return sign | form.infinity
    if is_infinite(b, form) or zero_a:
        return sign
    return rounded(exact(a, form) / exact(b, form), form, mode)


def square_root(a: int, form: Format, mode: str = NEAREST) -> int:
    """The square root, rounded once."""
    if is_nan(a, form):
        return form.nan
    if not a & ~form.sign or a == form.infinity:
        return a
    if negative(a, form):
        return form.nan
    value = exact(a, form)
    # Enough bits for the root of the least subnormal; what is left out is a sticky half.
    shift = form.bias + 2 * form.mantissa
    scaled = value * 4**shift
    root = math.isqrt(scaled.numerator // scaled.denominator)
    sticky = 0 if root**2 == scaled else Fraction(1, 2)
    return rounded((root + sticky) / Fraction(2) ** shift, form, mode)


def saturate(bits: int, form: Format) -> int:
    """Clamp to [0, 1]; NaN gives +0."""
    one = form.bias << form.mantissa
    if is_nan(bits, form) or negative(bits, form):
        return 0
    return min(bits, one)


def order(a: int, b: int, form: Format) -> int:
    """-1, 0 or 1 as a is below, equal to or above b; neither is a NaN."""
    key = [(-1 if negative(x, form) else 1) * (x & ~form.sign) for x in (a, b)]
    return (key[0] > key[1]) - (key[0] < key[1])


def minimum(a: int, b: int, form: Format, largest: bool = False, propagate: bool = False) -> int:
    """PTX min (or max): a number wins over NaN unless `propagate`; -0 is below +0."""
    if is_nan(a, form) or is_nan(b, form):
        if propagate or (is_nan(a, form) and is_nan(b, form)):
            return form.nan
        return b if is_nan(a, form) else a
    compared = order(a, b, form)
    first = compared < 0 or (compared == 0 and negative(a, form))
    return a if first != largest else b
