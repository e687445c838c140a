"""How long each execution unit is taken."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportInvalidTypeForm=false

from amaranth.hdl import Array, Module, Signal
from amaranth.lib.wiring import Component, In, Out

from rtl.issue_stage.design import PIPE_ALU, PIPE_FP64, PIPES

INTERVAL_BITS = 8


class Units(Component):
    """A timer for each pipe into the units of a sub-core.

    Ports:
        issue: an instruction takes a pipe for `interval` cycles, this one included ...
        pipe: ... this one, or ...
        or_alu: ... the ALU's, if it may and its own is taken.
        shared_taken: the FP64 pipe is taken by another sub-core; it is one for the SM.
        free: the pipes that an instruction can take in this cycle.
    """

    issue: In(1)
    pipe: In(3)
    or_alu: In(1)
    interval: In(INTERVAL_BITS)
    shared_taken: In(1)
    free: Out(PIPES)

    def elaborate(self, platform: object) -> Module:
        """Build the timers."""
        m = Module()
        left = [Signal(INTERVAL_BITS, name=f"left_{i}") for i in range(PIPES)]
        for i, timer in enumerate(left):
            m.d.comb += self.free[i].eq((timer == 0) & ~(self.shared_taken if i == PIPE_FP64 else 0))
            with m.If(timer != 0):
                m.d.sync += timer.eq(timer - 1)
        taken = Signal(3)
        m.d.comb += taken.eq(self.pipe)
        with m.If(self.or_alu & ~self.free.bit_select(self.pipe, 1)):
            m.d.comb += taken.eq(PIPE_ALU)
        with m.If(self.issue):
            m.d.sync += Array(left)[taken].eq(self.interval - 1)
        return m
