"""Sums back to MX blocks: the shared scale and the element codes of one block, as OCP MX 1.0 converts."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportReturnType=false, reportOperatorIssue=false

from collections.abc import Callable

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

from mx_formats.element import ElementFormat
from mx_formats.scale import E8M0
from rtl.mac.accumulate import ACCUMULATOR_EXPONENT_BITS
from rtl.mac.design import MacDesign
from rtl.mac.operands import MODE_BITS

CODE_BITS = 8
_TOP_FIELD = (1 << ACCUMULATOR_EXPONENT_BITS) - 1


class BlockScale(Component):
    """The E8M0 code of a block, combinational: largest exponent - emax, not below 0; NaN if a value is NaN or infinite.

    Ports:
        mode: index in the design's `elements`, the format converted to.
        field: exponent fields of the values; 0 counts as zero.
        scale: the code.
    """

    def __init__(self, design: MacDesign, size: int):
        self._design, self._size = design, size
        super().__init__({
            "mode": In(MODE_BITS),
            "field": In(ACCUMULATOR_EXPONENT_BITS).array(size),
            "scale": Out(8),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the logic."""
        m = Module()
        fields = [self.field[i] for i in range(self._size)]
        while len(fields) > 1:
            pairs = zip(fields[::2], fields[1::2], strict=False)
            fields = [Mux(left > right, left, right) for left, right in pairs] + fields[len(fields) & ~1 :]
        code = Signal(signed(ACCUMULATOR_EXPONENT_BITS + 2))
        m.d.comb += code.eq(fields[0] - _of_mode(self._design, self.mode, lambda element: element.emax))
        with m.If(fields[0] == _TOP_FIELD):
            m.d.comb += self.scale.eq(E8M0.nan)
        with m.Elif(code > 0):
            m.d.comb += self.scale.eq(code[:8])
        return m


class ElementRound(Component):
    """One value over a scale to an element code: nearest, ties to even, saturating; combinational.

    Subnormals of the element format are kept, a negative value that rounds to zero is -0, integers are two's complement
    without the most negative code. Under a NaN scale the code is 0.

    Ports:
        mode: index in the design's `elements`, the format converted to.
        value: accumulator pattern; field 0 is zero.
        scale: E8M0 code, no smaller than the block's `BlockScale`.
        code: right aligned.
    """

    def __init__(self, design: MacDesign):
        self._design = design
        super().__init__({
            "mode": In(MODE_BITS),
            "value": In(design.accumulator_bits),
            "scale": In(8),
            "code": Out(CODE_BITS),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the logic."""
        m = Module()
        m_bits = self._design.mantissa_bits
        mantissa, field, sign = self.value[:m_bits], self.value[m_bits:-1], self.value[-1]
        nonzero = field.any() & (self.scale != E8M0.nan)

        # Exponent above the element's smallest; below it the significand moves right and loses bits.
        above = Signal(signed(ACCUMULATOR_EXPONENT_BITS + 3))
        m.d.comb += above.eq(field - self.scale - self._parameter(lambda element: element.emin))
        below = Signal(range(m_bits + 3))
        m.d.comb += below.eq(Mux(above >= 0, 0, Mux(above < -(m_bits + 2), m_bits + 2, -above)))
        farthest = m_bits + 2  # from there on only the sticky bit is left
        distance, capped = Signal(range(2 * m_bits + 4)), Signal(range(farthest + 1))
        m.d.comb += [
            distance.eq(below + self._parameter(lambda element: m_bits - element.mantissa_bits)),
            capped.eq(Mux(distance > farthest, farthest, distance)),
        ]
        word = Signal(2 * m_bits + 3)
        m.d.comb += word.eq((Cat(mantissa, Const(1, 1)) << farthest) >> capped)
        kept, half, rest = word[farthest:], word[farthest - 1], word[: farthest - 1].any()

        # With its leading one, the significand of a normal number adds one to the exponent field by itself.
        magnitude, saturated = Signal(CODE_BITS + 1), Signal(CODE_BITS - 1)
        largest = self._parameter(lambda element: element.largest_code)
        m.d.comb += [
            magnitude.eq(self._field(above) + kept + (half & (rest | kept[0]))),
            saturated.eq(Mux(magnitude > largest, largest, magnitude)),
        ]
        with m.If(nonzero), m.Switch(self.mode):
            for number, element in enumerate(self._design.elements):
                with m.Case(number):
                    m.d.comb += self.code.eq(_signed_code(element, sign, saturated))
        return m

    def _parameter(self, of: Callable[[ElementFormat], int]) -> Value:
        return _of_mode(self._design, self.mode, of)

    def _field(self, above: Signal) -> Value:
        """Exponents above the smallest, at their place in the code; an integer has none."""
        fields = [
            Const(0, CODE_BITS) if element.is_integer else Mux(above > 0, above[:5] << element.mantissa_bits, 0)
            for element in self._design.elements
        ]
        return Array(fields)[self.mode]


class Requantise(Component):
    """A block of sums to its scale and codes, combinational: `mx_formats.quantize` bit for bit.

    Ports:
        mode: index in the design's `elements`, the format converted to.
        value: accumulator patterns.
        scale: E8M0 code.
        code: element codes, right aligned.
    """

    def __init__(self, design: MacDesign, size: int):
        self._design, self._size = design, size
        super().__init__({
            "mode": In(MODE_BITS),
            "value": In(design.accumulator_bits).array(size),
            "scale": Out(8),
            "code": Out(CODE_BITS).array(size),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the scale and as many roundings as there are values."""
        m = Module()
        m.submodules.block_scale = block_scale = BlockScale(self._design, self._size)
        m.d.comb += [block_scale.mode.eq(self.mode), self.scale.eq(block_scale.scale)]
        for i in range(self._size):
            m.submodules[f"element_{i}"] = element = ElementRound(self._design)
            m.d.comb += [
                block_scale.field[i].eq(self.value[i][self._design.mantissa_bits : -1]),
                element.mode.eq(self.mode),
                element.value.eq(self.value[i]),
                element.scale.eq(block_scale.scale),
                self.code[i].eq(element.code),
            ]
        return m


def _of_mode(design: MacDesign, mode: Value, of: Callable[[ElementFormat], int]) -> Value:
    """A number of each element format, chosen by the mode."""
    return Array(Const(of(element), signed(9)) for element in design.elements)[mode]


def _signed_code(element: ElementFormat, sign: Value, magnitude: Value) -> Value:
    if element.is_integer:
        return Mux(sign, -magnitude, magnitude)[: element.bits]
    return Cat(magnitude[: element.bits - 1], sign)
