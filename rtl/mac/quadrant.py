"""The multiplier grid: each quadrant's four 2-bit multipliers and the sum of their products (level 1)."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportInvalidTypeForm=false

from amaranth.hdl import Module, Mux, Value, signed
from amaranth.lib.wiring import Component, In, Out

QUADRANT_BITS = 10  # two FP4 products of at most 9 * 2**4 each, signed


class Quadrant(Component):
    """Four 2-bit multipliers and the sum of their products, combinational.

    With `pairs` low, one 4-bit by 4-bit product by sub-word recombination (shifts 0, 2, 2, 4), at most 225, with the
    sign of `sign[0]`; `sign` bits must be equal and shifts zero. With `pairs` high, two 2-bit products, each with its
    own sign and left shift, fixed point with two fraction bits; the two cross products are not used.

    Ports:
        a, b: 4-bit significands, or two 2-bit significands.
        sign: of the products of the low and of the high halves.
        a_shift, b_shift: left shifts 0..2 of those two products, one from each operand's exponents.
        total: signed sum.
    """

    pairs: In(1)
    a: In(4)
    b: In(4)
    sign: In(2)
    a_shift: In(2).array(2)
    b_shift: In(2).array(2)
    total: Out(signed(QUADRANT_BITS))

    def elaborate(self, platform: object) -> Module:
        """Build the logic."""
        m = Module()
        a_low, a_high, b_low, b_high = self.a[:2], self.a[2:], self.b[:2], self.b[2:]
        low = self._shifted(a_low * b_low, 0)
        high = Mux(self.pairs, self._shifted(a_high * b_high, 1), a_high * b_high << 4)
        cross = Mux(self.pairs, 0, a_low * b_high + a_high * b_low) << 2
        # Only the terms' relative sign needs a negation of its own, and only in pairs mode.
        opposed = self.sign[0] ^ self.sign[1]
        m.d.comb += self.total.eq(_negate_if(self.sign[0], low + cross + _negate_if(opposed, high)))
        return m

    def _shifted(self, product: Value, half: int) -> Value:
        """A 2-bit product moved by both operands' shifts; 9 * 2**4 at most."""
        return ((product << self.a_shift[half]) << self.b_shift[half])[:8]


def _negate_if(negative: Value, magnitude: Value) -> Value:
    return Mux(negative, -magnitude, magnitude)
