"""The multiplier grid: each quadrant's four 2-bit multipliers and the sum of their products (level 1)."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportInvalidTypeForm=false
# pyright: reportReturnType=false, reportOperatorIssue=false

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

from rtl.mac.design import MacDesign

LARGEST_PAIR = 9 << 4  # an FP4 product, in units of its two fraction bits


def quadrant_bits(design: MacDesign) -> int:
    """Width of a quadrant's signed sum, two or four FP4 products being its largest."""
    return (design.digits * LARGEST_PAIR).bit_length() + 1


def quadrant(design: MacDesign) -> Component:
    """The quadrant of this MAC."""
    return Quadrant() if design.digits == 2 else FullQuadrant()


class Quadrant(Component):
    """Four 2-bit multipliers and the sum of their products, combinational; in `pairs` mode two of them work.

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
    total: Out(signed((2 * LARGEST_PAIR).bit_length() + 1))

    def elaborate(self, platform: object) -> Module:
        """Build the logic."""
        m = Module()
        a_low, a_high, b_low, b_high = self.a[:2], self.a[2:], self.b[:2], self.b[2:]
        # The recombination's shift of the high product by four is one that pairs mode has too.
        low = _shifted(a_low * b_low, _shifts(self.a_shift[0], self.b_shift[0]))
        high = _shifted(a_high * b_high, _shifts(self.a_shift[1], self.b_shift[1]) | Cat(0, 0, ~self.pairs))
        cross = (a_low * b_high + a_high * b_low) << 2
        # One addition serves both: outside pairs mode the low product has four bits, and the high one those above.
        left, right = Signal(8), Signal(8)
        above = Mux(self.pairs, low[4:], high[4:])
        m.d.comb += [left.eq(Cat(low[:4], above)), right.eq(Mux(self.pairs, high, cross))]
        # Only the terms' relative sign needs a negation of its own.
        opposed = self.sign[0] ^ self.sign[1]
        positive = Signal(self.total.shape())
        m.d.comb += [
            positive.eq(left + (Cat(right, Const(0, 2)) ^ opposed.replicate(10)) + opposed),
            self.total.eq(_negate_if(self.sign[0], positive)),
        ]
        return m


class FullQuadrant(Component):
    """Four 2-bit multipliers, each with digits, sign and shifts of its own, and the sum of their products.

    A 4-bit by 4-bit product is the case in which the shifts are the digits' places (0 or 2 from each operand) and all
    signs are equal; four FP4 products are the case in which they come from the exponents. Combinational.

    Ports:
        a, b: four 2-bit digits each.
        sign: of each product.
        a_shift, b_shift: left shifts 0..2 of each product.
        total: signed sum.
    """

    a: In(8)
    b: In(8)
    sign: In(4)
    a_shift: In(2).array(4)
    b_shift: In(2).array(4)
    total: Out(signed((4 * LARGEST_PAIR).bit_length() + 1))

    def elaborate(self, platform: object) -> Module:
        """Build the logic."""
        m = Module()
        placed = [Signal(8, name=f"placed_{i}") for i in range(4)]
        for i, value in enumerate(placed):
            product = self.a.word_select(i, 2) * self.b.word_select(i, 2)
            m.d.comb += value.eq(_shifted(product, _shifts(self.a_shift[i], self.b_shift[i])))
        # One negation of the whole sum; the others only where signs differ.
        first, *others = [_negate_if(self.sign[0] ^ self.sign[i], value) for i, value in enumerate(placed)]
        m.d.comb += self.total.eq(_negate_if(self.sign[0], (first + others[0]) + (others[1] + others[2])))
        return m


def _shifts(a_shift: Value, b_shift: Value) -> Value:
    """Which of the shifts by 1, 2 and 4 make the sum of two shifts of 0, 1 or 2; with 4 there is no other."""
    one = a_shift[0] ^ b_shift[0]
    two = (a_shift[0] & b_shift[0]) | (a_shift[1] ^ b_shift[1])
    return Cat(one, two, a_shift[1] & b_shift[1])


def _shifted(product: Value, shifts: Value) -> Value:
    """A 2-bit product moved left, see `_shifts`; 9 * 2**4 at most."""
    moved = Mux(shifts[0], product << 1, product)[:5]
    moved = Mux(shifts[1], moved << 2, moved)[:7]
    return Mux(shifts[2], product << 4, moved)


def _negate_if(negative: Value, magnitude: Value) -> Value:
    return Mux(negative, -magnitude, magnitude)
