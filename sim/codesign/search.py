"""Which designs are evaluated next: all, a random sample, or what an optimiser asks for.

A search only ever sees rows, in the order in which it asked, so that it asks for the same designs again when a sweep
is resumed, on any number of workers: its state is the rows themselves.
"""

import random
from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

from sim.codesign.design import Design
from sim.codesign.evaluate import OK
from sim.codesign.experiment import Experiment
from sim.codesign.metrics import METRICS
from sim.codesign.store import Row


def size(experiment: Experiment) -> int:
    """Designs the search evaluates, those asked for twice counted twice."""
    whole = prod(len(values) for values in experiment.design.axes().values())
    search = experiment.search
    if search.method == "grid":
        return whole
    return min(search.trials, whole) if search.method == "random" else search.trials


class Search:
    """Batches of designs; iterate, and `tell` the rows of each batch before asking for the next."""

    def __init__(self, experiment: Experiment) -> None:
        self._space, self._search, self._goal = experiment.design, experiment.search, experiment.goal
        self._axes = self._space.axes()
        self._rows: list[Row] = []

    def __iter__(self) -> Iterator[list[Design]]:
        if self._search.method in ("grid", "random"):
            yield self._listed()
        else:
            yield from self._learnt()

    def tell(self, rows: list[Row]) -> None:
        """The rows of the batch asked for last, in its order."""
        self._rows = rows

    def _listed(self) -> list[Design]:
        whole = prod(map(len, self._axes.values()))
        if self._search.method == "grid":
            return [self._design(chosen) for chosen in product(*self._axes.values())]
        drawn = random.Random(self._search.seed).sample(range(whole), min(self._search.trials, whole))
        return [self._design(self._combination(index)) for index in drawn]

    def _combination(self, index: int) -> list[Any]:
        chosen = []
        for values in reversed(self._axes.values()):
            index, place = divmod(index, len(values))
            chosen.append(values[place])
        return chosen[::-1]

    def _design(self, chosen: Any) -> Design:
        return self._space.design(dict(zip(self._axes, chosen, strict=True)))

    def _learnt(self) -> Iterator[list[Design]]:
        import optuna  # slow to import, and needed here alone

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        metrics = [METRICS[name] for name in self._goal.objectives]
        sampler = (
            optuna.samplers.NSGAIISampler(population_size=self._search.batch, seed=self._search.seed)
            if self._search.method == "nsga2"
            else optuna.samplers.TPESampler(seed=self._search.seed)
        )
        direction = optuna.study.StudyDirection
        directions = [direction.MAXIMIZE if metric.larger_is_better else direction.MINIMIZE for metric in metrics]
        study = optuna.create_study(directions=directions, sampler=sampler)
        left = self._search.trials
        while left:
            trials = [study.ask() for _ in range(min(self._search.batch, left))]
            left -= len(trials)
            yield [self._design([self._suggest(trial, name) for name in self._axes]) for trial in trials]
            for trial, row in zip(trials, self._rows, strict=True):
                values = [row[metric.name] for metric in metrics]
                if row["status"] == OK and None not in values:
                    study.tell(trial, values)
                else:
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)

    def _suggest(self, trial: Any, name: str) -> Any:
        values = self._axes[name]
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            ordered = sorted(values)
            return ordered[trial.suggest_int(name, 0, len(ordered) - 1)]
        return values[trial.suggest_categorical(name, range(len(values)))]
