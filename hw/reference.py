"""What a `ReductionTree` means, in exact rationals.

Slow and short: this is the definition that the fast renderings are tested against.
"""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import inf, nan
from typing import NamedTuple

import numpy as np

from hw.reduction_tree import Accumulator, Align, IntegerAccumulator, ReductionTree, Rounding, Stage, Zero
from hw.widths import check_tree
from mx_formats.element import FINITE, NAN, ElementFormat, decode
from mx_formats.scale import E8M0, ScaleFormat


class Term(NamedTuple):
    """A value and the exponent it presents to an alignment (None: it presents none).

    Attributes:
        exponent: what others are aligned to.
        value: exact; 0 where `special` is set.
        minus: the sign of a zero.
        special: an infinity or NaN; None for a finite value.
    """

    exponent: int | None
    value: Fraction
    minus: bool = False
    special: float | None = None


ZERO = Term(None, Fraction(0))


def reference(
    tree: ReductionTree,
    element_a: ElementFormat,
    a: Sequence[int],
    element_b: ElementFormat,
    b: Sequence[int],
    accumulator: int,
    scale_a: int | Sequence[int] = E8M0.bias,
    scale_b: int | Sequence[int] = E8M0.bias,
    scale: ScaleFormat = E8M0,
) -> int:
    """One step: `tree.products` products and the accumulator to the new accumulator.

    Args:
        tree: the datapath.
        element_a: format of `a`.
        a: codes of the left operand, in the order of k.
        element_b: format of `b`.
        b: codes of the right operand.
        accumulator: bit pattern in `tree.accumulator`.
        scale_a: scale code shared by `a` (default 2**0 in E8M0), or one for each term of the stage where they enter.
        scale_b: the same for `b`.
        scale: format of the scales.

    Returns:
        The new accumulator's bit pattern.

    Raises:
        ValueError: `a` or `b` is not `tree.products` long, or the tree cannot hold products of these elements.
    """
    if not len(a) == len(b) == tree.products:
        raise ValueError(f"operands: got {len(a)} and {len(b)} codes, a step of {tree.name} takes {tree.products}")
    check_tree(tree, element_a, element_b)
    terms = _products(element_a, a, element_b, b)
    kept = unpack(tree.accumulator, accumulator)
    factors = [_scale_product(x, y, scale) for x, y in zip(_listed(scale_a), _listed(scale_b), strict=True)]
    for index, stage in enumerate(tree.stages):
        if index == tree.scales_enter:
            shared = factors * len(terms) if len(factors) == 1 else factors
            terms = [_scaled(term, factor) for term, factor in zip(terms, shared, strict=True)]
        count = len(terms) // stage.fan_in
        groups = [terms[i * stage.fan_in : (i + 1) * stage.fan_in] for i in range(count)]
        if stage.interleaved:
            groups = [terms[i::count] for i in range(count)]
        terms = [_join_chain(stage, group) if stage.chain > 1 else _join(stage, group, kept) for group in groups]
    return pack(tree.accumulator, terms[0])


def _products(element_a: ElementFormat, a: Sequence[int], element_b: ElementFormat, b: Sequence[int]) -> list[Term]:
    """Exact products."""
    left = decode(np.array(a, np.uint32), element_a)
    right = decode(np.array(b, np.uint32), element_b)
    fraction_bits = element_a.mantissa_bits + element_b.mantissa_bits
    terms = []
    for code_a, code_b, sa, ea, ka, sb, eb, kb in zip(a, b, *left, *right, strict=True):
        exponent, product = int(ea) + int(eb), int(sa) * int(sb)
        value = product * power_of_two(exponent - fraction_bits)
        minus = _is_minus(code_a, element_a) != _is_minus(code_b, element_b)
        if ka == kb == FINITE:
            terms.append(Term(exponent, value, minus))
        elif NAN in (ka, kb) or product == 0:
            terms.append(_special(nan))
        else:
            terms.append(_special(inf if product > 0 else -inf))
    return terms


def _special(value: float) -> Term:
    return Term(None, Fraction(0), special=value)


def _is_minus(code: int, element: ElementFormat) -> bool:
    """The sign bit; an integer zero has none."""
    return bool(int(code) >> (element.bits - 1)) and not (element.is_integer and int(code) == 0)


def _listed(codes: int | Sequence[int]) -> list[int]:
    return [int(codes)] if isinstance(codes, int | np.integer) else [int(code) for code in codes]


def _scale_product(a: int, b: int, scale: ScaleFormat) -> Term:
    """The product of two scales and the sum of their exponents."""
    if scale.magnitudes is None:
        exponent = a + b - 2 * scale.bias
        return _special(nan) if scale.nan in (a, b) else Term(exponent, power_of_two(exponent))
    element = scale.magnitudes
    magnitude = (1 << (element.bits - 1)) - 1
    (factor,) = _products(element, [a & magnitude], element, [b & magnitude])
    return factor


def _scaled(term: Term, factor: Term) -> Term:
    if factor.special is not None or (term.special is not None and not factor.value):
        return _special(nan)
    if term.special is not None:
        return term
    absent = term.exponent is None or factor.exponent is None or not factor.value
    exponent = None if absent else (term.exponent or 0) + (factor.exponent or 0)
    return term._replace(exponent=exponent, value=term.value * factor.value, minus=_minus(term))


def _minus(term: Term) -> bool:
    return term.value < 0 or (term.value == 0 and term.minus)


def _join_chain(stage: Stage, terms: list[Term]) -> Term:
    """The parts of one group in order; the sum so far is the accumulator of the next."""
    part = replace(stage, fan_in=stage.fan_in // stage.chain, chain=1, accumulator=True)
    total = ZERO
    for start in range(0, len(terms), part.fan_in):
        total = _join(part, terms[start : start + part.fan_in], total)
    return total


def _join(stage: Stage, terms: list[Term], accumulator: Term) -> Term:
    """Align, round and sum one group; the accumulator is used only by the stage it joins."""
    if stage.overflow is not None:
        terms = [_overflowed(term, power_of_two(stage.overflow)) for term in terms]
    joining = [*terms, accumulator] if stage.accumulator else terms
    specials = {term.special for term in joining if term.special is not None}
    if specials:
        return _special(nan if len(specials) > 1 else specials.pop())
    total = _join_window(stage, terms[0], accumulator) if stage.align is Align.WINDOW else _sum(stage, terms, joining)
    return total if stage.result is None else unpack(stage.result, pack(stage.result, total))


def _overflowed(term: Term, limit: Fraction) -> Term:
    return term if abs(term.value) < limit else _special(inf if term.value > 0 else -inf)


def _sum(stage: Stage, terms: list[Term], joining: list[Term]) -> Term:
    present = [term for term in terms if term.value or stage.zeros_join]
    present += [term for term in joining[len(terms) :] if term.value]
    exponents = [term.exponent for term in present if term.exponent is not None]
    exponent = stage.anchor if exponents else None
    if stage.align is Align.LARGEST:
        exponents += [stage.lowest] if stage.lowest is not None else []
        exponent = max(exponents, default=None)
    total = sum((_cut(stage, term.value, exponent) for term in terms), Fraction(0))
    for kept in joining[len(terms) :]:
        total += _cut_accumulator(stage, kept, exponent)
    if stage.align is Align.EXACT:
        exponent = exponent_of(total) if total else None
    return Term(exponent, total, all(_minus(term) for term in joining))


def _cut_accumulator(stage: Stage, kept: Term, exponent: int | None) -> Fraction:
    if stage.window is not None and exponent is not None and kept.exponent is not None:
        dropped = kept.exponent - exponent <= -stage.window.right
        kept = ZERO if dropped else kept
    bits = stage.fraction_bits if stage.accumulator_bits is None else stage.accumulator_bits
    return _cut(replace(stage, fraction_bits=bits, accumulator_bits=None), kept.value, exponent)


def _join_window(stage: Stage, term: Term, accumulator: Term) -> Term:
    if not term.value or not accumulator.value:
        return accumulator if accumulator.value else term
    assert stage.window is not None
    assert stage.window.left is not None
    assert term.exponent is not None
    assert accumulator.exponent is not None
    difference = accumulator.exponent - term.exponent
    if difference >= stage.window.left:
        return accumulator
    if difference <= -stage.window.right:
        return term
    return Term(term.exponent, term.value + _cut(stage, accumulator.value, term.exponent))


def _cut(stage: Stage, value: Fraction, exponent: int | None) -> Fraction:
    """Round a term at the stage's last bit below `exponent`."""
    if stage.rounding is Rounding.EXACT or exponent is None:
        return value
    assert stage.fraction_bits is not None
    last = power_of_two(exponent - stage.fraction_bits)
    return round_integer(value / last, stage.rounding) * last


def round_integer(value: Fraction, rounding: Rounding) -> int:
    """Round to an integer."""
    if rounding is Rounding.TOWARD_ZERO:
        return int(value)
    if rounding is Rounding.FLOOR:
        return value.numerator // value.denominator
    if rounding is Rounding.NEAREST_EVEN:
        return round(value)
    raise ValueError(f"rounding: got {rounding} where bits may be lost, must name what happens to them")


def power_of_two(exponent: int) -> Fraction:
    """2**exponent, exactly."""
    return Fraction(1 << exponent) if exponent >= 0 else Fraction(1, 1 << -exponent)


def exponent_of(value: Fraction) -> int:
    """Largest e with 2**e <= |value|."""
    exponent = abs(value.numerator).bit_length() - value.denominator.bit_length()
    return exponent if abs(value) >= power_of_two(exponent) else exponent - 1


def unpack(accumulator: Accumulator | IntegerAccumulator, pattern: int) -> Term:
    """Read a pattern."""
    if isinstance(accumulator, IntegerAccumulator):
        sign = 1 << (accumulator.bits - 1)
        return Term(None, ((pattern ^ sign) - sign) * power_of_two(-accumulator.fraction_bits))
    m = accumulator.mantissa_bits
    mantissa = pattern & ((1 << m) - 1)
    field = pattern >> m & ((1 << accumulator.exponent_bits) - 1)
    minus = bool(pattern & accumulator.sign_bit)
    if field == accumulator.infinity >> m:
        return _special(nan if mantissa else -inf if minus else inf)
    if field == 0 and (mantissa == 0 or not accumulator.subnormals):
        return Term(None, Fraction(0), minus)
    exponent = max(field, 1) - accumulator.bias
    significand = mantissa | (1 << m if field else 0)
    return Term(exponent, (-significand if minus else significand) * power_of_two(exponent - m))


def pack(accumulator: Accumulator | IntegerAccumulator, term: Term) -> int:
    """Round a term to a format."""
    if isinstance(accumulator, IntegerAccumulator):
        return _pack_integer(accumulator, term)
    if term.special is not None:
        sign = accumulator.sign_bit if term.special < 0 else 0
        return accumulator.nan if term.special != term.special else sign | accumulator.infinity
    sign = accumulator.sign_bit if _minus(term) else 0
    if term.value == 0:
        return sign if accumulator.zero is Zero.IEEE else 0
    exponent = exponent_of(term.value)
    to_zero = 0 if accumulator.zero is Zero.POSITIVE else sign
    if exponent < accumulator.emin and not accumulator.subnormals:
        return to_zero
    exponent = max(exponent, accumulator.emin)
    m = accumulator.mantissa_bits
    significand = abs(round_integer(term.value / power_of_two(exponent - m), accumulator.rounding))
    # A significand with no hidden bit is a subnormal; one that rounded up to two carries into the field by itself.
    magnitude = significand + ((exponent - accumulator.emin) << m)
    return sign | min(magnitude, accumulator.infinity) if magnitude else to_zero


def _pack_integer(accumulator: IntegerAccumulator, term: Term) -> int:
    value = term.value * power_of_two(accumulator.fraction_bits)
    if term.special is not None or value.denominator != 1:
        raise ValueError(
            f"accumulator: {term.special or term.value} is no multiple of 2**-{accumulator.fraction_bits}, "
            "legal for an integer register are finite elements and no scales"
        )
    limit = 1 << (accumulator.bits - 1)
    number = int(value)
    if accumulator.saturate:
        number = min(max(number, -limit), limit - 1)
    return number & (2 * limit - 1)
