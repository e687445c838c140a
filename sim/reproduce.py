"""`warptree reproduce`: published claims against ours, with a verdict each."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from sim.console import Console, plural
from sim.errors import SimError, is_user_error
from sim.gallery import NAMES, entry
from sim.gallery.claim import Basis, Check, Curve, Entry

LEGEND = (
    "exact: the same number. within x %: no further apart than that. direction only: it goes the same way, and no "
    "more is claimed.",
    "(counted): worked out by hand from the claim, not printed in its source. simulated: cycles and bytes are those of "
    "warptree's models, not of hardware.",
)


@dataclass(frozen=True)
class Outcome:
    """An entry that has run.

    Attributes:
        entry: the claim.
        checks: its figures.
        curves: for the page.
        seconds: it took.
        stopped: why it ended early, such as a tool that is missing; "" if it did not.
    """

    entry: Entry
    checks: tuple[Check, ...]
    curves: tuple[Curve, ...]
    seconds: float
    stopped: str = ""

    @property
    def holds(self) -> bool:
        """Whether it ran to its end and every figure holds."""
        return not self.stopped and all(check.holds for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.entry.name, "claim": self.entry.claim, "source": self.entry.source,
            "workload": self.entry.workload, "simulated": self.entry.simulated, "seconds": round(self.seconds, 1),
            "stopped": self.stopped,
            "figures": [
                {"what": check.what, "published": check.published, "basis": str(check.basis), "ours": check.ours,
                 "unit": check.unit, "verdict": check.judged, "holds": check.holds}
                for check in self.checks
            ],
        }  # fmt: skip


def listing(say: Callable[[str], None]) -> None:
    """The entries with their claims."""
    width = max(map(len, NAMES))
    for name in NAMES:
        say(f"{name:<{width}} {entry(name).claim}")


def reproduce(names: tuple[str, ...], console: Console) -> list[Outcome]:
    """Run entries and tell every figure, published and ours.

    Raises:
        SimError: no entry of that name.
    """
    for name in names:
        if name not in NAMES:
            raise SimError(f"no published claim named {name!r}; there are {', '.join(NAMES)}")
    outcomes = []
    for name in names:
        claim = entry(name)
        console.line(f"{claim.name}: {claim.claim}")
        console.line(f"  published in  {claim.source}")
        console.line(f"  run here      {claim.workload}{'; simulated' if claim.simulated else ''}")
        outcomes.append(run_entry(claim))
        tell_figures(outcomes[-1], console)
    for text in LEGEND:
        console.line(text)
    console.line(summary(outcomes))
    return outcomes


def run_entry(claim: Entry) -> Outcome:
    """Run one; an error that is meant for the user ends it, not the others."""
    started, stopped = time.perf_counter(), ""
    results: list[Check | Curve] = []
    try:
        results.extend(claim.checks())
    except Exception as error:
        if not is_user_error(error):
            raise
        stopped = str(error)
    return Outcome(
        claim,
        tuple(result for result in results if isinstance(result, Check)),
        tuple(result for result in results if isinstance(result, Curve)),
        time.perf_counter() - started,
        stopped,
    )


def summary(outcomes: list[Outcome]) -> str:
    """How many figures hold, of how many."""
    checks = [check for outcome in outcomes for check in outcome.checks]
    early = sum(bool(outcome.stopped) for outcome in outcomes)
    stopped = f"; {plural(early, 'claim')} ended early" if early else ""
    return f"{sum(check.holds for check in checks)} of {len(checks)} figures hold{stopped}"


def tell_figures(outcome: Outcome, console: Console) -> None:
    """Print the figures of an outcome and how long they took."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("  figure", ratio=5, overflow="fold")
    for title in ("published", "ours"):
        table.add_column(title, ratio=3, overflow="fold")
    table.add_column("verdict", no_wrap=True)
    for row in figure_rows(outcome):
        table.add_row("  " + row[0], *row[1:])
    console.show(table)
    if outcome.stopped:
        console.line(f"  ended early: {outcome.stopped}")
    console.line(f"  {outcome.seconds:.1f} s")
    console.line()


def figure_rows(outcome: Outcome) -> Iterator[tuple[str, str, str, str]]:
    """What, published, ours, verdict of each figure, in words."""
    for check in outcome.checks:
        is_number = any(character.isdigit() for character in check.published)
        published = f"{check.published} {check.unit if is_number else ''}".rstrip()
        counted = " (counted)" if check.basis is Basis.COUNTED else ""
        yield check.what, published + counted, f"{check.ours} {check.unit}".rstrip(), check.judged
