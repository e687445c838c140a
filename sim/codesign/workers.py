"""Where designs are evaluated: in processes of this machine, or on a Dask cluster. Both are executors; rows are equal.

A worker process ends with the process that started it, even if that one was killed.
"""

import multiprocessing as mp
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from sim.codesign.recording import Operands, load
from sim.errors import SimError

CONNECT_SECONDS = 20


@dataclass
class Workers:
    """An executor, and how operands reach its workers.

    Attributes:
        executor: takes `evaluate_all` with a handle and designs.
        count: workers when it was made.
        handle: operands file to what the workers are given for it.
    """

    executor: Executor
    count: int
    _scatter: Any = None

    def __post_init__(self) -> None:
        self._handles: dict[Path, Any] = {}

    def handle(self, path: Path) -> Path | Operands:
        """What a task is given for an operands file: its path here, the operands themselves on a cluster."""
        if self._scatter is None:
            return path
        if path not in self._handles:
            self._handles[path] = self._scatter(load(path))
        return self._handles[path]


@contextmanager
def local_workers(count: int) -> Iterator[Workers]:
    """Processes of this machine."""
    # Not forked: compiled kernels and their threads do not survive that.
    executor = ProcessPoolExecutor(count, mp_context=mp.get_context("spawn"), initializer=_end_with_parent)
    try:
        yield Workers(executor, count)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def cluster_workers(address: str) -> Iterator[Workers]:
    """Workers of a Dask cluster that has warptree installed.

    Raises:
        SimError: no scheduler there, or one without workers.
    """
    from distributed import Client  # slow to import, and needed here alone

    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise SimError(
            f"no Dask scheduler answers at {address} ({error}); start one with 'dask scheduler' and workers with "
            "'dask worker ADDRESS', or leave --scheduler out to use this machine's processes"
        ) from None
    with client:
        count = len(client.scheduler_info(n_workers=-1)["workers"])
        if not count:
            raise SimError(f"the Dask scheduler at {address} has no workers; start some with 'dask worker {address}'")
        yield Workers(client.get_executor(pure=False), count, lambda data: client.scatter(data, broadcast=True))


def _end_with_parent() -> None:
    """Leave when the parent does: a killed parent cannot tell its workers."""
    parent = mp.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
