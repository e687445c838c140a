"""What the nets of the long-integer MAC must carry after the quadrants, which are the hybrid's.

The chain: quadrants and exponents -> words -> product word, and the scales -> exact sum -> rounded sum -> result. The
product word is that of finite operands; a special overrides whatever the RTL makes of the others.
"""

# z3 annotates its operators as returning anything it has.
# pyright: reportArgumentType=false, reportReturnType=false, reportOperatorIssue=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false

from collections.abc import Iterator

import z3

from hw.mac import MacSpec
from rtl.mac import MacDesign
from rtl.mac.design import LANES, Kind, kind
from rtl.prove import long_integer_rule as rule
from rtl.prove import specification
from rtl.prove.long_integer_rule import wide
from rtl.prove.specification import signed, unsigned
from rtl.prove.stages import (
    INTEGER_SHIFTS,
    QUADRANTS,
    SPECIAL,
    Claim,
    Cut,
    any_spec,
    exponent_nets,
    in_quadrant_range,
    quadrant_shift,
    verdict,
    within,
)

_WORDS = [f"place.word_{i}" for i in range(LANES)]
_WORD, _SCALES, _PLACE, _TOTAL = "place.total", "join.exponent", "join.place", "join.total"
_NORMAL = ("join.sign", "join.field", "join.mantissa", "join.nonzero")
WORD_LIMIT = 49 << 60  # two E5M2 significands 1.75, the largest finite exponents; no other format has so large products


def words(design: MacDesign, spec: MacSpec) -> Iterator[Claim]:
    """Each quadrant's sum in units of 2**-34, and small enough where the operands are finite."""
    paths = exponent_nets(design)
    rtl = Cut(design, design.mode(spec.element.name), (*QUADRANTS, *paths))
    fraction, biases = 2 * spec.element.mantissa_bits, 2 * spec.element.bias
    for i, path in enumerate(_WORDS):
        quadrant, field, word = signed(rtl.net(QUADRANTS[i])), unsigned(rtl.net(paths[i])), wide(rtl.net(path))
        given = [in_quadrant_range(spec, i, quadrant)]
        if kind(spec.element) is Kind.ALIGNED:
            shift, largest = quadrant_shift(spec), 2 * ((1 << spec.element.exponent_bits) - 1)
            given += [(quadrant >> shift) << shift == quadrant, field >= 2]
            wanted = rule.product_word(spec, quadrant >> shift, field - biases)
            for value in range(2, largest + 1):
                at = rtl.net(paths[i]) == value
                yield rtl.claim(f"word {i}, exponent {value}", word == wanted, at, *given, nets=(path,))
            small = z3.Implies(within(quadrant >> shift, _largest_product(spec)), within(word, WORD_LIMIT))
            finite = field <= largest - (2 if spec.element.infinity else 0)
            yield rtl.claim(f"range of word {i}", small, finite, *given, nets=(path,))
        else:
            place = rule.FRACTION - fraction + (INTEGER_SHIFTS[i] if kind(spec.element) is Kind.INTEGER else 0)
            goal = z3.And(word == wide(quadrant) << place, within(word, WORD_LIMIT))
            yield rtl.claim(f"word {i}", goal, field == 0, *given, nets=(path,))


def product_word(design: MacDesign) -> Iterator[Claim]:
    """W of finite operands."""
    rtl = Cut(design, None, tuple(_WORDS))
    parts, word = [wide(rtl.net(path)) for path in _WORDS], wide(rtl.net(_WORD))
    given = [within(part, WORD_LIMIT) for part in parts]
    yield rtl.claim("product word", word == specification.total(parts), *given, nets=(_WORD,))
    yield rtl.claim("range of the product word", _in_word_range(word), *given, nets=(_WORD,))


def scales(design: MacDesign) -> Iterator[Claim]:
    """The scales' exponent, and the accumulator's place by it."""
    rtl = Cut(design, None)
    found = signed(rtl.net(_SCALES))
    yield rtl.claim("scales", found == rule.scales(rtl.net("xa"), rtl.net("xb")), nets=(_SCALES,))
    yield rtl.claim("range of the scales", _in_scale_range(found), nets=(_SCALES,))
    rtl = Cut(design, None, (_SCALES,))
    spec, scale = any_spec(design), signed(rtl.net(_SCALES))
    goal = signed(rtl.net(_PLACE)) == rule.place(spec, specification.accumulator(spec, rtl.net("acc")), scale)
    yield rtl.claim("place", goal, _in_scale_range(scale), nets=(_PLACE,))


def exact_sum(design: MacDesign) -> Iterator[Claim]:
    """The sum with one bit for all that lies below it, for each place of the accumulator."""
    rtl = Cut(design, None, (_WORD, _PLACE))
    spec, place = any_spec(design), signed(rtl.net(_PLACE))
    word, far = wide(rtl.net(_WORD)), rule.far_below(spec)
    acc = specification.accumulator(spec, rtl.net("acc"))
    t = rule.exact_sum(spec, word, acc, place)
    goal = z3.And(_agrees(design, wide(rtl.net(_TOTAL)), t), _in_sum_range(design, t))
    given, nets = [_in_word_range(word), word != 0], (_TOTAL,)
    nothing = [acc.field == 0, place >= -512, place <= 511]
    yield rtl.claim("exact sum, no accumulator", goal, *nothing, *given, nets=nets)
    given.append(acc.field != 0)
    yield rtl.claim("exact sum, accumulator far below", goal, place < -far, place >= -512, *given, nets=nets)
    for value in range(-far, rule.ABSORBS):
        at = rtl.net(_PLACE) == value
        yield rtl.claim(f"exact sum, place {value}", goal, at, *given, nets=nets)


def rounded_sum(design: MacDesign) -> Iterator[Claim]:
    """Sign, field and mantissa of the exact sum, for each place of its leading one."""
    rtl = Cut(design, None, (_TOTAL, _SCALES))
    spec, t, scale = any_spec(design), z3.BitVec("exact_sum", rule.WIDTH), signed(rtl.net(_SCALES))
    sign, field, mantissa, nonzero = (rtl.net(path) for path in _NORMAL)
    agrees = _agrees(design, wide(rtl.net(_TOTAL)), t)
    given = [agrees, _in_sum_range(design, t), _in_scale_range(scale)]
    yield rtl.claim("zero", (nonzero == 0) == (t == 0), *given, nets=_NORMAL)
    yield rtl.claim("sign", (sign == 1) == (t < 0), *given, nets=_NORMAL)
    lowest = design.mantissa_bits + 2  # bits below stand for an accumulator far smaller than the sum
    for p in range(lowest, _sum_bits(design)):
        wanted = rule.rounded_at(spec, t, scale, p)
        normal = z3.And(signed(field) == wanted.field, unsigned(mantissa) == wanted.mantissa)
        goal = z3.If(wanted.field <= 0, signed(field) <= 0, normal)
        yield rtl.claim(f"leading one at {p}", goal, rule.leading_one_at(t, p), *given, nets=_NORMAL)
    smallest = z3.Or(t == 0, t >= 1 << lowest, t <= -(1 << lowest))
    yield rtl.claim("no smaller sum", smallest, *given)


def result(design: MacDesign) -> Iterator[Claim]:
    """The new pattern, from verdict, sums and the old pattern."""
    rtl = Cut(design, None, (_WORD, _PLACE, *_NORMAL, *SPECIAL))
    spec, acc = any_spec(design), specification.accumulator(any_spec(design), rtl.net("acc"))
    sign, field, mantissa, nonzero = (rtl.net(path) for path in _NORMAL)
    keep = rule.kept(rtl.net(_WORD), acc, signed(rtl.net(_PLACE)))
    normal = specification.Normal(sign == 1, signed(field), unsigned(mantissa))
    wanted = specification.selected(spec, verdict(rtl), keep, rtl.net("acc"), nonzero == 0, normal)
    yield rtl.claim("result", rtl.net("result") == wanted, nets=("result",))


def _agrees(design: MacDesign, total: z3.BitVecRef, t: z3.BitVecRef) -> z3.BoolRef:
    """The RTL's last bit says whether T has anything below; if so, T is large beside it."""
    below, m = design.mantissa_bits + 2, design.mantissa_bits
    rest = t & ((1 << below) - 1)
    large = z3.Or(t >= 1 << (2 * m + 4), t <= -(1 << (2 * m + 4)))
    sticky = z3.If(rest == 0, z3.BitVecVal(0, rule.WIDTH), z3.BitVecVal(1, rule.WIDTH))
    return z3.And(total == ((t >> below) << 1 | sticky), z3.Or(rest == 0, large))


def _largest_product(spec: MacSpec) -> int:
    return ((2 << spec.element.mantissa_bits) - 1) ** 2


def _in_word_range(word: z3.BitVecRef) -> z3.BoolRef:
    return within(word, LANES * WORD_LIMIT)


def _in_scale_range(scale: z3.BitVecRef) -> z3.BoolRef:
    return z3.And(scale >= -127, scale <= 383)


def _sum_bits(design: MacDesign) -> int:
    """Of an exact sum's magnitude: an accumulator just below the place where it absorbs W, W, and their carry."""
    return rule.far_below(any_spec(design)) + rule.ABSORBS + design.mantissa_bits + 1


def _in_sum_range(design: MacDesign, t: z3.BitVecRef) -> z3.BoolRef:
    return within(t, (1 << _sum_bits(design)) - 1)
