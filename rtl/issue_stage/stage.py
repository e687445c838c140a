"""The issue stage of a sub-core, with the Control and Allocate stages behind it that hold it up."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportReturnType=false

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from hw.dependence_area import ENTRIES
from rtl.issue_stage.constants import ConstantCache
from rtl.issue_stage.design import COUNTERS, ENDS, RELEASED_BITS, RETURNS, WARP_BITS, IssueDesign
from rtl.issue_stage.instruction import MEMORY, layout
from rtl.issue_stage.pipeline import Pipeline
from rtl.issue_stage.registers import decode
from rtl.issue_stage.results import LANES, READ, RESULT, FixedResults
from rtl.issue_stage.select import Selector
from rtl.issue_stage.slot import WarpSlot
from rtl.issue_stage.units import Units


class IssueStage(Component):
    """Up to one instruction a cycle from the warps' buffers to Control and, at fixed latency, through Allocate.

    What comes from outside is seen in the next cycle. Rules: those of `gpu_model.core`, from Huerta et al., MICRO 2025.

    Ports:
        start: warp slots that get a new warp.
        wake: warps whose barrier has opened.
        push, push_warp, instruction: fetched and decoded, at most one a cycle.
        released: by how much each dependence counter goes down, warp by warp.
        accepted: the memory queue has let an instruction go.
        fp64_taken: another sub-core has the FP64 pipe, in this very cycle.
        results, reads: with a scoreboard: what memory and units of variable latency have written to registers, and the
            instructions for them that have read theirs.
        issue, issue_warp: what issues in this cycle. Combinational.
        control, control_warp: what enters Control in this cycle.
        overflow: see `ReadPorts` and `FixedResults`.
    """

    def __init__(self, design: IssueDesign):
        self._design = design
        returns = {"results": In(RESULT).array(RETURNS), "reads": In(READ).array(ENDS)}
        super().__init__({
            "start": In(design.warps),
            "wake": In(design.warps),
            "push": In(1),
            "push_warp": In(WARP_BITS),
            "instruction": In(layout(self._design)),
            "released": In(data.ArrayLayout(RELEASED_BITS, COUNTERS * design.warps)),
            "accepted": In(1),
            "fp64_taken": In(1),
            "issue": Out(1),
            "issue_warp": Out(WARP_BITS),
            "control": Out(1),
            "control_warp": Out(WARP_BITS),
            "overflow": Out(1),
            **(returns if design.consumers else {}),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Connect the warps, who goes, what holds all of them up, and the units."""
        m = Module()
        slots = [WarpSlot(self._design) for _ in range(self._design.warps)]
        chosen, head = Signal(self._design.warps), Signal(layout(self._design))
        m.submodules.pipeline = pipeline = Pipeline(self._design)
        blocked = pipeline.full | self._port(m, head)
        missed = self._constants(m, slots, chosen, head, blocked)
        m.d.comb += [
            self.issue.eq(chosen.any() & ~blocked & ~missed),
            self.issue_warp.eq(_index(chosen)),
            pipeline.start.eq(self.start),
            pipeline.issued.valid.eq(self.issue),
            pipeline.issued.warp.eq(self.issue_warp),
            pipeline.issued.instruction.eq(head),
            self.control.eq(pipeline.control.valid),
            self.control_warp.eq(pipeline.control.warp),
        ]
        self._select(m, slots, chosen, head)
        self._connect(m, slots, chosen, pipeline)
        self._units(m, slots, head)
        m.d.comb += self.overflow.eq(pipeline.overflow | self._returns(m, slots, pipeline))
        return m

    def _select(self, m: Module, slots: list[WarpSlot], chosen: Signal, head: Signal) -> None:
        """The warp whose turn it is, one bit a slot, and its instruction."""
        m.submodules.selector = selector = Selector(self._design)
        m.d.comb += [
            selector.start.eq(self.start),
            selector.eligible.eq(Cat(slot.eligible for slot in slots)),
            selector.issue.eq(Mux(self.issue, chosen, 0)),
            selector.ends.eq(head.ends),
            chosen.eq(selector.chosen),
        ]
        for i, slot in enumerate(slots):
            with m.If(chosen[i]):
                m.d.comb += head.eq(slot.head)

    def _port(self, m: Module, head: Signal) -> Signal:
        """Whether the issue port is taken for longer by the instruction before."""
        left, taken = Signal(len(head.port_cycles)), Signal()
        with m.If(self.issue):
            m.d.sync += left.eq(head.port_cycles)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        m.d.comb += taken.eq(left != 0)
        return taken

    def _constants(self, m: Module, slots: list[WarpSlot], chosen: Signal, head: Signal, blocked: Value) -> Value:
        """Look up a constant operand; one that is not there stops its warp, and for a while all of them."""
        if not self._design.constant_sets:
            return Signal()
        m.submodules.constants = cache = ConstantCache(self._design)
        left, misses = Signal(range(self._design.constant_hold)), Signal()
        m.d.comb += [
            cache.look.eq(chosen.any() & head.constant & ~blocked & (left == 0)),
            cache.line.eq(head.line),
            misses.eq(cache.wait != 0),
        ]
        with m.If(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.Elif(misses):
            m.d.sync += left.eq(
                Mux(cache.wait < self._design.constant_hold, cache.wait, self._design.constant_hold) - 1
            )
        for i, slot in enumerate(slots):
            m.d.comb += [slot.miss.eq(chosen[i] & misses), slot.wait.eq(cache.wait)]
        return misses | (left != 0)

    def _connect(self, m: Module, slots: list[WarpSlot], chosen: Signal, pipeline: Pipeline) -> None:
        """Give each warp what is for it."""
        passing = pipeline.control
        for i, slot in enumerate(slots):
            m.submodules[f"warp_{i}"] = slot
            m.d.comb += [
                slot.start.eq(self.start[i]),
                slot.wake.eq(self.wake[i]),
                slot.push.eq(self.push & (self.push_warp == i)),
                slot.instruction.eq(self.instruction),
                slot.issue.eq(self.issue & chosen[i]),
                slot.control.eq(passing.valid & (passing.warp == i)),
                slot.write_counter.eq(passing.instruction.write_counter),
                slot.read_counter.eq(passing.instruction.read_counter),
            ]
            m.d.comb += [slot.released[n].eq(self.released[i * COUNTERS + n]) for n in range(COUNTERS)]

    def _returns(self, m: Module, slots: list[WarpSlot], pipeline: Pipeline) -> Value:
        """Give each warp's scoreboard what comes back for its registers; returns whether results of ours were lost."""
        if not self._design.consumers:
            return Const(0)
        m.submodules.fixed_results = fixed = FixedResults(self._design)
        m.d.comb += [
            fixed.start.eq(self.start),
            fixed.left.eq(pipeline.left.valid),
            fixed.warp.eq(pipeline.left.warp),
            fixed.instruction.eq(pipeline.left.instruction),
        ]
        written, forwarded, read = (
            [(back, _decoded(m, back, f"{name}_{i}")) for i, back in enumerate(group)]
            for name, group in (
                ("result", [self.results[i] for i in range(RETURNS)]),
                ("fixed", [fixed.results[i] for i in range(LANES + 1)]),
                ("read", [self.reads[i] for i in range(ENDS)]),
            )
        )
        for i, slot in enumerate(slots):

            def mine(group: list, warp: int = i) -> list[Value]:
                return [Mux(back.valid & (back.warp == warp), mask, 0) for back, mask in group]

            m.d.comb += [slot.written.eq(reduce(or_, mine(written))), slot.forwarded.eq(reduce(or_, mine(forwarded)))]
            m.d.comb += [slot.read[n].eq(mask) for n, mask in enumerate(mine(read))]
        return fixed.overflow

    def _units(self, m: Module, slots: list[WarpSlot], head: Signal) -> None:
        """The execution units' timers, and the memory queue's length."""
        m.submodules.units = units = Units()
        queued = Signal(range(self._design.queue + 1))
        memory = head.path == MEMORY
        m.d.comb += [
            units.issue.eq(self.issue & ~memory),
            units.pipe.eq(head.pipe),
            units.or_alu.eq(head.or_alu),
            units.interval.eq(head.interval),
            units.shared_taken.eq(self.fp64_taken),
        ]
        m.d.sync += queued.eq(queued + (self.issue & memory) - self.accepted)
        for slot in slots:
            m.d.comb += [slot.free.eq(units.free), slot.room.eq(queued != self._design.queue)]


def _decoded(m: Module, back: Value, name: str) -> Signal:
    """The registers that something is about, one bit each."""
    mask = Signal(ENTRIES, name=name)
    m.d.comb += mask.eq(decode(back.ranges))
    return mask


def _index(one_hot: Value) -> Value:
    """Number of the only bit set."""
    bits = range(len(one_hot))
    return Cat(Cat(one_hot[i] for i in bits if i >> place & 1).any() for place in range(WARP_BITS))
