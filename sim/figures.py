"""The report's figures, as Plotly HTML fragments that share the page's one embedded script."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

ACCENT = "#3451b2"
LONGEST_LABEL = 36  # characters beside a bar
# Muted, distinguishable without colour vision (after Okabe and Ito's ordering), one per stall reason.
PALETTE = (
    "#3451b2", "#e08e45", "#3f9b82", "#b8577e", "#6fa8dc", "#c9b037", "#7d6bb5", "#8a9a5b", "#c0603f", "#98a2b3",
    "#4f6d7a", "#d3a6c2", "#5b8c5a", "#a47551",
)  # fmt: skip
_LAYOUT = {
    "font": {"family": 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif', "size": 13},
    "paper_bgcolor": "white",
    "plot_bgcolor": "white",
    "margin": {"l": 10, "r": 36, "t": 10, "b": 10},
    "hoverlabel": {"bgcolor": "white"},
    "colorway": PALETTE,
}
_GRID = {"gridcolor": "#e4e7ec", "zerolinecolor": "#cfd4dc", "automargin": True}


def stacked_shares(rows: Sequence[str], parts: Mapping[str, Sequence[float]], unit: str) -> str:
    """Horizontal bars, one per row, each split into parts that add up to 100 %.

    Args:
        rows: bar labels, top first.
        parts: part name to one amount per row, in `unit`.
        unit: of the amounts, for the hover text.
    """
    totals = [sum(amounts[i] for amounts in parts.values()) or 1.0 for i in range(len(rows))]
    figure = go.Figure()
    for name, amounts in parts.items():
        shares = [100 * amount / total for amount, total in zip(amounts, totals, strict=True)]
        hover = f"{name}: %{{x:.1f}} %<br>%{{customdata:,.0f}} {unit}<extra></extra>"
        figure.add_bar(
            name=name, y=list(rows), x=shares, customdata=list(amounts), orientation="h", hovertemplate=hover
        )
    below = -30 / (34 * len(rows) + 30)  # room for the tick labels, as a share of the plot's height
    figure.update_layout(barmode="stack", bargap=0.35, legend={"orientation": "h", "y": below, "traceorder": "normal"})
    figure.update_xaxes(range=[0, 100], ticksuffix=" %", **_GRID)
    short = [_shortened(row) for row in rows]
    figure.update_yaxes(autorange="reversed", automargin=True, tickvals=list(rows), ticktext=short)
    return _fragment(figure, height=150 + 34 * len(rows))


def _shortened(label: str) -> str:
    """A label that leaves room for the bars: its two ends if it is long."""
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 13]}…{label[-12:]}"


def grouped_bars(names: Sequence[str], groups: Mapping[str, Sequence[float]], unit: str) -> str:
    """Vertical bars: one cluster per name, one bar per group, values in `unit` printed on top."""
    figure = go.Figure()
    for group, values in groups.items():
        hover = f"{group}<br>%{{x}}: %{{y:.2f}} {unit}<extra></extra>"
        figure.add_bar(name=group, x=list(names), y=list(values), texttemplate="%{y:.1f}", hovertemplate=hover)
    figure.update_traces(textposition="outside", cliponaxis=False)
    figure.update_layout(barmode="group", bargap=0.35, legend={"orientation": "h", "y": 1.12})
    figure.update_yaxes(title=unit, **_GRID)
    return _fragment(figure, height=320)


def step_line(x: Sequence[float], y: Sequence[float], x_title: str, y_title: str) -> str:
    """A staircase, for a quantity that changes at known cycles."""
    line = go.Scatter(x=list(x), y=list(y), mode="lines", line={"shape": "hv", "color": ACCENT, "width": 1.6})
    figure = go.Figure(line.update(fill="tozeroy", fillcolor="rgba(52,81,178,0.10)"))
    figure.update_xaxes(title=x_title, **_GRID)
    figure.update_yaxes(title=y_title, rangemode="tozero", **_GRID)
    return _fragment(figure, height=250)


def curves(lines: Mapping[str, Sequence[tuple[float, float]]], x_title: str, y_title: str, log_x: bool = False) -> str:
    """A line with markers a name; those whose name starts with "published" are dashed.

    Args:
        lines: name to points (x, y), in ascending x.
        x_title: of the axis.
        y_title: of the axis.
        log_x: x on a logarithmic axis, its labels at the points.
    """
    figure = go.Figure()
    for name, points in lines.items():
        x, y = zip(*points, strict=True)
        dash = "dash" if name.startswith("published") else "solid"
        hover = f"{name}<br>%{{x:,}}: %{{y:.4g}}<extra></extra>"
        figure.add_scatter(x=x, y=y, name=name, mode="lines+markers", line={"dash": dash}, hovertemplate=hover)
    figure.update_layout(legend={"orientation": "h", "y": 1.12}, hovermode="closest")
    figure.update_xaxes(title=x_title, **_GRID)
    if log_x:
        places = sorted({x for points in lines.values() for x, _ in points})
        figure.update_xaxes(type="log", tickvals=places, ticktext=[f"{x:,}" for x in places])
    figure.update_yaxes(title=y_title, rangemode="tozero", **_GRID)
    return _fragment(figure, height=320)


def trade_off(
    groups: Mapping[str, Sequence[tuple[float, float, str]]], front: Sequence[tuple[float, float]], x_title: str,
    y_title: str,
) -> str:  # fmt: skip
    """A point a design, coloured by group, with a line through those that no other beats.

    Args:
        groups: group name to points (x, y, hover text as HTML); x above 0, on a logarithmic axis.
        front: (x, y) in ascending x.
        x_title: of the axis.
        y_title: of the axis.
    """
    line = go.Scatter(x=[x for x, _ in front], y=[y for _, y in front], mode="lines", name="Pareto front",
                      line={"color": "#98a2b3", "width": 1.4, "dash": "dot"}, hoverinfo="skip")  # fmt: skip
    figure = go.Figure(line if front else None)
    for name, points in groups.items():
        x, y, text = zip(*points, strict=True)
        hover = "%{hovertext}<extra></extra>"
        figure.add_scatter(x=x, y=y, hovertext=text, hovertemplate=hover, mode="markers", name=name,
                           marker={"size": 8, "opacity": 0.75})  # fmt: skip
    figure.update_layout(legend={"orientation": "h", "y": 1.08}, hovermode="closest")
    figure.update_xaxes(title=x_title, type="log", tickformat="~s", nticks=12, **_GRID)
    figure.update_yaxes(title=y_title, **_GRID)
    return _fragment(figure, height=460)


def _fragment(figure: go.Figure, height: int) -> str:
    figure.update_layout(height=height, **_LAYOUT)
    return figure.to_html(full_html=False, include_plotlyjs=False, config={"displayModeBar": False, "responsive": True})


def rooflines(
    roofs: Mapping[str, float],
    peaks: Mapping[str, float],
    points: Mapping[str, Sequence[tuple[float, float, str]]],
) -> str:
    """Attained rate over intensity, both logarithmic, under the roofs of a GPU.

    Args:
        roofs: level of memory to its bandwidth, 10^12 bytes a second.
        peaks: kind of operation to its peak, 10^12 operations a second.
        points: level to (operations per byte moved there, 10^12 operations a second, label) of each launch.
    """
    rates = [rate for level in points.values() for _, rate, _ in level]
    places = [place for level in points.values() for place, _, _ in level]
    highest = max([*peaks.values(), *rates])
    left = min([*places, *(highest / roof for roof in roofs.values())]) / 4
    right = max([*places, *(highest / roof for roof in roofs.values())]) * 4
    figure = go.Figure()
    for i, (level, roof) in enumerate(roofs.items()):
        colour, ridge = PALETTE[i], highest / roof
        name = f"{level} roof, {roof:.3g} TB/s"
        figure.add_scatter(x=[left, ridge], y=[left * roof, highest], mode="lines", line_color=colour, name=name)
        hover = f"%{{text}}<br>%{{x:.4g}} operations a byte of {level}<br>%{{y:.4g}} T/s<extra></extra>"
        figure.add_scatter(
            x=[point[0] for point in points[level]], y=[point[1] for point in points[level]],
            text=[point[2] for point in points[level]], mode="markers", marker={"color": colour, "size": 9},
            name=f"launches, by {level} bytes", hovertemplate=hover,
        )  # fmt: skip
    for i, (kind, peak) in enumerate(peaks.items()):
        line = {"color": PALETTE[len(roofs) + i], "dash": "dash"}
        name = f"{kind} peak, {peak:.4g} T/s"
        figure.add_scatter(x=[left, right], y=[peak, peak], mode="lines", line=line, name=name)
    figure.update_layout(legend={"orientation": "h", "y": -0.25})
    figure.update_xaxes(type="log", title="operations a byte", dtick="D2", **_GRID)
    figure.update_yaxes(type="log", title="10^12 operations a second", dtick=1, **_GRID)
    return _fragment(figure, height=380)
