"""The page of `warptree reproduce --html`: every claim with its figures, and curves where they say more."""

import html
from pathlib import Path

from plotly.offline import get_plotlyjs

from sim import figures
from sim.errors import SimError
from sim.gallery.claim import Basis, Verdict
from sim.page import Html, document, table, tiles
from sim.reproduce import LEGEND, Outcome, figure_rows, summary


def make_page_folder(path: Path) -> None:
    """Make sure that a page can be written, before the work it is to show.

    Raises:
        SimError: it cannot.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a"):
            pass
    except OSError as error:
        raise SimError(f"page {path}: {error.strerror}; choose another with --html FILE") from error


def write_page(outcomes: list[Outcome], path: Path) -> Path:
    """Write the page; it fetches nothing, so it opens offline. Returns `path`, whose folder must exist."""
    body = "\n".join([_header(outcomes), *map(_section, outcomes)])
    path.write_text(document("published claims - warptree", body, get_plotlyjs()), encoding="utf-8")
    return path


def _header(outcomes: list[Outcome]) -> str:
    verdicts = [check.judged for outcome in outcomes for check in outcome.checks]
    by_hand = sum(check.basis is Basis.COUNTED for outcome in outcomes for check in outcome.checks if check.holds)
    failed = sum(verdict.startswith("NOT") for verdict in verdicts)
    counts = [
        (f"{len(outcomes)}", "published claims"),
        (f"{verdicts.count('exact')}", f"figures equal to the digit, {by_hand} of them counted, not printed"),
        (f"{sum(verdict.startswith('within') for verdict in verdicts)}", "within a stated percentage"),
        (f"{verdicts.count('direction only')}", "go the same way, no more claimed"),
        (f"{failed}", "do not hold"),
    ]
    legend = "".join(f'<p class="soft">{html.escape(text)}</p>' for text in LEGEND)
    rows = [
        (Html(f'<a href="#{outcome.entry.name}">{outcome.entry.name}</a>'), outcome.entry.claim,
         f"{sum(check.holds for check in outcome.checks)} of {len(outcome.checks)}")
        for outcome in outcomes
    ]  # fmt: skip
    return (
        f'<header><div class="brand">warptree</div><h1>Published claims, run again: {summary(outcomes)}</h1></header>'
        f"{tiles(counts)}{legend}{table(('claim', 'what it says', 'figures that hold'), rows)}"
    )


def _section(outcome: Outcome) -> str:
    claim = outcome.entry
    simulated = ' <span class="tag">simulated</span>' if claim.simulated else ""
    facts = "".join(
        f'<p class="soft"><b>{name}</b> {html.escape(text)}</p>'
        for name, text in (("Published in", claim.source), ("Run here", claim.workload))
    )
    rows = [
        (what, published, ours, Html(f'<span class="{_style(verdict)}">{verdict}</span>'))
        for what, published, ours, verdict in figure_rows(outcome)
    ]
    stopped = f'<p class="bad">Ended early: {html.escape(outcome.stopped)}</p>' if outcome.stopped else ""
    curves = "".join(
        f"<h3>{html.escape(curve.title)}</h3>{figures.curves(curve.lines, curve.x, curve.y, curve.log_x)}"
        for curve in outcome.curves
    )
    return (
        f'<h2 id="{claim.name}">{claim.name}{simulated}</h2><p>{html.escape(claim.claim)}</p>{facts}'
        f"{table(('figure', 'published', 'ours', 'verdict'), rows)}{stopped}{curves}"
    )


def _style(verdict: str) -> str:
    if verdict.startswith("NOT"):
        return "bad"
    return "soft" if verdict == Verdict.DIRECTION else "good"
