"""Level 1: the multiplier grid and the sum of each quadrant's four products."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportInvalidTypeForm=false

from amaranth.hdl import Module, Mux, Value, signed
from amaranth.lib.wiring import Component, In, Out

PAIR_SHIFT_BITS = 3  # two FP4 exponents less 1, 0..2 each, sum to 0..4
QUADRANT_BITS = 10  # two FP4 products of at most 9 * 2**4 each, signed


class Quadrant(Component):
    """Four 2-bit multipliers and the sum of their products, combinational.

    With `pairs` low, one 4-bit by 4-bit product by sub-word recombination (shifts 0, 2, 2, 4), at most 225, with the
    sign of `sign[0]`; `sign` bits must be equal. With `pairs` high, two 2-bit products, each with its own sign and left
    shift, fixed point with two fraction bits; the two cross products are not used.

    Ports:
        a, b: 4-bit significands, or two 2-bit significands.
        sign: of the products of the low and of the high halves.
        shift: left shifts 0..4 of those two products, read in pairs mode.
        total: signed sum.
    """

    pairs: In(1)
    a: In(4)
    b: In(4)
    sign: In(2)
    shift: In(PAIR_SHIFT_BITS).array(2)
    total: Out(signed(QUADRANT_BITS))

    def elaborate(self, platform: object) -> Module:
        """Build the logic."""
        m = Module()
        a_low, a_high, b_low, b_high = self.a[:2], self.a[2:], self.b[:2], self.b[2:]
        low = a_low * b_low << Mux(self.pairs, self.shift[0], 0)
        high = a_high * b_high << Mux(self.pairs, self.shift[1], 4)
        cross = Mux(self.pairs, 0, a_low * b_high + a_high * b_low) << 2
        terms = _negate_if(self.sign[0], low), _negate_if(self.sign[1], high), _negate_if(self.sign[0], cross)
        m.d.comb += self.total.eq(sum(terms[1:], terms[0]))
        return m


def _negate_if(negative: Value, magnitude: Value) -> Value:
    return Mux(negative, -magnitude, magnitude)
