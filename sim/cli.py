"""The `warptree` command. Each command imports what it needs when it runs, so that `--help` stays instant."""

import difflib
import json
import os
import sys
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sim.codesign_cli import DATAPATH, TRUST, add_commands
from sim.errors import SimError, is_user_error
from sim.rtl_commands import rtl_app
from sim.script_errors import script_part, told

KERNEL = "A kernel on a GPU"
USER_ERROR = 2  # exit status when the user can mend it; a failed check exits 1


class Fidelity(StrEnum):
    """How much of a launch is timed."""

    FULL = "full"
    SAMPLED = "sampled"


class _FriendlyGroup(TyperGroup):
    """Turns errors meant for the user into one sentence."""

    def invoke(self, ctx: typer.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            if is_user_error(error):
                typer.echo(f"warptree: {error}", err=True)
                raise typer.Exit(USER_ERROR) from None
            if (part := script_part(error)) is None:
                raise
            typer.echo(told(error, part), err=True, nl=False)
            raise typer.Exit(1) from None


def _no_option(context: typer.Context, script: Path) -> Path:
    """Options nobody knows are taken for the script, whose own may follow it: tell a misspelt one apart."""
    name = str(script).partition("=")[0]
    if name.startswith("-"):
        legal = [option for parameter in context.command.params for option in parameter.opts if option[:2] == "--"]
        near = difflib.get_close_matches(name, legal, 1)
        hint = f"did you mean {near[0]}?" if near else f"legal: {', '.join(legal)}."
        raise SimError(f"{context.command_path} has no option {name}; {hint} The script's own options go after it")
    return script


app = typer.Typer(cls=_FriendlyGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(rtl_app, name="rtl", rich_help_panel=DATAPATH)

ScriptArgument = Annotated[
    Path, typer.Argument(help="A Triton script, unmodified; what follows it are its arguments.", callback=_no_option)
]
GpuOption = Annotated[str, typer.Option("--gpu", help="A name from `warptree gpus`, or a TOML file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of the GPU; `warptree gpus NAME` lists them."),
]
FidelityOption = Annotated[
    Fidelity, typer.Option(help="sampled: time a part of long launches and print the estimated error.")
]
ReportOption = Annotated[Path, typer.Option("--report", help="Folder for the report, tables and timeline.")]
JsonOption = Annotated[bool, typer.Option("--json", help="End with one line of JSON.")]
KernelOption = Annotated[str | None, typer.Option(help="Save only kernels of this name, or pattern such as 'add*'.")]
LimitOption = Annotated[int | None, typer.Option(min=1, help="Save at most this many launches.")]
MaxBytesOption = Annotated[int, typer.Option(min=1, help="Most memory of one launch file, before and after together.")]
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", envvar="WARPTREE_DEBUG", help="Show tracebacks.")] = False,
) -> None:
    """Run Triton kernels without a GPU, time them cycle by cycle, and take their dots through your MX datapath."""


@app.command(rich_help_panel=KERNEL)
def demo(
    report: ReportOption = Path("warptree-out"),
    gpu: GpuOption = "rtx_a6000",
    settings: SetOption = None,
    json_line: JsonOption = False,
) -> None:
    """The whole idea on one kernel: flash attention to machine code, results, cycles, MX dots, RTL and a report."""
    from sim.console import Console
    from sim.demo import run_demo

    summary = run_demo(gpu, report, Console(), settings or [])
    if json_line:
        typer.echo(json.dumps(summary))
    if summary["rtl_mismatches"]:
        raise typer.Exit(1)


@app.command(context_settings=PASS_ON, rich_help_panel=KERNEL)
def run(
    context: typer.Context,
    script: ScriptArgument,
    gpu: GpuOption = "rtx_a6000",
    settings: SetOption = None,
    report: ReportOption = Path("warptree-out"),
    save_launches: Annotated[Path | None, typer.Option(help="Save launches and their outputs here.")] = None,
    kernel: KernelOption = None,
    limit: LimitOption = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Find races in shared memory, uninitialised reads, missing convergence; exit 1 if there are any.",
        ),
    ] = False,
    fidelity: FidelityOption = Fidelity.FULL,
    accelsim: Annotated[Path | None, typer.Option(help="Write traces for Accel-Sim into this new folder.")] = None,
    json_line: JsonOption = False,
) -> None:
    """Run a Triton script on a virtual GPU; write its report."""
    from sim.capture import SaveLaunches
    from sim.console import Console
    from sim.run import run_and_report

    save = SaveLaunches(save_launches, kernel, limit) if save_launches else None
    summary = run_and_report(
        script, context.args, gpu, report, Console(), settings=settings or [], save=save, check=check,
        accelsim=accelsim, fidelity=fidelity,
    )  # fmt: skip
    if json_line:
        typer.echo(json.dumps(summary))
    raise typer.Exit(summary["status"] or int(bool(summary["findings"])))


@app.command(rich_help_panel=KERNEL)
def time(
    traces: Annotated[Path, typer.Argument(help="Folder with Accel-Sim traces and their kernelslist.g.")],
    gpu: GpuOption = "rtx_a6000",
    settings: SetOption = None,
    fidelity: FidelityOption = Fidelity.FULL,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Time Accel-Sim's text traces on a virtual GPU."""
    from sim.time_traces import time_folder

    for line in time_folder(traces, gpu, settings or [], fidelity):
        typer.echo(json.dumps(line.as_dict()) if json_lines else str(line))


@app.command(rich_help_panel=KERNEL)
def compare(
    a: Annotated[Path, typer.Argument(help="Folder of a run, as `warptree run --report A` wrote it.")],
    b: Annotated[Path, typer.Argument(help="Folder of the run to compare with it.")],
    page: Annotated[Path | None, typer.Option("--html", help="Write the comparison as a page, too.")] = None,
    json_line: JsonOption = False,
) -> None:
    """Two runs side by side: two GPUs, two kernels or two settings."""
    from sim.compare import compare as compare_runs
    from sim.compare_text import terminal_tables, write_page
    from sim.console import Console
    from sim.run_folder import read_run

    comparison = compare_runs(read_run(a), read_run(b))
    if page is not None:
        write_page(comparison, page)
    if json_line:
        typer.echo(json.dumps(comparison.as_dict()))
        return
    console = Console(to_stdout=True)
    for side, run in zip("AB", comparison.runs, strict=True):
        console.line(f"{side}: {run.command}")
    for shown in terminal_tables(comparison):
        console.line()
        console.show(shown)


@app.command(context_settings=PASS_ON, rich_help_panel=KERNEL)
def capture(
    context: typer.Context,
    script: ScriptArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the launch files.")] = Path("launches"),
    kernel: KernelOption = None,
    limit: LimitOption = None,
    max_bytes: MaxBytesOption = 1 << 30,
) -> None:
    """Run a Triton script on this machine's NVIDIA GPU; save its launches and the GPU's outputs for `replay`."""
    from gpu_model.capture import nvidia_gpu
    from sim.capture import SaveLaunches, capture_script
    from sim.console import Console

    save = SaveLaunches(output, kernel, limit, max_bytes)
    raise typer.Exit(capture_script(script, context.args, nvidia_gpu(), save, Console()))


@app.command(rich_help_panel=KERNEL)
def replay(
    paths: Annotated[list[Path], typer.Argument(help="Launch files, or folders of them.")],
    gpu: Annotated[str | None, typer.Option(help="A name from `warptree gpus`, or a TOML file.")] = None,
    settings: SetOption = None,
    time: Annotated[bool, typer.Option("--time", help="Time the launches too.")] = False,
    max_bytes: MaxBytesOption = 8 << 30,
    max_instructions: Annotated[int | None, typer.Option(min=1, help="Give a launch up after so many.")] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Run saved launches again and compare their memory bit for bit with what was stored."""
    from sim.replay import describe, launch_files
    from sim.replay import replay as replay_one

    differing = 0
    for path in launch_files(paths):
        result = replay_one(
            path, gpu, settings or [], timing=time, max_bytes=max_bytes, max_instructions=max_instructions
        )
        differing += bool(result.differences)
        typer.echo(json.dumps(result.as_dict()) if json_lines else "\n".join(describe(result)))
    raise typer.Exit(1 if differing else 0)


@app.command(rich_help_panel=DATAPATH)
def trees(
    name: Annotated[str | None, typer.Argument(help="Tree and format, as ampere/FP16; the list when absent.")] = None,
    svg: Annotated[Path | None, typer.Option("--svg", help="Draw it into this file.")] = None,
) -> None:
    """List the ways to sum, or explain one: widths, shifts, where bits are lost."""
    from sim.conformance import describe

    describe(name, svg, typer.echo)


@app.command(rich_help_panel=DATAPATH)
def vectors(
    folder: Annotated[Path, typer.Argument(help="Where the files go; with --check, a file or a folder of them.")],
    tree: Annotated[list[str] | None, typer.Option("--tree", help="Only these of `warptree trees`.")] = None,
    count: Annotated[int, typer.Option("--count", help="Dots a file.")] = 10_000,
    check: Annotated[bool, typer.Option("--check", help="Evaluate files again instead of writing them.")] = False,
) -> None:
    """Write conformance vectors of every tree and format, the same bits everywhere; or check files of them."""
    from sim.conformance import check_files, write_files

    if check:
        raise typer.Exit(0 if check_files(folder, typer.echo) else 1)
    write_files(folder, tree, count, typer.echo)


@app.command(context_settings=PASS_ON, rich_help_panel=TRUST)
def test(context: typer.Context) -> None:
    """Run the tests; further arguments go to pytest."""
    root = Path(__file__).resolve().parent.parent
    if not (root / "tests").is_dir():
        raise SimError(f"no tests in {root}: they come with the source, not with the package; clone the repository")
    if find_spec("pytest") is None:
        raise SimError("pytest is not installed; try: pip install -c constraints.txt -e '.[test]'")
    os.chdir(root)
    os.execv(sys.executable, [sys.executable, "-m", "pytest", "-n", "2", *context.args])


@app.command(rich_help_panel=TRUST)
def bench(
    name: Annotated[str | None, typer.Argument(help="One benchmark; all of them when absent.")] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Shorter runs, same metrics, more noise.")] = False,
) -> None:
    """Measure speed against the nearest peer or the machine's limit."""
    from sim.bench import render, run_benches

    for measurement in run_benches(name, quick=quick):
        typer.echo(json.dumps(measurement.as_dict()) if json_lines else render(measurement))


@app.command(rich_help_panel=TRUST)
def validate(
    gpu: Annotated[str | None, typer.Option("--gpu", help="Only what was measured on this GPU.")] = None,
    suite: Annotated[str | None, typer.Option("--suite", help="Only this suite.")] = None,
    case: Annotated[str, typer.Option("--case", help="Only cases with this in their name.")] = "",
    data: Annotated[
        list[Path] | None, typer.Option("--data", help="A data file; all that come with us if absent.")
    ] = None,
    settings: SetOption = None,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Compare simulated with measured times: error per case, per suite, and the mean."""
    from hw.gpu_settings import parse_settings
    from sim.validate import DATA, compare, frame, load_references, mean_errors

    chosen = [
        reference
        for reference in load_references(data or sorted(DATA.glob("*.csv")))
        if gpu in (None, reference.gpu) and suite in (None, reference.suite) and case in reference.case
    ]
    if not chosen:
        raise SimError("no measured value matches; without options all that there are are compared")
    done = []
    for comparison in compare(chosen, parse_settings(settings or [])):
        done.append(comparison)
        r = comparison.reference
        line = f"{r.gpu:<12} {r.case:<58} {r.value:>10.2f} {comparison.simulated:>10.2f} {r.unit:<9} "
        typer.echo(f"{line}{comparison.error_percent:+7.1f} %", err=json_lines)
    table = frame(done)
    means = mean_errors(table)
    if json_lines:
        for row in [*table.to_dict("records"), *means.to_dict("records")]:
            typer.echo(json.dumps(row))
        return
    for row in means.to_dict("records"):
        typer.echo(f"mean error   {row['gpu']:<12} {row['suite']:<12} {row['error']:6.1f} %  of {row['cases']}")


@app.command(rich_help_panel=TRUST)
def doctor() -> None:
    """Print what was found, its version, and what each missing piece disables."""
    from sim.doctor import findings

    rows = findings()
    width = max(len(row.name) for row in rows)
    for row in rows:
        mark = "ok     " if row.ok else "MISSING"
        detail = row.version if row.ok else f"disables {row.disables}; {row.how_to_get}"
        typer.echo(f"{mark}  {row.name:<{width}}  {detail}")
    if not all(row.ok for row in rows):
        raise typer.Exit(1)


@app.command(rich_help_panel=TRUST)
def opcodes(
    arch: Annotated[str | None, typer.Option(help="Only what was seen on this architecture, such as sm_90.")] = None,
    counts: Annotated[Path | None, typer.Option(help="Counts of another test run, a CSV.")] = None,
    json_line: JsonOption = False,
) -> None:
    """List the SASS opcodes and modifiers that the machine has, and how many test kernels had them."""
    from sim.opcodes import architecture, counted, coverage, print_coverage

    print_coverage(coverage(counted(counts), architecture(arch)), as_json=json_line)


@app.command(rich_help_panel=KERNEL)
def gpus(
    name: Annotated[str | None, typer.Argument(help="A GPU, or a TOML file; the list when absent.")] = None,
    settings: SetOption = None,
    json_line: JsonOption = False,
) -> None:
    """List the virtual GPUs, or every field of one as `--set` takes it."""
    from sim.gpus import as_dict, describe

    if json_line and name:
        typer.echo(json.dumps(as_dict(name, settings or [])))
        return
    for line in describe(name, settings or []):
        typer.echo(line)


add_commands(app)


def main() -> None:
    """Entry point of the `warptree` script."""
    app()


if __name__ == "__main__":
    main()
