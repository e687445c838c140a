"""Control and Allocate: the latches behind Issue, which hold it up when they are full."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from rtl.issue_stage.design import BANKS, WARP_BITS, IssueDesign
from rtl.issue_stage.instruction import FIXED, VARIABLE, layout
from rtl.issue_stage.operands import ReadPorts, ReuseCache


def passing(design: IssueDesign) -> data.StructLayout:
    """An instruction on its way, and its warp."""
    return data.StructLayout({"valid": 1, "warp": WARP_BITS, "instruction": layout(design)})


class Pipeline(Component):
    """An issued instruction waits until Control is free, is there for a cycle, and at fixed latency goes to Allocate.

    An instruction of fixed latency keeps Control until Allocate is free, and Allocate until its operands can be read.
    Variable-latency and memory instructions leave Control after a cycle, the former with a read to come.

    Ports:
        start: warp slots that get a new warp.
        issued: what issues in this cycle; not legal while `full`.
        full: nothing can issue, as an instruction still waits for Control.
        control: what enters Control in this cycle.
        left: what leaves Allocate in this cycle.
        overflow: see `ReadPorts`.
    """

    def __init__(self, design: IssueDesign):
        self._design, self._passing = design, passing(design)
        super().__init__({
            "start": In(design.warps),
            "issued": In(self._passing),
            "full": Out(1),
            "control": Out(self._passing),
            "left": Out(self._passing),
            "overflow": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the latches from Allocate back to Issue."""
        m = Module()
        waiting, control, allocate = (
            Signal(self._passing, name=name) for name in ("waiting", "in_control", "in_allocate")
        )
        entered, control_free, allocate_free = Signal(), Signal(), Signal()
        fixed = control.valid & (control.instruction.path == FIXED)
        variable = control.valid & (control.instruction.path == VARIABLE)
        allocate_leaves = self._allocate(m, allocate, variable & control.instruction.reads)
        m.d.comb += [
            allocate_free.eq(~allocate.valid | allocate_leaves),
            control_free.eq(~fixed | allocate_free),
            self.full.eq(waiting.valid),
            self.control.eq(control),
            self.control.valid.eq(control.valid & entered),
            self.left.eq(allocate),
            self.left.valid.eq(allocate_leaves),
        ]
        with m.If(allocate_free):
            m.d.sync += allocate.eq(control)
            m.d.sync += allocate.valid.eq(fixed)
        m.d.sync += entered.eq(control_free)
        with m.If(control_free):
            m.d.sync += [control.eq(Mux(waiting.valid, waiting, self.issued)), waiting.valid.eq(0)]
        with m.Elif(self.issued.valid):
            m.d.sync += waiting.eq(self.issued)
        return m

    def _allocate(self, m: Module, allocate: Signal, read: Signal) -> Signal:
        """Whether the instruction in Allocate goes on."""
        m.submodules.reuse = reuse = ReuseCache(self._design)
        m.submodules.ports = ports = ReadPorts(self._design)
        m.d.comb += [
            reuse.start.eq(self.start),
            reuse.warp.eq(allocate.warp),
            reuse.operands.eq(allocate.instruction.operands),
            reuse.use.eq(ports.leaves),
            ports.valid.eq(allocate.valid),
            ports.wide.eq(allocate.instruction.wide),
            ports.read.eq(read),
            *(ports.need[bank].eq(reuse.need[bank]) for bank in range(BANKS)),
            self.overflow.eq(ports.overflow),
        ]
        return ports.leaves
