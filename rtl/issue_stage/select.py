"""Which of the warps that can issue does: by age, the last one first, or in turn."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import Component, In, Out

from rtl.issue_stage.design import IssueDesign


class Selector(Component):
    """The warp whose turn it is; combinational.

    CGGTY (Huerta et al., MICRO 2025): the warp that issued last if it can, else the youngest that can. GTO: the same
    with the oldest. LRR: the first that can behind the one that issued last, by the number of its slot.

    Ports, one bit a warp slot:
        start: a warp takes the slot; of several at once the one in the highest slot is the youngest.
        eligible: can issue.
        issue: issues, at most one bit; `chosen` or none.
        ends: the instruction that issues is its warp's last.
        chosen: the warp whose turn it is; no bit if none is eligible.
    """

    def __init__(self, design: IssueDesign):
        self._warps, self._policy = design.warps, design.policy
        super().__init__({
            "start": In(design.warps),
            "eligible": In(design.warps),
            "issue": In(design.warps),
            "ends": In(1),
            "chosen": Out(design.warps),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the choice of the policy."""
        m = Module()
        m.d.comb += self.chosen.eq(self._in_turn(m) if self._policy == "lrr" else self._greedy(m))
        return m

    def _greedy(self, m: Module) -> Value:
        """The last warp, else the youngest or oldest."""
        last = Signal(self._warps)
        with m.If(self.issue.any()):
            m.d.sync += last.eq(Mux(self.ends, 0, self.issue))
        greedy = self.eligible & last
        return Mux(greedy.any(), greedy, self._by_age(m))

    def _by_age(self, m: Module) -> Signal:
        """The youngest or oldest eligible warp, by an age matrix."""
        warps = range(self._warps)
        younger = {(i, j): Signal(name=f"younger_{i}_{j}") for j in warps for i in range(j)}  # i than j
        for (i, j), bit in younger.items():
            with m.If(self.start[j]):
                m.d.sync += bit.eq(0)
            with m.Elif(self.start[i]):
                m.d.sync += bit.eq(1)
        first = Signal(self._warps)
        for i in warps:
            ahead = {j: younger[i, j] if i < j else ~younger[j, i] for j in warps if j != i}
            if self._policy == "gto":
                ahead = {j: ~bit for j, bit in ahead.items()}
            wins = [~self.eligible[j] | bit for j, bit in ahead.items()]
            m.d.comb += first[i].eq(self.eligible[i] & Cat(wins).all())
        return first

    def _in_turn(self, m: Module) -> Value:
        """The first eligible warp behind the one that issued last, else the first; slot 0 is the last at first."""
        behind = Signal(self._warps, init=(1 << self._warps) - 2)  # slots of higher number than the last one's
        with m.If(self.issue.any()):
            m.d.sync += behind.eq(Cat(self.issue[:i].any() for i in range(self._warps)))
        later = self.eligible & behind
        return Mux(later.any(), _lowest(later), _lowest(self.eligible))


def _lowest(bits: Value) -> Value:
    """The lowest bit set, alone."""
    return bits & (~bits + 1)[: len(bits)]
