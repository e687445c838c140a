"""Level 2: align the four quadrant sums and add them."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportInvalidTypeForm=false

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

from rtl.mac.design import LANES, MacDesign
from rtl.mac.quadrant import quadrant_bits

EXPONENT_SUM_BITS = 6
PRODUCT_FRACTION_BITS = 6  # two significands 1.fff
INTEGER_SHIFTS = (8, 4, 4, 0)  # quadrant q holds a's half q // 2 times b's half q % 2
PAIR_SHIFT = 1  # an FP4 sum counts from one bit lower than an FP8 product, so that eight of them fit; two for 16


class AlignAdd(Component):
    """Brings four quadrant sums to one exponent and adds them, combinational.

    FP8 and FP6: lane i is shifted right by max(e) - e[i], arithmetically (toward minus infinity), and keeps M fraction
    bits below a significand in [0, 4). FP4 and INT8 use fixed shifts and lose nothing. Widths: lane M + 3, sum M + 5.

    Ports:
        pairs, integer: which fixed shifts; neither for FP8 and FP6, never both.
        quadrant: signed sums of level 1.
        exponent: sums of two effective exponent fields.
        largest: the largest of them, zero in the fixed modes (their exponents are zero).
        total: signed, last bit of weight 2**(e - M) of the rule in `hw.mac`.
    """

    def __init__(self, design: MacDesign):
        self._m_bits = mantissa_bits = design.mantissa_bits
        self._pair_shift = PAIR_SHIFT if design.four_bit_products == 8 else PAIR_SHIFT + 1
        super().__init__({
            "pairs": In(1),
            "integer": In(1),
            "quadrant": In(signed(quadrant_bits(design))).array(LANES),
            "exponent": In(EXPONENT_SUM_BITS).array(LANES),
            "largest": Out(EXPONENT_SUM_BITS),
            "total": Out(signed(mantissa_bits + 5)),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the logic."""
        m = Module()
        # INT8's lowest quadrant moves 8 places right and would lose bits where M is small: guard bits keep them.
        guard = max(0, INTEGER_SHIFTS[0] + PRODUCT_FRACTION_BITS - self._m_bits)
        m.d.comb += self.largest.eq(_largest(list(self.exponent)))
        lanes = [self._lane(m, lane, guard) for lane in range(LANES)]
        lane_sum = Signal(signed(self._m_bits + 5 + guard))
        m.d.comb += [
            lane_sum.eq((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])),
            # Integer products count from 2**-12, the lanes from 2**-14.
            self.total.eq(Mux(self.integer, lane_sum << 2, lane_sum) >> guard),
        ]
        return m

    def _lane(self, m: Module, lane: int, guard: int) -> Value:
        """Lane sum at its place, `guard` bits below the last one kept; these are zero unless the mode is integer."""
        # Exponents are zero in the fixed modes, and so is their difference.
        fixed = Mux(self.integer, INTEGER_SHIFTS[lane], 0) | Mux(self.pairs, self._pair_shift, 0)
        distance = Signal(EXPONENT_SUM_BITS, name=f"distance_{lane}")
        m.d.comb += distance.eq((self.largest - self.exponent[lane]) | fixed)
        word = Signal(signed(self._m_bits + 3 + guard), name=f"lane_{lane}")
        m.d.comb += word.eq((self.quadrant[lane] << (self._m_bits - PRODUCT_FRACTION_BITS + guard)) >> distance)
        if not guard:
            return word
        cut = ((word >> guard) << guard).as_signed()
        return Mux(self.integer, word, cut)


def _largest(values: list[Value]) -> Value:
    if len(values) == 1:
        return values[0]
    left, right = _largest(values[: len(values) // 2]), _largest(values[len(values) // 2 :])
    return Mux(left > right, left, right)
