"""Results of fixed latency on their way: when a scoreboard sees that the registers have them."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportOperatorIssue=false

from amaranth.hdl import Array, Module, Signal, Value
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from rtl.issue_stage.design import MAKES, RESULT_BITS, SHORTEST_RESULT, USES, WARP_BITS, IssueDesign
from rtl.issue_stage.instruction import RANGE, layout

LANES = 3  # results of more than the shortest latency that can come in the same cycle
# Warps of a slot are told apart by a number: a warp takes 4 cycles and more from its start to the next one's.
TURN_BITS = RESULT_BITS - 2
RESULT = data.StructLayout({"valid": 1, "warp": WARP_BITS, "ranges": data.ArrayLayout(RANGE, MAKES)})
READ = data.StructLayout({"valid": 1, "warp": WARP_BITS, "ranges": data.ArrayLayout(RANGE, USES)})
_WAITING = data.StructLayout({"turn": TURN_BITS, "result": RESULT})


class FixedResults(Component):
    """A calendar of the cycles to come, in which an instruction enters its result when it leaves Allocate.

    A consumer can issue `latency` cycles after the instruction issued, and later by what it waited in Allocate.
    Throughput one instruction a cycle.

    Ports:
        start: warp slots that get a new warp, which the results are not for.
        left, warp, instruction: what leaves Allocate.
        results: those that consumers see from the next cycle on.
        overflow: a result found its cycle's lanes taken; no legal input does that.
    """

    def __init__(self, design: IssueDesign):
        self._design = design
        super().__init__({
            "start": In(design.warps),
            "left": In(1),
            "warp": In(WARP_BITS),
            "instruction": In(layout(design)),
            "results": Out(RESULT).array(LANES + 1),
            "overflow": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the lanes; what has the shortest latency passes them by."""
        m = Module()
        now, at = Signal(RESULT_BITS), Signal(RESULT_BITS)
        entering, enters = Signal(_WAITING), Signal()
        turns = Array(Signal(TURN_BITS, name=f"turn_{i}") for i in range(self._design.warps))
        m.d.sync += [now.eq(now + 1), *(turn.eq(turn + self.start[i]) for i, turn in enumerate(turns))]
        short = self.instruction.latency == SHORTEST_RESULT
        m.d.comb += [
            at.eq(now + self.instruction.latency - SHORTEST_RESULT),
            enters.eq(self.left & (self.instruction.makes[0].count != 0)),
            entering.turn.eq(turns[self.warp]),
            entering.result.valid.eq(enters),
            entering.result.warp.eq(self.warp),
            entering.result.ranges.eq(self.instruction.makes),
            self.results[LANES].eq(entering.result),
            self.results[LANES].valid.eq(enters & short),
        ]
        wanted: Value = enters & ~short
        for lane in range(LANES):
            wanted = self._lane(m, lane, now, at, entering, wanted, turns)
        with m.If(wanted):
            m.d.sync += self.overflow.eq(1)
        return m

    def _lane(
        self, m: Module, lane: int, now: Signal, at: Signal, entering: Signal, wanted: Value, turns: Array
    ) -> Value:
        """One result for each cycle to come; returns whether what enters found its cycle taken."""
        m.submodules[f"lane_{lane}"] = memory = Memory(shape=_WAITING, depth=1 << RESULT_BITS, init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")
        taken = Signal(1 << RESULT_BITS, name=f"taken_{lane}")
        enters, comes = Signal(name=f"enters_{lane}"), Signal(name=f"comes_{lane}")
        m.d.comb += [
            enters.eq(wanted & ~taken.bit_select(at, 1)),
            comes.eq(taken.bit_select(now, 1)),
            write.en.eq(enters),
            write.addr.eq(at),
            write.data.eq(entering),
            read.addr.eq(now),
            self.results[lane].eq(read.data.result),
            self.results[lane].valid.eq(comes & (read.data.turn == turns[read.data.result.warp])),
        ]
        m.d.sync += taken.eq((taken & ~(comes << now)) | (enters << at))
        return wanted & ~enters
