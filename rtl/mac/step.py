"""The whole MAC: one cycle as combinational logic, and the same with its accumulator register."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportReturnType=false

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

from rtl.mac.accumulate import ACCUMULATOR_EXPONENT_BITS, EXPONENT_BITS, Accumulate
from rtl.mac.align_add import AlignAdd
from rtl.mac.design import LANES, OPERAND_BITS, Kind, MacDesign, kind
from rtl.mac.normalise import Normalise
from rtl.mac.operands import MODE_BITS, OperandDecoder
from rtl.mac.quadrant import Quadrant
from rtl.mac.specials import Specials

SCALE_BITS = 8
A_HALF, B_HALF = (0, 0, 1, 1), (0, 1, 0, 1)  # halves of an INT8 magnitude that meet in each quadrant


class MacStep(Component):
    """One MAC cycle as combinational logic: accumulator in, accumulator out.

    Throughput 1 (INT8), 4 (FP8, FP6) or 8 (FP4) products a cycle; latency 0. M is the design's `mantissa_bits`.

    Ports:
        mode: index in the design's `elements`; a number beyond is not legal.
        a, b: 32-bit words of codes, see `rtl.mac.operands`.
        xa, xb: E8M0 scale codes of the two blocks.
        acc, result: accumulator pattern, sign | 8-bit exponent | M-bit mantissa.
    """

    def __init__(self, design: MacDesign):
        self._design = design
        super().__init__({
            "mode": In(MODE_BITS),
            "a": In(OPERAND_BITS),
            "b": In(OPERAND_BITS),
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
        exponent = Signal(signed(EXPONENT_BITS))
        m.d.comb += [
            exponent.eq(align_add.largest + self.xa + self.xb + self._exponent_offset()),
            accumulate.product.eq(align_add.total),
            accumulate.exponent.eq(exponent),
            Cat(accumulate.mantissa, accumulate.field, accumulate.sign).eq(self.acc),
            normalise.total.eq(accumulate.total),
            normalise.exponent.eq(exponent),
            normalise.below.eq(accumulate.below),
        ]
        self._select(m, accumulate, normalise, self._specials(m, a, b, accumulate))
        return m

    def _products(self, m: Module, a: OperandDecoder, b: OperandDecoder) -> AlignAdd:
        """The four quadrants and their sum."""
        m.submodules.align_add = align_add = AlignAdd(self._design.mantissa_bits)
        m.d.comb += [
            align_add.pairs.eq(self._mode_is(Kind.PAIRS)),
            align_add.integer.eq(self._mode_is(Kind.INTEGER)),
        ]
        for lane in range(LANES):
            m.submodules[f"quadrant_{lane}"] = quadrant = Quadrant()
            m.d.comb += [
                quadrant.pairs.eq(align_add.pairs),
                quadrant.a.eq(a.significand[lane]),
                quadrant.b.eq(b.significand[lane]),
                quadrant.sign.eq(a.sign[lane] ^ b.sign[lane]),
                align_add.quadrant[lane].eq(quadrant.total),
                align_add.exponent[lane].eq(a.exponent[lane] + b.exponent[lane]),
            ]
            for half in range(2):
                m.d.comb += [
                    quadrant.a_shift[half].eq(a.shift[2 * lane + half]),
                    quadrant.b_shift[half].eq(b.shift[2 * lane + half]),
                ]
        return align_add

    def _specials(self, m: Module, a: OperandDecoder, b: OperandDecoder, accumulate: Accumulate) -> Specials:
        m.submodules.specials = specials = Specials()
        m.d.comb += [
            specials.element_nan.eq(a.nan | b.nan),
            specials.scale[0].eq(self.xa),
            specials.scale[1].eq(self.xb),
            specials.a_infinite.eq(Cat(a.infinite)),
            specials.b_infinite.eq(Cat(b.infinite)),
            specials.a_zero.eq(Cat(a.zero)),
            specials.b_zero.eq(Cat(b.zero)),
            specials.negative.eq(Cat(a.sign[lane][0] ^ b.sign[lane][0] for lane in range(LANES))),
            specials.field_ones.eq(accumulate.field.all()),
            specials.mantissa_zero.eq(~accumulate.mantissa.any()),
            specials.sign.eq(accumulate.sign),
        ]
        return specials

    def _select(self, m: Module, accumulate: Accumulate, normalise: Normalise, specials: Specials) -> None:
        """Result: the first of NaN, infinity, unchanged accumulator, overflow, underflow, normalised sum."""
        m_bits = self._design.mantissa_bits
        ones = (1 << ACCUMULATOR_EXPONENT_BITS) - 1
        infinity = Const(ones << m_bits, ACCUMULATOR_EXPONENT_BITS + m_bits)
        with m.If(specials.nan):
            m.d.comb += self.result.eq(ones << m_bits | 1 << (m_bits - 1))
        with m.Elif(specials.infinite):
            m.d.comb += self.result.eq(Cat(infinity, specials.infinite_sign))
        with m.Elif(accumulate.keep):
            m.d.comb += self.result.eq(Mux(accumulate.field.any(), self.acc, 0))
        with m.Elif(~normalise.nonzero | (normalise.field <= 0)):
            m.d.comb += self.result.eq(0)
        with m.Elif(normalise.field >= ones):
            m.d.comb += self.result.eq(Cat(infinity, normalise.sign))
        with m.Else():
            field = normalise.field[:ACCUMULATOR_EXPONENT_BITS]
            m.d.comb += self.result.eq(Cat(normalise.mantissa, field, normalise.sign))

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
            "a": In(OPERAND_BITS),
            "b": In(OPERAND_BITS),
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
