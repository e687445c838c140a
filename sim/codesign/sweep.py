"""A search over designs: what is known is taken from the store, what is not is computed and kept at once.

Designs that share a datapath go to a worker together, since the values of their dot products are the same. Each such
group is written as soon as it is done; what a killed sweep had written is never computed again.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from hw.gpu_spec import load_gpu
from sim.codesign.design import Design
from sim.codesign.evaluate import FAILED, SCHEMA, code_version, evaluate_all
from sim.codesign.experiment import Experiment
from sim.codesign.recording import load, operands_for, recording_path
from sim.codesign.search import Search
from sim.codesign.store import Row, Store
from sim.codesign.workers import Workers
from sim.console import Console
from sim.errors import SimError

Group = list[Design]


@dataclass
class Runs:
    """The workload's run on each GPU, made when it is first needed.

    Attributes:
        store: where they are kept.
        experiment: what the workload is.
        console: tells of a run.
        fresh: run again even what is there.
        only_known: SimError instead of a run.
    """

    store: Store
    experiment: Experiment
    console: Console
    fresh: bool = False
    only_known: bool = False

    def __post_init__(self) -> None:
        self._paths: dict[tuple, Path] = {}
        self._digests: dict[Path, str] = {}

    def path(self, design: Design) -> Path:
        """File of the operands a design is evaluated on."""
        if design.machine not in self._paths:
            gpu = load_gpu(design.gpu, self.experiment.design.overrides(design))
            workload, folder = self.experiment.workload, self.store.folder
            if self.only_known and not recording_path(folder, workload, gpu).is_file():
                raise SimError(f"{workload.script.name} has no run on {gpu.name} in {folder}; run: warptree sweep")
            path = operands_for(folder, workload, gpu, self.console, self.fresh)
            self._paths[design.machine] = path
        return self._paths[design.machine]

    def key(self, design: Design) -> str:
        """Key of a design's row."""
        path = self.path(design)
        if path not in self._digests:
            self._digests[path] = load(path).digest
        return design.key(self._digests[path], code_version())


def sweep(
    experiment: Experiment, runs: Runs, workers: Callable[[], AbstractContextManager[Workers]],
    progress: Callable[[int], None] = lambda count: None,
) -> list[Row]:  # fmt: skip
    """Rows of every design the search asks for, each once, in the order asked.

    Args:
        experiment: what to do.
        runs: the workload's runs.
        workers: where to evaluate; entered only if something is not known yet.
        progress: told how many more designs are done, those already known included.

    Raises:
        SimError: workers with other code, a damaged store.
        ScriptError, GpuError: the script's run failed.
    """
    search, rows, asked = Search(experiment), dict[str, Row](), list[str]()
    with ExitStack() as stack:
        crew: Workers | None = None
        for batch in search:
            keys = [runs.key(design) for design in batch]
            rows |= runs.store.read(key for key in keys if key not in rows)
            missing = {key: design for key, design in zip(keys, batch, strict=True) if key not in rows}
            progress(len(batch) - len(missing))
            if missing:
                crew = crew or stack.enter_context(workers())
                for done in _evaluate(list(missing.values()), runs, crew, workers):
                    # One that failed may not do so again, so it is not kept.
                    if good := [row for row in done if row["status"] != FAILED]:
                        runs.store.write(good)
                    rows |= {row["key"]: row for row in done}
                    progress(len(done))
            search.tell([rows[key] for key in keys])
            asked += keys
    return [rows[key] for key in dict.fromkeys(asked)]


def _evaluate(
    designs: Group, runs: Runs, crew: Workers, anew: Callable[[], AbstractContextManager[Workers]]
) -> Iterator[list[Row]]:
    """Rows of all designs, a group as soon as it is done."""
    ordered = sorted(designs, key=lambda design: (design.machine, design.datapath))
    groups = [list(group) for _, group in groupby(ordered, lambda design: (design.machine, design.datapath))]
    lost: list[Group] = []
    waiting = {_submit(group, runs, crew): group for group in groups}
    while waiting:
        done, _ = wait(waiting, return_when=FIRST_COMPLETED)
        for future in sorted(done, key=lambda future: future.exception() is not None):  # what is good is kept first
            group = waiting.pop(future)
            if isinstance(future.exception(), BrokenProcessPool):
                lost.append(group)
            else:
                yield _rows(future, group, runs)
    for group in lost:  # a worker died, of one of these; alone, it is known which
        with anew() as alone:
            future = _submit(group, runs, alone)
            wait([future])
            yield _rows(future, group, runs)


def _submit(group: Group, runs: Runs, crew: Workers) -> Future[list[Row]]:
    return crew.executor.submit(evaluate_all, crew.handle(runs.path(group[0])), group)


def _rows(future: Future[list[Row]], group: Group, runs: Runs) -> list[Row]:
    error = future.exception()
    if error is None:
        rows = future.result()
        if other := {row["code"] for row in rows} - {code_version()}:
            raise SimError(f"workers run other code, {', '.join(other)}, than this machine, {code_version()}; "
                           "install the same warptree on all of them")  # fmt: skip
        return rows
    if not isinstance(error, Exception):
        raise error
    empty = dict.fromkeys(SCHEMA.names)
    failure = {"status": FAILED, "reason": f"{type(error).__name__}: {error}", "code": code_version()}
    return [{**empty, **design.as_dict(), **failure, "key": runs.key(design)} for design in group]
