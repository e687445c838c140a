"""The hybrid's predecessor: the product sum normalised on its own, then a floating-point adder."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportInvalidTypeForm=false
# pyright: reportArgumentType=false

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib.wiring import Component, In, Out

from rtl.mac.accumulate import ACCUMULATOR_EXPONENT_BITS, EXPONENT_BITS
from rtl.mac.normalise import shifted_to_top

GUARD = 2  # bits of a significand below its last one


class FloatAdd(Component):
    """Product sum + accumulator, both as normalised floating-point numbers; combinational.

    The product sum is cut toward zero to M mantissa bits. The number with the smaller exponent is shifted right to the
    other's, two guard bits kept and the rest of its magnitude cut off; the sum is cut toward zero. Significands M + 3
    bits: 26 at M = 23. Source: `hw.mx_macs.fp32_addition_mac`.

    Ports:
        product: signed product sum, last bit of weight 2**(exponent - 127 - M).
        exponent: E_in, signed.
        acc_sign, acc_field, acc_mantissa: accumulator; field 0 counts as zero.
        keep: the accumulator itself is the result: the product sum is zero.
        sign, field, mantissa: of the sum; the field signed and unclamped.
        nonzero: there is a sum.
    """

    def __init__(self, mantissa_bits: int):
        self._m_bits = mantissa_bits
        super().__init__({
            "product": In(signed(mantissa_bits + 5)),
            "exponent": In(signed(EXPONENT_BITS)),
            "acc_sign": In(1),
            "acc_field": In(ACCUMULATOR_EXPONENT_BITS),
            "acc_mantissa": In(mantissa_bits),
            "keep": Out(1),
            "sign": Out(1),
            "field": Out(signed(EXPONENT_BITS)),
            "mantissa": Out(mantissa_bits),
            "nonzero": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the logic."""
        m = Module()
        m_bits = self._m_bits
        product_sign, magnitude = self.product[-1], Signal(m_bits + 4)
        m.d.comb += [self.keep.eq(~self.product.any()), magnitude.eq(Mux(product_sign, -self.product, self.product))]
        normal, zeros = shifted_to_top(m, magnitude)
        significand, accumulator = Signal(m_bits + 1, name="significand"), Signal(m_bits + 1)
        product_field = Signal(signed(EXPONENT_BITS), name="product_field")
        accumulator_field = Signal(signed(EXPONENT_BITS))
        present = self.acc_field.any()
        m.d.comb += [
            significand.eq(normal[-m_bits - 1 :]),
            product_field.eq(self.exponent + 3 - zeros),
            accumulator.eq(Mux(present, Cat(self.acc_mantissa, Const(1, 1)), 0)),
            # Without an accumulator nothing may be aligned to it.
            accumulator_field.eq(Mux(present, self.acc_field, product_field)),
        ]

        difference = Signal(signed(EXPONENT_BITS + 1))
        smaller_is_product = difference[-1]
        larger, smaller = Signal(m_bits + 1 + GUARD), Signal(m_bits + 1 + GUARD)
        distance, field = Signal(EXPONENT_BITS), Signal(signed(EXPONENT_BITS), name="larger_field")
        larger_sign, total = Signal(name="larger_sign"), Signal(signed(m_bits + 3 + GUARD), name="total")
        opposed = self.acc_sign ^ product_sign
        m.d.comb += [
            difference.eq(product_field - accumulator_field),
            distance.eq(Mux(smaller_is_product, -difference, difference)),
            field.eq(Mux(smaller_is_product, accumulator_field, product_field)),
            larger_sign.eq(Mux(smaller_is_product, self.acc_sign, product_sign)),
            larger.eq(Mux(smaller_is_product, accumulator, significand) << GUARD),
            smaller.eq((Mux(smaller_is_product, significand, accumulator) << GUARD) >> distance),
            total.eq(larger + Mux(opposed, -smaller, smaller)),
        ]

        sum_magnitude = Signal(m_bits + 2 + GUARD)
        m.d.comb += sum_magnitude.eq(Mux(total[-1], -total, total))
        top, sum_zeros = shifted_to_top(m, sum_magnitude)
        m.d.comb += [
            self.nonzero.eq(top[-1]),
            self.sign.eq(larger_sign ^ total[-1]),
            self.field.eq(field + 1 - sum_zeros),
            self.mantissa.eq(top[-m_bits - 1 : -1]),
        ]
        return m
