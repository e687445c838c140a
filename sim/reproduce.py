"""`warptree reproduce`: published claims against ours, with a verdict each."""

import time
from collections.abc import Callable
from typing import Any

from sim.errors import SimError
from sim.gallery import NAMES, entry
from sim.gallery.claim import Entry


def listing(say: Callable[[str], None]) -> None:
    """The entries with their claims."""
    width = max(map(len, NAMES))
    for name in NAMES:
        say(f"{name:<{width}} {entry(name).claim}")


def reproduce(names: tuple[str, ...], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Run entries and tell every figure, published and ours; one row a check.

    Raises:
        SimError: no entry of that name.
    """
    rows = []
    for name in names:
        if name not in NAMES:
            raise SimError(f"no published claim named {name!r}; there are {', '.join(NAMES)}")
        rows += _run(entry(name), say)
    good = sum(row["holds"] for row in rows)
    say(f"{good} of {len(rows)} figures hold")
    return rows


def _run(claim: Entry, say: Callable[[str], None]) -> list[dict[str, Any]]:
    say(f"{claim.name}: {claim.claim}")
    say(f"  published  {claim.source}")
    say(f"  run here   {claim.workload}{'; simulated' if claim.simulated else ''}")
    started, rows = time.perf_counter(), []
    for check in claim.checks():
        say(f"  {check.judged:<16} {check.what}: {check.ours} {check.unit}".rstrip() + f", published {check.published}")
        rows.append({
            "entry": claim.name, "what": check.what, "published": check.published, "ours": check.ours,
            "unit": check.unit, "verdict": check.judged, "holds": check.holds, "simulated": claim.simulated,
        })  # fmt: skip
    say(f"  {time.perf_counter() - started:.1f} s")
    return rows
