"""What a launch costs: run its trace on a GPU's spec, and hand back cycles, stalls, traffic and timelines."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gpu_model.core.chip import FAILED, FINISHED, NEEDS_BLOCKS, Chip, run
from gpu_model.core.lower import lower
from gpu_model.core.occupancy import Occupancy, occupancy
from gpu_model.core.opcodes import Action, Space
from gpu_model.core.pool import TracePool, place_regions
from gpu_model.core.row_counts import ROW_COUNTS
from gpu_model.core.stalls import REASONS, StallReason
from gpu_model.core.state import (
    ALL_SECTORS,
    ERROR_GROUPS,
    ERROR_HEAP,
    ERROR_MBARRIERS,
    ERROR_MESSAGES,
    ERROR_READERS,
    ERROR_UNKNOWN_MBARRIER,
    ERROR_UPDATES,
    GROUPS,
    HAZARD,
    HEAP,
    L2_LINE,
    LINE,
    LOCALS,
    LOG,
    MBARRIERS,
    MESSAGE,
    NEVER,
    READERS,
    SUB_CORES,
    TRAFFIC,
    UPDATES,
    configuration,
    new_sms,
)
from gpu_model.errors import ExecutionError
from gpu_model.program import Program
from gpu_model.trace import BlockTrace
from hw.gpu_spec import GpuSpec

if TYPE_CHECKING:
    from gpu_model.sampling import Sampling

WARP_RECORDS = 1 << 20  # at most so many warps are kept for the timeline
_MESSAGES = 1 << 15  # L1 to L2 requests of one SM in one quantum, at most
_QUANTA = 1 << 11  # between two calls of `progress`
_SMS_A_THREAD = 4  # fewer are not worth another thread

WARP_RECORD = np.dtype(
    [
        ("block", "i8"), ("warp", "i4"), ("sm", "i4"), ("sub_core", "i4"), ("slot", "i4"),
        ("start_cycle", "i8"), ("end_cycle", "i8"), ("issued", "i8"),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Timing:
    """What one launch cost on one GPU. Cycles are core cycles.

    Attributes:
        kernel: kernel name.
        gpu: name of the spec.
        grid: blocks in x, y, z.
        clock_mhz: core clock, MHz.
        cycles: first fetch of the first block to the end of the last warp.
        launch_overhead_cycles: what the launch costs before; not part of `cycles`.
        warp_instructions: instructions issued, one per warp.
        sm_cycles: over SMs, first fetch to last issue; the SM-cycles that had work.
        occupancy: blocks and warps per SM and what limits them.
        traffic_bytes: bytes by level and direction, e.g. `l1_read`; `_hit` is the part found there.
        issued: int64[rows], issues of each program row.
        counts: `ROW_COUNTS` array, what each program row executed and touched.
        stalled: int64[rows, StallReason], warp-cycles a warp waited with that row next, by reason.
        warps: `WARP_RECORD` array for timelines, at most `WARP_RECORDS`.
        events: `LOG` array of issues (cycle, cycle in Control, SM, sub-core, warp as index into `warps`, row);
            the first `events` of each SM, empty unless asked for.
        sampling: what of the launch was simulated, if not all of it was asked for.
    """

    kernel: str
    gpu: str
    grid: tuple[int, int, int]
    clock_mhz: int
    cycles: int
    launch_overhead_cycles: int
    warp_instructions: int
    sm_cycles: int
    occupancy: Occupancy
    traffic_bytes: dict[str, int]
    issued: np.ndarray = field(repr=False)
    counts: np.ndarray = field(repr=False)
    stalled: np.ndarray = field(repr=False)
    warps: np.ndarray = field(repr=False)
    events: np.ndarray = field(repr=False)
    sampling: "Sampling | None" = None

    @property
    def ipc(self) -> float:
        """Warp-instructions per SM-cycle, over SMs while they had work."""
        return self.warp_instructions / max(1, self.sm_cycles)

    @property
    def microseconds(self) -> float:
        """Cycles at the core clock, without launch overhead."""
        return self.cycles / self.clock_mhz

    def stalls_frame(self) -> pd.DataFrame:
        """Warp-cycles by reason: columns reason, warp_cycles, share of all warp-cycles; issuing comes first."""
        cycles = np.concatenate(([self.issued.sum()], self.stalled.sum(axis=0)))
        names = ["ISSUED", *(reason.name for reason in StallReason)]
        return pd.DataFrame({"reason": names, "warp_cycles": cycles, "share": cycles / max(1, cycles.sum())})

    def lines_frame(self, program: Program) -> pd.DataFrame:
        """Warp-cycles by source line, costliest first.

        Columns: file, line, issued, warp_cycles (issued and stalled), one per field of `ROW_COUNTS`, and one per
        `StallReason`.
        """
        places = np.stack([program.rows["file"], program.rows["line"]]).astype(np.int64)
        lines, of_row = np.unique(places, axis=1, return_inverse=True)
        counted = ROW_COUNTS.names or ()
        sums = np.zeros((lines.shape[1], 2 + len(counted) + REASONS), np.int64)
        waited = self.issued + self.stalled.sum(axis=1)
        columns = (self.issued, waited, *(self.counts[name] for name in counted), *self.stalled.T)
        np.add.at(sums, of_row, np.stack(columns, axis=1))
        order = np.argsort(-sums[:, 1], kind="stable")
        frame = pd.DataFrame({"file": [program.files[i] for i in lines[0, order]], "line": lines[1, order]})
        for i, name in enumerate(("issued", "warp_cycles", *counted, *(reason.name for reason in StallReason))):
            frame[name] = sums[order, i]
        return frame


def time_launch(
    program: Program,
    traces: Iterable[BlockTrace],
    spec: GpuSpec,
    *,
    grid: tuple[int, int, int],
    block_threads: int,
    shared_bytes: int,
    regions: Sequence[tuple[int, int]] = (),
    events: int = 0,
    dirty_l2: float = 0.0,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Timing:
    """Time a launch on all SMs of a GPU.

    Blocks go to SMs in the order of `traces`, each to the slot that is free first, breadth first at the
    start; the trace iterator is read as slots free up. Caches start cold. L2 and DRAM are latency and
    bandwidth servers per slice and per channel.

    Args:
        program: the kernel.
        traces: one `BlockTrace` per block.
        spec: the GPU.
        grid: blocks in x, y, z.
        block_threads: threads of a block.
        shared_bytes: shared memory of a block, static and dynamic, bytes.
        regions: (address, bytes) of the launch's global memory. Addresses are moved to fixed bases, so that
            host addresses do not change the result; without regions they are taken as they are.
        events: issues to record per SM.
        dirty_l2: share of L2's lines that hold other data not yet written to DRAM when the launch begins, as after
            a benchmark that clears the cache by writing a large buffer.
        threads: that simulate SMs, default one a core; the result does not depend on it.
        progress: called now and then with the cycle reached.

    Raises:
        UnsupportedInstruction: an opcode without timing, or code of another architecture.
        LaunchError: a block that does not fit an SM.
        TraceError: a trace that does not fit program or launch.
        ExecutionError: the warps deadlock, or a bound of the model is exceeded.
        ValueError: `dirty_l2` outside 0 to 1, or no thread.
    """
    if threads is not None and threads < 1:
        raise ValueError(f"threads is {threads}, legal from 1 on")
    if not 0 <= dirty_l2 <= 1:
        raise ValueError(f"dirty_l2 is {dirty_l2}, legal 0 to 1")
    table = lower(program, spec)
    fits = occupancy(spec, block_threads=block_threads, registers=program.registers, shared_bytes=shared_bytes)
    chip, configs = new_chip(
        spec, len(program), fits.blocks * shared_bytes, events, check_hazards=False, threads=threads
    )
    place = np.arange(chip.l2.shape[1])[:, None] + np.arange(chip.l2.shape[2])  # spreads the dirty ways over the sets
    chip.l2["dirty"][:, np.floor((place + 1) * dirty_l2) > np.floor(place * dirty_l2)] = ALL_SECTORS
    pool = TracePool(program, table, traces, place_regions(regions), -(-block_threads // 32))
    records = _run(program, chip, table, pool, fits.blocks, configs, progress)
    working = chip.sms["first_cycle"] >= 0
    sm_cycles = (chip.sms["last_cycle"] - chip.sms["first_cycle"])[working]
    return Timing(
        kernel=program.name,
        gpu=spec.name,
        grid=grid,
        clock_mhz=spec.core_clock_mhz,
        cycles=int(chip.sms["last_cycle"].max(initial=0)),
        launch_overhead_cycles=spec.launch_overhead_cycles,
        warp_instructions=int(chip.sms["issued"].sum()),
        sm_cycles=int(sm_cycles.sum()),
        occupancy=fits,
        traffic_bytes=dict(zip(TRAFFIC, chip.sms["bytes"].sum(axis=0).tolist(), strict=True)),
        issued=chip.issued.sum(axis=0),
        counts=pool.counts,
        stalled=chip.stalled.sum(axis=0),
        warps=records,
        events=_events(chip),
    )


def new_chip(
    spec: GpuSpec,
    rows: int,
    shared_bytes: int,
    events: int,
    *,
    check_hazards: bool,
    sm_count: int | None = None,
    threads: int | None = None,
) -> tuple[Chip, np.ndarray]:
    """An idle chip with cold caches, and its `CONFIG`; all SMs of the spec unless `sm_count` says otherwise."""
    count = spec.sm_count if sm_count is None else sm_count
    parts = max(1, min(threads or os.cpu_count() or 1, count // _SMS_A_THREAD))
    configs = configuration(
        spec,
        l1_data_bytes=max(spec.memory.l1_bytes - shared_bytes, 128),
        log_bound=events,
        check_hazards=check_hazards,
    )
    config = configs[0]
    lines = -(-rows // int(config["line_rows"]))
    sms, subs = new_sms(count)
    hazards = np.zeros((count, 1), HAZARD)
    hazards["cycle"] = -1
    chip = Chip(
        sms=sms,
        subs=subs,
        l1=np.zeros((count, config["data_sets"], config["data_ways"]), LINE),
        messages=np.zeros((count, _MESSAGES), MESSAGE),
        l2=np.zeros((config["l2_slices"], config["l2_sets"], config["l2_ways"]), L2_LINE),
        slice_free=np.zeros(config["l2_slices"], np.int64),
        channel_free=np.zeros(config["dram_channels"], np.int64),
        channel_writes=np.zeros(config["dram_channels"], np.int64),
        l0_ready=np.full((count, SUB_CORES, lines), NEVER),
        l0_used=np.zeros((count, SUB_CORES, lines), np.int64),
        l1i_ready=np.full((count, lines), NEVER),
        l1i_used=np.zeros((count, lines), np.int64),
        issued=np.zeros((parts, rows), np.int64),
        stalled=np.zeros((parts, rows, REASONS), np.int64),
        log=np.zeros((count, events), LOG),
        hazards=hazards,
        ready=np.zeros((count, SUB_CORES * LOCALS, 256) if check_hazards else (count, 0, 0), np.int64),
    )
    return chip, configs


def _run(
    program: Program,
    chip: Chip,
    table: np.ndarray,
    pool: TracePool,
    slots: int,
    configs: np.ndarray,
    progress: Callable[[int], None] | None,
) -> np.ndarray:
    """Alternate between simulating and reading blocks; returns the warp records."""
    parts = len(chip.issued)
    with ThreadPoolExecutor(parts - 1) if parts > 1 else nullcontext() as workers:
        kept = _run_all(program, chip, table, pool, slots, configs, progress, workers)
    stuck = chip.subs["warp"][chip.subs["warp"] >= 0]
    if len(stuck):
        sm, sub, local = (int(index[0]) for index in np.nonzero(chip.subs["warp"] >= 0))
        reason = StallReason(int(chip.subs["reason"][sm, sub, local])).name
        where = program.where(int(chip.subs["row"][sm, sub, local]))
        raise ExecutionError(f"{where}: {len(stuck)} warps wait for ever; the first for {reason}")
    return _warp_records(kept)


def _run_all(
    program: Program,
    chip: Chip,
    table: np.ndarray,
    pool: TracePool,
    slots: int,
    configs: np.ndarray,
    progress: Callable[[int], None] | None,
    workers: Executor | None,
) -> np.ndarray:
    """Simulate until nothing moves any more; returns the pool's records of the warps."""
    kept, room, launched, status = [], WARP_RECORDS, 0, NEEDS_BLOCKS
    while status != FINISHED:
        if status == NEEDS_BLOCKS:
            records, launched = pool.refill(chip, launched)
            kept.append(records[: max(room, 0)])
            room -= len(records)
        status, launched = run(chip, table, pool.pool, launched, pool.more, slots, _QUANTA, configs, workers)
        if status == FAILED:
            raise ExecutionError(f"kernel {program.name}: a bound of the core model was exceeded: {_error(chip)}")
        if progress is not None:
            progress(int(chip.sms["clock"].max(initial=0)))
    kept.append(pool.pool.warps[: max(room, 0)])
    return np.concatenate(kept)


def _error(chip: Chip) -> str:
    names = {
        ERROR_HEAP: f"{HEAP} events in flight on an SM",
        ERROR_GROUPS: f"{GROUPS} groups of copies of one warp in flight",
        ERROR_MESSAGES: f"{_MESSAGES} L2 requests of an SM in a quantum",
        ERROR_READERS: f"{READERS} instructions of one warp that have yet to read their registers",
        ERROR_MBARRIERS: f"{MBARRIERS} mbarriers of a block",
        ERROR_UPDATES: f"{UPDATES} mbarrier arrivals of an SM under way",
        ERROR_UNKNOWN_MBARRIER: "each mbarrier must be initialised by its block before it is used",
    }
    return names[int(chip.sms["error"].max())]


def _warp_records(pool_warps: np.ndarray) -> np.ndarray:
    records = np.zeros(len(pool_warps), WARP_RECORD)
    for name in records.dtype.names or ():
        records[name] = pool_warps[name]
    records["issued"] = pool_warps["end"] - pool_warps["start"]
    return records


def _events(chip: Chip) -> np.ndarray:
    """Recorded issues of all SMs, by cycle."""
    bound = chip.log.shape[1]
    parts = []
    for index, count in enumerate(chip.sms["log_count"]):
        part = chip.log[index, : min(count, bound)].copy()
        part["sm"] = index
        parts.append(part)
    events = np.concatenate(parts) if parts else np.zeros(0, LOG)
    return events[np.argsort(events["cycle"], kind="stable")]


@dataclass(frozen=True)
class IssueRecord:
    """When each instruction of each warp issued on one SM.

    Attributes:
        cycle: for each warp int64[n], the issue cycle of its i-th instruction.
        control: for each warp int64[n], the cycle at which it entered Control, where CS2R reads the clock.
        order: `LOG` array, all issues by cycle.
        hazard: "" if every consumer issued after its producer's latency, else the first that did not.
    """

    cycle: tuple[np.ndarray, ...]
    control: tuple[np.ndarray, ...]
    order: np.ndarray
    hazard: str


def issue_cycles(
    program: Program, spec: GpuSpec, *, warps: int = 1, paths: Sequence[Sequence[int]] | None = None
) -> IssueRecord:
    """Run known paths through a program on one SM with warm, perfect data caches and record each issue.

    Warp i sits on sub-core i modulo `core.sub_cores` and is younger than warp i - 1. Fetch starts in cycle 0.
    Global and shared accesses are coalesced and free of bank conflicts.

    Args:
        program: the code.
        spec: the GPU; `memory.perfect_l1` is implied.
        warps: warps of the one block that runs, each executing all rows in order.
        paths: instead, for each warp the program rows in execution order.

    Raises:
        UnsupportedInstruction: an opcode without timing.
        ExecutionError: the warps deadlock.
    """
    spec = spec.model_copy(update={"memory": spec.memory.model_copy(update={"perfect_l1": True})})
    table = lower(program, spec)
    rows = [np.asarray(path) for path in paths] if paths is not None else [np.arange(len(program))] * warps
    chip, configs = new_chip(spec, len(program), 0, sum(map(len, rows)), check_hazards=True, sm_count=1)
    pool = TracePool(program, table, [path_trace(table, rows)], place_regions(()), len(rows))
    _run(program, chip, table, pool, 1, configs, None)
    events = _events(chip)
    own = [events[events["warp"] == warp] for warp in range(len(rows))]
    cycles, controls = (tuple(log[field] for log in own) for field in ("cycle", "control"))
    return IssueRecord(cycles, controls, events, _hazard(program, chip))


def path_trace(table: np.ndarray, paths: list[np.ndarray]) -> BlockTrace:
    """Each memory instruction touches consecutive words, from address 0 on."""
    row = np.concatenate(paths)
    touches = np.isin(table["space"][row], (Space.GLOBAL, Space.SHARED))
    lists = np.where(table["action"][row] == Action.LDGSTS, 2, 1) * touches
    width = np.repeat(table["width"][row], lists)
    return BlockTrace(
        block=0,
        start=np.cumsum([0, *map(len, paths)]),
        row=row.astype(np.uint32),
        mask=np.full(len(row), 0xFFFFFFFF, np.uint32),
        access=np.where(touches, np.cumsum(lists) - lists, -1).astype(np.int32),
        address=np.arange(32) * width[:, None].astype(np.int64),
    )


def _hazard(program: Program, chip: Chip) -> str:
    hazard = chip.hazards[0, 0]
    if hazard["cycle"] < 0:
        return ""
    return (
        f"{program.where(int(hazard['row']))}: warp {int(hazard['warp'])} reads R{int(hazard['register'])} in an "
        f"instruction issued at cycle {int(hazard['cycle'])}"
        + (f", ready at {int(hazard['ready'])}" if hazard["ready"] < NEVER - 1 else " before it is written back")
    )
