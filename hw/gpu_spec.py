"""What a GPU is, as data: the spec that the core model, its RTL and the reports share.

A GPU is a TOML file in `hw/gpus/`; each value there cites its source. A file with `base = "NAME"` states only
what differs from another GPU. `load_gpu` reads one, applies
overrides such as `{"core.rf.read_ports": 2}`, and checks every field against its legal range.
"""

import difflib
import tomllib
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hw.gpu_settings import GpuSpecError, override

_UNION_MEMBERS = ("constrained-int", "literal[")  # how pydantic names the alternatives of a field
GPU_DIRECTORY = Path(__file__).parent / "gpus"

Cycles = Annotated[int, Field(ge=0, le=100_000)]
Interval = Annotated[int, Field(ge=1, le=4096)]
Count = Annotated[int, Field(ge=1, le=1 << 20)]
Rate = Annotated[float, Field(gt=0, le=1e6)]

WARPS_PER_SUB_CORE = 16
LINE_BYTES = 128

UNITS = ("fp32", "alu", "half", "tensor", "uniform", "branch", "misc", "sfu", "fp64", "convert")
MEMORY_CLASSES = (
    "ldg_uniform", "ldg", "stg_uniform", "stg", "lds_uniform", "lds", "sts_uniform", "sts",
    "ldc_immediate", "ldc", "ldgsts", "shuffle", "special",
)  # fmt: skip


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class UnitSpec(_Spec):
    """One execution unit of a sub-core, times in cycles.

    Attributes:
        latency: issue of a producer to the earliest correct issue of a fixed-latency consumer; for a
            variable-latency unit (sfu, fp64, convert), to the issue of a consumer that waits on the counter.
        interval: cycles between two issues to the unit (32 lanes over the unit's width).
    """

    latency: Cycles
    interval: Interval


class TensorSpec(_Spec):
    """Tensor core of a sub-core.

    Attributes:
        flops_per_cycle: dense fp16 operations a cycle (multiply and add count as two) of one sub-core;
            8-bit integers run at twice, 4-bit at four times, TF32 at half of it.
        fp32_accumulate_rate: factor on the rate of 16-bit operands with an FP32 accumulator (0.5 on GeForce).
        latency: accumulator to accumulator, in issue cycles.
    """

    flops_per_cycle: Count
    fp32_accumulate_rate: Annotated[float, Field(gt=0, le=1)]
    latency: Cycles


class RegisterFileSpec(_Spec):
    """Register file of a sub-core: banks by register number modulo `banks`."""

    banks: Annotated[int, Field(ge=2, le=2)]
    read_ports: Annotated[int, Field(ge=1, le=16)] | Literal["ideal"]  # per bank, 1024 bit each
    write_ports: Annotated[int, Field(ge=1, le=16)]  # per bank, fixed-latency results
    reuse_cache: bool  # one entry per bank and operand slot
    read_cycles: Annotated[int, Field(ge=3, le=3)]  # window a fixed-latency instruction reads its operands in
    wide_read_cycles: Annotated[int, Field(ge=3, le=16)]  # window of a tensor operand of four registers


class InstructionCacheSpec(_Spec):
    """L0 and L1 instruction caches with a stream-buffer prefetcher; sizes in lines of `line_bytes`."""

    perfect: bool
    line_bytes: Annotated[int, Field(ge=16, le=1024, multiple_of=16)]
    l0_sets: Count
    l0_ways: Count
    l1_sets: Count
    l1_ways: Count
    network_cycles: Cycles  # L0 to L1, each way; one more cycle in L1
    miss_cycles: Cycles  # added when L1 misses
    prefetch_lines: Annotated[int, Field(ge=0, le=64)]


class ConstantCacheSpec(_Spec):
    """Constant cache of fixed-latency operands (L0-FL), one per sub-core; looked up at issue."""

    perfect: bool
    sets: Annotated[int, Field(ge=1, le=16)]
    ways: Annotated[int, Field(ge=1, le=8)]
    line_bytes: Annotated[int, Field(ge=8, le=256)]
    miss_cycles: Cycles
    hold_cycles: Cycles  # the missing warp keeps the issue slot this long


class MemoryClassSpec(_Spec):
    """How one kind of memory instruction passes the sub-core's memory unit, in cycles.

    Attributes:
        stages: occupancy of the four non-empty pipeline stages.
        stores: the store data transfer (64 B a cycle) is added to the last stage.
        war: issue to the issue of an overwriter of a source, for 32-bit data, uncontended.
        raw: issue to the issue of a consumer, for 32-bit data that hits, uncontended; 0 = nothing returns.
        transfer: cycles on the return path for 32, 64 and 128 bit.
    """

    stages: Annotated[tuple[Cycles, Cycles, Cycles, Cycles], Field(strict=False)]
    stores: bool = False
    war: Cycles
    raw: Cycles = 0
    transfer: Annotated[tuple[Cycles, Cycles, Cycles], Field(strict=False)] = (0, 0, 0)


class MemoryUnitSpec(_Spec):
    """Memory unit: one queue and address generator per sub-core, one shared acceptance point per SM."""

    queue_entries: Annotated[int, Field(ge=1, le=14)]  # plus one latch
    accept_interval: Interval  # of the structures all sub-cores share
    store_bytes_per_cycle: Count
    pending_requests: Annotated[int, Field(ge=1, le=128)]
    classes: dict[str, MemoryClassSpec]


class DependenceSpec(_Spec):
    """How a warp waits for the registers of its earlier instructions.

    Attributes:
        mechanism: `control_bits` as the compiler set them, or a `scoreboard` that needs none: a bit a register for
            results under way, and a count of the variable-latency instructions that have yet to read it.
        consumers: most such readers of one register at a time that a scoreboard can count.
    """

    mechanism: Literal["control_bits", "scoreboard"]
    consumers: Annotated[int, Field(ge=1, le=63)] | Literal["unlimited"]


class CopySpec(_Spec):
    """Bulk copies and mbarriers of an SM (sm_90 and later), in cycles.

    Attributes:
        barrier_test: issue of an mbarrier test that succeeds, to the issue of what waits for it.
        barrier_arrive: issue of an arrival to its effect on the mbarrier.
        barrier_wake: what a test that had to wait takes longer, from the end of the phase on.
        issue: issue of a bulk copy to the release of its operands.
        start: acceptance of a bulk copy to its first request to L2.
        bytes_per_cycle: what the copy engine asks L2 for, or reads from shared memory.
        fence: a fence of the asynchronous proxy (FENCE.VIEW.ASYNC).
    """

    barrier_test: Cycles
    barrier_arrive: Cycles
    barrier_wake: Cycles
    issue: Cycles
    start: Cycles
    bytes_per_cycle: Annotated[int, Field(ge=8, le=1024)]
    fence: Cycles


class ProductSpec(_Spec):
    """Warpgroup products (wgmma, sm_90) of a sub-core, in cycles.

    Attributes:
        issue: between two products from shared memory that enter the queue.
        issue_registers: the same with A in registers.
        arrive: WARPGROUP.ARRIVE to the warp's next instruction.
        queue: products that wait behind the one at work.
        tail: end of the tensor core's work to the release of the product's group, A in shared memory.
        tail_registers: the same with A in registers.
    """

    issue: Interval
    issue_registers: Interval
    arrive: Cycles
    queue: Annotated[int, Field(ge=1, le=15)]
    tail: Cycles
    tail_registers: Cycles


class CoreSpec(_Spec):
    """One SM: four sub-cores and what they share.

    Attributes:
        issue_policy: which of the warps that can issue does: the last one again or else the youngest (`cggty`), the
            last one again or else the oldest (`gto`, greedy then oldest), or the next in turn (`lrr`, loose round
            robin). Fetch looks at warps in the same order.
        copies: None where the hardware has none.
        products: None where the hardware has none.
    """

    sub_cores: Annotated[int, Field(ge=1, le=4)]
    issue_policy: Literal["cggty", "gto", "lrr"]
    instruction_buffer: Annotated[int, Field(ge=1, le=8)]  # entries per warp
    barrier_cycles: Cycles  # last arrival to the first issue after it
    barrier_interval: Cycles  # between two arrivals
    branch_redirect: Cycles  # taken branch to the first fetch at its target
    wide_multiply_port_cycles: Cycles  # the issue port stays busy this much longer after IMAD.WIDE
    fp32_on_alu: bool  # FP32 operations may also use the integer pipe
    membar_cycles: Cycles  # of a MEMBAR
    block_membar_cycles: Cycles  # of one of block scope
    dependence: DependenceSpec
    units: dict[str, UnitSpec]
    tensor: TensorSpec
    rf: RegisterFileSpec
    icache: InstructionCacheSpec
    constant: ConstantCacheSpec
    memory: MemoryUnitSpec
    copies: CopySpec | None = None
    products: ProductSpec | None = None

    @model_validator(mode="after")
    def _tables_are_complete(self) -> "CoreSpec":
        for field, table, names in (
            ("units", self.units, UNITS),
            ("memory.classes", self.memory.classes, MEMORY_CLASSES),
        ):
            if set(table) != set(names):
                wrong = ", ".join(sorted(set(table) ^ set(names)))
                raise ValueError(f"{field} must have exactly the entries {', '.join(names)}; differing: {wrong}")
        return self


class LimitsSpec(_Spec):
    """What one SM can hold at a time."""

    warps: Annotated[int, Field(ge=4, le=64, multiple_of=4)]
    blocks: Annotated[int, Field(ge=1, le=32)]
    registers: Count  # 32-bit
    register_granularity: Count  # registers a warp is given at a time
    shared_bytes: Count
    shared_bytes_per_block: Count  # with the opt-in
    shared_reserved_bytes: Cycles  # taken by the system from each block
    shared_granularity: Count
    threads_per_block: Annotated[int, Field(ge=32, le=1024)]


class CacheSpec(_Spec):
    """A sectored cache: 128-byte lines of four 32-byte sectors, least recently used goes first."""

    sets: Count
    ways: Annotated[int, Field(ge=1, le=512)]


class MemorySpec(_Spec):
    """L1, L2 and DRAM. Latencies are what a load adds to its L1 hit time; bandwidths are of the whole chip."""

    perfect_l1: bool
    l1_bytes: Count  # unified with shared memory
    l1_ways: Annotated[int, Field(ge=1, le=512)]
    l1_bytes_per_cycle: Count  # of one SM
    l2: CacheSpec  # of one slice
    l2_slices: Count
    l2_cycles: Annotated[int, Field(ge=64, le=10_000)]
    l2_bytes_per_cycle: Rate
    dram_channels: Count
    dram_cycles: Cycles
    dram_bytes_per_cycle: Rate  # of a stream in one direction
    dram_turnaround_cycles: Annotated[float, Field(ge=0, le=1000)]  # between a read and a write of a channel
    dram_bytes: Annotated[int, Field(ge=1 << 30, le=1 << 40)]


class GpuSpec(_Spec):
    """A whole GPU.

    Attributes:
        name: short name, as in the TOML's file name.
        product: the name on the box.
        arch: compute capability times ten, e.g. 86.
        sm_count: SMs.
        core_clock_mhz: clock of SMs and L2, MHz.
        launch_overhead_cycles: kernel launch to first instruction, core cycles; reported apart from the cycles.
        block_launch_cycles: a block's end to the first fetch of the block that takes its place, core cycles.
        limits: what one SM can hold.
        core: the SM.
        memory: caches and DRAM.
    """

    name: str
    product: str
    arch: Annotated[int, Field(ge=75, le=129)]
    sm_count: Annotated[int, Field(ge=1, le=512)]
    core_clock_mhz: Annotated[int, Field(ge=100, le=5000)]
    launch_overhead_cycles: Cycles
    block_launch_cycles: Annotated[int, Field(ge=64, le=100_000)]
    limits: LimitsSpec
    core: CoreSpec
    memory: MemorySpec

    @model_validator(mode="after")
    def _fits_together(self) -> "GpuSpec":
        if self.limits.shared_bytes > self.memory.l1_bytes:
            raise ValueError(
                f"limits.shared_bytes must be at most memory.l1_bytes = {self.memory.l1_bytes} (one array holds both), "
                f"not {self.limits.shared_bytes}"
            )
        if self.limits.shared_bytes_per_block > self.limits.shared_bytes:
            raise ValueError(
                f"limits.shared_bytes_per_block must be at most limits.shared_bytes = {self.limits.shared_bytes}, "
                f"not {self.limits.shared_bytes_per_block}"
            )
        if self.limits.warps > WARPS_PER_SUB_CORE * self.core.sub_cores:
            raise ValueError(
                f"limits.warps must be at most {WARPS_PER_SUB_CORE * self.core.sub_cores} with core.sub_cores = "
                f"{self.core.sub_cores} ({WARPS_PER_SUB_CORE} warps each), not {self.limits.warps}"
            )
        if self.memory.l1_bytes % (LINE_BYTES * self.memory.l1_ways):
            raise ValueError(
                f"memory.l1_bytes must be a multiple of {LINE_BYTES * self.memory.l1_ways} ({LINE_BYTES}-byte lines in "
                f"memory.l1_ways = {self.memory.l1_ways}), not {self.memory.l1_bytes}"
            )
        return self


def gpu_names() -> list[str]:
    """Names that `load_gpu` knows, sorted."""
    return sorted(path.stem for path in GPU_DIRECTORY.glob("*.toml"))


def load_gpu(name_or_path: str | Path, overrides: dict[str, Any] | None = None) -> GpuSpec:
    """Read a GPU description and check it.

    Args:
        name_or_path: a name from `gpu_names()`, or the path of a TOML file.
        overrides: dotted field to value, e.g. `{"core.rf.read_ports": 2, "sm_count": 1}`.

    Raises:
        GpuSpecError: unknown name, malformed TOML, unknown field, a value outside its legal range, or an override that
            has no effect on this GPU.
    """
    tree, source = _read(name_or_path, ())
    spec = _checked(tree, source)
    if not overrides:
        return spec
    tree = spec.model_dump()
    override(tree, overrides)
    return _checked(tree, source)


def _checked(tree: dict[str, Any], source: str) -> GpuSpec:
    try:
        return GpuSpec.model_validate(tree)
    except ValidationError as error:
        raise GpuSpecError(_explain(source, error)) from error


def _read(name_or_path: str | Path, seen: tuple[str, ...]) -> tuple[dict[str, Any], str]:
    """The tables of a TOML file over those of its `base`, and the file's name."""
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = GPU_DIRECTORY / f"{name_or_path}.toml"
    if not path.is_file():
        raise GpuSpecError(
            f"GPU {str(name_or_path)!r} is not known; known: {', '.join(gpu_names())}, or give a TOML file"
        )
    try:
        tree = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GpuSpecError(f"{path.name} is not valid TOML: {error}") from error
    if "base" not in tree:
        return tree, path.name
    base = tree.pop("base")
    if not isinstance(base, str) or base in seen:
        raise GpuSpecError(f"{path.name}: base must be the name of another GPU, not {base!r}")
    return _merged(_read(base, (*seen, base))[0], tree), path.name


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Tables of `over` laid on those of `under`, table by table."""
    merged = dict(under)
    for name, value in over.items():
        both = isinstance(value, dict) and isinstance(under.get(name), dict)
        merged[name] = _merged(under[name], value) if both else value
    return merged


def _explain(source: str, error: ValidationError) -> str:
    """One clause per wrong field: what, where, got, expected."""
    wrong: dict[str, list[str]] = {}
    got: dict[str, object] = {}
    for problem in error.errors():
        parts = [str(part) for part in problem["loc"] if not str(part).startswith(_UNION_MEMBERS)]
        field = ".".join(parts) or "the GPU"
        if problem["type"] == "extra_forbidden":
            rule = f"no such field{_meant(parts)}"
        elif problem["type"] == "missing":
            rule = "is missing"
        else:
            rule = problem["msg"].removeprefix("Input ")
            got[field] = problem["input"] if not isinstance(problem["input"], (dict, BaseModel)) else "a table"
        rules = wrong.setdefault(field, [])
        rules.append(rule.removeprefix("should be ") if rules else rule)
    return "; ".join(
        f"{source}: {field}: {' or '.join(rules)}{f', not {got[field]!r}' if field in got else ''}"
        for field, rules in wrong.items()
    )


def _meant(place: list[str]) -> str:
    """A hint at the nearest legal field of the table in which the last of `place` is not."""
    part: Any = GpuSpec
    for step in place[:-1]:
        kind = part.model_fields[step].annotation if hasattr(part, "model_fields") else get_args(part)[-1]
        part = next((one for one in get_args(kind) if isinstance(kind, UnionType) and one is not NoneType), kind)
    near = difflib.get_close_matches(place[-1], list(getattr(part, "model_fields", ())), 1)
    return f"; did you mean {near[0]}?" if near else ""
