"""Which issue stage: the part of a GPU's spec that its hardware depends on."""

from dataclasses import dataclass

from hw.gpu_spec import GpuSpec

COUNTERS, COUNTER_BITS = 6, 6
NO_COUNTER = 7
BANKS, SLOTS = 2, 3
WARP_BITS = 4
PIPES = 8  # FP32, ALU, TENSOR, UNIFORM, BRANCH, MISC, SFU, FP64
PIPE_ALU, PIPE_FP64 = 1, 7
RELEASED_BITS = 3  # of how far a counter can go down in one cycle
# With a scoreboard.
USES, MAKES = 6, 3  # ranges of registers that an instruction reads, the last for its guard, and writes
RETURNS, ENDS = 3, 5  # results, and ends of reads, that come back from outside in one cycle, at most
RESULT_BITS = 5  # of a cycle in the calendar of results
SHORTEST_RESULT = 3  # cycles, of fixed latency
LONGEST_RESULT = SHORTEST_RESULT + (1 << RESULT_BITS) - 1
UNLIMITED_READERS = 255  # of a register; a warp cannot have more under way
POLICIES = ("cggty", "gto", "lrr")


@dataclass(frozen=True)
class IssueDesign:
    """Sizes of one sub-core's issue stage.

    Attributes:
        warps: warp slots.
        buffer: instruction-buffer entries of a warp.
        read_ports: of each register bank; None for as many as it takes.
        reuse_cache: whether operands can be kept.
        read_cycles: window in which an instruction reads its operands.
        wide_read_cycles: the same with an operand of four registers.
        queue: memory instructions that may have issued and not left the sub-core.
        constant_sets, constant_ways: of the L0 cache of constant operands; 0 sets if it always hits.
        constant_miss: cycles of a miss.
        constant_hold: cycles for which a miss keeps the issue slot.
        consumers: most instructions that a scoreboard counts as having yet to read a register; 0 without a scoreboard.
        policy: how a warp is selected, one of `POLICIES`.
    """

    warps: int
    buffer: int
    read_ports: int | None
    reuse_cache: bool
    read_cycles: int
    wide_read_cycles: int
    queue: int
    constant_sets: int
    constant_ways: int
    constant_miss: int
    constant_hold: int
    consumers: int
    policy: str

    @classmethod
    def from_spec(cls, spec: GpuSpec) -> "IssueDesign":
        """The issue stage of a GPU.

        Raises:
            ValueError: a constant cache for which there is no RTL.
        """
        core, constant, dependence = spec.core, spec.core.constant, spec.core.dependence
        consumers = UNLIMITED_READERS if dependence.consumers == "unlimited" else dependence.consumers
        if not constant.perfect and (constant.sets & (constant.sets - 1) or not constant.hold_cycles):
            raise ValueError(
                f"{spec.name}: core.constant has {constant.sets} sets and hold_cycles {constant.hold_cycles}; the RTL "
                "needs a power of two and at least 1"
            )
        return cls(
            warps=spec.limits.warps // core.sub_cores,
            buffer=core.instruction_buffer,
            read_ports=None if core.rf.read_ports == "ideal" else core.rf.read_ports,
            reuse_cache=core.rf.reuse_cache,
            read_cycles=core.rf.read_cycles,
            wide_read_cycles=core.rf.wide_read_cycles,
            queue=core.memory.queue_entries + 1,
            constant_sets=0 if constant.perfect else constant.sets,
            constant_ways=constant.ways,
            constant_miss=max(constant.miss_cycles, 1),
            constant_hold=constant.hold_cycles,
            consumers=consumers if dependence.mechanism == "scoreboard" else 0,
            policy=core.issue_policy,
        )

    @property
    def horizon(self) -> int:
        """Cycles ahead for which register-file ports can be booked."""
        return 2 * self.wide_read_cycles + 4
