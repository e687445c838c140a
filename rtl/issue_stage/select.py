"""Which of the warps that can issue does: compiler-guided greedy then youngest (Huerta et al., MICRO 2025)."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from rtl.issue_stage.design import IssueDesign


class Selector(Component):
    """The warp that issued last if it can, else the youngest that can; combinational.

    Ports, one bit a warp slot:
        start: a warp takes the slot; of several at once the one in the highest slot is the youngest.
        eligible: can issue.
        issue: issues, at most one bit; `chosen` or none.
        ends: the instruction that issues is its warp's last.
        chosen: the warp whose turn it is; no bit if none is eligible.
    """

    def __init__(self, design: IssueDesign):
        self._warps = design.warps
        super().__init__({
            "start": In(design.warps),
            "eligible": In(design.warps),
            "issue": In(design.warps),
            "ends": In(1),
            "chosen": Out(design.warps),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the age matrix and the choice."""
        m = Module()
        warps = range(self._warps)
        younger = {(i, j): Signal(name=f"younger_{i}_{j}") for j in warps for i in range(j)}  # i than j
        for (i, j), bit in younger.items():
            with m.If(self.start[j]):
                m.d.sync += bit.eq(0)
            with m.Elif(self.start[i]):
                m.d.sync += bit.eq(1)
        youngest = Signal(self._warps)
        for i in warps:
            wins = [~self.eligible[j] | (younger[i, j] if i < j else ~younger[j, i]) for j in warps if j != i]
            m.d.comb += youngest[i].eq(self.eligible[i] & Cat(wins).all())
        last = Signal(self._warps)
        with m.If(self.issue.any()):
            m.d.sync += last.eq(Mux(self.ends, 0, self.issue))
        greedy = self.eligible & last
        m.d.comb += self.chosen.eq(Mux(greedy.any(), greedy, youngest))
        return m
