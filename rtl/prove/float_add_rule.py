"""The rule of `hw.mx_macs.fp32_addition_mac` over z3 bit-vectors, from the product sum on; before it, the hybrid's.

The product sum, cut toward zero to M mantissa bits, and the accumulator are aligned to the larger exponent with two
guard bits, each cut toward zero there; their sum is cut toward zero to M mantissa bits.
"""

# z3 annotates its operators as returning anything it has.
# pyright: reportArgumentType=false, reportReturnType=false, reportOperatorIssue=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false

from dataclasses import dataclass

import z3

from hw.mac import MacSpec
from rtl.prove import specification as rule
from rtl.prove.specification import Accumulator, Normal, number

GUARD = 2


@dataclass(frozen=True)
class Float:
    """A number: sign, exponent field without limits, significand with its leading one at bit M."""

    negative: z3.BoolRef
    field: z3.BitVecRef
    significand: z3.BitVecRef


def product_at(spec: MacSpec, s: z3.BitVecRef, e_in: z3.BitVecRef, p: int) -> Float:
    """The product sum as a number if it has its leading one at bit p."""
    m = spec.mantissa_bits
    magnitude = z3.If(s < 0, -s, s)
    significand = z3.LShR(magnitude, p - m) if p >= m else magnitude << (m - p)
    return Float(s < 0, e_in + p - m, significand)


def kept(s: z3.BitVecRef) -> z3.BoolRef:
    """Whether the accumulator is returned."""
    return s == 0


def distance(product: Float, acc: Accumulator) -> z3.BitVecRef:
    """The product's exponent minus the accumulator's; 0 without an accumulator."""
    return z3.If(acc.field == 0, number(0), product.field - acc.field)


def larger_field(product: Float, d: z3.BitVecRef) -> z3.BitVecRef:
    """The exponent field that both are aligned to."""
    return z3.If(d < 0, product.field - d, product.field)


def larger_sign(product: Float, acc: Accumulator, d: z3.BitVecRef) -> z3.BoolRef:
    """Whether the operand with the larger exponent is negative."""
    return z3.If(d < 0, acc.negative, product.negative)


def aligned_sum(spec: MacSpec, product: Float, acc: Accumulator, d: z3.BitVecRef) -> z3.BitVecRef:
    """Their sum in the sign of the one with the larger exponent, its last bit two below that of a significand."""
    stored = z3.If(acc.field == 0, number(0), acc.mantissa + (1 << spec.mantissa_bits))
    larger, smaller = z3.If(d < 0, stored, product.significand), z3.If(d < 0, product.significand, stored)
    cut = z3.LShR(smaller << GUARD, z3.If(d < 0, -d, d))
    return (larger << GUARD) + z3.If(product.negative == acc.negative, cut, -cut)


def normalised_at(spec: MacSpec, t: z3.BitVecRef, negative: z3.BoolRef, field: z3.BitVecRef, p: int) -> Normal:
    """The sum's parts if it has its leading one at bit p; `negative` is the sign that it is counted in."""
    part = product_at(spec, t, field - GUARD, p)
    return Normal(part.negative != negative, part.field, part.significand - (1 << spec.mantissa_bits))


def mac_step(
    spec: MacSpec, a: list[z3.BitVecRef], b: list[z3.BitVecRef], xa: z3.BitVecRef, xb: z3.BitVecRef,
    pattern: z3.BitVecRef,
) -> z3.BitVecRef:  # fmt: skip
    """The whole cycle, as `specification.mac_step`."""
    left, right = ([rule.operand(spec.element, code) for code in codes] for codes in (a, b))
    s, e_in = rule.product_sum(spec, left, right, xa, xb)
    acc, m = rule.accumulator(spec, pattern), spec.mantissa_bits
    product = product_at(spec, s, e_in, 0)
    for p in range(1, m + 4):
        here, at = rule.leading_one_at(s, p), product_at(spec, s, e_in, p)
        field, significand = z3.If(here, at.field, product.field), z3.If(here, at.significand, product.significand)
        product = Float(at.negative, field, significand)
    d = distance(product, acc)
    field, t = larger_field(product, d), aligned_sum(spec, product, acc, d)
    negative = larger_sign(product, acc, d)
    normal = normalised_at(spec, t, negative, field, 0)
    for p in range(1, m + 4):
        here, at = rule.leading_one_at(t, p), normalised_at(spec, t, negative, field, p)
        normal = Normal(at.negative, z3.If(here, at.field, normal.field), z3.If(here, at.mantissa, normal.mantissa))
    return rule.selected(spec, rule.special(left, right, xa, xb, acc), kept(s), pattern, t == 0, normal)
