"""Accumulate: place the stored sum in a window around the product sum and add, before any normalisation."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportInvalidTypeForm=false

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib.wiring import Component, In, Out

ACCUMULATOR_EXPONENT_BITS = 8
EXPONENT_BITS = 10  # E_in and d lie in -414..415 for every format and scale


class Accumulate(Component):
    """T = product sum + accumulator, aligned by d = accumulator field - E_in; combinational.

    With d >= 0 the adder extends to the left and the accumulator moves left by d; with d < 0 it extends by M + 1 bits
    to the right and the accumulator moves right by -d, bits below the window cut toward minus infinity. Both are one
    right shift of the accumulator placed M + 1 bits up. Adder 2M + 6 bits: the rule's 2M + 7 less one that the largest
    product sum, 14.1 * 2**M, never reaches.

    Ports:
        product: signed product sum.
        exponent: E_in, signed.
        sign, field, mantissa: accumulator; field 0 counts as zero.
        total: T, signed.
        below: T's last bit lies M + 1 bits below the product sum's (d < 0).
        keep: the accumulator itself is the result: product sum zero, or d >= M + 1.
    """

    def __init__(self, mantissa_bits: int):
        self._m_bits = mantissa_bits
        super().__init__({
            "product": In(signed(mantissa_bits + 5)),
            "exponent": In(signed(EXPONENT_BITS)),
            "sign": In(1),
            "field": In(ACCUMULATOR_EXPONENT_BITS),
            "mantissa": In(mantissa_bits),
            "total": Out(signed(2 * mantissa_bits + 6)),
            "below": Out(1),
            "keep": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the logic."""
        m = Module()
        extension = self._m_bits + 1
        d = Signal(signed(EXPONENT_BITS))
        m.d.comb += [
            d.eq(self.field - self.exponent),
            self.below.eq(d[-1]),
            self.keep.eq((d >= extension) | ~self.product.any()),
        ]

        magnitude = Signal(self._m_bits + 1)
        addend = Signal(signed(self._m_bits + 2))
        present = self.field.any() & (d > -(2 * self._m_bits + 7))
        m.d.comb += [
            magnitude.eq(Mux(present, Cat(self.mantissa, Const(1, 1)), 0)),
            addend.eq(Mux(self.sign, -magnitude, magnitude)),
        ]

        distance = Signal(range(2 * self._m_bits + 8))
        placed = Signal(signed(2 * self._m_bits + 3))
        window = Signal(signed(2 * self._m_bits + 6))
        m.d.comb += [
            distance.eq(Mux(self.below, 0, extension) - d),
            placed.eq((addend << extension) >> distance),
            window.eq(Mux(self.below, self.product << extension, self.product)),
            self.total.eq(placed + window),
        ]
        return m
