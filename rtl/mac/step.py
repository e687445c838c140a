"""The whole MAC: one cycle as combinational logic, and the same with its accumulator register."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportReturnType=false

from typing import NamedTuple

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

from rtl.mac.accumulate import ACCUMULATOR_EXPONENT_BITS, EXPONENT_BITS, Accumulate
from rtl.mac.align_add import EXPONENT_SUM_BITS, AlignAdd
from rtl.mac.design import LANES, Kind, MacDesign, Tree, kind
from rtl.mac.float_add import FloatAdd
from rtl.mac.long_integer import JoinExactly, PlaceProducts
from rtl.mac.normalise import Normalise
from rtl.mac.operands import MODE_BITS, OperandDecoder
from rtl.mac.pipeline import Cut, Pipeline, check_tree
from rtl.mac.quadrant import FullQuadrant, quadrant
from rtl.mac.specials import ProductSpecials, Specials

SCALE_BITS = 8
A_HALF, B_HALF = (0, 0, 1, 1), (0, 1, 0, 1)  # halves that meet in each of 2 x 2 multipliers or quadrants
COMBINATIONAL = Pipeline()


class _Sum(NamedTuple):
    """What a tree makes of products and accumulator.

    Attributes:
        keep: the accumulator itself is the result.
        sign, field, mantissa: of the sum; the field signed and unclamped.
        nonzero: there is a sum.
    """

    keep: Value
    sign: Value
    field: Value
    mantissa: Value
    nonzero: Value


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

    Raises:
        ValueError: registers in the accumulator's loop of another tree than the hybrid.
    """

    def __init__(self, design: MacDesign, pipeline: Pipeline = COMBINATIONAL):
        self._design = design
        self._cuts = pipeline.cuts
        check_tree(pipeline, design.tree)
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
        quadrants, exponents = self._products(m, a, b)
        join = {Tree.HYBRID: self._hybrid, Tree.FP32_ADDITION: self._float_add, Tree.LONG_INTEGER: self._long_integer}
        found = join[self._design.tree](m, quadrants, exponents)
        self._select(m, found, self._specials(m, a, b))
        return m

    @property
    def _accumulator(self) -> tuple[Value, Value, Value]:
        """Mantissa, field and sign of the old pattern."""
        m_bits = self._design.mantissa_bits
        return self.acc[:m_bits], self.acc[m_bits:-1], self.acc[-1]

    def _hybrid(self, m: Module, quadrants: list[Value], exponents: list[Value]) -> "_Sum":
        """The accumulator placed in a window around the product sum."""
        m_bits = self._design.mantissa_bits
        total, e_in = self._aligned(m, quadrants, exponents)
        m.submodules.accumulate = accumulate = Accumulate(m_bits)
        m.submodules.normalise = normalise = Normalise(m_bits)
        m.d.comb += [
            accumulate.product.eq(total),
            accumulate.exponent.eq(e_in),
            Cat(accumulate.mantissa, accumulate.field, accumulate.sign).eq(self.acc),
            normalise.total.eq(self._later(m, accumulate.total, Cut.ALIGNED)),
            normalise.exponent.eq(self._later(m, e_in, Cut.ALIGNED)),
            normalise.below.eq(self._later(m, accumulate.below, Cut.ALIGNED)),
        ]
        return _Sum(accumulate.keep, normalise.sign, normalise.field, normalise.mantissa, normalise.nonzero)

    def _float_add(self, m: Module, quadrants: list[Value], exponents: list[Value]) -> "_Sum":
        """A floating-point addition of the product sum."""
        total, e_in = self._aligned(m, quadrants, exponents)
        m.submodules.float_add = add = FloatAdd(self._design.mantissa_bits)
        return self._joined(m, add, total, e_in)

    def _long_integer(self, m: Module, quadrants: list[Value], exponents: list[Value]) -> "_Sum":
        """An exact sum in a wide word."""
        m.submodules.place = place = PlaceProducts(self._design)
        m.d.comb += place.mode.eq(self._later(m, self.mode, Cut.OPERANDS, Cut.PRODUCTS))
        for lane in range(LANES):
            m.d.comb += [place.quadrant[lane].eq(quadrants[lane]), place.exponent[lane].eq(exponents[lane])]
        scales = self._later(m, self.xa + self.xb - 127, Cut.OPERANDS, Cut.PRODUCTS, Cut.SUM)
        m.submodules.join = join = JoinExactly(self._design.mantissa_bits)
        return self._joined(m, join, self._later(m, place.total, Cut.SUM), scales)

    def _joined(self, m: Module, join: FloatAdd | JoinExactly, product: Value, exponent: Value) -> "_Sum":
        m.d.comb += [
            join.product.eq(product),
            join.exponent.eq(exponent),
            Cat(join.acc_mantissa, join.acc_field, join.acc_sign).eq(self.acc),
        ]
        return _Sum(join.keep, join.sign, join.field, join.mantissa, join.nonzero)

    def _aligned(self, m: Module, quadrants: list[Value], exponents: list[Value]) -> tuple[Value, Signal]:
        """The product sum, and E_in."""
        m.submodules.align_add = align_add = AlignAdd(self._design)
        for kinds, port in ((Kind.PAIRS, align_add.pairs), (Kind.INTEGER, align_add.integer)):
            m.d.comb += port.eq(self._later(m, self._mode_is(kinds), Cut.OPERANDS, Cut.PRODUCTS))
        for lane in range(LANES):
            m.d.comb += [align_add.quadrant[lane].eq(quadrants[lane]), align_add.exponent[lane].eq(exponents[lane])]
        scales = (self.xa + self.xb + self._exponent_offset())[:EXPONENT_BITS]
        scales = self._later(m, scales, Cut.OPERANDS, Cut.PRODUCTS)
        e_in = Signal(signed(EXPONENT_BITS), name="exponent")
        m.d.comb += e_in.eq(self._later(m, (align_add.largest + scales)[:EXPONENT_BITS], Cut.SUM))
        return self._later(m, align_add.total, Cut.SUM), e_in

    def _later(self, m: Module, value: Value, *cuts: Cut) -> Value:
        """The value, as many cycles later as there are registers at these places."""
        for cut in cuts:
            if cut in self._cuts:
                register = Signal(value.shape(), name=f"at_{cut.name.lower()}")
                m.d.sync += register.eq(value)
                value = register
        return value

    def _products(self, m: Module, a: OperandDecoder, b: OperandDecoder) -> tuple[list[Value], list[Value]]:
        """Sums of the four quadrants, and the lanes' exponent sums."""
        pairs = self._later(m, self._mode_is(Kind.PAIRS), Cut.OPERANDS)
        quadrants, exponents = [], []
        digits = self._design.digits
        for lane in range(LANES):
            m.submodules[f"quadrant_{lane}"] = part = quadrant(self._design)
            if not isinstance(part, FullQuadrant):
                m.d.comb += part.pairs.eq(pairs)
            exponent = (a.exponent[lane] + b.exponent[lane])[:EXPONENT_SUM_BITS]
            exponents.append(self._later(m, exponent, Cut.OPERANDS, Cut.PRODUCTS))
            quadrants.append(self._later(m, part.total, Cut.PRODUCTS))
            m.d.comb += [
                part.a.eq(self._later(m, a.significand[lane], Cut.OPERANDS)),
                part.b.eq(self._later(m, b.significand[lane], Cut.OPERANDS)),
                part.sign.eq(self._later(m, a.sign[lane] ^ b.sign[lane], Cut.OPERANDS)),
            ]
            for digit in range(digits):
                m.d.comb += [
                    part.a_shift[digit].eq(self._later(m, a.shift[digits * lane + digit], Cut.OPERANDS)),
                    part.b_shift[digit].eq(self._later(m, b.shift[digits * lane + digit], Cut.OPERANDS)),
                ]
        return quadrants, exponents

    def _specials(self, m: Module, a: OperandDecoder, b: OperandDecoder) -> Specials:
        m.submodules.product_specials = products = ProductSpecials()
        m.submodules.specials = specials = Specials()
        arrives = Cut.OPERANDS, Cut.PRODUCTS, Cut.SUM
        mantissa, field, sign = self._accumulator
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
            specials.field_ones.eq(field.all()),
            specials.mantissa_zero.eq(~mantissa.any()),
            specials.sign.eq(sign),
        ]
        return specials

    def _select(self, m: Module, found: "_Sum", specials: Specials) -> None:
        """Result: the first of NaN, infinity, unchanged accumulator, overflow, underflow, normalised sum."""
        m_bits = self._design.mantissa_bits
        ones = (1 << ACCUMULATOR_EXPONENT_BITS) - 1
        keep, nan, infinite, infinite_sign = (
            self._later(m, value, Cut.ALIGNED, Cut.NORMALISED)
            for value in (found.keep, specials.nan, specials.infinite, specials.infinite_sign)
        )
        field, sign, mantissa, nonzero = (
            self._later(m, value, Cut.NORMALISED) for value in (found.field, found.sign, found.mantissa, found.nonzero)
        )
        infinity = Const(ones << m_bits, ACCUMULATOR_EXPONENT_BITS + m_bits)
        with m.If(nan):
            m.d.comb += self.result.eq(ones << m_bits | 1 << (m_bits - 1))
        with m.Elif(infinite):
            m.d.comb += self.result.eq(Cat(infinity, infinite_sign))
        with m.Elif(keep):
            m.d.comb += self.result.eq(Mux(self._accumulator[1].any(), self.acc, 0))
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
