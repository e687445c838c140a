"""A warp's instruction buffer."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import Component, In, Out

from rtl.issue_stage.design import IssueDesign
from rtl.issue_stage.instruction import layout


class InstructionBuffer(Component):
    """First in, first out; the oldest instruction always stands in entry 0.

    Throughput 1 instruction a cycle; a pushed instruction is at the head in the next cycle if the buffer is empty.

    Ports:
        clear: forget everything; wins over the others.
        push, instruction: take an instruction. A push into a full buffer without `pop` is not legal.
        pop: the head goes.
        valid, head: the oldest instruction.
    """

    def __init__(self, design: IssueDesign):
        self._entries, self._layout = design.buffer, layout(design)
        super().__init__({
            "clear": In(1),
            "push": In(1),
            "instruction": In(self._layout),
            "pop": In(1),
            "valid": Out(1),
            "head": Out(self._layout),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the entries."""
        m = Module()
        entries = [Signal(self._layout, name=f"entry_{i}") for i in range(self._entries)]
        used = Signal(range(self._entries + 1))
        after_pop = Signal.like(used)
        m.d.comb += [self.valid.eq(used != 0), self.head.eq(entries[0]), after_pop.eq(used - self.pop)]
        for i, entry in enumerate(entries):
            with m.If(self.push & (after_pop == i)):
                m.d.sync += entry.eq(self.instruction)
            if i + 1 < self._entries:
                with m.Elif(self.pop):
                    m.d.sync += entry.eq(entries[i + 1])
        m.d.sync += used.eq(after_pop + self.push)
        with m.If(self.clear):
            m.d.sync += used.eq(0)
        return m
