"""One warp slot: its instruction buffer, its control bits, and whether its next instruction can issue."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false

from amaranth.hdl import Const, Module, Signal, Value
from amaranth.lib.wiring import Component, In, Out

from hw.dependence_area import ENTRIES
from rtl.issue_stage.buffer import InstructionBuffer
from rtl.issue_stage.control_bits import ControlBits
from rtl.issue_stage.design import COUNTERS, ENDS, PIPE_ALU, PIPES, RELEASED_BITS, IssueDesign
from rtl.issue_stage.instruction import MEMORY, layout
from rtl.issue_stage.registers import RegisterWaits


class WarpSlot(Component):
    """What the issue stage keeps for each warp.

    Ports:
        start: a new warp takes the slot.
        wake: what the warp was blocked for is over.
        push, instruction: an instruction arrives.
        issue: the head issues.
        miss, wait: the head did not issue for want of a constant, which comes in so many cycles (at least 1).
        control, write_counter, read_counter, released: see `ControlBits`.
        written, forwarded, read: with a scoreboard; see `RegisterWaits`.
        free: pipes that can be taken.
        room: the memory queue takes an instruction.
        head: the oldest instruction.
        eligible: it can issue, as far as this warp is concerned and constants are not.
    """

    def __init__(self, design: IssueDesign):
        self._design = design
        returns = {"written": In(ENTRIES), "forwarded": In(ENTRIES), "read": In(ENTRIES).array(ENDS)}
        super().__init__({
            "start": In(1),
            "wake": In(1),
            "push": In(1),
            "instruction": In(layout(design)),
            "issue": In(1),
            "miss": In(1),
            "wait": In(design.constant_miss.bit_length()),
            "control": In(1),
            "write_counter": In(3),
            "read_counter": In(3),
            "released": In(RELEASED_BITS).array(COUNTERS),
            "free": In(PIPES),
            "room": In(1),
            "head": Out(layout(design)),
            "eligible": Out(1),
            **(returns if design.consumers else {}),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Connect the parts."""
        m = Module()
        m.submodules.buffer = buffer = InstructionBuffer(self._design)
        m.submodules.control_bits = bits = ControlBits()
        head = buffer.head
        m.d.comb += [
            buffer.clear.eq(self.start),
            buffer.push.eq(self.push),
            buffer.instruction.eq(self.instruction),
            buffer.pop.eq(self.issue),
            self.head.eq(head),
            bits.clear.eq(self.start),
            bits.issue.eq(self.issue),
            *(getattr(bits, name).eq(getattr(self, name)) for name in ("control", "write_counter", "read_counter")),
            *(bits.released[i].eq(self.released[i]) for i in range(COUNTERS)),
            *(
                getattr(bits, name).eq(head[name])
                for name in ("stall", "yields", "wait_mask", "bar", "bar_counter", "bar_limit", "bar_mask")
            ),
        ]
        unit = self.free.bit_select(head.pipe, 1) | (head.or_alu & self.free[PIPE_ALU])
        passes = Signal()
        with m.If(head.path == MEMORY):
            m.d.comb += passes.eq(self.room)
        with m.Else():
            m.d.comb += passes.eq(unit)
        held = self._held(m, head)
        m.d.comb += self.eligible.eq(buffer.valid & bits.ready & passes & ~held & self._registers(m))
        return m

    def _registers(self, m: Module) -> Value:
        """Whether the scoreboard, if there is one, lets the head issue."""
        if not self._design.consumers:
            return Const(1)
        m.submodules.registers = registers = RegisterWaits(self._design)
        m.d.comb += [
            registers.clear.eq(self.start),
            registers.issue.eq(self.issue),
            registers.head.eq(self.head),
            registers.written.eq(self.written),
            registers.forwarded.eq(self.forwarded),
            *(registers.read[i].eq(self.read[i]) for i in range(ENDS)),
        ]
        return registers.ready

    def _held(self, m: Module, head: object) -> Signal:
        """Blocked until woken, or until a constant is there."""
        blocked, left, held = Signal(), Signal(len(self.wait)), Signal()
        with m.If(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.If(self.miss):
            m.d.sync += left.eq(self.wait - 1)
        with m.If(self.issue & head.blocks):
            m.d.sync += blocked.eq(1)
        with m.If(self.wake | self.start):
            m.d.sync += blocked.eq(0)
        m.d.comb += held.eq(blocked | (left != 0))
        return held
