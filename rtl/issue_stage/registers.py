"""A warp's registers with a scoreboard: decoders, the scoreboard, and readers that results reach late."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportReturnType=false

from collections.abc import Iterable

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import Component, In, Out

from hw.dependence_area import ENTRIES
from rtl.issue_stage.design import ENDS, IssueDesign
from rtl.issue_stage.instruction import FIXED, MEMORY, RANGE, layout
from rtl.issue_stage.scoreboard import Scoreboard

PREDICATES = 14  # P0 to P6 and UP0 to UP6, the last entries
AGE_BITS = 4
COUNT_BITS = RANGE["count"].width


def decode(ranges: Iterable) -> Value:
    """One bit a register for ranges of them."""
    masks: Value = Const(0, ENTRIES)
    for entries in ranges:
        ones = ((Const(1, 1) << entries.count) - 1)[: (1 << COUNT_BITS) - 1]
        masks = masks | (ones << entries.first)[:ENTRIES]
    return masks


class RegisterWaits(Component):
    """Whether a warp's registers let its next instruction issue.

    A result of fixed latency reaches the memory unit a cycle later than it reaches the other units, and a guard by as
    much later as the instruction says, from when other units have it (`gpu_model.core.dependences`). Throughput one
    instruction a cycle, latency 0 from the head to `ready`.

    Ports:
        clear: a new warp; nothing is under way.
        head: the next instruction.
        issue: it issues.
        written: registers whose results come back from outside.
        forwarded: registers whose results of fixed latency the other units have from the next cycle on.
        read: registers read, for each instruction that ends its reads.
        ready: it can issue.
    """

    def __init__(self, design: IssueDesign):
        self._design = design
        super().__init__({
            "clear": In(1),
            "head": In(layout(design)),
            "issue": In(1),
            "written": In(ENTRIES),
            "forwarded": In(ENTRIES),
            "read": In(ENTRIES).array(ENDS),
            "ready": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Connect the scoreboard, and build what holds late readers."""
        m = Module()
        m.submodules.scoreboard = board = Scoreboard(self._design.consumers, ends=ENDS)
        *uses, guard = self.head.uses
        guards, makes = Signal(ENTRIES), Signal(ENTRIES)
        m.d.comb += [
            guards.eq(decode([guard])),
            makes.eq(decode(self.head.makes)),
            board.clear.eq(self.clear),
            board.reads.eq(decode(uses) | guards),
            board.writes.eq(makes),
            board.variable.eq(self.head.path != FIXED),
            board.issue.eq(self.issue),
            board.written.eq(self.written | self.forwarded),
            *(board.read[i].eq(self.read[i]) for i in range(ENDS)),
        ]
        fresh = Signal(ENTRIES)
        m.d.sync += fresh.eq(self.forwarded)
        late = (self.head.path == MEMORY) & (board.reads & fresh).any()
        young = (guards[-PREDICATES:] & self._young(m, Mux(self.issue, makes, 0))).any()
        m.d.comb += self.ready.eq(board.ready & ~late & ~young)
        return m

    def _young(self, m: Module, issued: Value) -> Value:
        """Predicates that came at fixed latency, too lately for the guard at the head."""
        oldest = (1 << AGE_BITS) - 1
        ages = [Signal(AGE_BITS, init=oldest, name=f"age_{i}") for i in range(PREDICATES)]
        first = ENTRIES - PREDICATES
        for i, age in enumerate(ages):
            with m.If(self.clear | issued[first + i]):
                m.d.sync += age.eq(oldest)
            with m.Elif(self.forwarded[first + i]):
                m.d.sync += age.eq(0)
            with m.Elif(age != oldest):
                m.d.sync += age.eq(age + 1)
        return Cat(age < self.head.guard_extra for age in ages)
