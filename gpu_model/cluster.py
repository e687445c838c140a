"""The blocks of one cluster in flight: they share their shared memory, a barrier, and one thread of the host.

A block of a launch without clusters is a cluster of its own.
"""

import math

import numpy as np

from gpu_model.errors import ExecutionError
from gpu_model.launch import Launch
from gpu_model.machine.block import BLOCKED, DONE, PATIENCE, PAUSED, WAITING
from gpu_model.machine.lower import Code
from gpu_model.resident import ResidentBlock

_SHOWN = 8  # warps in a message


class ResidentCluster:
    """Memory and state of one cluster; reused for one cluster after another.

    Args:
        launch: what the cluster belongs to.
        code: its micro-ops.
        consts: the launch's constant area.
        trace: record traces.
        dots: 16 x 8 tiles of tensor instructions of each block to keep the operands of.
        check: look for races, uninitialised reads and missing convergence (`gpu_model.check`).
    """

    def __init__(self, launch: Launch, code: Code, consts: np.ndarray, *, trace: bool, dots: int, check: bool = False):
        self.launch, self.number = launch, -1
        size = math.prod(launch.program.cluster)
        self._contexts = np.zeros(size, np.int64)
        self.blocks = [ResidentBlock(launch, code, consts, trace=trace, dots=dots, check=check) for _ in range(size)]
        for rank, block in enumerate(self.blocks):
            block.join(self._contexts, rank)
        self._running: list[ResidentBlock] = []
        self._idle = 0

    @property
    def instructions(self) -> int:
        """Warp-instructions of the current cluster so far."""
        return sum(block.instructions for block in self.blocks)

    @property
    def changes(self) -> int:
        """Changes of memory that another block could wait for, so far: a sign of progress."""
        return sum(block.changes for block in self.blocks)

    def start(self, cluster: int) -> None:
        """Put every block of a cluster at its first instruction."""
        self.number, self._idle, self._running = cluster, 0, list(self.blocks)
        for resident, block in zip(self.blocks, self.launch.cluster_blocks(cluster), strict=True):
            resident.start(block)

    def run(self, budget: int) -> bool:
        """Run each block for at most about `budget` warp-instructions; True once all are done.

        Raises:
            MemoryFault, ExecutionError: as `ResidentBlock.run`, or a deadlock.
        """
        if len(self.blocks) == 1:
            outcome = self.blocks[0].run(budget)
            if outcome in (BLOCKED, WAITING):
                raise self._deadlock()
            return outcome == DONE
        spent = self.instructions
        while self._running:
            before, changes = self.instructions, self.changes
            outcomes = [block.run(budget) for block in self._running]
            self._running = [block for block, outcome in zip(self._running, outcomes, strict=True) if outcome != DONE]
            if PAUSED in outcomes:
                self._idle = 0
                return False
            self._check(outcomes, self.instructions != before, self.changes != changes)
            if self.instructions - spent > budget * len(self.blocks):
                return False
        return True

    def _check(self, outcomes: list[int], ran: bool, changed: bool) -> None:
        """Count the rounds in which no block did more than test barriers."""
        if not self._running or DONE in outcomes or changed or (ran and WAITING not in outcomes):
            self._idle = 0
            return
        self._idle += 1
        if not ran or self._idle >= PATIENCE:
            raise self._deadlock()

    def _deadlock(self) -> ExecutionError:
        waits = [wait for block in self._running for wait in block.waits()]
        more = f"; and {len(waits) - _SHOWN} more" if len(waits) > _SHOWN else ""
        return ExecutionError(
            f"deadlock in kernel {self.launch.program.name}: no warp that has not exited can go on: "
            + "; ".join(waits[:_SHOWN])
            + more
        )
