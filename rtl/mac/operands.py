"""Operand preparation: one 32-bit word of codes to what the multiplier grid and the exponent path need."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportReturnType=false

from amaranth.hdl import Cat, Const, Module, Mux, Value
from amaranth.lib.wiring import Component, In, Out

from mx_formats.element import ElementFormat, NanCodes
from rtl.mac.design import LANES, OPERAND_BITS, Kind, MacDesign, kind

MODE_BITS = 3


class OperandDecoder(Component):
    """Splits the codes of one operand, combinationally.

    Lane i of an FP8 or FP6 format is byte i (FP6 in its low six bits) and feeds quadrant i. FP4 code i is nibble i;
    codes 2q and 2q+1 feed quadrant q. INT8 is byte 0 as sign and magnitude (0x80 gives 128); quadrant q gets the half
    that `integer_half[q]` names.

    Ports, one per quadrant where an array:
        significand: 4 bits 1.fff (FP8, FP6), two 2-bit significands (FP4), or half of the magnitude (INT8).
        sign: of the low and of the high 2-bit half; equal except for FP4.
        exponent: effective exponent field, 1 for field 0; zero for FP4 and INT8.
        shift: effective field - 1 of FP4 code i; zero in other modes.
        infinite, zero: of FP8 and FP6 lanes, for infinity * 0.
        nan: any lane is NaN.
    """

    def __init__(self, design: MacDesign, integer_half: tuple[int, ...]):
        self._design = design
        self._integer_half = integer_half
        super().__init__({
            "word": In(OPERAND_BITS),
            "mode": In(MODE_BITS),
            "significand": Out(4).array(LANES),
            "sign": Out(2).array(LANES),
            "exponent": Out(5).array(LANES),
            "shift": Out(2).array(2 * LANES),
            "infinite": Out(1).array(LANES),
            "zero": Out(1).array(LANES),
            "nan": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the logic: one case a mode."""
        m = Module()
        decode = {Kind.ALIGNED: self._aligned, Kind.PAIRS: self._pairs, Kind.INTEGER: self._integer}
        with m.Switch(self.mode):
            for number, element in enumerate(self._design.elements):
                with m.Case(number):
                    decode[kind(element)](m, element)
        return m

    def _aligned(self, m: Module, element: ElementFormat) -> None:
        nans = []
        for lane in range(LANES):
            sign, field, mantissa = _fields(self.word.word_select(lane, 8), element)
            normal = field.any()
            m.d.comb += [
                self.sign[lane].eq(sign.replicate(2)),
                self.significand[lane].eq(Cat(Const(0, 3 - len(mantissa)), mantissa, normal)),
                self.exponent[lane].eq(field | ~normal),
                self.zero[lane].eq(~normal & ~mantissa.any()),
                self.infinite[lane].eq(_is_infinite(field, mantissa, element)),
            ]
            nans.append(_is_nan(field, mantissa, element))
        m.d.comb += self.nan.eq(Cat(nans).any())

    def _pairs(self, m: Module, element: ElementFormat) -> None:
        for code in range(2 * LANES):
            sign, field, mantissa = _fields(self.word.word_select(code, 4), element)
            quadrant, half = divmod(code, 2)
            m.d.comb += [
                self.sign[quadrant][half].eq(sign),
                self.significand[quadrant].word_select(half, 2).eq(Cat(mantissa, field.any())),
                self.shift[code].eq(Mux(field.any(), field - 1, 0)),
            ]

    def _integer(self, m: Module, element: ElementFormat) -> None:
        code = self.word[: element.bits]
        magnitude = Mux(code[-1], -code, code)[: element.bits]
        for quadrant, half in enumerate(self._integer_half):
            m.d.comb += [
                self.sign[quadrant].eq(code[-1].replicate(2)),
                self.significand[quadrant].eq(magnitude.word_select(half, 4)),
            ]


def _fields(code: Value, element: ElementFormat) -> tuple[Value, Value, Value]:
    """Sign, exponent field and mantissa of a right-aligned code."""
    top = element.mantissa_bits + element.exponent_bits
    return code[top], code[element.mantissa_bits : top], code[: element.mantissa_bits]


def _is_infinite(field: Value, mantissa: Value, element: ElementFormat) -> Value:
    return field.all() & ~mantissa.any() if element.infinity else Const(0, 1)


def _is_nan(field: Value, mantissa: Value, element: ElementFormat) -> Value:
    rules = {
        NanCodes.NONE: Const(0, 1),
        NanCodes.ALL_ONES: field.all() & mantissa.all(),
        NanCodes.IEEE: field.all() & mantissa.any(),
    }
    return rules[element.nan]
