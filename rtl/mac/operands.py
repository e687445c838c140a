"""Operand preparation: one word of codes to what the multiplier grid and the exponent path need."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportReturnType=false
# pyright: reportArgumentType=false

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import Component, In, Out

from mx_formats.element import ElementFormat, NanCodes
from rtl.mac.design import LANES, Kind, MacDesign, kind, lane_bits

MODE_BITS = 3


class OperandDecoder(Component):
    """Splits the codes of one operand, combinationally.

    Lane i of an FP8 or FP6 format is byte i (FP6 in its low six bits) and feeds quadrant i. FP4 code i is nibble i;
    quadrant q takes the next two or, where all multipliers work, four. INT8 is byte 0 as sign and magnitude (0x80 gives
    128). Of its two halves quadrant q takes `halves[q]`; and so does multiplier i of a quadrant take `halves[i]` of any
    4-bit significand where each multiplier has a digit of its own.

    Ports, one per quadrant where an array:
        significand: 2-bit digits, two or four: of 1.fff (FP8, FP6), of as many codes (FP4), of half of a magnitude.
        sign: of each digit; equal except for FP4.
        exponent: effective exponent field, 1 for field 0; zero for FP4 and INT8.
        shift: of each digit: effective field - 1 of an FP4 code; in other modes zero or, where each multiplier has a
            digit of its own, that digit's place.
        infinite, zero: of FP8 and FP6 lanes, for infinity * 0.
        nan: any lane is NaN.
    """

    def __init__(self, design: MacDesign, halves: tuple[int, ...]):
        self._design = design
        self._halves = halves
        super().__init__({
            "word": In(design.operand_bits),
            "mode": In(MODE_BITS),
            "significand": Out(2 * design.digits).array(LANES),
            "sign": Out(design.digits).array(LANES),
            "exponent": Out(5).array(LANES),
            "shift": Out(2).array(design.digits * LANES),
            "infinite": Out(1).array(LANES),
            "zero": Out(1).array(LANES),
            "nan": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the logic: one case a mode, which brings fields to the same place; what they mean is common to all."""
        m = Module()
        fields = [Signal(5, name=f"field_{lane}") for lane in range(LANES)]
        mantissas = [Signal(3, name=f"mantissa_{lane}") for lane in range(LANES)]
        fixed = [Signal(2 * self._design.digits, name=f"fixed_{lane}") for lane in range(LANES)]
        aligned = Signal()
        with m.Switch(self.mode):
            for number, element in enumerate(self._design.elements):
                with m.Case(number):
                    if kind(element) is Kind.ALIGNED:
                        m.d.comb += aligned.eq(1)
                        self._aligned(m, element, fields, mantissas)
                    elif kind(element) is Kind.PAIRS:
                        self._pairs(m, element, fixed)
                    else:
                        self._integer(m, element, fixed)
        for lane in range(LANES):
            normal = fields[lane].any()
            significand = Cat(mantissas[lane], normal)
            m.d.comb += [
                self.exponent[lane].eq(fields[lane] | (aligned & ~normal)),
                self.significand[lane].eq(self._digits(significand) | fixed[lane]),
                self.zero[lane].eq(~significand.any()),
            ]
        return m

    def _aligned(self, m: Module, element: ElementFormat, fields: list[Signal], mantissas: list[Signal]) -> None:
        nans = []
        for lane in range(LANES):
            sign, field, mantissa = _fields(self.word.word_select(lane, 8), element)
            self._whole(m, lane, sign)
            m.d.comb += [
                fields[lane].eq(field),
                mantissas[lane].eq(Cat(Const(0, 3 - len(mantissa)), mantissa)),
                self.infinite[lane].eq(_is_infinite(field, mantissa, element)),
            ]
            nans.append(_is_nan(field, mantissa, element))
        m.d.comb += self.nan.eq(Cat(nans).any())

    def _pairs(self, m: Module, element: ElementFormat, significands: list[Signal]) -> None:
        for code in range(self._design.four_bit_products):
            sign, field, mantissa = _fields(self.word.word_select(code, lane_bits(element)), element)
            quadrant, digit = divmod(code, self._design.digits)
            m.d.comb += [
                self.sign[quadrant][digit].eq(sign),
                significands[quadrant].word_select(digit, 2).eq(Cat(mantissa, field.any())),
                self.shift[code].eq(Mux(field.any(), field - 1, 0)),
            ]

    def _integer(self, m: Module, element: ElementFormat, significands: list[Signal]) -> None:
        code = self.word[: element.bits]
        magnitude = Mux(code[-1], -code, code)[: element.bits]
        for quadrant, half in enumerate(self._halves):
            self._whole(m, quadrant, code[-1])
            m.d.comb += significands[quadrant].eq(self._digits(magnitude.word_select(half, 4)))

    def _whole(self, m: Module, quadrant: int, sign: Value) -> None:
        """The quadrant takes one 4-bit significand."""
        digits = self._design.digits
        m.d.comb += self.sign[quadrant].eq(sign.replicate(digits))
        if digits == 4:
            for i, half in enumerate(self._halves):
                m.d.comb += self.shift[digits * quadrant + i].eq(2 * half)

    def _digits(self, significand: Value) -> Value:
        """A 4-bit significand as the quadrant's multipliers take it."""
        if self._design.digits == 2:
            return significand
        return Cat(significand.word_select(half, 2) for half in self._halves)


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
