"""The commands of design-space studies: codesign, sweep, pareto."""

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


def add_commands(app: typer.Typer) -> None:
    """Give the `warptree` command these too."""
    app.command()(codesign)
    app.command()(sweep)
    app.command()(pareto)


def codesign(
    file: ExperimentArgument,
    store: StoreOption = STORE,
    report: OutOption = None,
    fresh: FreshOption = False,
    json_line: JsonOption = False,
) -> None:
    """Run a script once, then its dot products on every datapath of an experiment, beside the GPU's own cycles."""
    from sim.codesign.command import run_codesign, summary, tell
    from sim.console import Console

    study = run_codesign(file, store, _folder(file, report), fresh, Console())
    tell(study, Console(stdout=not json_line))
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
    from sim.console import Console

    study = run_sweep(file, store, _folder(file, report), workers, scheduler, fresh, Console())
    tell(study, Console(stdout=not json_line))
    if json_line:
        typer.echo(json.dumps(summary(study)))


def pareto(file: ExperimentArgument, store: StoreOption = STORE, json_line: JsonOption = False) -> None:
    """Show the designs of an experiment that no other beats, from what the store has; nothing is run."""
    from sim.codesign.command import known_study, summary, tell
    from sim.console import Console

    study = known_study(file, store, Console())
    tell(study, Console(stdout=not json_line))
    if json_line:
        typer.echo(json.dumps(summary(study)))


def _folder(file: Path, report: Path | None) -> Path:
    return report or Path("warptree-out") / file.stem
