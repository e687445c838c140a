"""`warptree codesign`, `sweep`, `pareto`: from an experiment file to rows, and what they say."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from sim.codesign.design import FIELDS, Design
from sim.codesign.evaluate import FAILED, OK
from sim.codesign.experiment import Experiment, Search, load_experiment
from sim.codesign.metrics import METRICS
from sim.codesign.pareto import answer, front, meets, rule
from sim.codesign.progress import bar
from sim.codesign.search import size
from sim.codesign.store import Row, Store
from sim.codesign.sweep import Runs, sweep
from sim.codesign.workers import Workers, cluster_workers, local_workers
from sim.console import Console, plural
from sim.errors import SimError
from sim.output import make_folder
from sim.page import figure_number

SHOWN = 12  # designs of a table on the terminal


@dataclass(frozen=True)
class Study:
    """An experiment with the rows of its designs.

    Attributes:
        path: the experiment file.
        experiment: what it says.
        rows: one a design, in the order asked.
        runs: the workload's runs.
    """

    path: Path
    experiment: Experiment
    rows: list[Row]
    runs: Runs

    @property
    def front(self) -> list[Row]:
        """Designs no other beats."""
        return front(self.rows, self.experiment.goal)

    @property
    def answer(self) -> Row | None:
        """The design the goal asks for."""
        return answer(self.rows, self.experiment.goal)


def run_codesign(path: Path, store: Path, folder: Path, fresh: bool, console: Console) -> Study:
    """Every design of an experiment on its workload, here and now, whatever search the file asks for.

    Raises:
        SimError, GpuError: what a user can mend; see the message.
    """
    experiment = load_experiment(path)
    experiment = experiment.model_copy(update={"search": Search()})
    return _study(path, experiment, store, folder, _inline, fresh, console)


def run_sweep(
    path: Path, store: Path, folder: Path, count: int, scheduler: str | None, fresh: bool, console: Console
) -> Study:
    """The search of an experiment, on local processes or a Dask cluster; what the store has is not computed again.

    Raises:
        SimError, GpuError: what a user can mend; see the message.
    """
    workers = partial(cluster_workers, scheduler) if scheduler else partial(local_workers, count)
    return _study(path, load_experiment(path), store, folder, workers, fresh, console)


def known_study(path: Path, store: Path, console: Console) -> Study:
    """An experiment with what the store has of it; nothing is run.

    Raises:
        SimError: no design of it has been evaluated.
    """
    experiment = load_experiment(path)
    runs = Runs(Store(store), experiment, console, only_known=True)
    rows = sweep(experiment, runs, _absent)
    if all(row["status"] == FAILED for row in rows):
        raise SimError(f"no design of {path} is in the store {store}; run first: warptree sweep {path}")
    return Study(path, experiment, rows, runs)


def _study(
    path: Path, experiment: Experiment, store: Path, folder: Path,
    workers: Callable[[], AbstractContextManager[Workers]], fresh: bool, console: Console,
) -> Study:  # fmt: skip
    make_folder(folder)
    runs = Runs(Store(store), experiment, console, fresh=fresh)
    with bar(console, "designs", size(experiment)) as advance:
        rows = sweep(experiment, runs, workers, advance)
    return Study(path, experiment, rows, runs)


@contextmanager
def _inline() -> Iterator[Workers]:
    with ThreadPoolExecutor(1) as executor:
        yield Workers(executor, 1)


class _NotEvaluated(Executor):
    """Computes nothing: what is not in the store is a failure that says so."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(SimError("not evaluated yet; warptree sweep does"))
        return future


@contextmanager
def _absent() -> Iterator[Workers]:
    yield Workers(_NotEvaluated(), 0)


def tell(study: Study, console: Console) -> None:
    """Show the answer, the Pareto front and what went wrong."""
    goal, found = study.experiment.goal, study.answer
    counts = Counter(row["status"] for row in study.rows)
    console.line(", ".join([plural(len(study.rows), "design"), *(f"{count} {name}" for name, count in counts.items())]))
    for reason, count in Counter(row["reason"] for row in study.rows if row["status"] != OK).most_common(3):
        console.fact("reason", f"{count} x {reason}")
    best = study.front
    if best:
        console.show(_table(best[:SHOWN], goal.objectives, f"Pareto front, {plural(len(best), 'design')}"))
    if found is None:
        console.line(f"No design meets the goal: {rule(goal)}.")
    else:
        point = found["key"][:8]
        console.line(f"{design_of(found).words()} has {rule(goal)}; point {point}")
        console.fact("next", f"warptree export {study.path} {point} --prove: its Verilog, vectors and proof")


def _table(rows: list[Row], names: tuple[str, ...], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for name in ("point", "design"):
        table.add_column(name, no_wrap=True)
    for name in names:
        table.add_column(f"{name} ({METRICS[name].unit})" if METRICS[name].unit else name, justify="right")
    for row in rows:
        table.add_row(row["key"][:8], design_of(row).words(), *(_short(row[name]) for name in names))
    return table


def _short(value: float) -> str:
    return f"{value:.4g}" if abs(value) >= 1e7 else figure_number(value)


def design_of(row: Row) -> Design:
    """The design of a row."""
    values = {name: row[name] for name in FIELDS}
    return Design(**{**values, "gpu_fields": tuple(values["gpu_fields"].split())})


def summary(study: Study) -> dict[str, Any]:
    """What `--json` prints."""
    found = study.answer
    return {
        "designs": len(study.rows),
        **{status: sum(row["status"] == status for row in study.rows) for status in (OK, "infeasible", FAILED)},
        "front": [row["key"][:8] for row in study.front],
        "meet_goal": sum(meets(row, study.experiment.goal) for row in study.rows),
        "answer": None if found is None else {name: value for name, value in found.items() if value is not None},
    }
