"""The whole MAC: one cycle as combinational logic, and the same with its accumulator register."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportReturnType=false

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

from rtl.mac.accumulate import ACCUMULATOR_EXPONENT_BITS, EXPONENT_BITS, Accumulate
from rtl.mac.align_add import AlignAdd
from rtl.mac.design import LANES, Kind, MacDesign, kind
from rtl.mac.normalise import Normalise
from rtl.mac.operands import MODE_BITS, OperandDecoder
from rtl.mac.pipeline import Cut, Pipeline
from rtl.mac.quadrant import FullQuadrant, quadrant
from rtl.mac.specials import ProductSpecials, Specials

SCALE_BITS = 8
A_HALF, B_HALF = (0, 0, 1, 1), (0, 1, 0, 1)  # halves that meet in each of 2 x 2 multipliers or quadrants
COMBINATIONAL = Pipeline()


class MacStep(Component):
    """One MAC cycle: accumulator in, accumulator out.

    Throughput 1 (INT8), 4 (FP8, FP6) or 8 (FP4; 16 where the design says so) products a cycle; latency 0, and one cycle
    more for each place with registers. M is the design's `mantissa_bits`.

    Ports:
        mode: index in the design's `elements`; a number beyond is not legal.
        a, b: words of codes, see `rtl.mac.operands`.
        xa, xb: E8M0 scale codes of the two blocks.
        acc, result: accumulator pattern, sign | 8-bit exponent | M-bit mantissa. Where there are registers, `acc` is
            taken when the product sum has arrived, and must stay until the result has.
    """

    def __init__(self, design: MacDesign, pipeline: Pipeline = COMBINATIONAL):
        self._design = design
        self._cuts = pipeline.cuts
        super().__init__({
            "mode": In(MODE_BITS),
            "a": In(design.operand_bits),
            "b": In(design.operand_bits),
            "xa": In(SCALE_BITS),
            "xb": In(SCALE_BITS),
            "acc": In(design.accumulator_bits),
            "result": Out(design.accumulator_bits),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Connect the blocks in the order values pass them."""
        m = Module()
        m.submodules.decode_a = a = OperandDecoder(self._design, A_HALF)
        m.submodules.decode_b = b = OperandDecoder(self._design, B_HALF)
        m.d.comb += [a.word.eq(self.a), b.word.eq(self.b), a.mode.eq(self.mode), b.mode.eq(self.mode)]
        align_add = self._products(m, a, b)

        m_bits = self._design.mantissa_bits
        m.submodules.accumulate = accumulate = Accumulate(m_bits)
        m.submodules.normalise = normalise = Normalise(m_bits)
        scales = (self.xa + self.xb + self._exponent_offset())[:EXPONENT_BITS]
        scales = self._later(m, scales, Cut.OPERANDS, Cut.PRODUCTS)
        exponent = Signal(signed(EXPONENT_BITS))
        m.d.comb += [
            exponent.eq(self._later(m, (align_add.largest + scales)[:EXPONENT_BITS].as_signed(), Cut.SUM)),
            accumulate.product.eq(self._later(m, align_add.total, Cut.SUM)),
            accumulate.exponent.eq(exponent),
            Cat(accumulate.mantissa, accumulate.field, accumulate.sign).eq(self.acc),
            normalise.total.eq(self._later(m, accumulate.total, Cut.ALIGNED)),
            normalise.exponent.eq(self._later(m, exponent, Cut.ALIGNED)),
            normalise.below.eq(self._later(m, accumulate.below, Cut.ALIGNED)),
        ]
        self._select(m, accumulate, normalise, self._specials(m, a, b, accumulate))
        return m

    def _later(self, m: Module, value: Value, *cuts: Cut) -> Value:
        """The value, as many cycles later as there are registers at these places."""
        for cut in cuts:
            if cut in self._cuts:
                register = Signal(value.shape(), name=f"at_{cut.name.lower()}")
                m.d.sync += register.eq(value)
                value = register
        return value

    def _products(self, m: Module, a: OperandDecoder, b: OperandDecoder) -> AlignAdd:
        """The four quadrants and their sum."""
        m.submodules.align_add = align_add = AlignAdd(self._design)
        pairs = self._later(m, self._mode_is(Kind.PAIRS), Cut.OPERANDS)
        m.d.comb += [
            align_add.pairs.eq(self._later(m, pairs, Cut.PRODUCTS)),
            align_add.integer.eq(self._later(m, self._mode_is(Kind.INTEGER), Cut.OPERANDS, Cut.PRODUCTS)),
        ]
        digits = self._design.digits
        for lane in range(LANES):
            m.submodules[f"quadrant_{lane}"] = part = quadrant(self._design)
            if not isinstance(part, FullQuadrant):
                m.d.comb += part.pairs.eq(pairs)
            exponent = (a.exponent[lane] + b.exponent[lane])[: len(align_add.exponent[lane])]
            m.d.comb += [
                part.a.eq(self._later(m, a.significand[lane], Cut.OPERANDS)),
                part.b.eq(self._later(m, b.significand[lane], Cut.OPERANDS)),
                part.sign.eq(self._later(m, a.sign[lane] ^ b.sign[lane], Cut.OPERANDS)),
                align_add.quadrant[lane].eq(self._later(m, part.total, Cut.PRODUCTS)),
                align_add.exponent[lane].eq(self._later(m, exponent, Cut.OPERANDS, Cut.PRODUCTS)),
            ]
            for digit in range(digits):
                m.d.comb += [
                    part.a_shift[digit].eq(self._later(m, a.shift[digits * lane + digit], Cut.OPERANDS)),
                    part.b_shift[digit].eq(self._later(m, b.shift[digits * lane + digit], Cut.OPERANDS)),
                ]
        return align_add

    def _specials(self, m: Module, a: OperandDecoder, b: OperandDecoder, accumulate: Accumulate) -> Specials:
        m.submodules.product_specials = products = ProductSpecials()
        m.submodules.specials = specials = Specials()
        arrives = Cut.OPERANDS, Cut.PRODUCTS, Cut.SUM
        m.d.comb += [
            products.element_nan.eq(a.nan | b.nan),
            products.scale[0].eq(self.xa),
            products.scale[1].eq(self.xb),
            products.a_infinite.eq(Cat(a.infinite)),
            products.b_infinite.eq(Cat(b.infinite)),
            products.a_zero.eq(Cat(a.zero)),
            products.b_zero.eq(Cat(b.zero)),
            products.negative.eq(Cat(a.sign[lane][0] ^ b.sign[lane][0] for lane in range(LANES))),
            specials.product_nan.eq(self._later(m, products.nan, *arrives)),
            specials.product_plus.eq(self._later(m, products.plus, *arrives)),
            specials.product_minus.eq(self._later(m, products.minus, *arrives)),
            specials.field_ones.eq(accumulate.field.all()),
            specials.mantissa_zero.eq(~accumulate.mantissa.any()),
            specials.sign.eq(accumulate.sign),
        ]
        return specials

    def _select(self, m: Module, accumulate: Accumulate, normalise: Normalise, specials: Specials) -> None:
        """Result: the first of NaN, infinity, unchanged accumulator, overflow, underflow, normalised sum."""
        m_bits = self._design.mantissa_bits
        ones = (1 << ACCUMULATOR_EXPONENT_BITS) - 1
        keep, nan, infinite, infinite_sign = (
            self._later(m, value, Cut.ALIGNED, Cut.NORMALISED)
            for value in (accumulate.keep, specials.nan, specials.infinite, specials.infinite_sign)
        )
        field, sign, mantissa, nonzero = (
            self._later(m, value, Cut.NORMALISED)
            for value in (normalise.field, normalise.sign, normalise.mantissa, normalise.nonzero)
        )
        infinity = Const(ones << m_bits, ACCUMULATOR_EXPONENT_BITS + m_bits)
        with m.If(nan):
            m.d.comb += self.result.eq(ones << m_bits | 1 << (m_bits - 1))
        with m.Elif(infinite):
            m.d.comb += self.result.eq(Cat(infinity, infinite_sign))
        with m.Elif(keep):
            m.d.comb += self.result.eq(Mux(accumulate.field.any(), self.acc, 0))
        with m.Elif(~nonzero | (field <= 0)):
            m.d.comb += self.result.eq(0)
        with m.Elif(field >= ones):
            m.d.comb += self.result.eq(Cat(infinity, sign))
        with m.Else():
            m.d.comb += self.result.eq(Cat(mantissa, field[:ACCUMULATOR_EXPONENT_BITS], sign))

    def _mode_is(self, wanted: Kind) -> Value:
        modes = [self.mode == i for i, element in enumerate(self._design.elements) if kind(element) is wanted]
        return Cat(modes).any()

    def _exponent_offset(self) -> Value:
        """E_in = largest field sum + Xa + Xb + offset: element biases and anchors, two scale biases, one FP32 bias."""
        offsets = [Const(_offset(self._design, name), signed(EXPONENT_BITS)) for name in self._design.names]
        return Array(offsets)[self.mode]


class Mac(Component):
    """`MacStep` with its accumulator register: one cycle a step, the sum visible in the next cycle.

    Ports as `MacStep`, and
        valid: take this cycle's operands; otherwise the accumulator holds.
        clear: with `valid`, start from +0 instead of from the accumulator.
        acc: the register. Reset (`rst`) makes it +0.
    """

    def __init__(self, design: MacDesign):
        self._design = design
        super().__init__({
            "valid": In(1),
            "clear": In(1),
            "mode": In(MODE_BITS),
            "a": In(design.operand_bits),
            "b": In(design.operand_bits),
            "xa": In(SCALE_BITS),
            "xb": In(SCALE_BITS),
            "acc": Out(design.accumulator_bits),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the register around the step."""
        m = Module()
        m.submodules.step = step = MacStep(self._design)
        m.d.comb += [getattr(step, name).eq(getattr(self, name)) for name in ("mode", "a", "b", "xa", "xb")]
        m.d.comb += step.acc.eq(Mux(self.clear, 0, self.acc))
        with m.If(self.valid):
            m.d.sync += self.acc.eq(step.result)
        return m


def _offset(design: MacDesign, name: str) -> int:
    spec = design.spec(name)
    aligned = spec.anchor if spec.fixed else -2 * spec.element.bias
    return aligned - 2 * 127 + 127
