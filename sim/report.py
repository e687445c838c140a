"""One self-contained HTML page about one run: what ran, what it cost, how exact it was, and how each number was got."""

import html
import importlib.metadata
import linecache
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from plotly.offline import get_plotlyjs

from sim import figures
from sim.console import plural
from sim.findings import COLUMNS, row
from sim.page import Html, document, figure_number, table, tiles
from sim.provenance import Number, Origin
from sim.results import LaunchResult, RunResult, longest
from sim.roofline import LEVELS as ROOF_LEVELS
from sim.roofline import Roofline, roofline
from sim.stall_words import MEANINGS
from sim.tables import lines_frame

MAX_LINES = 12
ISSUED = "ISSUED"  # the one entry of the stall table that is no stall
LEVELS = {"l1": "L1", "l2": "L2", "dram": "DRAM", "shared": "shared memory", "constant": "constants by address",
          "instruction": "instruction cache"}  # fmt: skip


def write_report(run: RunResult, path: Path) -> Path:
    """Write the page for `run`; it fetches nothing, so it opens offline. Returns `path`."""
    sections = (
        _header,
        _findings,
        _launches,
        _stalls,
        _bytes,
        _roofline,
        _lines,
        _residency,
        _accuracy,
        _rtl,
        _provenance,
        _footer,
    )
    body = "\n".join(text for section in sections if (text := section(run)))
    path.write_text(document(f"{run.title} - warptree", body, get_plotlyjs()), encoding="utf-8")
    return path


def _header(run: RunResult) -> str:
    entries = [
        (figure_number(run.cycles), "simulated cycles"),
        (f"{_microseconds(run):.4g} µs", f"at {figure_number(run.gpu.core_clock_mhz)} MHz"),
        (f"{run.ipc:.2f}", "instructions a busy SM-cycle"),
        *((f"{number.value:.3g} {number.unit}".strip(), number.name) for number in run.numbers),
        *((f"{accuracy.qsnr_db:.1f} dB", f"QSNR of dots in {accuracy.format}") for accuracy in run.accuracy),
    ]
    if run.cosim is not None:
        entries.append((f"{run.rtl_mismatches} of {run.rtl_vectors:,}", "RTL vectors that differ"))
    return (
        f'<header><div class="brand">warptree report</div><h1>{html.escape(run.title)} on a virtual '
        f'{html.escape(run.gpu.product)}</h1><p class="soft"><code>{html.escape(run.command)}</code></p></header>'
        f"<p>{html.escape(_lede(run))}</p>{tiles(entries)}"
    )


def _lede(run: RunResult) -> str:
    instructions = sum(launch.timing.warp_instructions for launch in run.launches)
    return (
        f"{plural(len(run.launches), 'kernel launch')}, {instructions:,} warp-instructions of real machine code "
        f"(sm_{run.gpu.arch}), executed on the CPU and timed on a model of the GPU's cores. "
        "No GPU took part; every number below says whether it was measured, simulated or published."
    )


def _findings(run: RunResult) -> str:
    if run.findings is None:
        return ""
    count = len(run.findings)
    verdict = Html(f'<span class="{"bad" if count else "good"}">{plural(count, "finding")}</span>')
    about = (
        "Every launch was checked for reads of shared or local memory that nothing wrote, for accesses to shared "
        "memory that no barrier orders, and for lanes that exchange values without having met. Accesses outside a "
        "tensor stop a run. Shown is where each was first seen, and how many accesses of a lane were like it."
    )
    rows = [row(finding) for finding in run.findings]
    return f"<h2>Checks: {verdict}</h2><p>{about}</p>{table(COLUMNS, rows) if rows else ''}"


def _name(index: int, launch: LaunchResult) -> str:
    return f"{index}: {launch.timing.kernel}"


def _launches(run: RunResult) -> str:
    columns = ("launch", "grid", "threads", "cycles", "time (µs)", "warp-instr", "IPC", "warps/SM",
               "limited by", "compiled for")  # fmt: skip
    rows = []
    for index, launch in longest(run.launches):
        timing = launch.timing
        rows.append((
            _name(index, launch), "\u00a0x\u00a0".join(map(str, timing.grid)),
            launch.block_threads, timing.cycles, timing.microseconds, timing.warp_instructions, round(timing.ipc, 2),
            timing.occupancy.warps, timing.occupancy.limited_by, launch.configuration,
        ))  # fmt: skip
    more = len(run.launches) - len(rows)
    note = f'<p class="soft">{more} shorter launches are in launches.parquet.</p>' if more else ""
    for index, launch in longest(run.launches):
        if launch.timing.sampling is not None:
            note += f'<p class="soft">Launch {index}: {launch.timing.sampling}.</p>'
    if not any(launch.compiled_for for launch in run.launches):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return f"<h2>What it cost</h2>{table(columns, rows)}{note}"


def _stalls(run: RunResult) -> str:
    shown = longest(run.launches)
    parts: dict[str, list[float]] = {}
    for position, (_, launch) in enumerate(shown):
        frame = launch.timing.stalls_frame()
        for reason, cycles in zip(frame["reason"], frame["warp_cycles"], strict=True):
            parts.setdefault(_spoken(reason), [0.0] * len(shown))[position] += float(cycles)
    first = _spoken(ISSUED)
    order = sorted((name for name in parts if sum(parts[name])), key=lambda name: (name != first, -sum(parts[name])))
    parts = {name: parts[name] for name in order}
    words = [(_spoken(name), meaning) for name, meaning in MEANINGS.items() if _spoken(name) in parts]
    chart = figures.stacked_shares([_name(*entry) for entry in shown], parts, "warp-cycles")
    return (
        "<h2>What warps did with their time</h2><p>Each cycle of each resident warp is counted once: it issued, or it "
        f"waited for the first reason that held it back.</p>{chart}"
        f"<details><summary>What the words mean</summary>{table(('reason', 'what it means'), words)}</details>"
    )


def _spoken(name: str) -> str:
    return name.lower().replace("_", " ")


def _bytes(run: RunResult) -> str:
    total: Counter[str] = Counter()
    for launch in run.launches:
        total.update(launch.timing.traffic_bytes)
    levels = dict.fromkeys(name.rsplit("_", 1)[0] for name in total)
    ways = ("read", "hit", "write")
    rows = [(LEVELS.get(level, level), *(total.get(f"{level}_{way}", "") for way in ways)) for level in levels]
    columns = ("level", "read", "of that, found there", "written")
    return f"<h2>What moved, in bytes</h2><p>All launches together.</p>{table(columns, rows)}"


def _roofline(run: RunResult) -> str:
    lines = [(_name(index, launch), roofline(launch, run.gpu)) for index, launch in longest(run.launches)]
    rows = [
        (name, line.total, _intensity(line, "DRAM"), _intensity(line, "L2"), line.tera_per_second, line.bound_by,
         f"{100 * line.attained:.1f} %")
        for name, line in lines
    ]  # fmt: skip
    titles = ("launch", "operations", "per DRAM byte", "per L2 byte", "10^12 operations/s", "nearest roof", "reached")
    chart = _roofline_chart(run, lines)
    return (
        "<h2>How near the roofs</h2><p>Floating-point and tensor operations that lanes executed, a fused multiply-add "
        "counted as two, against the bytes they moved. The nearest roof is the resource that would need most time at "
        f"its peak; reached is that time as a share of the simulated one.</p>{chart}{table(titles, rows)}"
    )


def _intensity(line: Roofline, level: str) -> float | str:
    value = line.intensity(level)
    return "" if value is None else value


def _roofline_chart(run: RunResult, lines: list[tuple[str, Roofline]]) -> str:
    working = [(name, line) for name, line in lines if line.total]
    if not working:
        return ""
    points = {
        level: [(at, line.tera_per_second, name) for name, line in working if (at := line.intensity(level)) is not None]
        for level in ROOF_LEVELS
    }
    clock = run.gpu.core_clock_mhz * 1e-6
    roofs = {level: working[0][1].level_peaks[level] * clock for level in ROOF_LEVELS}
    peaks = {kind.name: kind.peak * clock for _, line in working for kind in line.operations}
    return figures.rooflines(roofs, peaks, points)


def _lines(run: RunResult) -> str:
    sums = ["warp_cycles", "issued", "conflicts", "uncoalesced"]
    frame = pd.DataFrame(lines_frame(run).groupby(["file", "line"])[sums].sum()).reset_index()
    frame = frame.sort_values("warp_cycles", ascending=False, kind="stable")
    total, rows = max(1, int(frame["warp_cycles"].to_numpy().sum())), []
    for entry in frame.head(MAX_LINES).to_dict("records"):
        file, line = str(entry["file"]), int(entry["line"])
        share = 100 * int(entry["warp_cycles"]) / total
        bar = Html(f'<span class="bar" style="width:{1.4 * share:.1f}px"></span> {share:.1f} %')
        place = f"{Path(file).name}:{line}" if line else "no line"
        counts = (int(entry["issued"]), int(entry["conflicts"]), int(entry["uncoalesced"]))
        rows.append((bar, *counts, place, linecache.getline(file, line).strip()))
    titles = ("share of warp-cycles", "warp-instr", "bank conflicts", "uncoalesced", "line", "source")
    return (
        "<h2>Which lines cost it</h2><p>Bank conflicts are wavefronts of shared memory beyond those of an access "
        "without conflicts; uncoalesced are 32-byte sectors of global memory beyond those that the lanes' bytes fill."
        f"</p>{table(titles, rows, code=('source',))}"
    )


def _residency(run: RunResult) -> str:
    index, launch = max(enumerate(run.launches), key=lambda entry: entry[1].timing.cycles)
    warps = launch.timing.warps
    if not len(warps):
        return ""
    edges = np.concatenate([warps["start_cycle"], warps["end_cycle"]])
    change = np.concatenate([np.ones(len(warps), int), -np.ones(len(warps), int)])
    cycles, inverse = np.unique(edges, return_inverse=True)
    resident = np.cumsum(np.bincount(inverse, weights=change))
    keep = np.unique(np.linspace(0, len(cycles) - 1, 2000).astype(int))
    chart = figures.step_line(cycles[keep].tolist(), resident[keep].tolist(), "cycle", "resident warps, all SMs")
    return f"<h2>Warps in flight</h2><p>Launch {html.escape(_name(index, launch))}.</p>{chart}"


def _accuracy(run: RunResult) -> str:
    if not run.accuracy:
        return ""
    first = run.accuracy[0]
    groups = {
        "on the hybrid tree": [a.qsnr_db for a in run.accuracy],
        "exact sum (format alone)": [a.cast_qsnr_db for a in run.accuracy],
    }
    chart = figures.grouped_bars([a.format for a in run.accuracy], groups, "dB")
    columns = ("format", "QSNR (dB)", "exact sum (dB)", "max error", "max difference to fp16", "max error of the tree")
    rows = [
        (a.format, round(a.qsnr_db, 2), round(a.cast_qsnr_db, 2), a.max_abs_err, a.max_abs_err_tensor_core,
         a.max_abs_err_tree)
        for a in run.accuracy
    ]  # fmt: skip
    return (
        "<h2>The same dots on an MX datapath</h2>"
        f"<p>{first.dots:,} dot products, {first.products:,} multiply-accumulates, taken from this run's own "
        "tensor-core instructions, cast to each format in blocks of 32 along K and summed bit for bit on a <b>hybrid "
        "reduction tree</b>. QSNR is against float64 on the original operands; the tensor core itself reaches "
        f"{first.tensor_core_qsnr_db:.1f} dB. Summing on the tree rather than exactly changes QSNR by at most "
        f"{max(abs(a.qsnr_db - a.cast_qsnr_db) for a in run.accuracy):.2g} dB.</p>{chart}{table(columns, rows)}"
    )


def _rtl(run: RunResult) -> str:
    cosim = run.cosim
    if cosim is None:
        return ""
    good = cosim.ok
    verdict = Html(f'<span class="{"good" if good else "bad"}">{"equal" if good else "DIFFERENT"}</span>')
    rows = [(name, cosim.vectors[name], cosim.mismatches[name]) for name in cosim.vectors]
    first = "".join(f'<p class="bad">{html.escape(str(found))}</p>' for found in cosim.first_mismatch.values())
    return (
        f"<h2>RTL against model: {verdict}</h2><p>The Amaranth MAC generated from the same spec, compiled by Verilator "
        f"and driven by cocotb with operands of this run, in {cosim.seconds:.1f} s.</p>"
        f"{table(('element', 'vectors', 'mismatches'), rows)}{first}"
    )


def _provenance(run: RunResult) -> str:
    rows = [
        (n.name, f"{figure_number(n.value)} {n.unit}".strip(), Html(f'<span class="tag">{n.origin}</span>'), n.basis)
        for n in numbers(run)
    ]
    return (
        "<h2>Where each number comes from</h2><p>Configuration <code>"
        f"{run.configuration}</code> names the specs behind the simulated ones.</p>"
        f"{table(('number', 'value', 'origin', 'basis'), rows)}"
    )


def numbers(run: RunResult) -> list[Number]:
    """Every headline number of the page with its origin and basis."""
    core = f"core model of {run.gpu.product}, configuration {run.configuration}"
    rows = [
        *run.numbers,
        Number("cycles, all launches", run.cycles, "cycles", Origin.SIMULATED, core),
        Number("time, all launches", _microseconds(run), "µs", Origin.SIMULATED, f"{core}; launch overhead excluded"),
        Number("IPC", run.ipc, "warp-instr per SM-cycle", Origin.SIMULATED, core),
        Number("clock", run.gpu.core_clock_mhz, "MHz", Origin.PUBLISHED, "the GPU's specification file"),
    ]
    for a in run.accuracy:
        basis = f"{a.tree}, bit-exact to its rule; {a.dots:,} dot products"
        rows.append(Number(f"QSNR {a.format}", a.qsnr_db, "dB", Origin.SIMULATED, basis))
    if run.cosim is not None:
        basis = "Verilated RTL driven by cocotb, every vector compared"
        rows.append(Number("RTL vectors", run.rtl_vectors, "", Origin.MEASURED, basis))
        rows.append(Number("RTL mismatches", run.rtl_mismatches, "", Origin.MEASURED, basis))
    return rows


def _microseconds(run: RunResult) -> float:
    return sum(launch.timing.microseconds for launch in run.launches)


def _footer(run: RunResult) -> str:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("warptree", "triton", "torch"))
    return (
        f"<footer>{versions}. Beside this page: launches, stalls, lines and accuracy as Parquet; timeline.json.gz for "
        "ui.perfetto.dev or chrome://tracing (1 µs shown = 1 cycle).</footer>"
    )
