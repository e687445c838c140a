"""The scoreboard of one warp that control bits make superfluous: what is under way for each of its registers."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from hw.dependence_area import ENTRIES


class Scoreboard(Component):
    """A bit a register for a result under way, and a count of the instructions that have yet to read it.

    The rules are those of `gpu_model.core.scoreboard`, from Huerta et al., MICRO 2025: an instruction waits while a
    register it reads or writes has a result under way or one it writes has readers, and, if it reads out of order,
    while one it reads has as many readers as the count holds. Throughput one instruction, one result and one reader a
    cycle; latency 0 from the head's registers to `ready`.

    Args:
        consumers: most readers of a register.
        entries: registers, of all kinds together.

    Ports; registers are one bit for each of R, UR, P and UP in this order, decoded elsewhere:
        clear: a new warp; nothing is under way.
        reads, writes, variable: of the head: its registers, and whether it reads out of order.
        ready: it can issue.
        issue: it does.
        written: registers whose result is there.
        read: registers that an instruction which reads out of order has read.

    Raises:
        ValueError: fewer than one consumer.
    """

    def __init__(self, consumers: int, entries: int = ENTRIES):
        if consumers < 1:
            raise ValueError(f"consumers is {consumers}, legal 1 or more")
        self._consumers, self._entries = consumers, entries
        super().__init__({
            "clear": In(1),
            "reads": In(entries),
            "writes": In(entries),
            "variable": In(1),
            "ready": Out(1),
            "issue": In(1),
            "written": In(entries),
            "read": In(entries),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the entries and what looks at them."""
        m = Module()
        under_way, has_readers, is_full = (
            Signal(self._entries, name=n) for n in ("under_way", "has_readers", "is_full")
        )
        issued = Mux(self.issue, self.writes, 0)
        m.d.sync += under_way.eq(Mux(self.clear, 0, (under_way & ~self.written) | issued))
        for entry in range(self._entries):
            readers = Signal(range(self._consumers + 1), name=f"readers_{entry}")
            up, down = self.issue & self.variable & self.reads[entry], self.read[entry]
            with m.If(self.clear):
                m.d.sync += readers.eq(0)
            with m.Elif(up & ~down):
                m.d.sync += readers.eq(readers + 1)
            with m.Elif(down & ~up):
                m.d.sync += readers.eq(readers - 1)
            m.d.comb += [has_readers[entry].eq(readers != 0), is_full[entry].eq(readers == self._consumers)]
        late = (self.reads | self.writes) & under_way
        crowded = Mux(self.variable, self.reads & is_full, 0)
        m.d.comb += self.ready.eq(~(late | (self.writes & has_readers) | crowded).any())
        return m
