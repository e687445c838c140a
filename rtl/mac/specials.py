"""NaN and infinity among elements, scales and the accumulator: what overrides the computed sum."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportInvalidTypeForm=false

from amaranth.hdl import Cat, Module
from amaranth.lib.wiring import Component, In, Out

from rtl.mac.design import LANES


class Specials(Component):
    """Decides whether the result is NaN or an infinity, combinationally.

    NaN: a NaN element, a scale code of 255, a NaN accumulator, infinity * 0, or infinities of both signs. Otherwise
    any infinity is the result. Source: `hw.mac`, which follows IEEE 754 for the infinities of E5M2.

    Ports:
        element_nan: a NaN among the elements of either operand.
        scale: the two E8M0 codes.
        a_infinite, a_zero, b_infinite, b_zero, negative: lane of a, lane of b, sign of their product.
        field_ones, mantissa_zero, sign: of the accumulator.
        nan, infinite, infinite_sign: the verdict; `nan` wins.
    """

    element_nan: In(1)
    scale: In(8).array(2)
    a_infinite: In(LANES)
    a_zero: In(LANES)
    b_infinite: In(LANES)
    b_zero: In(LANES)
    negative: In(LANES)
    field_ones: In(1)
    mantissa_zero: In(1)
    sign: In(1)
    nan: Out(1)
    infinite: Out(1)
    infinite_sign: Out(1)

    def elaborate(self, platform: object) -> Module:
        """Build the logic."""
        m = Module()
        products = self.a_infinite | self.b_infinite
        undefined = (self.a_infinite & self.b_zero) | (self.b_infinite & self.a_zero)
        accumulator = self.field_ones & self.mantissa_zero
        plus = (products & ~self.negative).any() | (accumulator & ~self.sign)
        minus = (products & self.negative).any() | (accumulator & self.sign)
        causes = [
            self.element_nan,
            self.scale[0].all(),
            self.scale[1].all(),
            self.field_ones & ~self.mantissa_zero,
            undefined.any(),
            plus & minus,
        ]
        m.d.comb += [self.nan.eq(Cat(causes).any()), self.infinite.eq(plus | minus), self.infinite_sign.eq(minus)]
        return m
