"""A design in one folder: its Verilog, its vectors, its tree, and what was checked.

design.json     its row
tree.svg, .txt  its reduction tree, drawn and in bits
vectors/        conformance dots of the tree, edge cases first; `warptree vectors --check` evaluates them again
mac.v           the MAC's Verilog, where there is RTL
operands.txt    MAC cycles of the workload's own dot products, each with the accumulator it must leave
mac_tb.v        a testbench of these cycles; check.sh runs it with Verilator or Icarus Verilog, without warptree
README.md       what each file is, the ports, the rule, and what was checked
report.html     all of it on one page, with what the checks said
"""

import html
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw.explain import draw, explain
from hw.vector_file import write
from rtl import emit
from rtl.cosim import MacVectors
from rtl.mac import Mac, MacDesign, Tree
from rtl.simulate import port_words, rtl_mac_step
from rtl.tools import ToolError
from sim.codesign import handover
from sim.codesign.command import Study, design_of
from sim.codesign.cost import mac_design
from sim.codesign.design import Design
from sim.codesign.metrics import METRICS
from sim.codesign.recording import load
from sim.codesign.store import Row
from sim.errors import SimError
from sim.mac_run import mac_vectors
from sim.output import make_folder
from sim.page import Html, document, table, unbroken
from sim.rtl_prove import run_proof

MAC_CYCLES = 4096  # of the workload, written and run through the RTL
VECTORS = 2000  # conformance dots


@dataclass(frozen=True)
class Check:
    """One thing that was checked, and how it went; `good` is None where it was not."""

    what: str
    outcome: str
    good: bool | None


def export(study: Study, point: str, folder: Path, prove: bool, say: Callable[[str], None]) -> bool:
    """Write a design's folder; whether every check that ran passed.

    Args:
        study: where the point is.
        point: the first digits of its key.
        folder: made if it is not there.
        prove: prove the RTL equal to the rule for every input, too; minutes.
        say: told of each file and check.

    Raises:
        SimError: no such point, or not one alone.
    """
    row = find(study, point)
    design = design_of(row)
    make_folder(folder)
    checks = []
    for name, make in _FILES.items():
        found = make(study, row, design, folder)
        if isinstance(found, Check):
            checks.append(found)
        say(f"{folder / name}{f': {found.outcome}' if isinstance(found, Check) else ''}")
    if prove:
        checks.append(_proof(design, say))
    outcomes = [(check.what, check.outcome) for check in checks]
    (folder / "README.md").write_text(handover.readme(design, _mac(design), outcomes), encoding="utf-8")
    (folder / "report.html").write_text(_page(study, row, design, checks), encoding="utf-8")
    say(str(folder / "README.md"))
    say(str(folder / "report.html"))
    return all(check.good is not False for check in checks)


def answer(study: Study) -> str:
    """The point that answers the study's question; SimError if none does."""
    if study.answer is None:
        near = ", ".join(row["key"][:8] for row in study.front[:6])
        raise SimError(f"no design of {study.path} meets its goal; name a point, of the front {near or 'none'}")
    return study.answer["key"][:8]


def find(study: Study, point: str) -> Row:
    """The evaluated design whose key begins with `point`; SimError if it is none or several."""
    found = [row for row in study.rows if row["key"].startswith(point.lower())]
    if len(found) != 1:
        near = ", ".join(row["key"][:8] for row in (found or study.front)[:6])
        raise SimError(f"point {point!r} is {'more than one design' if found else 'no design'} of {study.path}; "
                       f"there are {near or 'none'}")  # fmt: skip
    if found[0]["status"] != "ok":
        raise SimError(
            f"point {point} is {found[0]['status']}: {found[0]['reason']}; export a design that can be built"
        )
    return found[0]


def _row(study: Study, row: Row, design: Design, folder: Path) -> None:
    (folder / "design.json").write_text(json.dumps(row, indent=2) + "\n", encoding="utf-8")


def _tree(study: Study, row: Row, design: Design, folder: Path) -> None:
    element, tree = design.block_format.element, design.reduction_tree
    (folder / "tree.svg").write_text(draw(tree, element, element), encoding="utf-8")
    (folder / "tree.txt").write_text(explain(tree, element, element) + "\n", encoding="utf-8")


def _vectors(study: Study, row: Row, design: Design, folder: Path) -> Check:
    (folder / "vectors").mkdir(exist_ok=True)
    name = f"{design.tree}-m{design.mantissa_bits}/{design.block_format.element.name}"
    try:
        path = write(name, folder / "vectors", VECTORS)
    except ValueError as error:
        return Check("conformance vectors", f"none: {error}", None)
    return Check("conformance vectors", f"{VECTORS} dots in {path.name}", None)


def _verilog(study: Study, row: Row, design: Design, folder: Path) -> Check:
    try:
        mac = mac_design(design)
    except ValueError as error:
        return Check("Verilog", f"none: {error}", None)
    text = emit.verilog(Mac(mac), "mac")
    (folder / "mac.v").write_text(text, encoding="utf-8")
    return Check("Verilog", f"module mac, {len(text.splitlines()):,} lines", None)


def _testbench(study: Study, row: Row, design: Design, folder: Path) -> None:
    mac = _mac(design)
    if mac is not None:
        (folder / "mac_tb.v").write_text(handover.testbench(mac, design.block_format.element.name), encoding="utf-8")
        (folder / "check.sh").write_text(handover.CHECK, encoding="utf-8")


def _mac(design: Design) -> MacDesign | None:
    try:
        return mac_design(design)
    except ValueError:
        return None


def _operands(study: Study, row: Row, design: Design, folder: Path) -> Check:
    """The workload's MAC cycles through the compiled RTL, every accumulator compared."""
    what = "RTL on the workload's own operands"
    try:
        mac = mac_design(design)
    except ValueError as error:
        return Check(what, f"not run: {error}", None)
    dots = load(study.runs.path(design)).dots
    available = row["products"] // design.mac_spec.lanes
    cycles = min(MAC_CYCLES, available)
    vectors = mac_vectors(dots, design.block_format, mac, cycles)
    name = design.block_format.element.name
    (folder / "operands.txt").write_text("\n".join(_lines(mac, name, vectors)) + "\n", encoding="utf-8")
    before = np.where(vectors.clear, 0, np.concatenate([[0], vectors.expected[:-1]])).astype(np.uint32)
    try:
        got = rtl_mac_step(mac, name, vectors.a, vectors.b, vectors.xa, vectors.xb, before)
    except ToolError as error:
        return Check(what, f"not run: {error}", None)
    wrong = int(np.count_nonzero(got != vectors.expected))
    return Check(what, f"{wrong} of {len(got):,} accumulators differ from the model", wrong == 0)


def _lines(mac: MacDesign, element: str, vectors: MacVectors) -> Iterator[str]:
    ports = port_words(mac, element, vectors.a, vectors.b, vectors.xa, vectors.xb)
    yield "# MAC cycles in order; clear = 1 starts from +0. Hexadecimal words as the ports of module mac take them."
    yield "# a b xa xb clear accumulator_after"
    columns = (ports["a"], ports["b"], ports["xa"], ports["xb"], vectors.clear, vectors.expected)
    digits, wide = -(-mac.accumulator_bits // 4), mac.operand_bits // 4
    for a, b, xa, xb, clear, after in zip(*(column.tolist() for column in columns), strict=True):
        yield f"{a:0{wide}x} {b:0{wide}x} {xa:02x} {xb:02x} {int(clear)} {after:0{digits}x}"


_FILES: dict[str, Callable[[Study, Row, Design, Path], Check | None]] = {
    "design.json": _row,
    "tree.svg": _tree,
    "vectors": _vectors,
    "mac.v": _verilog,
    "operands.txt": _operands,
    "mac_tb.v": _testbench,
}


def _proof(design: Design, say: Callable[[str], None]) -> Check:
    what = "RTL equal to its rule for every input"
    try:
        mac = mac_design(design)
    except ValueError as error:
        return Check(what, f"not proven: {error}", None)
    good = run_proof(mac, mac.names, say)
    limits = "; where accumulator and products lie far apart the rule has limits, argued where it is written"
    proven = f"proven with z3{limits if mac.tree is Tree.LONG_INTEGER else ''}"
    return Check(what, proven if good else "REFUTED", good)


def _page(study: Study, row: Row, design: Design, checks: list[Check]) -> str:
    element, tree = design.block_format.element, design.reduction_tree
    style = {True: "good", False: "bad", None: "soft"}
    outcomes = [(check.what, Html(f'<span class="{style[check.good]}">{html.escape(check.outcome)}</span>'))
                for check in checks]  # fmt: skip
    numbers = [
        (
            unbroken(metric.name),
            row[metric.name],
            metric.unit,
            metric.meaning,
            Html(f'<span class="tag">{metric.origin}</span>'),
        )
        for metric in METRICS.values()
        if row[metric.name] is not None
    ]
    body = (
        f'<header><div class="brand">warptree design {row["key"][:8]}</div><h1>{html.escape(design.words())}</h1>'
        f'<p class="soft">{html.escape(study.experiment.question)}</p></header>'
        f"<h2>What was checked</h2>{table(('what', 'outcome'), outcomes)}"
        f"<h2>Numbers</h2>{table(('number', 'value', 'unit', 'what', 'origin'), numbers)}"
        f"<h2>Reduction tree</h2><div class='scroll'>{draw(tree, element, element)}</div>"
        f'<div class="scroll"><pre class="mono">{html.escape(explain(tree, element, element))}</pre></div>'
        f"<footer>Key {row['key']}, operands {row['operands']}, code {row['code']}.</footer>"
    )
    return document(f"{design.words()} - warptree", body, "")
