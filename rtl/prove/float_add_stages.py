"""What the nets of the FP32-addition MAC must carry after the product sum, up to which it is the hybrid.

The chain goes on: product sum -> normalised product -> exponents of the sum -> floating-point sum ->
normalised sum -> result.
"""

# z3 annotates its operators as returning anything it has.
# pyright: reportArgumentType=false, reportReturnType=false, reportOperatorIssue=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false

from collections.abc import Iterator

import z3

from rtl.mac import MacDesign
from rtl.prove import float_add_rule as rule
from rtl.prove import specification
from rtl.prove.specification import signed, unsigned
from rtl.prove.stages import (
    E_IN,
    SPECIAL,
    SUM,
    Claim,
    Cut,
    any_spec,
    in_exponent_range,
    in_sum_range,
    verdict,
    within,
)

_PRODUCT = ("float_add.significand", "float_add.product_field")
_DISTANCE = "float_add.difference"
_TOTAL, _FIELD, _SIGN = "float_add.total", "float_add.larger_field", "float_add.larger_sign"
_NORMAL = ("float_add.sign", "float_add.field", "float_add.mantissa", "float_add.nonzero")


def normalised_product(design: MacDesign) -> Iterator[Claim]:
    """The product sum as a floating-point number, for each place of its leading one."""
    spec, e_in_net = any_spec(design), E_IN[design.tree]
    rtl = Cut(design, None, (SUM, e_in_net))
    s, e_in = signed(rtl.net(SUM)), signed(rtl.net(e_in_net))
    significand, field = unsigned(rtl.net(_PRODUCT[0])), signed(rtl.net(_PRODUCT[1]))
    in_range = [in_sum_range(design, s), in_exponent_range(e_in)]
    for p in range(spec.mantissa_bits + 4):
        wanted = rule.product_at(spec, s, e_in, p)
        goal = z3.And(significand == wanted.significand, field == wanted.field)
        given = specification.leading_one_at(s, p)
        yield rtl.claim(f"leading one of the product sum at {p}", goal, given, *in_range, nets=_PRODUCT)
    range_of = z3.And(_is_normal(design, significand), _in_field_range(field))
    yield rtl.claim("range of the product", range_of, s != 0, *in_range, nets=_PRODUCT)


def exponents_of_the_sum(design: MacDesign) -> Iterator[Claim]:
    """Distance of the operands' exponents; the larger of them, and its operand's sign."""
    rtl = Cut(design, None, (SUM, *_PRODUCT))
    product, acc = _product(rtl), specification.accumulator(any_spec(design), rtl.net("acc"))
    given = _in_field_range(product.field)
    d, field = rule.distance(product, acc), signed(rtl.net(_FIELD))
    negative = rtl.net(_SIGN) == 1
    yield rtl.claim("distance", signed(rtl.net(_DISTANCE)) == d, given, nets=(_DISTANCE,))
    yield rtl.claim("larger exponent", field == rule.larger_field(product, d), given, nets=(_FIELD,))
    yield rtl.claim("range of the larger exponent", _in_field_range(field), given, nets=(_FIELD,))
    yield rtl.claim("sign of the larger", negative == rule.larger_sign(product, acc, d), given, nets=(_SIGN,))


def floating_point_sum(design: MacDesign) -> Iterator[Claim]:
    """The sum's significand, for each distance of the exponents at which both operands count."""
    rtl = Cut(design, None, (SUM, *_PRODUCT, _DISTANCE))
    spec, m = any_spec(design), design.mantissa_bits
    product, acc = _product(rtl), specification.accumulator(spec, rtl.net("acc"))
    d, t, given = signed(rtl.net(_DISTANCE)), signed(rtl.net(_TOTAL)), _is_normal(design, product.significand)
    goal = z3.And(t == rule.aligned_sum(spec, product, acc, d), _in_total_range(design, t))
    nothing = [acc.field == 0, rtl.net(_DISTANCE) == 0]
    yield rtl.claim("sum, no accumulator", goal, *nothing, given, nets=(_TOTAL,))
    cases = {
        "accumulator too small": z3.And(d >= m + 3, d <= 511),
        "product too small": z3.And(d <= -(m + 3), d >= -511),
        **{f"distance {value}": rtl.net(_DISTANCE) == value for value in range(-m - 2, m + 3)},
    }
    for name, case in cases.items():
        yield rtl.claim(f"sum, {name}", goal, acc.field != 0, case, given, nets=(_TOTAL,))


def normalised_sum(design: MacDesign) -> Iterator[Claim]:
    """Sign, field and mantissa of the sum, for each place of its leading one."""
    rtl = Cut(design, None, (_TOTAL, _FIELD, _SIGN))
    spec, t, larger = any_spec(design), signed(rtl.net(_TOTAL)), signed(rtl.net(_FIELD))
    sign, field, mantissa, nonzero = (rtl.net(path) for path in _NORMAL)
    in_range = [_in_field_range(larger), _in_total_range(design, t)]
    yield rtl.claim("zero", (nonzero == 0) == (t == 0), *in_range, nets=_NORMAL)
    for p in range(spec.mantissa_bits + 4):
        wanted = rule.normalised_at(spec, t, rtl.net(_SIGN) == 1, larger, p)
        parts = z3.And(signed(field) == wanted.field, unsigned(mantissa) == wanted.mantissa)
        goal = z3.And(parts, (sign == 1) == wanted.negative)
        given = specification.leading_one_at(t, p)
        yield rtl.claim(f"leading one at {p}", goal, given, *in_range, nets=_NORMAL)


def result(design: MacDesign) -> Iterator[Claim]:
    """The new pattern, from verdict, sums and the old pattern."""
    rtl = Cut(design, None, (SUM, *_NORMAL, *SPECIAL))
    spec, keep = any_spec(design), rule.kept(signed(rtl.net(SUM)))
    sign, field, mantissa, nonzero = (rtl.net(path) for path in _NORMAL)
    normal = specification.Normal(sign == 1, signed(field), unsigned(mantissa))
    wanted = specification.selected(spec, verdict(rtl), keep, rtl.net("acc"), nonzero == 0, normal)
    yield rtl.claim("result", rtl.net("result") == wanted, nets=("result",))


def _product(rtl: Cut) -> rule.Float:
    significand, field = (rtl.net(path) for path in _PRODUCT)
    return rule.Float(signed(rtl.net(SUM)) < 0, signed(field), unsigned(significand))


def _is_normal(design: MacDesign, significand: z3.BitVecRef) -> z3.BoolRef:
    m = design.mantissa_bits
    return z3.And(significand >= 1 << m, significand < 1 << (m + 1))


def _in_field_range(field: z3.BitVecRef) -> z3.BoolRef:
    """E_in lies in -155..415, a leading one M below it to three above; accumulators in 1..255."""
    return z3.And(field >= -178, field <= 418)


def _in_total_range(design: MacDesign, t: z3.BitVecRef) -> z3.BoolRef:
    return within(t, (1 << (design.mantissa_bits + 4)) - 1)
