"""The rule of `hw.mac` over z3 bit-vectors: one function a sentence of it, for all inputs at once.

Written from the rule and the formats' table alone; it shares no code, width or trick with the RTL. Numbers are two's
complement in 64 bits, wide enough that nothing here can overflow: S < 2**28, shifted by at most 24, and exponents
below 2**10.
"""

# z3 annotates its operators as returning anything it has.
# pyright: reportArgumentType=false, reportReturnType=false, reportOperatorIssue=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false

from dataclasses import dataclass
from functools import reduce

import z3

from hw.mac import MacSpec
from mx_formats.element import ElementFormat, NanCodes

WIDTH = 64
TOP_FIELD = 255  # of the accumulator: infinity or NaN
SCALE_BIAS = 127
NAN_SCALE = 255


def number(value: int) -> z3.BitVecNumRef:
    """A constant."""
    return z3.BitVecVal(value, WIDTH)


def unsigned(bits: z3.BitVecRef) -> z3.BitVecRef:
    """A net's value as a number."""
    return z3.ZeroExt(WIDTH - bits.size(), bits)


def signed(bits: z3.BitVecRef) -> z3.BitVecRef:
    """A net's two's complement value as a number."""
    return z3.SignExt(WIDTH - bits.size(), bits)


def total(numbers: list[z3.BitVecRef]) -> z3.BitVecRef:
    """Their sum."""
    return reduce(lambda left, right: left + right, numbers)


def largest(numbers: list[z3.BitVecRef]) -> z3.BitVecRef:
    """The largest of them."""
    return reduce(lambda left, right: z3.If(left >= right, left, right), numbers)


@dataclass(frozen=True)
class Operand:
    """One code: sign, significand with `mantissa_bits` fraction bits, exponent, and what it stands for if special."""

    negative: z3.BoolRef
    significand: z3.BitVecRef
    exponent: z3.BitVecRef
    nan: z3.BoolRef
    infinite: z3.BoolRef

    @property
    def zero(self) -> z3.BoolRef:
        """Whether it is +0 or -0."""
        return self.significand == 0


def operand(element: ElementFormat, code: z3.BitVecRef) -> Operand:
    """What a code means; a special's significand and exponent are those its fields would have."""
    never = z3.BoolVal(False)
    if element.is_integer:
        value = signed(code)
        return Operand(value < 0, z3.If(value < 0, -value, value), number(0), never, never)
    m = element.mantissa_bits
    field = unsigned(z3.Extract(m + element.exponent_bits - 1, m, code))
    mantissa = unsigned(z3.Extract(m - 1, 0, code))
    top = field == (1 << element.exponent_bits) - 1
    nan = {
        NanCodes.NONE: never,
        NanCodes.ALL_ONES: z3.And(top, mantissa == (1 << m) - 1),
        NanCodes.IEEE: z3.And(top, mantissa != 0),
    }[element.nan]
    return Operand(
        negative=z3.Extract(element.bits - 1, element.bits - 1, code) == 1,
        significand=z3.If(field == 0, mantissa, mantissa + (1 << m)),
        exponent=z3.If(field == 0, number(1), field) - element.bias,
        nan=nan,
        infinite=z3.And(top, mantissa == 0) if element.infinity else never,
    )


def product(a: Operand, b: Operand) -> z3.BitVecRef:
    """Signed product of two significands."""
    magnitude = a.significand * b.significand
    return z3.If(a.negative == b.negative, magnitude, -magnitude)


def sum_exponent(spec: MacSpec, exponents: list[z3.BitVecRef]) -> z3.BitVecRef:
    """Stage 1's e, from the lanes' exponents ea + eb."""
    return number(spec.anchor) if spec.fixed else largest(exponents)


def placed(spec: MacSpec, lane: z3.BitVecRef, exponent: z3.BitVecRef, e: z3.BitVecRef) -> z3.BitVecRef:
    """A lane's contribution to S: the product with last bit at 2**(e - M), what is below cut toward minus infinity."""
    return (lane << (spec.mantissa_bits - 2 * spec.element.mantissa_bits)) >> (e - exponent)


@dataclass(frozen=True)
class Accumulator:
    """Fields of a pattern."""

    negative: z3.BoolRef
    field: z3.BitVecRef
    mantissa: z3.BitVecRef

    @property
    def nan(self) -> z3.BoolRef:
        """Largest field, non-zero mantissa."""
        return z3.And(self.field == TOP_FIELD, self.mantissa != 0)

    @property
    def infinite(self) -> z3.BoolRef:
        """Largest field, mantissa zero."""
        return z3.And(self.field == TOP_FIELD, self.mantissa == 0)


def accumulator(spec: MacSpec, pattern: z3.BitVecRef) -> Accumulator:
    """Take a pattern apart."""
    m = spec.mantissa_bits
    return Accumulator(
        negative=z3.Extract(m + 8, m + 8, pattern) == 1,
        field=unsigned(z3.Extract(m + 7, m, pattern)),
        mantissa=unsigned(z3.Extract(m - 1, 0, pattern)),
    )


def input_exponent(e: z3.BitVecRef, xa: z3.BitVecRef, xb: z3.BitVecRef) -> z3.BitVecRef:
    """E_in, from stage 1's exponent and the scale codes."""
    return e + unsigned(xa) + unsigned(xb) - 2 * SCALE_BIAS + SCALE_BIAS


def kept(spec: MacSpec, s: z3.BitVecRef, acc: Accumulator, d: z3.BitVecRef) -> z3.BoolRef:
    """Cases 1 and 3 of stage 2: the accumulator is returned."""
    return z3.Or(s == 0, z3.And(acc.field != 0, d >= spec.mantissa_bits + 1))


def extended_right(d: z3.BitVecRef) -> z3.BoolRef:
    """Whether T counts from R bits below S: always where d < 0, so that cases 2 and 4 agree with case 6."""
    return d < 0


def aligned_sum(spec: MacSpec, s: z3.BitVecRef, acc: Accumulator, d: z3.BitVecRef) -> z3.BitVecRef:
    """T of cases 2, 4, 5 and 6."""
    m = spec.mantissa_bits
    right = m + 1
    magnitude = acc.mantissa + (1 << m)
    a = z3.If(acc.negative, -magnitude, magnitude)
    present = z3.And(acc.field != 0, d > -(2 * m + 7))
    shifted_left = z3.If(z3.And(present, d <= m), a << d, number(0)) + s
    shifted_right = (s << right) + z3.If(present, (a << right) >> -d, number(0))
    return z3.If(extended_right(d), shifted_right, shifted_left)


@dataclass(frozen=True)
class Normal:
    """T with its leading one found: sign, exponent field before any limit, mantissa."""

    negative: z3.BoolRef
    field: z3.BitVecRef
    mantissa: z3.BitVecRef


def leading_one_at(t: z3.BitVecRef, p: int) -> z3.BoolRef:
    """Whether the magnitude of T has its leading one at bit p."""
    magnitude = z3.If(t < 0, -t, t)
    return z3.And(z3.ULE(1 << p, magnitude), z3.ULT(magnitude, 1 << (p + 1)))


def normalised_at(spec: MacSpec, t: z3.BitVecRef, e_in: z3.BitVecRef, right: z3.BoolRef, p: int) -> Normal:
    """The result's parts if T has its leading one at bit p; bits below the mantissa are cut off."""
    m = spec.mantissa_bits
    magnitude = z3.If(t < 0, -t, t)
    shifted = z3.LShR(magnitude, p - m) if p >= m else magnitude << (m - p)
    r = z3.If(right, number(m + 1), number(0))
    return Normal(t < 0, e_in - r + p - m, shifted - (1 << m))


@dataclass(frozen=True)
class Special:
    """Whether a NaN or an infinity decides the result, and the infinity's sign; `nan` wins."""

    nan: z3.BoolRef
    infinite: z3.BoolRef
    negative: z3.BoolRef


def special(
    a: list[Operand], b: list[Operand], xa: z3.BitVecRef, xb: z3.BitVecRef, acc: Accumulator
) -> Special:  # fmt: skip
    """The paragraph on specials."""
    lanes = list(zip(a, b, strict=True))
    infinite = [z3.Or(left.infinite, right.infinite) for left, right in lanes]
    negative = [left.negative != right.negative for left, right in lanes]
    undefined = [
        z3.Or(z3.And(left.infinite, right.zero), z3.And(right.infinite, left.zero)) for left, right in lanes
    ]  # fmt: skip
    minus = z3.Or(
        z3.And(acc.infinite, acc.negative), *(z3.And(i, n) for i, n in zip(infinite, negative, strict=True))
    )  # fmt: skip
    plus = z3.Or(
        z3.And(acc.infinite, z3.Not(acc.negative)),
        *(z3.And(i, z3.Not(n)) for i, n in zip(infinite, negative, strict=True)),
    )
    nan = z3.Or(
        *(operand.nan for operand in (*a, *b)), xa == NAN_SCALE, xb == NAN_SCALE, acc.nan, *undefined,
        z3.And(plus, minus),
    )  # fmt: skip
    return Special(nan, z3.Or(plus, minus), minus)


def selected(
    spec: MacSpec, special: Special, keep: z3.BoolRef, pattern: z3.BitVecRef, t_zero: z3.BoolRef, normal: Normal
) -> z3.BitVecRef:
    """The new pattern."""
    m = spec.mantissa_bits
    field = unsigned(z3.Extract(m + 7, m, pattern))

    def signed_pattern(negative: z3.BoolRef, rest: z3.BitVecRef) -> z3.BitVecRef:
        return z3.If(negative, number(1 << (m + 8)), number(0)) + rest

    finite = z3.If(
        z3.Or(t_zero, normal.field <= 0),
        number(0),
        z3.If(
            normal.field >= TOP_FIELD,
            signed_pattern(normal.negative, number(spec.infinity)),
            signed_pattern(normal.negative, (normal.field << m) + normal.mantissa),
        ),
    )
    old = z3.If(field == 0, number(0), unsigned(pattern))
    infinity = signed_pattern(special.negative, number(spec.infinity))
    value = z3.If(special.nan, number(spec.nan), z3.If(special.infinite, infinity, z3.If(keep, old, finite)))
    return z3.Extract(spec.bits - 1, 0, value)


def product_sum(
    spec: MacSpec, a: list[Operand], b: list[Operand], xa: z3.BitVecRef, xb: z3.BitVecRef
) -> tuple[z3.BitVecRef, z3.BitVecRef]:
    """Stage 1: S, and E_in with the scales."""
    exponents = [x.exponent + y.exponent for x, y in zip(a, b, strict=True)]
    e = sum_exponent(spec, exponents)
    lanes = [product(x, y) for x, y in zip(a, b, strict=True)]
    s = total([placed(spec, lane, exponent, e) for lane, exponent in zip(lanes, exponents, strict=True)])
    return s, input_exponent(e, xa, xb)


def mac_step(
    spec: MacSpec,
    a: list[z3.BitVecRef],
    b: list[z3.BitVecRef],
    xa: z3.BitVecRef,
    xb: z3.BitVecRef,
    pattern: z3.BitVecRef,
) -> z3.BitVecRef:
    """The whole cycle: codes of the lanes, two scale codes and the old pattern, to the new pattern."""
    left, right = ([operand(spec.element, code) for code in codes] for codes in (a, b))
    s, e_in = product_sum(spec, left, right, xa, xb)
    acc = accumulator(spec, pattern)
    d = acc.field - e_in
    t, extended = aligned_sum(spec, s, acc, d), extended_right(d)
    normal = normalised_at(spec, t, e_in, extended, 0)
    for p in range(1, 2 * spec.mantissa_bits + 6):
        here, at = leading_one_at(t, p), normalised_at(spec, t, e_in, extended, p)
        normal = Normal(at.negative, z3.If(here, at.field, normal.field), z3.If(here, at.mantissa, normal.mantissa))
    verdict = special(left, right, xa, xb, acc)
    return selected(spec, verdict, kept(spec, s, acc, d), pattern, t == 0, normal)
