"""Executing a launch on the CPU: results in the caller's memory, a trace a block, in block order.

Clusters of a kernel without atomics are independent and run on all cores. Those of a kernel with atomics may
wait for each other: they run on one core, a group of resident clusters taking turns, so that locks and
split-K reductions finish, and give the same bits every time. Without clusters, each block is one of its own.
"""

import math
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from queue import SimpleQueue

import numpy as np

from gpu_model.check.findings import Finding, merge
from gpu_model.check.watch import watched
from gpu_model.cluster import ResidentCluster
from gpu_model.errors import ExecutionError, LaunchError
from gpu_model.launch import Launch, check_grid
from gpu_model.machine.capture import RECORD_ROWS
from gpu_model.machine.lower import constant_area, lower
from gpu_model.trace import BlockTrace

_TURN = 2_000_000  # warp-instructions of a block before another resident cluster's turn, or an interrupt is seen
_RESIDENT = 1024  # clusters that may wait for each other at a time
_STUCK = 200_000_000  # warp-instructions without any memory change after which waiting blocks are given up
_ENDLESS = 2_000_000_000  # the same for a block on its own, which may compute long before it stores
_BLOCKING = ("ATOMG", "ATOM", "RED", "REDG", "UTMAREDG", "UBLKRED")


@dataclass(frozen=True)
class Dots:
    """Operands of the first tensor instructions of a launch, in block order.

    Attributes:
        words: uint32[n, RECORD_ROWS, 32], a record a tile of 16 x 8 outputs (`gpu_model.machine.capture`).
        full: there may have been more than were kept.
    """

    words: np.ndarray
    full: bool


@dataclass(frozen=True)
class _Result:
    """What one finished block leaves behind."""

    trace: BlockTrace | None
    dots: np.ndarray
    instructions: int
    findings: list[Finding]


class Machine:
    """Runs the blocks of one launch.

    Args:
        launch: what to run.
        trace: yield each block's trace.
        dots: how many 16 x 8 tiles of tensor instructions to keep the operands of.
        check: look for races, uninitialised reads and missing convergence (`gpu_model.check`).
        threads: worker threads, default all cores.
        max_instructions: warp-instructions that the launch may take; None for no limit.

    Raises:
        UnsupportedInstruction: before anything runs.
        LaunchError: an impossible grid or block, or checks of a kernel with clusters.
    """

    def __init__(
        self,
        launch: Launch,
        *,
        trace: bool = False,
        dots: int = 0,
        check: bool = False,
        threads: int | None = None,
        max_instructions: int | None = None,
    ):
        check_grid(launch.program.name, launch.grid, launch.threads, cluster=launch.program.cluster)
        size = math.prod(launch.program.cluster)
        if check and size > 1:
            raise LaunchError(
                f"kernel {launch.program.name} runs in clusters of {size} blocks, but the checks follow the shared "
                "memory of one block; try num_ctas=1, or no checks"
            )
        self.launch, self.instructions = launch, 0
        self._code = lower(launch.program)
        if check:
            self._code = replace(self._code, microops=watched(launch.program, self._code.microops))
        self._consts = constant_area(self._code, launch.constant_banks(), launch.program.name)
        self._trace, self._dots_limit, self._dots = trace, dots, []
        self._check: bool = check
        self._found: dict[tuple, Finding] = {}
        self._threads = threads or os.cpu_count() or 1
        self._limit = max_instructions
        self._turn = _TURN if max_instructions is None else min(_TURN, max_instructions + 1)
        self._waits = bool(np.isin(launch.program.rows["opcode"], _BLOCKING).any())
        self._clusters = launch.blocks // size

    def _new_cluster(self) -> ResidentCluster:
        return ResidentCluster(
            self.launch, self._code, self._consts, trace=self._trace, dots=self._dots_limit, check=self._check
        )

    @property
    def dots(self) -> Dots:
        """Tensor-core operands kept so far."""
        words = np.concatenate([np.zeros((0, RECORD_ROWS, 32), np.uint32), *self._dots])[: self._dots_limit]
        return Dots(words, len(words) == self._dots_limit)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the checks found so far, first in block order first."""
        return tuple(self._found.values())

    def run(self) -> Iterator[BlockTrace | None]:
        """Execute every block; yields once a block, in block order, its trace (None without tracing).

        Raises:
            MemoryFault, ExecutionError: the kernel went wrong; see `gpu_model.resident`.
        """
        done: dict[int, _Result] = {}
        wanted = 0
        for results in self._run_clusters():
            done |= results
            while wanted in done:
                yield self._account(done.pop(wanted))
                wanted += 1

    def _run_clusters(self) -> Iterator[dict[int, _Result]]:
        if self._waits:
            return self._run_in_turns()
        calls_host = any(relocation.target is None for relocation in self.launch.program.relocations)
        if self._threads > 1 and self._clusters > 1 and not calls_host:  # prints come in block order
            return self._run_in_parallel()
        return self._run_in_order()

    def _account(self, result: _Result) -> BlockTrace | None:
        self.instructions += result.instructions
        merge(self._found, result.findings)
        self._check_limit(self.instructions)
        if sum(map(len, self._dots)) < self._dots_limit:
            self._dots.append(result.dots)
        return result.trace

    def _check_limit(self, instructions: int) -> None:
        if self._limit is not None and instructions > self._limit:
            raise ExecutionError(
                f"kernel {self.launch.program.name} ran more than the {self._limit} warp-instructions it was allowed"
            )

    def _run_whole(self, resident: ResidentCluster, cluster: int) -> dict[int, _Result]:
        resident.start(cluster)
        changes, since = 0, 0
        while not resident.run(self._turn):
            self._check_limit(resident.instructions)
            if resident.changes != changes:
                changes, since = resident.changes, resident.instructions
            elif resident.instructions - since > _ENDLESS:
                raise self._stuck(deque([resident]), _ENDLESS)
        return _results(resident)

    def _run_in_order(self) -> Iterator[dict[int, _Result]]:
        resident = self._new_cluster()
        for cluster in range(self._clusters):
            yield self._run_whole(resident, cluster)

    def _run_in_parallel(self) -> Iterator[dict[int, _Result]]:
        """Independent clusters on worker threads, a few ahead of the one that is asked for."""
        free: SimpleQueue[ResidentCluster] = SimpleQueue()
        for _ in range(self._threads):
            free.put(self._new_cluster())

        def work(cluster: int) -> dict[int, _Result]:
            resident = free.get()
            try:
                return self._run_whole(resident, cluster)
            finally:
                free.put(resident)

        waiting: deque[Future] = deque()
        with ThreadPoolExecutor(self._threads) as pool:
            try:
                for cluster in range(self._clusters):
                    waiting.append(pool.submit(work, cluster))
                    if len(waiting) > 4 * self._threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _run_in_turns(self) -> Iterator[dict[int, _Result]]:
        """Clusters that may wait for each other take turns; finished ones make room for the next."""
        spare: list[ResidentCluster] = []
        resident: deque[ResidentCluster] = deque()
        started, finished, idle, spent, changes = 0, 0, 0, 0, {}
        while finished < self._clusters:
            # A new cluster starts only when those before it wait, so that most kernels have one in flight.
            if not resident or (idle and started < self._clusters and len(resident) < _RESIDENT):
                newcomer = spare.pop() if spare else self._new_cluster()
                newcomer.start(started)
                started += 1
                resident.appendleft(newcomer)
            current = resident.popleft()
            before = current.instructions
            done = current.run(self._turn)
            spent += current.instructions - before
            self._check_limit(spent)
            if done:
                yield _results(current)
                spare.append(current)
                finished, idle = finished + 1, 0
            else:
                progressed = current.changes != changes.get(current.number, 0)
                changes[current.number] = current.changes
                idle = 1 if progressed else idle + current.instructions - before
                resident.append(current)
                if idle > max(_STUCK, 2 * _TURN * len(resident)) and started == self._clusters:
                    raise self._stuck(resident, _STUCK)

    def _stuck(self, resident: deque[ResidentCluster], limit: int) -> ExecutionError:
        blocks = [block for cluster in resident for block in cluster.blocks]
        where = "; ".join(block.place() for block in blocks[:4])
        return ExecutionError(
            f"deadlock or endless loop in kernel {self.launch.program.name}: {len(blocks)} blocks ran {limit} "
            f"warp-instructions and none finished or changed memory; they wait at {where}"
        )


def _results(cluster: ResidentCluster) -> dict[int, _Result]:
    return {
        block.block: _Result(block.take_trace(), block.take_dots(), block.instructions, block.take_findings())
        for block in cluster.blocks
    }


def execute(machine: Machine) -> None:
    """Run every block of a launch."""
    for _ in machine.run():
        pass


def execute_traced(machine: Machine) -> Iterator[BlockTrace]:
    """Run every block of a launch whose machine traces, yielding the traces in block order."""
    for trace in machine.run():
        if trace is not None:
            yield trace
