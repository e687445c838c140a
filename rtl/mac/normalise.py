"""Normalise: a signed fixed-point sum to sign, exponent field and mantissa, truncated toward zero."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportInvalidTypeForm=false

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

from rtl.mac.accumulate import EXPONENT_BITS


def shifted_to_top(m: Module, word: Value) -> tuple[Value, Signal]:
    """A word moved left until its top bit is one, and how far: by each power of two whose leading bits are all zero."""
    width = len(word)
    zeros = Signal(range(width))
    for bit in reversed(range(len(zeros))):
        step = 1 << bit
        shifted = Signal(width, name=f"shifted_{step}")
        m.d.comb += [zeros[bit].eq(~word[-step:].any()), shifted.eq(Mux(zeros[bit], word << step, word))]
        word = shifted
    return word, zeros


class Normalise(Component):
    """Leading one to the top, the M bits below it kept, the rest cut off the magnitude; combinational.

    Ports:
        total: signed, 2M + 6 bits.
        exponent: E_in of the product sum, whose last bit has weight 2**(E_in - 127 - M).
        below: the last bit of `total` lies M + 1 bits further down.
        sign: of the result.
        field: biased exponent, signed and unclamped; meaningless for zero.
        mantissa: M bits below the leading one.
        nonzero: there is a leading one.
    """

    def __init__(self, mantissa_bits: int):
        self._m_bits = mantissa_bits
        super().__init__({
            "total": In(signed(2 * mantissa_bits + 6)),
            "exponent": In(signed(EXPONENT_BITS)),
            "below": In(1),
            "sign": Out(1),
            "field": Out(signed(EXPONENT_BITS)),
            "mantissa": Out(mantissa_bits),
            "nonzero": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the logic."""
        m = Module()
        width = 2 * self._m_bits + 5
        word = Signal(width, name="magnitude")
        m.d.comb += [self.sign.eq(self.total[-1]), word.eq(Mux(self.sign, -self.total, self.total))]

        word, zeros = shifted_to_top(m, word)
        highest = width - 1 - self._m_bits  # exponent of the top bit, relative to E_in
        m.d.comb += [
            self.nonzero.eq(word[-1]),
            self.mantissa.eq(word[-self._m_bits - 1 : -1]),
            self.field.eq(self.exponent + Mux(self.below, highest - self._m_bits - 1, highest) - zeros),
        ]
        return m
