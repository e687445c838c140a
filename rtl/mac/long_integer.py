"""The long-integer MAC: products in one fixed-point word, an exact sum with the accumulator, one rounding."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportInvalidTypeForm=false
# pyright: reportArgumentType=false

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib.wiring import Component, In, Out

from hw.mx_macs import LONG_FRACTION_BITS
from rtl.mac.accumulate import ACCUMULATOR_EXPONENT_BITS, EXPONENT_BITS
from rtl.mac.align_add import EXPONENT_SUM_BITS, INTEGER_SHIFTS, PRODUCT_FRACTION_BITS
from rtl.mac.design import LANES, Kind, MacDesign, kind
from rtl.mac.normalise import shifted_to_top
from rtl.mac.operands import MODE_BITS
from rtl.mac.quadrant import quadrant_bits

WORD_BITS = 69  # four E5M2 products, each below 2**32 in steps of 2**-34, and a sign


class PlaceProducts(Component):
    """Brings four quadrant sums to their places in one fixed-point word and adds them; exact, combinational.

    Ports:
        mode: index in the design's `elements`.
        quadrant: signed sums of level 1.
        exponent: sums of two effective exponent fields, zero in the fixed modes.
        total: signed, last bit of weight 2**-34.
    """

    def __init__(self, design: MacDesign):
        self._design = design
        super().__init__({
            "mode": In(MODE_BITS),
            "quadrant": In(signed(quadrant_bits(design))).array(LANES),
            "exponent": In(EXPONENT_SUM_BITS).array(LANES),
            "total": Out(signed(WORD_BITS)),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the logic."""
        m = Module()
        words = []
        for lane in range(LANES):
            offset = Array(Const(_place(self._design, name, lane), signed(8)) for name in self._design.names)[self.mode]
            place, word = Signal(6, name=f"place_{lane}"), Signal(signed(WORD_BITS), name=f"word_{lane}")
            m.d.comb += [place.eq(self.exponent[lane] + offset), word.eq(self.quadrant[lane] << place)]
            words.append(word)
        m.d.comb += self.total.eq((words[0] + words[1]) + (words[2] + words[3]))
        return m


class JoinExactly(Component):
    """Product word + accumulator, exact, and the sum rounded to nearest, ties to even; combinational.

    The accumulator's last bit lies `place` bits above that of the word, or below. At 70 or more it absorbs the word.
    Down to M + 3 below, it is added where it lies; farther down one sticky bit stands for what is cut off.
    Adder 2M + 76 bits: 108 at M = 16. Source: `hw.mx_macs.long_integer_mac`.

    Ports:
        product: signed, last bit of weight 2**(exponent - 127 - 34).
        exponent: of the scales alone, biased by 127, signed.
        acc_sign, acc_field, acc_mantissa: accumulator; field 0 counts as zero.
        keep: the accumulator itself is the result: the word is zero, or absorbed.
        sign, field, mantissa: of the rounded sum, the field signed; zero or less where the sum is below the smallest
            normal number before it is rounded.
        nonzero: there is a sum.
    """

    def __init__(self, mantissa_bits: int):
        self._m_bits = mantissa_bits
        super().__init__({
            "product": In(signed(WORD_BITS)),
            "exponent": In(signed(EXPONENT_BITS)),
            "acc_sign": In(1),
            "acc_field": In(ACCUMULATOR_EXPONENT_BITS),
            "acc_mantissa": In(mantissa_bits),
            "keep": Out(1),
            "sign": Out(1),
            "field": Out(signed(EXPONENT_BITS + 2)),
            "mantissa": Out(mantissa_bits),
            "nonzero": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the logic."""
        m = Module()
        m_bits = self._m_bits
        extension = m_bits + 3  # below the word's last bit
        highest = WORD_BITS  # an accumulator placed higher absorbs the word
        guard = m_bits + 2  # room for a whole accumulator that is shifted out
        place = Signal(signed(EXPONENT_BITS + 2))
        m.d.comb += [
            place.eq(self.acc_field - self.exponent + LONG_FRACTION_BITS - m_bits),
            self.keep.eq(~self.product.any() | (self.acc_field.any() & (place > highest))),
        ]

        magnitude, addend = Signal(m_bits + 1), Signal(signed(m_bits + 2))
        farthest = highest + extension + guard
        down = Signal(signed(EXPONENT_BITS + 3))
        distance = Signal(range(farthest + 1))
        window = Signal(signed(farthest + m_bits + 2))
        m.d.comb += [
            magnitude.eq(Mux(self.acc_field.any(), Cat(self.acc_mantissa, Const(1, 1)), 0)),
            addend.eq(Mux(self.acc_sign, -magnitude, magnitude)),
            down.eq(highest - place),
            distance.eq(Mux(down > farthest, farthest, down)),
            window.eq((addend << farthest) >> distance),
        ]
        # The sticky bit is the last of the sum: it takes the place of all that was cut, sign and carries included.
        total = Signal(signed(highest + m_bits + 3 + extension + 1))
        placed, sticky = window[guard:].as_signed(), window[:guard].any()
        m.d.comb += total.eq(Cat(sticky, (placed + (self.product << extension))[: len(total) - 1]))

        word = Signal(len(total) - 1)
        m.d.comb += word.eq(Mux(total[-1], -total, total))
        top, zeros = shifted_to_top(m, word)
        kept, half, rest = top[-m_bits - 1 : -1], top[-m_bits - 2], top[: -m_bits - 2].any()
        field, rounded = Signal(signed(EXPONENT_BITS + 2)), Signal(EXPONENT_BITS + 2 + m_bits)
        weight = len(word) - 1 - (extension + 1) - LONG_FRACTION_BITS  # of the top bit, as a power of two
        m.d.comb += [
            field.eq(self.exponent + weight - zeros),
            rounded.eq(Cat(kept, field) + (half & (rest | kept[0]))),
            self.nonzero.eq(top[-1]),
            self.sign.eq(total[-1]),
            self.field.eq(Mux(field <= 0, 0, rounded[m_bits:].as_signed())),
            self.mantissa.eq(rounded[:m_bits]),
        ]
        return m


def _place(design: MacDesign, name: str, lane: int) -> int:
    """Left shift of a quadrant's sum, on top of its exponent field's sum."""
    spec = design.spec(name)
    if kind(spec.element) is Kind.INTEGER:
        return LONG_FRACTION_BITS - 2 * spec.element.mantissa_bits + INTEGER_SHIFTS[0] - INTEGER_SHIFTS[lane]
    if kind(spec.element) is Kind.PAIRS:
        return LONG_FRACTION_BITS - 2 * spec.element.mantissa_bits
    return LONG_FRACTION_BITS - PRODUCT_FRACTION_BITS - 2 * spec.element.bias
