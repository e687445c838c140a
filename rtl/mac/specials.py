"""NaN and infinity among elements, scales and the accumulator: what overrides the computed sum."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportInvalidTypeForm=false

from amaranth.hdl import Cat, Module
from amaranth.lib.wiring import Component, In, Out

from rtl.mac.design import LANES


class ProductSpecials(Component):
    """What NaN and infinities among elements and scales make of the products, combinational.

    Ports:
        element_nan: a NaN among the elements of either operand.
        scale: the two E8M0 codes.
        a_infinite, a_zero, b_infinite, b_zero, negative: lane of a, lane of b, sign of their product.
        nan: of an element, a scale, or infinity * 0.
        plus, minus: an infinite product of that sign.
    """

    element_nan: In(1)
    scale: In(8).array(2)
    a_infinite: In(LANES)
    a_zero: In(LANES)
    b_infinite: In(LANES)
    b_zero: In(LANES)
    negative: In(LANES)
    nan: Out(1)
    plus: Out(1)
    minus: Out(1)

    def elaborate(self, platform: object) -> Module:
        """Build the logic."""
        m = Module()
        infinite = self.a_infinite | self.b_infinite
        undefined = (self.a_infinite & self.b_zero) | (self.b_infinite & self.a_zero)
        causes = [self.element_nan, self.scale[0].all(), self.scale[1].all(), undefined.any()]
        m.d.comb += [
            self.nan.eq(Cat(causes).any()),
            self.plus.eq((infinite & ~self.negative).any()),
            self.minus.eq((infinite & self.negative).any()),
        ]
        return m


class Specials(Component):
    """Decides whether the result is NaN or an infinity, combinationally.

    NaN: of the products, a NaN accumulator, or infinities of both signs. Otherwise any infinity is the result. Source:
    `hw.mac`, which follows IEEE 754 for the infinities of E5M2.

    Ports:
        product_nan, product_plus, product_minus: from `ProductSpecials`.
        field_ones, mantissa_zero, sign: of the accumulator.
        nan, infinite, infinite_sign: the verdict; `nan` wins.
    """

    product_nan: In(1)
    product_plus: In(1)
    product_minus: In(1)
    field_ones: In(1)
    mantissa_zero: In(1)
    sign: In(1)
    nan: Out(1)
    infinite: Out(1)
    infinite_sign: Out(1)

    def elaborate(self, platform: object) -> Module:
        """Build the logic."""
        m = Module()
        accumulator = self.field_ones & self.mantissa_zero
        plus = self.product_plus | (accumulator & ~self.sign)
        minus = self.product_minus | (accumulator & self.sign)
        nan = self.product_nan | (self.field_ones & ~self.mantissa_zero) | (plus & minus)
        m.d.comb += [self.nan.eq(nan), self.infinite.eq(plus | minus), self.infinite_sign.eq(minus)]
        return m
