"""The rule of `hw.mx_macs.long_integer_mac` over z3 bit-vectors: an exact sum, rounded once to nearest even.

Products are added in units of 2**-34, the scales apart. Their sum W and the accumulator are added exactly, which needs
a limit where they lie far apart. Both limits change no rounded sum: |W| < 2**68, and

* an accumulator whose last bit lies 70 places or more above W's is itself the rounded sum: W is less than a quarter
  of that bit;
* one whose last bit lies more than 2M + 5 places below W's counts as if it lay there: it is then smaller than a quarter
  of any half step of the rounded sum, so that its sign alone matters.
"""

# z3 annotates its operators as returning anything it has.
# pyright: reportArgumentType=false, reportReturnType=false, reportOperatorIssue=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false

import z3

from hw.mac import MacSpec
from rtl.prove import specification as rule
from rtl.prove.specification import SCALE_BIAS, Accumulator, Normal, unsigned

WIDTH = 192  # of exact sums: 145 bits at M = 23
FRACTION = 34  # bits of W below the binary point
ABSORBS = 70
Z3 = z3.BitVecRef


def wide(number: Z3) -> Z3:
    """A signed number or net in the width of exact sums."""
    return z3.SignExt(WIDTH - number.size(), number)


def far_below(spec: MacSpec) -> int:
    """Places below W's last bit that an exact sum has."""
    return 2 * spec.mantissa_bits + 5


def product_word(spec: MacSpec, lane: Z3, exponent: Z3) -> Z3:
    """A product in units of 2**-34."""
    return wide(lane) << wide(exponent + FRACTION - 2 * spec.element.mantissa_bits)


def scales(xa: Z3, xb: Z3) -> Z3:
    """The exponent of both scales, biased as the accumulator's."""
    return unsigned(xa) + unsigned(xb) - SCALE_BIAS


def place(spec: MacSpec, acc: Accumulator, scale: Z3) -> Z3:
    """Places that the accumulator's last bit lies above W's."""
    return acc.field - spec.mantissa_bits - (scale - FRACTION)


def kept(word: Z3, acc: Accumulator, at: Z3) -> z3.BoolRef:
    """Whether the accumulator is returned."""
    return z3.Or(word == 0, z3.And(acc.field != 0, at >= ABSORBS))


def exact_sum(spec: MacSpec, word: Z3, acc: Accumulator, at: Z3) -> Z3:
    """W and accumulator, `far_below` places below W's last bit."""
    far = far_below(spec)
    magnitude = wide(acc.mantissa) + (1 << spec.mantissa_bits)
    a = z3.If(acc.field == 0, z3.BitVecVal(0, WIDTH), z3.If(acc.negative, -magnitude, magnitude))
    return (word << far) + (a << wide(z3.If(at < -far, rule.number(0), at + far)))


def leading_one_at(t: Z3, p: int) -> z3.BoolRef:
    """Whether the magnitude of T has its leading one at bit p."""
    return z3.LShR(z3.If(t < 0, -t, t), p) == 1


def rounded_at(spec: MacSpec, t: Z3, scale: Z3, p: int) -> Normal:
    """The parts of T rounded to nearest even if its leading one is at bit p; field 0 or less is below every normal."""
    m = spec.mantissa_bits
    magnitude, field = z3.If(t < 0, -t, t), scale - FRACTION - far_below(spec) + p
    if p <= m:
        return Normal(t < 0, field, _number(magnitude << (m - p)) - (1 << m))
    down = p - m
    significand, rest = _number(z3.LShR(magnitude, down)), magnitude & ((1 << down) - 1)
    half = 1 << (down - 1)
    up = z3.Or(z3.UGT(rest, half), z3.And(rest == half, significand & 1 == 1))
    significand = z3.If(up, significand + 1, significand)
    carried = significand == 1 << (m + 1)
    mantissa = z3.If(carried, rule.number(0), significand - (1 << m))
    return Normal(t < 0, z3.If(z3.And(carried, field > 0), field + 1, field), mantissa)


def _number(bits: Z3) -> Z3:
    return z3.Extract(rule.WIDTH - 1, 0, bits)


def mac_step(spec: MacSpec, a: list[Z3], b: list[Z3], xa: Z3, xb: Z3, pattern: Z3) -> Z3:
    """The whole cycle, as `specification.mac_step`."""
    left, right = ([rule.operand(spec.element, code) for code in codes] for codes in (a, b))
    lanes = list(zip(left, right, strict=True))
    word = rule.total([product_word(spec, rule.product(x, y), x.exponent + y.exponent) for x, y in lanes])
    acc, scale = rule.accumulator(spec, pattern), scales(xa, xb)
    at = place(spec, acc, scale)
    t = exact_sum(spec, word, acc, at)
    normal = rounded_at(spec, t, scale, 0)
    for p in range(1, far_below(spec) + ABSORBS + spec.mantissa_bits + 2):
        here, found = leading_one_at(t, p), rounded_at(spec, t, scale, p)
        field, mantissa = z3.If(here, found.field, normal.field), z3.If(here, found.mantissa, normal.mantissa)
        normal = Normal(found.negative, field, mantissa)
    verdict = rule.special(left, right, xa, xb, acc)
    return rule.selected(spec, verdict, kept(word, acc, at), pattern, t == 0, normal)
