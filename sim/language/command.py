"""`warptree language`: from options to rows, a table, a page."""

import importlib.metadata
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

import pandas as pd
from plotly.offline import get_plotlyjs
from rich.table import Table

from mx_formats.block import BLOCK_FORMATS
from sim import figures
from sim.codesign.design import TREES, Design
from sim.console import Console
from sim.errors import SimError
from sim.language.grammar import entropy_per_token
from sim.language.model import ModelSpec
from sim.language.row import Row
from sim.language.store import RowStore
from sim.language.study import INFERENCE, TRAINING, study
from sim.language.training import TrainingSpec
from sim.output import make_folder
from sim.page import Html, document, figure_number, table, tiles, unbroken

FORMATS = ("MXINT8", "MXFP8_E4M3", "MXFP6_E2M3", "MXFP4")


def designs(
    formats: Sequence[str], trees: Sequence[str], mantissa_bits: Sequence[int], technology: str
) -> list[Design]:
    """Every combination, on an 8 x 8 array of MACs dedicated to the format.

    Raises:
        SimError: a name or a width that is not there.
    """
    for what, given, known in (("format", formats, BLOCK_FORMATS), ("tree", trees, TREES)):
        for name in given:
            if name not in known:
                raise SimError(f"{what} {name!r} is not known; there are {', '.join(known)}")
    found = []
    for name, tree, bits in product(formats, trees, mantissa_bits):
        design = Design("", (), name, BLOCK_FORMATS[name].block_size, tree, bits, 8, "dedicated", 8, 8, technology)
        try:
            _ = design.reduction_tree, design.array_spec
        except ValueError as error:
            raise SimError(f"{name} {tree} M={bits}: {error}") from None
        found.append(design)
    return found


def run(designs: Iterable[Design], store: Path, *, train: bool, training: TrainingSpec, console: Console) -> list[Row]:
    """Train the model in float32, then measure it on every design; with `train`, train it there too.

    What the store has is not computed again.
    """
    rows: list[Row] = []
    modes = (INFERENCE, TRAINING) if train else (INFERENCE,)
    with console.stage("model") as stage:
        found = study(
            designs, modes, ModelSpec(), training, RowStore(store),
            lambda what, step, loss: stage.say(f"{what}, step {step + 1} of {training.steps}, loss {loss:.3f}"),
        )  # fmt: skip
        for row in found:
            rows.append(row)
            console.fact(row.mode, f"{row.design:<40} loss {row.loss:.4f}")
        stage.done(f"{len(rows)} rows")
    return rows


def tell(rows: Sequence[Row], console: Console) -> None:
    """Show the table on the terminal."""
    shown = Table(title=f"Loss against energy; the text's entropy rate is {entropy_per_token():.4f} nats a token",
                  title_justify="left")  # fmt: skip
    for name in COLUMNS:
        shown.add_column(name, justify="left" if name in ("on the datapath", "design") else "right")
    for cells in _cells(rows):
        shown.add_row(*(figure_number(cell) if isinstance(cell, float) else str(cell) for cell in cells))
    console.show(shown)


COLUMNS = ("on the datapath", "design", "loss, nats/token", "above the text's entropy", "products/token", "nJ/token")


def _cells(rows: Iterable[Row]) -> list[list[str | float]]:
    return [
        [row.mode, row.design, row.loss, row.excess, row.products,
         "" if row.energy_pj is None else row.energy_pj / 1000]
        for row in rows
    ]  # fmt: skip


def _page_cells(rows: Sequence[Row]) -> list[list[str | float]]:
    return [
        [mode, unbroken(str(design)), *numbers, row.note or "of its gates"]
        for (mode, design, *numbers), row in zip(_cells(rows), rows, strict=True)
    ]


_SIMULATED = Html('<span class="tag">simulated</span>')
_ORIGINS = (
    ("loss", _SIMULATED, "every product cast and summed bit for bit by the tree's rule; the rest in float32"),
    ("entropy", Html('<span class="tag">exact</span>'), "of the grammar that the text is drawn from"),
    ("products", _SIMULATED, "counted as the model runs"),
    ("energy", _SIMULATED, "toggles of the generated RTL's mapped gates, registers and broadcast wires under a sample "
     "of the model's operands, no glitches, charged by hw/technology; no memories, control, clock tree or leakage"),
)  # fmt: skip


def write(rows: Sequence[Row], folder: Path) -> Path:
    """Write `language.html`, `.csv` and `.parquet`; returns the page."""
    make_folder(folder)
    frame = pd.DataFrame([row.as_dict() for row in rows])
    frame.to_csv(folder / "language.csv", index=False)
    frame.to_parquet(folder / "language.parquet", index=False)
    points: dict[str, list[tuple[float, float, str]]] = {}
    for row in rows:
        if row.energy_pj is not None:
            points.setdefault(f"{row.format}, {row.mode}", []).append(
                (row.energy_pj / 1000, row.excess, f"{row.design}<br>{row.mode}<br>loss {row.loss:.4f}")
            )
    chart = "<p>No row has an energy; the table says why.</p>"
    if points:
        chart = figures.trade_off(points, [], "nJ a token, products only", "nats a token above the text's entropy")
    figures_of = tiles([
        (f"{rows[0].loss:.4f}", "loss in float32, nats a token"),
        (f"{entropy_per_token():.4f}", "entropy rate of the text, nats a token"),
    ])  # fmt: skip
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("warptree", "torch", "pyosys"))
    body = f"""<header><div class="brand">warptree language model</div>
<h1>What does a number format cost a language model, and what does it save?</h1>
<p class="soft">A two-layer transformer on text of known entropy; every matrix product runs through the datapath, bit
for bit. Energy is simulated: toggles of the datapath's own gates on the model's own operands.</p></header>
{figures_of}<h2>Loss against energy</h2>{chart}
<h2>Every row</h2>{table((*COLUMNS, "energy"), _page_cells(rows))}
<p class="note">"training" means that all products of training, forward and backward, and of the measurement are the
datapath's; its energy is that of a training step. Norms, softmax and sums outside products are float32.</p>
<h2>Where each number comes from</h2>{table(("number", "origin", "basis"), _ORIGINS)}
<footer>{versions}. Beside this page: language.parquet and language.csv, a row a line.</footer>"""
    path = folder / "language.html"
    path.write_text(document("language model - warptree", body, get_plotlyjs()), encoding="utf-8")
    return path
