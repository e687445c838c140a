"""What a `ReductionTree` means, in exact rationals.

Slow and short: this is the definition that the fast renderings are tested against.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from hw.reduction_tree import Accumulator, Align, ReductionTree, Rounding, Stage, Zero
from mx_formats.element import FINITE, INFINITE, NAN, ElementFormat, decode
from mx_formats.scale import E8M0, ScaleFormat


class Term(NamedTuple):
    """A finite value and the exponent it presents to an alignment (None: it presents none)."""

    exponent: int | None
    value: Fraction


def reference(
    tree: ReductionTree,
    element_a: ElementFormat,
    a: Sequence[int],
    element_b: ElementFormat,
    b: Sequence[int],
    accumulator: int,
    scale_a: int | Sequence[int] = E8M0.bias,
    scale_b: int | Sequence[int] = E8M0.bias,
    scale: ScaleFormat | ElementFormat = E8M0,
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
        scale: format of the scales; an element format is read without its sign bit, as NVFP4 does.

    Returns:
        The new accumulator's bit pattern.

    Raises:
        ValueError: `a` or `b` is not `tree.products` long.
    """
    if not len(a) == len(b) == tree.products:
        raise ValueError(f"operands: got {len(a)} and {len(b)} codes, a step of {tree.name} takes {tree.products}")
    products, special = _products(element_a, a, element_b, b)
    kept = unpack(tree.accumulator, accumulator)
    special |= {kept} if isinstance(kept, float) else set()
    shared = [_scale_product(x, y, scale) for x, y in zip(_listed(scale_a), _listed(scale_b), strict=True)]
    if any(factor is None for factor in shared) or _is_nan(special):
        return tree.accumulator.nan
    if special:
        return pack(tree.accumulator, special.pop())
    assert isinstance(kept, Term)
    terms = products
    for index, stage in enumerate(tree.stages):
        if index == tree.scales_enter:
            factors = shared * len(terms) if len(shared) == 1 else shared
            terms = [_scaled(term, factor) for term, factor in zip(terms, factors, strict=True) if factor]
        groups = [terms[start : start + stage.fan_in] for start in range(0, len(terms), stage.fan_in)]
        terms = [_join(stage, group, kept) for group in groups]
    return pack(tree.accumulator, terms[0].value)


def _products(
    element_a: ElementFormat, a: Sequence[int], element_b: ElementFormat, b: Sequence[int]
) -> tuple[list[Term], set[float]]:
    """Exact products, and the infinities and NaNs among them."""
    left = decode(np.array(a, np.uint32), element_a)
    right = decode(np.array(b, np.uint32), element_b)
    fraction_bits = element_a.mantissa_bits + element_b.mantissa_bits
    terms, special = [], set()
    for sa, ea, ka, sb, eb, kb in zip(*left, *right, strict=True):
        exponent, product = int(ea) + int(eb), int(sa) * int(sb)
        if ka == kb == FINITE:
            terms.append(Term(exponent, product * power_of_two(exponent - fraction_bits)))
        elif NAN in (ka, kb) or product == 0:
            special.add(float("nan"))
        else:
            assert INFINITE in (ka, kb)
            special.add(float("inf") if product > 0 else float("-inf"))
    return terms, special


def _is_nan(special: set[float]) -> bool:
    return any(value != value for value in special) or len(special) == 2


def _listed(codes: int | Sequence[int]) -> list[int]:
    return [codes] if isinstance(codes, int | np.integer) else list(codes)


def _scale_product(a: int, b: int, scale: ScaleFormat | ElementFormat) -> Term | None:
    """The product of two scales and the sum of their exponents; None if one is NaN."""
    if isinstance(scale, ScaleFormat):
        if scale.nan in (a, b):
            return None
        exponent = int(a) + int(b) - 2 * scale.bias
        return Term(exponent, power_of_two(exponent))
    magnitude = (1 << (scale.bits - 1)) - 1
    significand, exponents, kinds = decode(np.array([a & magnitude, b & magnitude], np.uint32), scale)
    if (kinds != FINITE).any():
        return None
    exponent = int(exponents.sum())
    return Term(exponent, int(significand.prod()) * power_of_two(exponent - 2 * scale.mantissa_bits))


def _scaled(term: Term, factor: Term) -> Term:
    if term.exponent is None or factor.exponent is None or not factor.value:
        return Term(None, term.value * factor.value)
    return Term(term.exponent + factor.exponent, term.value * factor.value)


def _join(stage: Stage, terms: list[Term], accumulator: Term) -> Term:
    """Align, round and sum one group; the accumulator is used only by the stage it joins."""
    if stage.align is Align.WINDOW:
        return _join_window(stage, terms[0], accumulator)
    present = [term for term in terms if term.value or stage.zeros_join]
    if stage.accumulator:
        terms = [*terms, accumulator]
        present += [accumulator] if accumulator.value else []
    exponents = [term.exponent for term in present if term.exponent is not None]
    exponent = stage.anchor if exponents else None
    if stage.align is Align.LARGEST:
        exponents += [stage.lowest] if stage.lowest is not None else []
        exponent = max(exponents, default=None)
    total = sum((_cut(stage, term.value, exponent) for term in terms), Fraction(0))
    if stage.align is Align.EXACT:
        exponent = exponent_of(total) if total else None
    return Term(exponent, total)


def _join_window(stage: Stage, term: Term, accumulator: Term) -> Term:
    if not term.value or not accumulator.value:
        return accumulator if accumulator.value else term
    assert stage.window is not None
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
    if stage.fraction_bits is None or exponent is None:
        return value
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


def unpack(accumulator: Accumulator, pattern: int) -> Term | float:
    """Read a pattern: a finite term, or an infinity or NaN as a float."""
    m = accumulator.mantissa_bits
    mantissa = pattern & ((1 << m) - 1)
    field = pattern >> m & ((1 << accumulator.exponent_bits) - 1)
    sign = -1 if pattern >> (accumulator.bits - 1) & 1 else 1
    if field == accumulator.infinity >> m:
        return float("nan") if mantissa else sign * float("inf")
    if field == 0 and (mantissa == 0 or not accumulator.subnormals):
        return Term(None, Fraction(0))
    exponent = max(field, 1) - accumulator.bias
    significand = mantissa | (1 << m if field else 0)
    return Term(exponent, sign * significand * power_of_two(exponent - m))


def pack(accumulator: Accumulator, value: Fraction | float) -> int:
    """Round a value, or an infinity as a float, to the accumulator's format."""
    sign = 1 << (accumulator.bits - 1) if value < 0 else 0
    if not isinstance(value, Fraction):
        return sign | accumulator.infinity
    if value == 0:
        return 0
    exponent = exponent_of(value)
    if exponent < accumulator.emin and not accumulator.subnormals:
        return sign if accumulator.zero is Zero.ROUNDED else 0
    exponent = max(exponent, accumulator.emin)
    m = accumulator.mantissa_bits
    significand = round_integer(abs(value) / power_of_two(exponent - m), accumulator.rounding)
    # A significand with no hidden bit is a subnormal; one that rounded up to two carries into the field by itself.
    magnitude = significand + ((exponent - accumulator.emin) << m)
    sign = 0 if magnitude == 0 and accumulator.zero is Zero.POSITIVE else sign
    return sign | min(magnitude, accumulator.infinity)
