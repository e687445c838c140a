"""The MAC with registers at chosen places, and the handshake that keeps its accumulator right."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportReturnType=false

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import Component, In, Out

from rtl.mac.design import MacDesign
from rtl.mac.operands import MODE_BITS
from rtl.mac.pipeline import Pipeline
from rtl.mac.step import SCALE_BITS, MacStep


class PipelinedMac(Component):
    """`MacStep` with registers, around one accumulator: the same sums as `Mac`, later.

    A step is taken in a cycle with `valid` and `ready`, at most one in `pipeline.interval` cycles; its sum is in `acc`
    from `pipeline.latency` cycles after it, when `done` is high for one cycle, until the next step's. Reset makes `acc`
    +0 and forgets steps in flight.

    Ports as `rtl.mac.Mac`, and
        ready: a step may be taken; does not depend on `valid`.
        done: `acc` is new in this cycle.
    """

    def __init__(self, design: MacDesign, pipeline: Pipeline):
        self._design, self._pipeline = design, pipeline
        super().__init__({
            "valid": In(1),
            "ready": Out(1),
            "clear": In(1),
            "mode": In(MODE_BITS),
            "a": In(design.operand_bits),
            "b": In(design.operand_bits),
            "xa": In(SCALE_BITS),
            "xb": In(SCALE_BITS),
            "acc": Out(design.accumulator_bits),
            "done": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the accumulator and what follows a step on its way to it."""
        m = Module()
        m.submodules.step = step = MacStep(self._design, self._pipeline)
        m.d.comb += [getattr(step, name).eq(getattr(self, name)) for name in ("mode", "a", "b", "xa", "xb")]
        in_loop = self._pipeline.interval - 1
        before_loop = len(self._pipeline.cuts) - in_loop

        taken = Signal()
        m.d.comb += taken.eq(self.valid & self.ready)
        enters = _delayed(m, taken, before_loop, "entering")[-1]
        passing = _delayed(m, enters, in_loop, "passing")
        clear = _delayed(m, self.clear, before_loop, "clear")[-1]
        recent = _delayed(m, taken, in_loop, "recent")[1:]
        m.d.comb += self.ready.eq(~Cat(recent).any() if recent else 1)

        # While a step is in the loop its accumulator stays, and so must the decision to start from zero.
        kept_clear = Signal()
        with m.If(enters):
            m.d.sync += kept_clear.eq(clear)
        m.d.comb += step.acc.eq(Mux(Mux(enters, clear, kept_clear), 0, self.acc))
        m.d.sync += self.done.eq(passing[-1])
        with m.If(passing[-1]):
            m.d.sync += self.acc.eq(step.result)
        return m


def _delayed(m: Module, value: Value, cycles: int, name: str) -> list[Value]:
    """The value now, and as it was one, two, ... cycles ago."""
    values = [value]
    for age in range(1, cycles + 1):
        register = Signal(name=f"{name}_{age}")
        m.d.sync += register.eq(values[-1])
        values.append(register)
    return values
