"""Sweeps: every design once, the same rows however they are computed, and after any interruption."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sim.codesign.command import _inline, known_study
from sim.codesign.store import write_table
from sim.codesign.sweep import sweep
from sim.codesign.workers import Workers, cluster_workers, local_workers
from sim.console import Console
from sim.errors import SimError

GRID = 3 * 2 * 2 * 2
SMALL = (('tree = ["hybrid", "long-integer"]', 'tree = ["long-integer"]'),)


@pytest.fixture(autouse=True)
def nothing_to_synthesise(request: pytest.FixtureRequest) -> None:
    """Quick tests are about the sweep alone."""
    if request.node.get_closest_marker("slow") is None:
        request.getfixturevalue("no_rtl")


class Stop(BaseException):
    """Ends a sweep as a kill would: nothing of it is caught."""


def stopping_after(groups: int):
    """Workers that stop the sweep at a group, and the designs they were given."""
    given: list[Any] = []

    class Limited(Executor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            if len(given) < groups:
                given.append(args[1])
                future.set_result(fn(*args))
            else:
                future.set_exception(Stop())
            return future

    @contextmanager
    def workers():
        yield Workers(Limited(), 1)

    return workers, given


def test_a_grid_has_every_design_once_in_order(study) -> None:
    experiment, runs = study(*SMALL)
    told: list[int] = []
    rows = sweep(experiment, runs, _inline, told.append)
    assert [(r["format"], r["mantissa_bits"], r["rows"]) for r in rows] == [
        (name, bits, size) for name in ("MXINT8", "MXFP8_E4M3", "MXFP4") for bits in (11, 16) for size in (4, 8)
    ]
    assert sum(told) == len(rows) == GRID // 2
    assert [r["status"] for r in rows] == ["infeasible"] * 2 + ["ok"] * 10
    assert len({r["key"] for r in rows}) == len(rows)


def test_what_the_store_has_is_not_computed_again(study) -> None:
    experiment, runs = study(*SMALL)
    first = sweep(experiment, runs, _inline)
    workers, given = stopping_after(0)
    assert sweep(experiment, runs, workers) == first
    assert given == []
    wider, runs = study(*SMALL, ('"8x8"', '"8x8", "2x2"'))
    workers, given = stopping_after(99)
    assert len(sweep(wider, runs, workers)) == GRID // 2 + 6
    assert {design.rows for group in given for design in group} == {2}


@pytest.mark.parametrize("groups", [0, 1, 4])
def test_interrupted_and_resumed_is_the_same_table(study, groups: int) -> None:
    experiment, runs = study(*SMALL, store="whole")
    whole = sweep(experiment, runs, _inline)
    experiment, runs = study(*SMALL, store="resumed")
    workers, before = stopping_after(groups)
    with pytest.raises(Stop):
        sweep(experiment, runs, workers)
    workers, after = stopping_after(99)
    assert sweep(experiment, runs, workers) == whole
    computed = [design for group in before + after for design in group]
    assert len(computed) == len(set(computed)) == GRID // 2


@pytest.mark.parametrize("method", ["random", "nsga2", "tpe"])
def test_searches_repeat_themselves(study, method: str) -> None:
    search = ("[goal]", f'[search]\nmethod = "{method}"\ntrials = 12\nbatch = 4\nseed = 3\n[goal]')
    experiment, runs = study(*SMALL, search)
    rows = sweep(experiment, runs, _inline)
    workers, given = stopping_after(0)
    assert sweep(experiment, runs, workers) == rows
    assert given == []
    assert len({row["key"] for row in rows}) == len(rows) <= 12
    if method == "random":
        assert len(rows) == 12
    other, runs = study(*SMALL, (search[0], search[1].replace("seed = 3", "seed = 4")))
    assert [row["key"] for row in sweep(other, runs, _inline)] != [row["key"] for row in rows]


def test_a_design_that_kills_its_worker_is_one_failed_row(study) -> None:
    """The pool breaks for all that is waiting; alone, only the culprit breaks it again, and it is not kept."""
    experiment, runs = study(*SMALL)
    whole = sweep(experiment, runs, _inline)
    experiment, runs = study(*SMALL, store="again")
    crews = 0

    class Fragile(Executor):
        broken = False

        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            self.broken |= any(design.format == "MXFP4" and design.mantissa_bits == 16 for design in args[1])
            if self.broken:
                future.set_exception(BrokenProcessPool("a process died"))
            else:
                future.set_result(fn(*args))
            return future

    @contextmanager
    def workers():
        nonlocal crews
        crews += 1
        yield Workers(Fragile(), 1)

    rows = sweep(experiment, runs, workers)
    failed = [row for row in rows if row["status"] == "failed"]
    assert [(row["format"], row["mantissa_bits"]) for row in failed] == [("MXFP4", 16)] * 2
    assert failed[0]["reason"] == "BrokenProcessPool: a process died"
    assert [row for row in rows if row["status"] != "failed"] == [row for row in whole if row not in failed][:10]
    assert crews > 1
    assert sweep(experiment, runs, _inline) == whole


def test_a_table_that_duckdb_reads(study, tmp_path: Path) -> None:
    experiment, runs = study(*SMALL)
    rows = sweep(experiment, runs, _inline)
    path = write_table(rows, tmp_path / "designs.parquet")
    found = duckdb.execute(
        f"SELECT format, count(*) FROM '{path}' WHERE status = 'ok' GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    assert found == [("MXFP4", 4), ("MXFP8_E4M3", 4), ("MXINT8", 2)]


def test_a_damaged_store_is_named(study) -> None:
    experiment, runs = study(*SMALL)
    sweep(experiment, runs, _inline)
    broken = next((runs.store.folder / "rows").glob("*.parquet"))
    broken.write_bytes(b"PAR1 nothing")
    with pytest.raises(SimError, match=r"store .* delete the damaged file"):
        sweep(experiment, runs, _inline)


def test_pareto_of_nothing_says_what_to_run(study, tmp_path: Path) -> None:
    study(*SMALL)
    with pytest.raises(SimError, match=r"script\.py has no run on rtx_a6000 in .*; run: warptree sweep"):
        known_study(tmp_path / "study.toml", tmp_path / "store", Console(quiet=True))


def test_no_scheduler_there() -> None:
    with pytest.raises(SimError, match=r"no Dask scheduler answers at nonsense://1"), cluster_workers("nonsense://1"):
        pass


@pytest.mark.slow
def test_local_processes_and_a_dask_cluster_give_the_same_rows(study) -> None:
    from distributed import LocalCluster

    make_cluster: Any = LocalCluster  # typed as a coroutine, which it is only where one is asked for

    experiment, runs = study(store="inline")
    whole = sweep(experiment, runs, _inline)
    experiment, runs = study(store="processes")
    assert sweep(experiment, runs, partial(local_workers, 2)) == whole
    experiment, runs = study(store="cluster")
    with make_cluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        assert sweep(experiment, runs, partial(cluster_workers, cluster.scheduler_address)) == whole


@pytest.mark.slow
def test_killed_ten_times_at_random_moments_is_the_same_table(study, tmp_path: Path) -> None:
    experiment, runs = study(store="whole")
    whole = sweep(experiment, runs, _inline)
    _, runs = study(store="killed")
    runs.path(experiment.design.design({name: values[0] for name, values in experiment.design.axes().items()}))
    command = [sys.executable, "-m", "sim.cli", "sweep", "study.toml", "--store", "killed"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    moments = random.Random(0)
    for _ in range(10):
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        time.sleep(moments.uniform(0, 12))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert f"{GRID} of {GRID}" in done.stderr
    study(store="killed")
    assert known_study(tmp_path / "study.toml", tmp_path / "killed", Console(quiet=True)).rows == whole
