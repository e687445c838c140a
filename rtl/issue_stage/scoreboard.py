"""The scoreboard of one warp that control bits make superfluous: what is under way for each of its registers."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false

from functools import reduce
from operator import and_, or_

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.wiring import Component, In, Out

from hw.dependence_area import ENTRIES


class Scoreboard(Component):
    """A bit a register for a result under way, and a count of the instructions that have yet to read it.

    The rules are those of `gpu_model.core.scoreboard`, from Huerta et al., MICRO 2025: an instruction waits while a
    register it reads or writes has a result under way or one it writes has readers, and, if it reads out of order,
    while one it reads has as many readers as the count holds. Throughput one instruction, any results and so many
    ends of reads a cycle; latency 0 from the head's registers to `ready`.

    The counts are held bit by bit over all registers, and added to with a carry from one bit to the next.

    Args:
        consumers: most readers of a register.
        entries: registers, of all kinds together.
        ends: instructions that can end their reads in one cycle.

    Ports; registers are one bit for each of R, UR, P and UP in this order, decoded elsewhere:
        clear: a new warp; nothing is under way.
        reads, writes, variable: of the head: its registers, and whether it reads out of order.
        ready: it can issue.
        issue: it does.
        written: registers whose result is there.
        read: registers that an instruction which reads out of order has read, for each that ends its reads.

    Raises:
        ValueError: fewer than one consumer.
    """

    def __init__(self, consumers: int, entries: int = ENTRIES, ends: int = 1):
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
            "read": In(entries).array(ends),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the entries and what looks at them."""
        m = Module()
        under_way, has_readers, is_full = (
            Signal(self._entries, name=n) for n in ("under_way", "has_readers", "is_full")
        )
        issued = Mux(self.issue, self.writes, 0)
        m.d.sync += under_way.eq(Mux(self.clear, 0, (under_way & ~self.written) | issued))
        self._count(m, has_readers, is_full)
        late = (self.reads | self.writes) & under_way
        crowded = Mux(self.variable, self.reads & is_full, 0)
        m.d.comb += self.ready.eq(~(late | (self.writes & has_readers) | crowded).any())
        return m

    def _count(self, m: Module, has_readers: Signal, is_full: Signal) -> None:
        """The readers under way; plane i holds bit i of every register's count."""
        planes = [Signal(self._entries, name=f"readers_{i}") for i in range(self._consumers.bit_length())]
        after: list[Value] = list(planes)
        bits = [plane if self._consumers >> i & 1 else ~plane for i, plane in enumerate(planes)]
        m.d.comb += [has_readers.eq(reduce(or_, planes)), is_full.eq(reduce(and_, bits))]
        changes = [(Mux(self.issue & self.variable, self.reads, 0), True), *((mask, False) for mask in self.read)]
        for number, (mask, up) in enumerate(changes):
            carry: Value = mask
            for i, before in enumerate(after):
                after[i] = Signal(self._entries, name=f"after_{number}_{i}")
                m.d.comb += after[i].eq(before ^ carry)
                carry = carry & (before if up else ~before)
        m.d.sync += [plane.eq(Mux(self.clear, 0, then)) for plane, then in zip(planes, after, strict=True)]
