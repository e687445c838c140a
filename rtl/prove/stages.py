"""What each net on the way from operands to result must carry, given the nets before it.

The chain: quadrants and exponents -> largest exponent -> lanes -> product sum -> exponent and distance ->
aligned sum -> normalised sum -> result. A stage's claims are proven with the earlier nets cut, so for any value they
might have within the range an earlier claim states; together they say that the result is `specification.mac_step` of
the inputs.
"""

# z3 annotates its operators as returning anything it has.
# pyright: reportArgumentType=false, reportReturnType=false, reportOperatorIssue=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import z3

from hw.mac import MacSpec
from rtl.mac import MacDesign, MacStep, Tree
from rtl.mac.design import LANES, Kind, kind, lane_bits
from rtl.prove import specification as rule
from rtl.prove.netlist import Netlist
from rtl.prove.specification import signed, unsigned

TOP = "mac_step"
QUADRANT_FRACTION = 6  # fraction bits of a quadrant's sum when it carries one product of two significands 1.fff
INTEGER_SHIFTS = (0, 4, 4, 8)  # weights of an INT8 product's four 4-bit by 4-bit parts, in quadrant order
QUADRANTS = [f"quadrant_{i}.total" for i in range(LANES)]
_LANES = [f"align_add.lane_{i}" for i in range(LANES)]
_LARGEST, SUM = "align_add.largest", "align_add.total"
E_IN = {Tree.HYBRID: "accumulate.exponent", Tree.FP32_ADDITION: "float_add.exponent"}
_E_IN, DISTANCE = E_IN[Tree.HYBRID], "accumulate.d"
_T = "accumulate.total"
_NORMAL = ["normalise.sign", "normalise.field", "normalise.mantissa", "normalise.nonzero"]
# Largest sum of each quadrant: four-bit significands; products of 3 << 2 at most; halves of a magnitude up to 128.
FULL_QUADRANT = 15 * 15
_QUADRANT_LIMITS = {
    Kind.ALIGNED: (FULL_QUADRANT,) * LANES,
    Kind.INTEGER: (15 * 15, 15 * 8, 8 * 15, 8 * 8),
}
SPECIAL = ["specials.nan", "specials.infinite", "specials.infinite_sign"]


@dataclass(frozen=True)
class Claim:
    """`goal` holds whenever the `given` do; `nets` are shown where it does not."""

    name: str
    given: list[z3.BoolRef]
    goal: z3.BoolRef
    nets: dict[str, z3.BitVecRef]


@dataclass(frozen=True)
class Cut:
    """The RTL with some nets cut, in one mode or (mode None) in all of them."""

    design: MacDesign
    mode: int | None
    cuts: tuple[str, ...] = ()

    @property
    def net(self) -> Callable[[str], z3.BitVecRef]:
        """Nets by path."""
        return netlist(self.design, self.cuts).net

    def claim(self, name: str, goal: z3.BoolRef, *given: z3.BoolRef, nets: tuple[str, ...] = ()) -> Claim:
        """A claim about this RTL."""
        in_mode = [] if self.mode is None else [self.net("mode") == self.mode]
        shown = (*self.cuts, *nets, "a", "b", "xa", "xb", "acc")
        return Claim(name, [*in_mode, *given], goal, {path: self.net(path) for path in shown})


@cache
def netlist(design: MacDesign, cuts: tuple[str, ...]) -> Netlist:
    """The MAC step with these nets cut; made once a process."""
    return Netlist(MacStep(design), TOP, cuts)


def exponent_nets(design: MacDesign) -> list[str]:
    """The lanes' exponents, where they meet the quadrants' sums."""
    block = "place" if design.tree is Tree.LONG_INTEGER else "align_add"
    return [f"{block}.exponent__{i}" for i in range(LANES)]


def codes(spec: MacSpec, word: z3.BitVecRef) -> list[z3.BitVecRef]:
    """The lanes' codes in an operand word, as `rtl.mac.operands` documents them."""
    step, width = lane_bits(spec.element), spec.element.bits
    return [z3.Extract(lane * step + width - 1, lane * step, word) for lane in range(spec.lanes)]


def products(design: MacDesign, spec: MacSpec) -> Iterator[Claim]:
    """Quadrant sums and exponents of the operand words."""
    rtl = Cut(design, design.mode(spec.element.name))
    a, b = ([rule.operand(spec.element, code) for code in codes(spec, rtl.net(port))] for port in "ab")
    lanes = [rule.product(x, y) for x, y in zip(a, b, strict=True)]
    exponents = [x.exponent + y.exponent for x, y in zip(a, b, strict=True)]
    quadrants = [signed(rtl.net(path)) for path in QUADRANTS]
    paths = exponent_nets(design)
    fields = [unsigned(rtl.net(path)) for path in paths]
    m, e = spec.mantissa_bits, rule.sum_exponent(spec, exponents)
    parts = [rule.placed(spec, *lane, e) for lane in zip(lanes, exponents, strict=True)] if spec.fixed else []
    for i, (quadrant, field) in enumerate(zip(quadrants, fields, strict=True)):
        if spec.lanes < 4 * LANES:
            yield rtl.claim(f"range of quadrant {i}", in_quadrant_range(spec, i, quadrant), nets=(QUADRANTS[i],))
        yield rtl.claim(f"range of exponent {i}", _in_field_range(spec, field), nets=(paths[i],))
        if kind(spec.element) is Kind.ALIGNED:
            scaled = lanes[i] << quadrant_shift(spec)
            yield rtl.claim(f"product {i}", quadrant == scaled, nets=(QUADRANTS[i],))
            yield rtl.claim(f"exponent {i}", field == exponents[i] + 2 * spec.element.bias, nets=(paths[i],))
        if kind(spec.element) is Kind.PAIRS and spec.lanes == 4 * LANES:
            yield from _four_products(design, spec, i, lanes, exponents)
        elif kind(spec.element) is Kind.PAIRS:
            own = range(i * design.digits, (i + 1) * design.digits)
            goal = quadrant << _pair_shift(spec) == rule.total([parts[lane] for lane in own])
            yield rtl.claim(f"products {own[0]} to {own[-1]}", goal, nets=(QUADRANTS[i],))
    if kind(spec.element) is Kind.INTEGER:
        whole = rule.total([q << _integer_shift(m, i) for i, q in enumerate(quadrants)])
        yield rtl.claim("product", whole == parts[0], nets=tuple(QUADRANTS))


def _four_products(
    design: MacDesign, spec: MacSpec, i: int, lanes: list[z3.BitVecRef], exponents: list[z3.BitVecRef]
) -> Iterator[Claim]:
    """Quadrant i where each of its multipliers has an FP4 product: these, and their sum given them."""
    signs, placed = f"quadrant_{i}.sign", [f"quadrant_{i}.placed_{digit}" for digit in range(4)]
    rtl = Cut(design, design.mode(spec.element.name))
    for digit, path in enumerate(placed):
        lane = 4 * i + digit
        wanted = lanes[lane] << (exponents[lane])
        magnitude, negative = unsigned(rtl.net(path)), z3.Extract(digit, digit, rtl.net(signs)) == 1
        goal = z3.And(z3.If(negative, -magnitude, magnitude) == wanted, magnitude <= (3 << 2) ** 2)
        yield rtl.claim(f"product {lane}", goal, nets=(path, signs))
    rtl = Cut(design, design.mode(spec.element.name), (signs, *placed))
    total, magnitudes = signed(rtl.net(QUADRANTS[i])), [unsigned(rtl.net(path)) for path in placed]
    given = [value <= (3 << 2) ** 2 for value in magnitudes]
    yield rtl.claim(f"range of quadrant {i}", in_quadrant_range(spec, i, total), *given, nets=(QUADRANTS[i],))
    for pattern in range(1 << 4):  # a solver is fast where the signs are known
        first, second, third, fourth = (
            -value if pattern >> digit & 1 else value for digit, value in enumerate(magnitudes)
        )
        goal = total == (first + second) + (third + fourth)
        chosen = rtl.net(signs) == pattern
        yield rtl.claim(f"sum of quadrant {i}, signs {pattern:04b}", goal, chosen, *given, nets=(QUADRANTS[i],))


def largest_exponent(design: MacDesign, spec: MacSpec) -> Iterator[Claim]:
    """The largest of the lanes' exponents."""
    paths = exponent_nets(design)
    rtl = Cut(design, design.mode(spec.element.name), (*QUADRANTS, *paths))
    fields = [unsigned(rtl.net(path)) for path in paths]
    given = [_in_field_range(spec, field) for field in fields]
    found = unsigned(rtl.net(_LARGEST))
    yield rtl.claim("largest exponent", found == rule.largest(fields), *given, nets=(_LARGEST,))
    yield rtl.claim("range of the largest exponent", _in_field_range(spec, found), *given, nets=(_LARGEST,))


def lanes(design: MacDesign, spec: MacSpec) -> Iterator[Claim]:
    """Each product at its place below the largest exponent."""
    if spec.fixed:
        return
    paths = exponent_nets(design)
    rtl = Cut(design, design.mode(spec.element.name), (*QUADRANTS, *paths, _LARGEST))
    biases = 2 * spec.element.bias
    e, shift = unsigned(rtl.net(_LARGEST)) - biases, quadrant_shift(spec)
    for i, path in enumerate(_LANES):
        quadrant, exponent = signed(rtl.net(QUADRANTS[i])), unsigned(rtl.net(paths[i])) - biases
        given = [exponent <= e, in_quadrant_range(spec, i, quadrant), (quadrant >> shift) << shift == quadrant]
        lane = signed(rtl.net(path)) >> _guard(design)
        yield rtl.claim(f"lane {i}", lane == rule.placed(spec, quadrant >> shift, exponent, e), *given, nets=(path,))
        yield rtl.claim(f"range of lane {i}", _in_lane_range(design, lane), *given, nets=(path,))


def product_sum(design: MacDesign, spec: MacSpec) -> Iterator[Claim]:
    """S, from the lanes or, where all is fixed point, from the quadrants."""
    aligned = kind(spec.element) is Kind.ALIGNED
    paths = exponent_nets(design)
    cuts = (*QUADRANTS, *paths, _LARGEST, *(_LANES if aligned else ()))
    rtl = Cut(design, design.mode(spec.element.name), cuts)
    m = design.mantissa_bits
    quadrants = [signed(rtl.net(path)) for path in QUADRANTS]
    if aligned:
        guard = _guard(design)
        parts = [signed(rtl.net(path)) >> guard for path in _LANES]
        given = [_in_lane_range(design, part) for part in parts]
        given += [(part << guard) == signed(rtl.net(path)) for part, path in zip(parts, _LANES, strict=True)]
    else:
        integer = kind(spec.element) is Kind.INTEGER
        parts = [q << (_integer_shift(m, i) if integer else _pair_shift(spec)) for i, q in enumerate(quadrants)]
        given = [in_quadrant_range(spec, i, q) for i, q in enumerate(quadrants)]
        given += [rtl.net(path) == 0 for path in (*paths, _LARGEST)]
    s = signed(rtl.net(SUM))
    yield rtl.claim("product sum", s == rule.total(parts), *given, nets=(SUM,))
    yield rtl.claim("range of the product sum", in_sum_range(design, s), *given, nets=(SUM,))


def exponents(design: MacDesign, spec: MacSpec) -> Iterator[Claim]:
    """E_in, whose cut comes after the largest exponent's."""
    mode = design.mode(spec.element.name)
    rtl = Cut(design, mode, (_LARGEST,))
    field = unsigned(rtl.net(_LARGEST))
    e = rule.number(spec.anchor) if spec.fixed else field - 2 * spec.element.bias
    path = E_IN[design.tree]
    e_in = signed(rtl.net(path))
    goal = e_in == rule.input_exponent(e, rtl.net("xa"), rtl.net("xb"))
    given = _in_field_range(spec, field)
    yield rtl.claim("input exponent", goal, given, nets=(path,))
    yield rtl.claim("range of the input exponent", in_exponent_range(e_in), given, nets=(path,))


def distance(design: MacDesign) -> Iterator[Claim]:
    """d, from E_in and the accumulator."""
    rtl = Cut(design, None, (_E_IN,))
    e_in, acc = signed(rtl.net(_E_IN)), rule.accumulator(any_spec(design), rtl.net("acc"))
    goal = signed(rtl.net(DISTANCE)) == acc.field - e_in
    yield rtl.claim("distance", goal, in_exponent_range(e_in), nets=(DISTANCE,))


def aligned_sum(design: MacDesign) -> Iterator[Claim]:
    """T, for each distance the window tells apart."""
    rtl = Cut(design, None, (SUM, _E_IN, DISTANCE))
    spec, m = any_spec(design), design.mantissa_bits
    s, d = signed(rtl.net(SUM)), signed(rtl.net(DISTANCE))
    acc, t = rule.accumulator(spec, rtl.net("acc")), signed(rtl.net(_T))
    in_range = [in_sum_range(design, s)]
    wanted = rule.aligned_sum(spec, s, acc, d)
    edge = 2 * m + 7
    yield rtl.claim("side", (rtl.net("accumulate.below") == 1) == rule.extended_right(d))
    yield rtl.claim("aligned sum, accumulator far below", t == wanted, d <= -edge, *in_range, nets=(_T,))
    yield rtl.claim("range of the aligned sum", _in_aligned_range(design, t), *in_range, nets=(_T,))
    far = [d > m, acc.field == 0]
    yield rtl.claim("aligned sum, no accumulator", t == wanted, *far, *in_range, nets=(_T,))
    for value in range(1 - edge, m + 1):
        given = [rtl.net(DISTANCE) == value, *in_range]
        yield rtl.claim(f"aligned sum, d = {value}", t == wanted, *given, nets=(_T,))


def normalised_sum(design: MacDesign) -> Iterator[Claim]:
    """Sign, field and mantissa of T, for each place of its leading one."""
    rtl = Cut(design, None, (_T, _E_IN, DISTANCE))
    spec = any_spec(design)
    t, d, e_in = signed(rtl.net(_T)), signed(rtl.net(DISTANCE)), signed(rtl.net(_E_IN))
    sign, field, mantissa, nonzero = (rtl.net(path) for path in _NORMAL)
    nets = tuple(_NORMAL)
    in_range = z3.And(in_exponent_range(e_in), _in_aligned_range(design, t))
    yield rtl.claim("zero", (nonzero == 0) == (t == 0), in_range, nets=nets)
    yield rtl.claim("sign", (sign == 1) == (t < 0), nets=nets)
    # |S| < 2**(M + 4), and T is S where there is no accumulator.
    small = z3.Or(nonzero == 0, signed(field) <= e_in + 4)
    given = [in_sum_range(design, t), d > design.mantissa_bits, in_range]
    yield rtl.claim("range of the field", small, *given, nets=nets)
    for p in range(2 * spec.mantissa_bits + 6):
        given = [rule.leading_one_at(t, p), in_range]
        wanted = rule.normalised_at(spec, t, e_in, rule.extended_right(d), p)
        goal = z3.And(signed(field) == wanted.field, unsigned(mantissa) == wanted.mantissa)
        yield rtl.claim(f"leading one at {p}", goal, *given, nets=nets)


def specials(design: MacDesign, spec: MacSpec) -> Iterator[Claim]:
    """NaN and infinities."""
    rtl = Cut(design, design.mode(spec.element.name))
    a, b = ([rule.operand(spec.element, code) for code in codes(spec, rtl.net(port))] for port in "ab")
    wanted = rule.special(a, b, rtl.net("xa"), rtl.net("xb"), rule.accumulator(spec, rtl.net("acc")))
    nan, infinite, negative = (rtl.net(path) == 1 for path in SPECIAL)
    nets = tuple(SPECIAL)
    yield rtl.claim("NaN", nan == wanted.nan, nets=nets)
    yield rtl.claim("infinity", infinite == wanted.infinite, nets=nets)
    yield rtl.claim("sign of infinity", negative == wanted.negative, infinite, z3.Not(nan), nets=nets)


def result(design: MacDesign) -> Iterator[Claim]:
    """The new pattern, from verdict, sums and the old pattern."""
    rtl = Cut(design, None, (SUM, _E_IN, DISTANCE, *_NORMAL, *SPECIAL))
    spec, m = any_spec(design), design.mantissa_bits
    s, e_in, d = signed(rtl.net(SUM)), signed(rtl.net(_E_IN)), signed(rtl.net(DISTANCE))
    acc = rule.accumulator(spec, rtl.net("acc"))
    sign, field, mantissa, nonzero = (rtl.net(path) for path in _NORMAL)
    normal = rule.Normal(sign == 1, signed(field), unsigned(mantissa))
    # With no accumulator and d > M, T is S, and `normalised_sum` gives the range.
    small = z3.Implies(z3.And(acc.field == 0, d > m), z3.Or(nonzero == 0, normal.field <= e_in + 4))
    given = [in_exponent_range(e_in), d == acc.field - e_in, small]
    wanted = rule.selected(spec, verdict(rtl), rule.kept(spec, s, acc, d), rtl.net("acc"), nonzero == 0, normal)
    yield rtl.claim("result", rtl.net("result") == wanted, *given, nets=("result",))


def verdict(rtl: Cut) -> rule.Special:
    """What `specials` proves of the nets that are cut here."""
    return rule.Special(*(rtl.net(path) == 1 for path in SPECIAL))


def any_spec(design: MacDesign) -> MacSpec:
    """Past the product sum the rule depends on M alone."""
    return MacSpec(design.elements[0], design.mantissa_bits, design.four_bit_products)


def in_exponent_range(e_in: z3.BitVecRef) -> z3.BoolRef:
    """What `exponents` proves of E_in, so that d fits its ten bits."""
    return z3.And(e_in >= -155, e_in <= 415)


def within(value: z3.BitVecRef, limit: int) -> z3.BoolRef:
    """Whether a signed number's magnitude is at most `limit`."""
    return z3.And(value <= limit, value >= -limit)


def in_quadrant_range(spec: MacSpec, i: int, quadrant: z3.BitVecRef) -> z3.BoolRef:
    """What `products` proves of a quadrant's sum."""
    if kind(spec.element) is Kind.PAIRS:
        return within(quadrant, spec.lanes // LANES * (3 << 2) ** 2)
    return within(quadrant, _QUADRANT_LIMITS[kind(spec.element)][i])


def _in_field_range(spec: MacSpec, field: z3.BitVecRef) -> z3.BoolRef:
    """Of a sum of two exponent fields, where 0 counts as 1; fixed-point formats have none."""
    if spec.fixed:
        return field == 0
    return z3.And(field >= 2, field <= 2 * ((1 << spec.element.exponent_bits) - 1))


def _in_lane_range(design: MacDesign, lane: z3.BitVecRef) -> z3.BoolRef:
    return within(lane, FULL_QUADRANT << (design.mantissa_bits - QUADRANT_FRACTION))


def in_sum_range(design: MacDesign, s: z3.BitVecRef) -> z3.BoolRef:
    """Four full lanes; what FP4 and INT8 reach is less."""
    return within(s, LANES * FULL_QUADRANT << (design.mantissa_bits - QUADRANT_FRACTION))


def _in_aligned_range(design: MacDesign, t: z3.BitVecRef) -> z3.BoolRef:
    return within(t, (1 << (2 * design.mantissa_bits + 5)) - 1)


def quadrant_shift(spec: MacSpec) -> int:
    """Places that a product lies higher in its quadrant than its own last bit."""
    return QUADRANT_FRACTION - 2 * spec.element.mantissa_bits


def _pair_shift(spec: MacSpec) -> int:
    """A quadrant's FP4 sum has two fraction bits; S has its last bit at 2**(anchor - M), the anchor 5, or 6 for 16."""
    return spec.mantissa_bits - 2 - (5 if spec.lanes == 8 else 6)


def _integer_shift(m: int, quadrant: int) -> int:
    """INT8 products have twelve fraction bits; the anchor is 0."""
    return m - 12 + INTEGER_SHIFTS[quadrant]


def _guard(design: MacDesign) -> int:
    """Bits of a lane below the last one kept; zero for aligned products."""
    return netlist(design, ()).net(_LANES[0]).size() - (design.mantissa_bits + 3)
