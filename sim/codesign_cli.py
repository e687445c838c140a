"""The commands of design-space studies: codesign, sweep, pareto, report, export, language, npu, and reproduce."""

import json
from pathlib import Path
from typing import Annotated

import typer

ExperimentArgument = Annotated[Path, typer.Argument(help="An experiment, TOML; docs/experiments.md lists its fields.")]
StoreOption = Annotated[Path, typer.Option("--store", help="Folder that keeps operands and rows; may be shared.")]
OutOption = Annotated[Path | None, typer.Option("--report", help="Output folder; warptree-out/NAME if absent.")]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Run the script again, even if its operands are known.")]
JsonOption = Annotated[bool, typer.Option("--json", help="End with one line of JSON.")]
STORE = Path("warptree-out/designs")
LANGUAGE_STORE = Path("warptree-out/language-rows")
DATAPATH, TRUST = "A datapath for its dot products", "How far to trust it"  # headings of `warptree --help`


def add_commands(app: typer.Typer) -> None:
    """Give the `warptree` command these too."""
    for command in (codesign, sweep, pareto, report, export, language, npu):
        app.command(rich_help_panel=DATAPATH)(command)
    app.command(rich_help_panel=TRUST)(reproduce)


def codesign(
    file: ExperimentArgument,
    store: StoreOption = STORE,
    report: OutOption = None,
    fresh: FreshOption = False,
    json_line: JsonOption = False,
) -> None:
    """Run a script once, then its dot products on every datapath of an experiment, beside the GPU's own cycles."""
    from sim.codesign.command import run_codesign, summary, tell
    from sim.codesign.outputs import write_outputs
    from sim.console import Console

    folder = _folder(file, report)
    study = run_codesign(file, store, folder, fresh, Console())
    tell(study, Console(to_stdout=not json_line))
    Console().fact("report", str(write_outputs(study, folder)))
    if json_line:
        typer.echo(json.dumps(summary(study)))


def sweep(
    file: ExperimentArgument,
    store: StoreOption = STORE,
    report: OutOption = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes of this machine.")] = 2,
    scheduler: Annotated[str | None, typer.Option(help="A Dask scheduler instead, as tcp://host:8786.")] = None,
    fresh: FreshOption = False,
    json_line: JsonOption = False,
) -> None:
    """Search an experiment's designs; killed at any moment, the same command goes on where it was."""
    from sim.codesign.command import run_sweep, summary, tell
    from sim.codesign.outputs import write_outputs
    from sim.console import Console

    folder = _folder(file, report)
    study = run_sweep(file, store, folder, workers, scheduler, fresh, Console())
    tell(study, Console(to_stdout=not json_line))
    Console().fact("report", str(write_outputs(study, folder)))
    if json_line:
        typer.echo(json.dumps(summary(study)))


def pareto(file: ExperimentArgument, store: StoreOption = STORE, json_line: JsonOption = False) -> None:
    """Show the designs of an experiment that no other beats, from what the store has; nothing is run."""
    from sim.codesign.command import known_study, summary, tell
    from sim.console import Console

    study = known_study(file, store, Console())
    tell(study, Console(to_stdout=not json_line))
    if json_line:
        typer.echo(json.dumps(summary(study)))


def report(file: ExperimentArgument, store: StoreOption = STORE, report: OutOption = None) -> None:
    """Write the page and the tables of an experiment from what the store has; nothing is run."""
    from sim.codesign.command import known_study
    from sim.codesign.outputs import write_outputs
    from sim.console import Console

    typer.echo(write_outputs(known_study(file, store, Console()), _folder(file, report)))


def export(
    file: ExperimentArgument,
    point: Annotated[
        str | None, typer.Argument(help="First digits of a design's key, as `pareto` shows them; its answer if absent.")
    ] = None,
    store: StoreOption = STORE,
    out: Annotated[Path | None, typer.Option("--out", help="Folder; warptree-out/NAME-POINT if absent.")] = None,
    prove: Annotated[bool, typer.Option("--prove", help="Prove the RTL equal to its rule, for every input.")] = False,
) -> None:
    """Write a design's Verilog, vectors, tree and checks into one folder."""
    from sim.codesign.command import known_study
    from sim.codesign.export import answer
    from sim.codesign.export import export as write
    from sim.console import Console

    study = known_study(file, store, Console())
    point = point or answer(study)
    folder = out or Path("warptree-out") / f"{file.stem}-{point}"
    if not write(study, point, folder, prove, typer.echo):
        raise typer.Exit(1)


def language(
    block_format: Annotated[
        list[str] | None, typer.Option("--format", help="A block format; may be repeated. A few if absent.")
    ] = None,
    tree: Annotated[list[str] | None, typer.Option("--tree", help="How products are summed; may be repeated.")] = None,
    mantissa_bits: Annotated[
        list[int] | None, typer.Option("--mantissa-bits", help="M of the accumulator; may be repeated.")
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="Train the model on each datapath too, a minute each.")
    ] = False,
    steps: Annotated[int, typer.Option(min=1, help="Steps of every training.")] = 400,
    technology: Annotated[
        str, typer.Option("--technology", help="CMOS node of the energies, or a TOML file.")
    ] = "22nm",
    store: Annotated[Path, typer.Option("--store", help="Folder that keeps the rows.")] = LANGUAGE_STORE,
    report: Annotated[Path, typer.Option("--report", help="Output folder.")] = Path("warptree-out/language"),
    json_line: JsonOption = False,
) -> None:
    """Train a small language model and show its loss against energy a token, datapath by datapath.

    Killed at any moment, the same command goes on with the row it was at.
    """
    from hw.technology import load_technology
    from sim.console import Console
    from sim.language import command
    from sim.language.training import TrainingSpec
    from sim.output import make_folder

    load_technology(technology)
    designs = command.designs(block_format or command.FORMATS, tree or ("hybrid",), mantissa_bits or (16,), technology)
    make_folder(report)
    rows = command.run(designs, store, train=train, training=TrainingSpec(steps), console=Console())
    command.tell(rows, Console(to_stdout=not json_line))
    Console().fact("report", str(command.write(rows, report)))
    if json_line:
        typer.echo(json.dumps([row.as_dict() for row in rows]))


def npu(
    network: Annotated[str, typer.Argument(help="resnet18 or vit_base.")],
    block_format: Annotated[str, typer.Option("--format", help="Block format of operands and outputs.")] = "MXINT8",
    batch: Annotated[int, typer.Option(min=1, help="Images at once.")] = 32,
    train: Annotated[bool, typer.Option("--train", help="A step of training: backward products too.")] = False,
    json_line: JsonOption = False,
) -> None:
    """Show a network's cycles on the published MX NPU, layer by layer: array, scratchpad, DMA."""
    from sim.npu.command import report

    report(network, block_format, batch, train=train, say=typer.echo if json_line else None)


def reproduce(
    name: Annotated[list[str] | None, typer.Argument(help="Entries of the gallery; the list when absent.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    page: Annotated[Path | None, typer.Option("--html", help="Write a page of the figures, with curves.")] = None,
    json_line: JsonOption = False,
) -> None:
    """Run published claims here and print published against ours, each with a verdict."""
    from sim.console import Console
    from sim.reproduce import NAMES, listing
    from sim.reproduce import reproduce as run_entries
    from sim.reproduce_page import make_page_folder, write_page

    if not (name or everything):
        listing(typer.echo)
        typer.echo("Run some with `warptree reproduce NAME...`, all with --all; --html FILE writes a page.", err=True)
        return
    if page is not None:
        make_page_folder(page)
    outcomes = run_entries(NAMES if everything else tuple(name or ()), Console(to_stdout=not json_line))
    if page is not None:
        Console().fact("page", str(write_page(outcomes, page)))
    if json_line:
        typer.echo(json.dumps([outcome.as_dict() for outcome in outcomes]))
    if not all(outcome.holds for outcome in outcomes):
        raise typer.Exit(1)


def _folder(file: Path, report: Path | None) -> Path:
    return report or Path("warptree-out") / file.stem
