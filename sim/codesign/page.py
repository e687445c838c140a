"""The page of a study: the question, its answer, the front, tables, the winner's tree, and where numbers come from."""

import html
import importlib.metadata
from collections import Counter
from pathlib import Path

from plotly.offline import get_plotlyjs

from hw.explain import draw, explain
from sim import figures
from sim.codesign.command import Study, design_of
from sim.codesign.cost import mac_design
from sim.codesign.evaluate import OK
from sim.codesign.metrics import METRICS, Metric
from sim.codesign.pareto import comparable, meets, rule
from sim.codesign.store import Row
from sim.console import plural
from sim.page import Html, document, figure_number, table, tiles, unbroken

SHOWN = 40  # designs of a table; the Parquet file has all
HOVERED = ("qsnr_db", "cast_qsnr_db", "bits_per_element", "array_cycles", "nand2", "nand2_cycles", "pj_per_mac")


def write_page(study: Study, path: Path) -> Path:
    """Write the study's page; it fetches nothing, so it opens offline. Returns `path`."""
    sections = (_header, _answer, _pareto, _formats, _winner, _gpu, _failures, _provenance, _footer)
    body = "\n".join(text for section in sections if (text := section(study)))
    path.write_text(document(f"{study.path.stem} - warptree", body, get_plotlyjs()), encoding="utf-8")
    return path


def _header(study: Study) -> str:
    workload = study.experiment.workload
    what = " ".join([workload.script.name, *workload.arguments])
    return (
        f'<header><div class="brand">warptree design-space study</div><h1>{html.escape(study.experiment.question)}</h1>'
        f'<p class="soft">{plural(len(study.rows), "design")} on the dot products of <code>{html.escape(what)}</code>; '
        f"experiment <code>{html.escape(study.path.name)}</code></p></header>"
    )


def _answer(study: Study) -> str:
    goal, found = study.experiment.goal, study.answer
    if found is None:
        return f'<p><span class="bad">No design</span> meets the goal, {html.escape(rule(goal))}.</p>'
    metrics = [METRICS[wanted] for wanted in dict.fromkeys((*goal.objectives, *goal.require, goal.prefer))]
    entries = [(f"{figure_number(found[metric.name])} {metric.unit}".strip(), metric.meaning) for metric in metrics
               if found[metric.name] is not None]  # fmt: skip
    good = sum(meets(row, goal) for row in study.rows)
    return (
        f"<p><b>{html.escape(design_of(found).words())}</b> has {html.escape(rule(goal))}. {good} of "
        f"{plural(len(study.rows), 'design')} meet the goal.</p>{tiles(entries)}"
    )


def _pareto(study: Study) -> str:
    goal, best = study.experiment.goal, study.front
    if not best:
        return "<h2>Pareto front</h2><p>No design has every objective.</p>"
    names = goal.objectives if len(goal.objectives) > 1 else (*goal.objectives, goal.prefer)
    up, across = METRICS[names[0]], METRICS[names[1]]
    points: dict[str, list[tuple[float, float, str]]] = {}
    for row in comparable(study.rows, goal):
        if row[across.name] is not None:
            points.setdefault(row["format"], []).append((row[across.name], row[up.name], _hover(row)))
    line = sorted((row[across.name], row[up.name]) for row in best if row[across.name] is not None)
    chart = figures.trade_off(points, line, _titled(across), _titled(up))
    columns = ["point", "design", *map(_titled, map(METRICS.__getitem__, goal.objectives)), "meets the goal"]
    rows = [
        (
            row["key"][:8],
            unbroken(design_of(row).words()),
            *(row[metric] for metric in goal.objectives),
            _mark(meets(row, goal)),
        )
        for row in best[:SHOWN]
    ]
    more = f'<p class="soft">{len(best) - SHOWN} more are in designs.parquet.</p>' if len(best) > SHOWN else ""
    objectives = " and ".join(f"{'more' if METRICS[n].larger_is_better else 'less'} {n}" for n in goal.objectives)
    return (
        f"<h2>Pareto front</h2><p>The {plural(len(best), 'design')} that no other beats ({html.escape(objectives)}); "
        f"point at one for its numbers.</p>{chart}{table(columns, rows)}{more}"
    )


def _mark(good: bool) -> Html:
    return Html(f'<span class="{"good" if good else "soft"}">{"yes" if good else "no"}</span>')


def _titled(metric: Metric) -> str:
    return f"{metric.name} ({metric.unit})" if metric.unit else metric.name


def _hover(row: Row) -> str:
    lines = [f"<b>{html.escape(design_of(row).words())}</b> {row['key'][:8]}"]
    lines += [f"{name}: {figure_number(row[name])} {METRICS[name].unit}" for name in HOVERED if row[name] is not None]
    return "<br>".join(lines)


def _formats(study: Study) -> str:
    goal = study.experiment.goal
    columns = ("format", "bits", "designs", "best QSNR (dB)", "of exact sums (dB)", "meet the goal",
               f"best {goal.prefer} of those", "with")  # fmt: skip
    rows = []
    for kind in dict.fromkeys(row["format"] for row in study.rows):
        mine = [row for row in study.rows if row["format"] == kind and row["status"] == OK]
        if not mine:
            continue
        good = [row for row in mine if meets(row, goal) and row[goal.prefer] is not None]
        sign = -1 if METRICS[goal.prefer].larger_is_better else 1
        best = min(good, key=lambda row: sign * row[goal.prefer], default=None)
        rows.append((
            unbroken(kind), mine[0]["bits_per_element"], len(mine), round(max(row["qsnr_db"] for row in mine), 2),
            round(max(row["cast_qsnr_db"] for row in mine), 2), len(good),
            best[goal.prefer] if best else "", unbroken(design_of(best).words().split(" ", 1)[1]) if best else "",
        ))  # fmt: skip
    return f"<h2>Format by format</h2>{table(columns, rows)}" if rows else ""


def _winner(study: Study) -> str:
    found = study.answer
    if found is None:
        return ""
    design = design_of(found)
    element, tree = design.block_format.element, design.reduction_tree
    try:
        mac = mac_design(design)
        command = f"warptree export {html.escape(str(study.path))} {found['key'][:8]}"
        rtl = (
            f"Its RTL, a {mac.tree.value} MAC for {', '.join(mac.names)}, is generated from this same tree; the gates "
            "and the energy above are those of its netlist. Nothing was proven or simulated for this page: "
            f"<code>{command}</code> writes its Verilog with a testbench and runs the workload's own operands through "
            "it, <code>--prove</code> proves it equal to the tree for every input."
        )
    except ValueError as error:
        rtl = f"It has no RTL: {html.escape(str(error))}."
    return (
        f"<h2>The winner's tree</h2><p>{rtl}</p><div class='scroll'>{draw(tree, element, element)}</div>"
        f'<div class="scroll"><pre class="mono">{html.escape(explain(tree, element, element))}</pre></div>'
    )


def _gpu(study: Study) -> str:
    seen = {(row["gpu"], row["gpu_fields"]): row for row in study.rows if row["gpu_cycles"] is not None}
    columns = ("GPU", "changed", "cycles", "time (µs)", "tensor cores' QSNR (dB)", "instructions covered (%)")
    rows = [
        (gpu, fields or "nothing", row["gpu_cycles"], row["gpu_microseconds"],
         "" if row["tensor_core_qsnr_db"] is None else row["tensor_core_qsnr_db"], 100 * row["covered"])
        for (gpu, fields), row in seen.items()
    ]  # fmt: skip
    return (
        "<h2>The GPU itself</h2><p>All launches of the same run on the simulated GPU, everything included: an array's "
        "cycles are those of the dot products alone, without memory.</p>" + table(columns, rows)
    )


def _failures(study: Study) -> str:
    counts = Counter((row["status"], row["reason"]) for row in study.rows if row["status"] != OK)
    notes = Counter(("no area or energy", row["rtl_note"]) for row in study.rows if row["rtl_note"])
    rows = [(count, status, reason) for (status, reason), count in (counts + notes).most_common(SHOWN)]
    return f"<h2>What could not be had</h2>{table(('designs', 'what', 'reason'), rows)}" if rows else ""


def _provenance(study: Study) -> str:
    rows = [
        (
            unbroken(metric.name),
            metric.unit,
            metric.meaning,
            Html(f'<span class="tag">{metric.origin}</span>'),
            metric.basis,
        )
        for metric in METRICS.values()
    ]
    found = [row for row in study.rows if row["operands"]]
    hashes = ", ".join(f"<code>{name}</code>" for name in dict.fromkeys(row["operands"][:12] for row in found))
    code = ", ".join(f"<code>{name}</code>" for name in dict.fromkeys(row["code"] for row in found))
    return (
        f"<h2>Where each number comes from</h2><p>Operands {hashes or 'none'}, code {code or 'none'}.</p>"
        f"{table(('number', 'unit', 'what', 'origin', 'basis'), rows)}"
    )


def _footer(study: Study) -> str:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("warptree", "triton", "pyosys"))
    return (
        f"<footer>{versions}. Beside this page: designs.parquet, designs.csv and designs.json, a row a design.</footer>"
    )
