"""What a gallery entry is: a claim with its source, a workload, and checks that say how much of it holds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How closely ours is held to the published figure."""

    EXACT = "exact"
    WITHIN = "within"  # a stated percentage
    DIRECTION = "direction only"


@dataclass(frozen=True)
class Check:
    """One figure, published and ours.

    Attributes:
        what: it is.
        published: the figure, or what is said of it.
        ours: the same.
        unit: of both.
        verdict: how it is judged.
        holds: whether ours passes.
        percent: the band of `Verdict.WITHIN`.
    """

    what: str
    published: str
    ours: str
    unit: str
    verdict: Verdict
    holds: bool
    percent: float | None = None

    @property
    def judged(self) -> str:
        """The verdict in words."""
        band = f" {self.percent:g} %" if self.verdict is Verdict.WITHIN else ""
        return f"{self.verdict}{band}" if self.holds else f"NOT {self.verdict}{band}"


def exactly(what: str, published: float, ours: float, unit: str = "") -> Check:
    """Ours must be the published figure."""
    return Check(what, _text(published), _text(ours), unit, Verdict.EXACT, published == ours)


def within(what: str, published: float, ours: float, percent: float, unit: str = "") -> Check:
    """Ours must be within a percentage of the published figure."""
    close = abs(ours - published) <= percent / 100 * abs(published)
    return Check(what, _text(published), _text(ours), unit, Verdict.WITHIN, close, percent)


def direction(what: str, published: str, ours: str, holds: bool, unit: str = "") -> Check:
    """Ours must go the same way."""
    return Check(what, published, ours, unit, Verdict.DIRECTION, holds)


def _text(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"


@dataclass(frozen=True)
class Entry:
    """A published claim.

    Attributes:
        name: as `warptree reproduce` takes it.
        claim: what was published.
        source: where.
        workload: what is run here.
        simulated: figures are those of a model of ours, not of hardware.
        checks: runs it.
    """

    name: str
    claim: str
    source: str
    workload: str
    simulated: bool
    checks: Callable[[], Iterator[Check]]
