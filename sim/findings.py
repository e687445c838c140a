"""What the checks found, as a table for people: on the terminal and in the report."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from gpu_model.check.findings import Finding, Place, lane_ranges

COLUMNS = ("what", "where", "who", "details", "times")


def row(finding: Finding) -> tuple[str, str, str, str, int]:
    """A finding under `COLUMNS`."""
    who = f"block {finding.block}, warp {finding.warp}, {lane_ranges(finding.lanes)}"
    return finding.kind, f"{finding.kernel}, {_short(finding.place)}", who, finding.about, finding.times


def findings_table(findings: Sequence[Finding]) -> Table:
    """Findings for the terminal, first seen first."""
    table = Table(*COLUMNS, show_edge=False)
    for finding in findings:
        table.add_row(*(Text(str(value)) for value in row(finding)))
    return table


def _short(place: Place) -> str:
    return f"{Path(place.line).name or 'no line'}, PC {place.pc:#06x}: {place.text}"
