"""The L0 cache of constant operands, looked up at issue: tags and arrival times, no data."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib.wiring import Component, In, Out

from rtl.issue_stage.design import IssueDesign
from rtl.issue_stage.instruction import LINE_BITS


class ConstantCache(Component):
    """Set-associative, least recently used goes first; a line is there a fixed number of cycles after its miss.

    Ports:
        look, line: look the line up, and have it fetched if it is absent.
        wait: cycles until it is there; 0 if it is. Combinational.
    """

    def __init__(self, design: IssueDesign):
        self._design = design
        self.wait_bits = design.constant_miss.bit_length()
        super().__init__({"look": In(1), "line": In(LINE_BITS), "wait": Out(self.wait_bits)})

    def elaborate(self, platform: object) -> Module:
        """Build the sets."""
        m = Module()
        index = self.line & (self._design.constant_sets - 1)
        for number in range(self._design.constant_sets):
            here = Signal(name=f"here_{number}")
            m.d.comb += here.eq(self.look & (index == number))
            self._set(m, number, here)
        return m

    def _set(self, m: Module, number: int, here: Signal) -> None:
        """One set: what it answers, what it fetches, which way was used when."""
        ways = range(self._design.constant_ways)
        valid = [Signal(name=f"valid_{number}_{way}") for way in ways]
        tags = [Signal(LINE_BITS, name=f"tag_{number}_{way}") for way in ways]
        left = [Signal(self.wait_bits, name=f"left_{number}_{way}") for way in ways]
        # `older[i, j]`: way i was used before way j; at first in the order of their numbers.
        older = {(i, j): Signal(init=1, name=f"older_{number}_{i}_{j}") for j in ways for i in range(j)}
        hits = Signal(len(ways), name=f"hits_{number}")
        m.d.comb += hits.eq(Cat(valid[way] & (tags[way] == self.line) for way in ways))
        for way in ways:
            oldest = Cat(older[way, j] if way < j else ~older[j, way] for j in ways if j != way).all()
            fetch = Signal(name=f"fetch_{number}_{way}")
            m.d.comb += fetch.eq(here & ~hits.any() & oldest)
            with m.If(left[way] != 0):
                m.d.sync += left[way].eq(left[way] - 1)
            with m.If(fetch):
                m.d.sync += [valid[way].eq(1), tags[way].eq(self.line), left[way].eq(self._design.constant_miss - 1)]
            with m.If(here & hits[way]):
                m.d.comb += self.wait.eq(left[way])
            with m.If(fetch | (here & hits[way])):
                m.d.sync += [bit.eq(_used(way, i)) for (i, j), bit in older.items() if way in (i, j)]
        with m.If(here & ~hits.any()):
            m.d.comb += self.wait.eq(self._design.constant_miss)


def _used(way: int, first: int) -> int:
    """Whether the first way of a pair is the older one, once `way`, one of them, is used."""
    return int(way != first)
