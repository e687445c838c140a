"""What goes into and out of the issue stages of one SM, cycle by cycle: for a model of the stage to be held to.

The core model runs one cycle at a time and its state is compared before and after; nothing in it is changed for this.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from gpu_model.core.chip import Chip, Pool, dispatch, next_free_slot, serve_messages
from gpu_model.core.lower import lower
from gpu_model.core.occupancy import occupancy
from gpu_model.core.opcodes import Path
from gpu_model.core.pool import TracePool, place_regions
from gpu_model.core.sm import run_sm
from gpu_model.core.state import COUNTERS, LOCALS, NAMED_BARRIERS, NEVER, REQUESTS, Account, Instructions, Memory
from gpu_model.errors import ExecutionError
from gpu_model.execute import Machine, execute_traced
from gpu_model.issue_events import ACCEPT, EVENT, FETCH, ISSUE, RELEASE, START, WAKE, note
from gpu_model.issue_returns import note_returns, note_write_backs, without_the_gone
from gpu_model.launch import Launch
from gpu_model.program import Program
from gpu_model.timing import new_chip, path_trace
from gpu_model.trace import BlockTrace
from hw.gpu_spec import GpuSpec


@dataclass(frozen=True)
class IssueStream:
    """The issue stages of one SM in one run.

    Attributes:
        table: `LOWERED` rows of the program.
        stall: int64[rows], stall count of each row as the compiler encoded it; 1 where a scoreboard does its work.
        yields: bool[rows], yield bit of each row; unset where a scoreboard does its work.
        events: `EVENT` array by cycle. FETCH: the instruction can issue two cycles later. RELEASE: Issue sees a
            dependence counter one lower in that cycle. WAKE: a warp that waited at a barrier may issue. ACCEPT: the
            memory queue of the sub-core has one entry less. START: a warp takes a slot. ISSUE: an instruction issues.
            With a scoreboard, RESULT: Issue sees that an instruction of variable latency has written its registers.
            READ: Issue sees that it has read them.
        cycles: cycles of the run.
    """

    table: np.ndarray
    stall: np.ndarray
    yields: np.ndarray
    events: np.ndarray
    cycles: int


def observe_launch(launch: Launch, spec: GpuSpec) -> IssueStream:
    """Execute a launch and time it on the first SM of a GPU that has no other, recording its issue stages.

    Raises:
        ExecutionError: blocks that do not fit in memory at once, warps that deadlock.
        GpuError: as `gpu_model.timing.time_launch`.
    """
    table = lower(launch.program, spec)
    shared = launch.own_shared_bytes
    fits = occupancy(spec, block_threads=launch.threads, registers=launch.program.registers, shared_bytes=shared)
    traces = execute_traced(Machine(launch, trace=True))
    chip, configs = new_chip(spec, len(launch.program), fits.blocks * shared, 0, check_hazards=False, sm_count=1)
    return _observe(launch.program, table, traces, launch.regions, -(-launch.threads // 32), fits.blocks, chip, configs)


def observe_paths(
    program: Program, spec: GpuSpec, *, warps: int = 1, paths: Sequence[Sequence[int]] | None = None
) -> IssueStream:
    """The same for `gpu_model.timing.issue_cycles`, whose arguments these are."""
    spec = spec.model_copy(update={"memory": spec.memory.model_copy(update={"perfect_l1": True})})
    table = lower(program, spec)
    rows = [np.asarray(path) for path in paths] if paths is not None else [np.arange(len(program))] * warps
    chip, configs = new_chip(spec, len(program), 0, 0, check_hazards=False, sm_count=1)
    return _observe(program, table, [path_trace(table, rows)], [], len(rows), 1, chip, configs)


def _observe(
    program: Program,
    table: np.ndarray,
    traces: Iterable[BlockTrace],
    regions: Sequence[tuple[int, int]],
    warps: int,
    slots: int,
    chip: Chip,
    configs: np.ndarray,
) -> IssueStream:
    pool = TracePool(program, table, traces, place_regions(regions), warps)
    pool.refill(chip, 0)
    if pool.more:
        raise ExecutionError(
            f"kernel {program.name}: {pool.pool.blocks.size} of its blocks are all that can be observed at once; "
            "try a smaller grid"
        )
    config, launched, now, parts = configs[0], 0, 0, []
    quantum = int(config["quantum"])
    events = np.zeros(quantum * _MOST, EVENT)
    while True:
        launched = dispatch(chip, pool.pool, launched, slots, now, config)
        begin = int(chip.sms[0]["next"])
        if begin == NEVER:
            break
        begin = max(begin, now)
        now = begin + quantum
        count = _observe_quantum(chip, table, pool.pool, begin, now, config, events)
        serve_messages(chip, begin, now, config)
        parts.append(events[:count].copy())
        if chip.sms[0]["error"]:
            raise ExecutionError(f"kernel {program.name}: a bound of the core model was exceeded")
    if (chip.subs["warp"] >= 0).any() or next_free_slot(chip, slots)[0] < 0:
        raise ExecutionError(f"kernel {program.name}: warps wait for ever")
    superfluous = bool(config["scoreboard"]) & (table["distance"] == 1)
    return IssueStream(
        table=table,
        stall=np.where(superfluous, 1, program.rows["stall"].astype(np.int64)),
        yields=program.rows["yield_"].astype(bool) & ~superfluous,
        events=without_the_gone(np.concatenate([_starts(pool.pool, int(config["sub_cores"])), *parts])),
        cycles=int(chip.sms["last_cycle"].max()),
    )


def _starts(pool: Pool, sub_cores: int) -> np.ndarray:
    starts = np.zeros(len(pool.warps), EVENT)
    starts["kind"], starts["cycle"] = START, pool.warps["start_cycle"]
    starts["sub_core"], starts["local"] = pool.warps["slot"] % sub_cores, pool.warps["slot"] // sub_cores
    return starts[np.argsort(starts["cycle"], kind="stable")]


_MEMORY = int(Path.MEMORY)
_MOST = 4 * (LOCALS * COUNTERS * 2 + LOCALS + 7) + 2 * REQUESTS  # events of a cycle


@njit(cache=True, nogil=True)
def _observe_quantum(chip, table, pool, begin, end, config, events):
    """Run the SM from `begin` to `end`; returns how many events were written."""
    sm, subs = chip.sms[0], chip.subs[0]
    instructions = Instructions(chip.l0_ready[0], chip.l0_used[0], chip.l1i_ready[0], chip.l1i_used[0])
    memory = Memory(pool.accesses, pool.lines, chip.l1[0], chip.messages[0])
    account = Account(chip.issued[0], chip.stalled[0], chip.log[0], chip.hazards[0], chip.ready[0])
    before, requests = subs.copy(), sm.request_used.copy()
    count = 0
    for cycle in range(begin, end):
        if sm.next > cycle:
            continue
        before[:], requests[:] = subs, sm.request_used
        run_sm(sm, subs, table, pool.entries, instructions, memory, pool.warps, cycle + 1, config, account)
        for index in range(config.sub_cores):
            count = _compare(before[index], subs[index], index, table, pool.entries, cycle, events, count)
            if config.scoreboard:
                count = note_returns(before[index], subs[index], index, table, cycle, events, count)
        if config.scoreboard:
            count = note_write_backs(sm, requests, subs, table, cycle, events, count)
    return count


@njit(cache=True, nogil=True)
def _compare(old, new, index, table, entries, cycle, events, count):
    """Events of one sub-core in one cycle."""
    queued = old.queue_count
    for local in range(LOCALS):
        if old.warp[local] < 0:
            continue
        if new.fetched[local] > old.fetched[local]:
            count = note(events, count, cycle, cycle, FETCH, index, local, entries[old.fetched[local]].row)
            events[count - 1].last = new.fetched[local] == new.end[local]
        if old.barrier[local] >= NAMED_BARRIERS and new.barrier[local] < NAMED_BARRIERS:
            count = note(events, count, cycle, cycle, WAKE, index, local, 0)
        write, read = -1, -1
        if new.position[local] > old.position[local]:
            op = table[old.row[local]]
            write, read = op.write_counter, op.read_counter
            queued += op.path == _MEMORY
            count = note(events, count, cycle, cycle, ISSUE, index, local, old.row[local])
            events[count - 1].control = new.visible_at[local] - 1
        for counter in range(COUNTERS):
            expected = old.count[local, counter] + (write == counter) + (read == counter)
            for _ in range(expected - new.count[local, counter]):
                count = note(events, count, cycle, cycle, RELEASE, index, local, counter)
    for _ in range(queued - new.queue_count):
        count = note(events, count, cycle, cycle, ACCEPT, index, 0, 0)
    return count
