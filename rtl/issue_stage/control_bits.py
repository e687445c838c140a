"""Dependences by control bits: what a warp has in hardware for them, and when they let its next instruction issue."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportInvalidTypeForm=false

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from rtl.issue_stage.design import COUNTER_BITS, COUNTERS, RELEASED_BITS

STALL_BITS = 6
EMPTY_STALL_CYCLES = 45  # stall count 0 with yield
LONG_STALL = 12  # from here on without yield ...
LONG_STALL_CYCLES = 2  # ... the count does not count
YIELD_CYCLES = 2


class ControlBits(Component):
    """Stall counter and six dependence counters of one warp (Huerta et al., MICRO 2025).

    A stall count s keeps the warp for s - 1 cycles after the one in which it issued, yield for at least one. A counter
    goes up in the cycle in which its instruction is in Control, which shows in the next; a release shows in the next
    cycle too. Throughput one instruction a cycle, latency 0 from the head's fields to `ready`.

    Ports:
        clear: a new warp; everything is zero.
        issue, stall, yields: the warp issues an instruction with these control bits.
        control, write_counter, read_counter: one of its instructions is in Control, and counts these up.
        released: how many times each counter goes down.
        wait_mask, bar, bar_counter, bar_limit, bar_mask: of the instruction at the head.
        ready: the stall is over, and the counters let the head issue.
    """

    clear: In(1)
    issue: In(1)
    stall: In(4)
    yields: In(1)
    control: In(1)
    write_counter: In(3)
    read_counter: In(3)
    released: In(RELEASED_BITS).array(COUNTERS)
    wait_mask: In(COUNTERS)
    bar: In(1)
    bar_counter: In(3)
    bar_limit: In(COUNTER_BITS)
    bar_mask: In(COUNTERS)
    ready: Out(1)

    def elaborate(self, platform: object) -> Module:
        """Build the counters and what looks at them."""
        m = Module()
        stalled = self._stall(m)
        counts = self._counts(m)
        mask = self.wait_mask | Mux(self.bar, self.bar_mask, 0)
        waits = (mask & Cat(count.any() for count in counts)).any()
        # Counters 6 and 7 do not exist; DEPBAR never names them.
        few = Array([*counts, *counts[:2]])[self.bar_counter] <= self.bar_limit
        m.d.comb += self.ready.eq(~stalled & ~waits & (~self.bar | few))
        return m

    def _counts(self, m: Module) -> list[Signal]:
        """The dependence counters."""
        counts = [Signal(COUNTER_BITS, name=f"count_{i}") for i in range(COUNTERS)]
        for i, count in enumerate(counts):
            up = (self.write_counter == i).as_unsigned() + (self.read_counter == i)
            m.d.sync += count.eq(Mux(self.clear, 0, count + Mux(self.control, up, 0) - self.released[i]))
        return counts

    def _stall(self, m: Module) -> Signal:
        """The stall counter; non-zero while the warp may not issue."""
        left, cycles = Signal(STALL_BITS, name="left"), Signal(STALL_BITS, name="cycles")
        with m.If(self.yields & (self.stall == 0)):
            m.d.comb += cycles.eq(EMPTY_STALL_CYCLES - 1)
        with m.Elif(~self.yields & (self.stall >= LONG_STALL)):
            m.d.comb += cycles.eq(LONG_STALL_CYCLES - 1)
        with m.Elif(self.yields & (self.stall < YIELD_CYCLES)):
            m.d.comb += cycles.eq(YIELD_CYCLES - 1)
        with m.Elif(self.stall != 0):
            m.d.comb += cycles.eq(self.stall - 1)
        with m.If(self.clear):
            m.d.sync += left.eq(0)
        with m.Elif(self.issue):
            m.d.sync += left.eq(cycles)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        stalled = Signal()
        m.d.comb += stalled.eq(left != 0)
        return stalled
