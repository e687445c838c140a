"""What a gallery entry is: a claim with its source, a workload, and checks that say how much of it holds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How closely ours is held to the published figure."""

    EXACT = "exact"
    WITHIN = "within"  # a stated percentage
    DIRECTION = "direction only"


class Basis(StrEnum):
    """Where the figure comes from that ours is held against."""

    PUBLISHED = "published"
    COUNTED = "counted"  # by hand, from what is claimed; the source does not print it


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
        basis: of the published figure.
    """

    what: str
    published: str
    ours: str
    unit: str
    verdict: Verdict
    holds: bool
    percent: float | None = None
    basis: Basis = Basis.PUBLISHED

    @property
    def judged(self) -> str:
        """The verdict in words."""
        band = f" {self.percent:g} %" if self.verdict is Verdict.WITHIN else ""
        return f"{self.verdict}{band}" if self.holds else f"NOT {self.verdict}{band}"


def exactly(what: str, published: float, ours: float, unit: str = "") -> Check:
    """Ours must be the published figure."""
    return Check(what, _text(published), _text(ours), unit, Verdict.EXACT, published == ours)


def counted(what: str, expected: float, ours: float, unit: str = "") -> Check:
    """Ours must be what counting by hand gives, a figure that the claim implies and its source does not print."""
    return Check(what, _text(expected), _text(ours), unit, Verdict.EXACT, expected == ours, basis=Basis.COUNTED)


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
class Curve:
    """What a claim looks like over a quantity, for the page; no verdict depends on it.

    Attributes:
        title: what it shows.
        x: the quantity, with its unit.
        y: the figure, with its unit.
        lines: points (x, y) by name; names starting with "published" are drawn dashed.
        log_x: x is drawn on a logarithmic axis.
    """

    title: str
    x: str
    y: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    log_x: bool = False


@dataclass(frozen=True)
class Entry:
    """A published claim.

    Attributes:
        name: as `warptree reproduce` takes it.
        claim: what was published.
        source: where.
        workload: what is run here.
        simulated: figures are those of a model of ours, not of hardware.
        checks: runs it, and gives its figures and curves.
    """

    name: str
    claim: str
    source: str
    workload: str
    simulated: bool
    checks: Callable[[], Iterator[Check | Curve]]
