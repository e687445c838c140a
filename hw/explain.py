"""What a tree does with its operands, level by level: widths, shifts, and where bits are lost; as text and as SVG."""

from dataclasses import dataclass
from html import escape

from hw.reduction_tree import Accumulator, Align, IntegerAccumulator, ReductionTree, Rounding, Stage
from hw.widths import Range, check_tree, product_range
from mx_formats.element import ElementFormat

_SCALE_SPAN = 508  # exponents that two E8M0 scales add, -254 to 254
_WORDS = {
    Rounding.EXACT: "nothing",
    Rounding.TOWARD_ZERO: "toward zero",
    Rounding.FLOOR: "downward",
    Rounding.NEAREST_EVEN: "to nearest even",
}


@dataclass(frozen=True)
class Level:
    """One stage in bits; widths are two's complement, the sign included.

    Attributes:
        joins: how many terms of what.
        aligned: what they are aligned to.
        shift: the furthest a term moves, in bits.
        term_bits: of a term as it comes.
        kept_bits: of a term after alignment.
        lost_bits: of a term that alignment may cut off, at most.
        sum_bits: of the adder that holds their sum and the accumulator.
        sticky: the adder needs a sticky bit below it as well.
        rounding: of what is cut off.
        result: the format the sum is rounded to; "" where it stays as it is.
    """

    joins: str
    aligned: str
    shift: int
    term_bits: int
    kept_bits: int
    lost_bits: int
    sum_bits: int
    sticky: bool
    rounding: str
    result: str


@dataclass(frozen=True)
class _Terms:
    """What is known of the terms between two stages.

    Attributes:
        above: bits of a magnitude at and above the exponent it presents.
        below: bits below it.
        span: exponents that can meet, highest less lowest.
        exact: multiples of one last bit, before scales; None once bits have been cut off or scales came in.
    """

    above: int
    below: int
    span: int
    exact: Range | None

    @property
    def bits(self) -> int:
        return self.above + self.below + 1


def levels(tree: ReductionTree, a: ElementFormat, b: ElementFormat) -> list[Level]:
    """Every stage in bits, for products of these elements and E8M0 scales of any size where scales enter late.

    Raises:
        ValueError: the tree cannot hold products of these elements.
    """
    check_tree(tree, a, b)
    span = a.emax - a.emin + b.emax - b.emin
    terms = _Terms(2, a.mantissa_bits + b.mantissa_bits, span, product_range(a, b))
    what, out = "product", []
    for index, stage in enumerate(tree.stages):
        if index == tree.scales_enter and index > 0:
            terms = _Terms(terms.above, terms.below, terms.span + _SCALE_SPAN, None)
        joins = f"{stage.fan_in} {what}{'s' if stage.fan_in > 1 else ''}"
        level, terms = _level(stage, terms, joins, tree)
        out.append(level)
        what = "sum"
    return out


def _level(stage: Stage, terms: _Terms, joins: str, tree: ReductionTree) -> tuple[Level, _Terms]:
    size = stage.fan_in // stage.chain + (stage.accumulator or stage.chain > 1)
    if stage.chain > 1:
        joins += f", {stage.fan_in // stage.chain} at a time"
    if stage.accumulator:
        joins += " and the accumulator"
    growth = (size - 1).bit_length()
    lost, sticky, kept = 0, False, terms.bits
    shift = terms.span if stage.fan_in > stage.chain else 0
    if stage.align is Align.EXACT:
        aligned = "exactly"
        kept, total, sticky = _exact_widths(stage, terms, tree)
        after = _Terms(1, total - 2, terms.span, terms.exact.times(stage.fan_in) if terms.exact else None)
    elif stage.align is Align.ANCHOR:
        kept, after = _anchored(stage, terms, growth)
        aligned, total = f"to a fixed 2**{stage.anchor}", kept + growth
    else:
        fraction = stage.fraction_bits or 0
        total = terms.above + fraction + 1 + growth
        aligned = "to the sum"
        if stage.align is Align.LARGEST:
            aligned, kept = "to the largest exponent", terms.above + fraction + 1
            shift += _accumulator_span(tree) + terms.span * (stage.fan_in == 1) if stage.accumulator else 0
            lost = min(max(terms.below + shift - fraction, 0), terms.bits - 1)  # all of it where it may be shifted out
        after = _Terms(terms.above + growth, fraction, terms.span, None)
    if stage.result:
        after = _Terms(1, stage.result.mantissa_bits, _float_span(stage.result), None)
    rounding, result = _WORDS[stage.rounding], _name(stage.result) if stage.result else ""
    return Level(joins, aligned, shift, terms.bits, kept, lost, total, sticky, rounding, result), after


def _exact_widths(stage: Stage, terms: _Terms, tree: ReductionTree) -> tuple[int, int, bool]:
    """Bits of a term placed among the others, of the adder, and whether a sticky bit goes with it."""
    fan_in = stage.fan_in // stage.chain
    kept = terms.bits
    if fan_in > 1:
        kept = terms.exact.bits if terms.exact else terms.bits + terms.span
    wide = kept + (fan_in - 1).bit_length()
    if not stage.accumulator and stage.chain == 1:
        # Two numbers rounded once need no more than one beside the other.
        two = 2 * terms.bits
        return (terms.bits, two, True) if fan_in == 2 and stage.result and two < wide else (kept, wide, False)
    register = stage.result if stage.chain > 1 else tree.accumulator
    if not isinstance(register, Accumulator):
        return kept, max(wide, register.bits if register else 0), False
    return kept, wide + register.mantissa_bits + 2, True


def _float_span(accumulator: Accumulator) -> int:
    return 2 * accumulator.bias - 1 + accumulator.subnormals * accumulator.mantissa_bits


def _accumulator_span(tree: ReductionTree) -> int:
    return _float_span(tree.accumulator) if isinstance(tree.accumulator, Accumulator) else 0


def _anchored(stage: Stage, terms: _Terms, growth: int) -> tuple[int, _Terms]:
    anchor = stage.anchor or 0
    last = terms.exact.last if terms.exact else anchor - (stage.fraction_bits or 0)
    top = terms.exact.top if terms.exact else anchor + terms.above
    below = anchor - last if stage.fraction_bits is None else stage.fraction_bits
    above = top - anchor if stage.integer_bits is None else stage.integer_bits
    exact = terms.exact.times(stage.fan_in) if terms.exact and stage.rounding is Rounding.EXACT else None
    grown = exact.top - anchor if exact and stage.integer_bits is None else above + growth
    return above + below + 1, _Terms(grown, below, 0, exact)


def _name(accumulator: Accumulator | IntegerAccumulator) -> str:
    if isinstance(accumulator, IntegerAccumulator):
        return f"{accumulator.bits}-bit integer, {'saturating' if accumulator.saturate else 'wrapping'}"
    subnormals = "" if accumulator.subnormals else ", no subnormals"
    rounding = _WORDS[accumulator.rounding]
    return f"E{accumulator.exponent_bits}M{accumulator.mantissa_bits} {rounding}{subnormals}"


def explain(tree: ReductionTree, a: ElementFormat, b: ElementFormat) -> str:
    """A table of the levels, for people.

    Raises:
        ValueError: the tree cannot hold products of these elements.
    """
    rows = [("joins", "aligned", "shift", "term", "kept", "lost", "adder", "cut off", "sum becomes")]
    for level in levels(tree, a, b):
        adder = f"{level.sum_bits}{'+s' if level.sticky else ''}"
        widths = str(level.shift), str(level.term_bits), str(level.kept_bits), str(level.lost_bits), adder
        rows.append((level.joins, level.aligned, *widths, level.rounding, level.result or "as it is"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    scales = f"the scales enter at level {tree.scales_enter}" if tree.scales_enter else "scales enter with the products"
    return "\n".join(
        [
            f"{tree.name}: {tree.products} products of {a.name} x {b.name} a step, {scales}",
            *table,
            f"accumulator: {_name(tree.accumulator)}",
            f"widths in bits, signs included; +s: and a sticky bit. {tree.source}",
        ]
    )


_BIT, _ROW, _LEFT, _BAR = 5, 92, 20, 14  # pixels
_COLOURS = {"term": "#9aa5b1", "kept": "#2f6fb0", "lost": "#d64545", "adder": "#1f3a5f"}


def draw(tree: ReductionTree, a: ElementFormat, b: ElementFormat) -> str:
    """The levels as an SVG picture: a bar a width, one bit `5` pixels, what may be cut off in red.

    Raises:
        ValueError: the tree cannot hold products of these elements.
    """
    rows = levels(tree, a, b)
    texts = [_Text(_LEFT, 24, f"{tree.name}: {tree.products} products of {a.name} x {b.name}", size=15)]
    bars = []
    for index, level in enumerate(rows):
        top = 44 + index * _ROW
        heading = f"{level.joins}, aligned {level.aligned}"
        heading += f", shifted up to {level.shift}" if level.shift else ""
        heading += f", rounded to {level.result}" if level.result else ""
        texts.append(_Text(_LEFT, top + 10, heading))
        widths = [
            ("term", level.term_bits, 0, f"term {level.term_bits}"),
            ("kept", level.kept_bits, level.lost_bits, f"kept {level.kept_bits}" + _cut_label(level)),
            ("adder", level.sum_bits, 0, f"adder {level.sum_bits}{' and sticky' if level.sticky else ''}"),
        ]
        for line, (kind, bits, lost, label) in enumerate(widths):
            y = top + 18 + line * (_BAR + 5)
            bars.append(_bar(_LEFT, y, bits, _COLOURS[kind]))
            if lost:
                bars.append(_bar(_LEFT + _BIT * bits, y, lost, _COLOURS["lost"]))
            texts.append(_Text(_LEFT + _BIT * (bits + lost) + 6, y + _BAR - 3, label))
    height = 78 + len(rows) * _ROW
    texts.append(_Text(_LEFT, height - 30, f"accumulator: {_name(tree.accumulator)}"))
    texts.append(_Text(_LEFT, height - 12, tree.source))
    width = max(640, *(text.right for text in texts)) + _LEFT
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    white = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([head, white, *bars, *(text.svg for text in texts), "</svg>", ""])


@dataclass(frozen=True)
class _Text:
    x: int
    y: int
    words: str
    size: int = 12

    @property
    def right(self) -> int:
        """Where it ends at the latest: common sans-serif faces take up to 0.62 of their size a character."""
        return self.x + round(0.62 * self.size * len(self.words))

    @property
    def svg(self) -> str:
        where = f'x="{self.x}" y="{self.y}"'
        return f'<text {where} font-family="sans-serif" font-size="{self.size}">{escape(self.words)}</text>'


def _cut_label(level: Level) -> str:
    return f", up to {level.lost_bits} cut {level.rounding}" if level.lost_bits else ""


def _bar(x: int, y: int, bits: int, colour: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{_BIT * bits}" height="{_BAR}" fill="{colour}"/>'
