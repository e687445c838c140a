"""A comparison of two runs, for a terminal and as a page."""

import html
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from plotly.offline import get_plotlyjs
from rich.table import Table

from sim import figures
from sim.compare import MAX_LINES, Comparison, place
from sim.page import document, figure_number, table, tiles

_TITLES = {
    "totals": "In all",
    "kernels": "Cycles by kernel",
    "stalls": "Where the warp-cycles went",
    "lines": f"Source lines, warp-cycles: the {MAX_LINES} that changed most",
    "roofs": "How near the roofs, the longest launch of each kernel",
}

_HEADINGS = {
    "a": "A", "b": "B", "ratio": "B / A", "dram_intensity": "per DRAM byte", "l2_intensity": "per L2 byte",
    "tera_per_second": "10^12/s", "bound_by": "nearest roof", "attained": "reached",
}  # fmt: skip


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    return figure_number(value) if isinstance(value, int | float) else str(value)


def _rows(frame: pd.DataFrame) -> list[list[object]]:
    return [[None if v != v else v for v in row] for row in frame.astype(object).itertuples(index=False, name=None)]


def _frames(comparison: Comparison) -> Iterable[tuple[str, pd.DataFrame]]:
    """Title and table of each part, as shown."""
    for name, title in _TITLES.items():
        frame = getattr(comparison, name)
        if name == "lines":
            frame = frame[frame["change"] != 0].head(MAX_LINES)
            places = [place(str(f), int(n)) for f, n in zip(frame["file"], frame["line"], strict=True)]
            idle = [c for c in frame if str(c)[:-2] in ("conflicts", "uncoalesced") and not frame[c].any()]
            frame = frame.drop(columns=["file", "line", "source", *idle]).assign(source=frame["source"])
            frame.insert(0, "line", places)
        if name in ("totals", "stalls"):
            first = frame.columns[0]
            frame = frame.assign(**{first: [str(v).lower().replace("_", " ") for v in frame[first]]})
        if name == "roofs":
            frame = frame.assign(attained=[f"{100 * share:.1f} %" for share in frame["attained"]])
        if len(frame):
            yield title, frame


def terminal_tables(comparison: Comparison) -> list[Table]:
    """Tables to print; source lines take what room is left."""
    tables = []
    differences = _differences(comparison)
    parts = [*_frames(comparison), ("GPU fields that differ", differences)]
    for title, frame in parts if len(differences) else parts[:-1]:
        shown = Table(title=title, title_justify="left", box=None, pad_edge=False)
        rows = _rows(frame)
        for i, column in enumerate(frame.columns):
            words, cells = any(isinstance(row[i], str) for row in rows), [_heading(str(column))]
            cells += [_cell(row[i]) for row in rows]
            shrinks = column == "source"
            shown.add_column(
                cells[0], justify="left" if words else "right", overflow="ellipsis",
                no_wrap=True, min_width=8 if shrinks else max(map(len, cells)), max_width=60 if shrinks else None,
            )  # fmt: skip
        for row in rows:
            shown.add_row(*(_cell(value).replace("[", r"\[") for value in row))
        tables.append(shown)
    return tables


def _heading(column: str) -> str:
    side = {"_a": " A", "_b": " B"}.get(column[-2:], "")
    return _HEADINGS.get(column, (column[:-2] + side if side else column).replace("_", " "))


def _differences(comparison: Comparison) -> pd.DataFrame:
    return pd.DataFrame([(f, str(a), str(b)) for f, a, b in comparison.differences], columns=["field", "a", "b"])


def write_page(comparison: Comparison, path: Path) -> Path:
    """Write the comparison as one page that opens offline."""
    a, b = comparison.runs
    cycles = comparison.totals.set_index("quantity").loc["cycles"]
    entries = [
        (figure_number(int(cycles["a"])), f"cycles of A, {a.product}"),
        (figure_number(int(cycles["b"])), f"cycles of B, {b.product}"),
        (f"{cycles['ratio']:.3f}", "B over A"),
    ]
    head = (
        '<header><div class="brand">warptree compare</div>'
        f"<h1>{html.escape(a.title)} against {html.escape(b.title)}</h1>"
        + "".join(
            f'<p class="soft">{side}: <code>{html.escape(run.command)}</code>, configuration '
            f"<code>{html.escape(run.configuration)}</code></p>"
            for side, run in zip("AB", comparison.runs, strict=True)
        )
        + f"</header><p>Every number is simulated.</p>{tiles(entries)}"
    )
    differences = _differences(comparison)
    parts = [head, _section("GPU fields that differ", differences) if len(differences) else ""]
    for title, frame in _frames(comparison):
        chart = _stall_chart(comparison) if title == _TITLES["stalls"] else ""
        parts.append(_section(title, frame, chart))
    path.write_text(document(f"{a.title} against {b.title} - warptree", "\n".join(parts), get_plotlyjs()), "utf-8")
    return path


def _section(title: str, frame: pd.DataFrame, chart: str = "") -> str:
    rows = [["" if value is None else value for value in row] for row in _rows(frame)]
    return f"<h2>{title}</h2>{chart}{table([_heading(str(c)) for c in frame.columns], rows, code=('source',))}"


def _stall_chart(comparison: Comparison) -> str:
    stalls = comparison.stalls.sort_values("a", ascending=False, kind="stable")
    parts = {
        str(reason).lower().replace("_", " "): [float(x), float(y)]
        for reason, x, y in zip(stalls["reason"], stalls["a"], stalls["b"], strict=True)
    }
    first = {name: parts.pop(name) for name in ("issued",) if name in parts}
    return figures.stacked_shares(["A", "B"], first | parts, "warp-cycles")
