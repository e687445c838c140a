"""A user's script on a virtual GPU: results as it leaves them, plus a report of what each launch cost."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpu_model.accelsim.write import AccelSimWriter
from gpu_model.launch_file import Origin
from hw.gpu_settings import parse_settings
from hw.gpu_spec import load_gpu
from sim.accuracy import evaluate_format
from sim.capture import SaveLaunches, tell_saved
from sim.console import Console, plural
from sim.demo import DESIGN, FORMATS
from sim.errors import ScriptError
from sim.findings import findings_table
from sim.gpus import options_of
from sim.output import make_folder, write_outputs
from sim.provenance import configuration_hash
from sim.record import record
from sim.results import RunResult, longest
from sim.roofline import roofline
from sim.script import run_script

CHECKED = "in shared and local memory and in how lanes meet; races in global memory are not looked for"


def run_and_report(
    script: Path, arguments: Sequence[str], gpu_name: str, folder: Path, console: Console,
    *, settings: Sequence[str] = (), save: SaveLaunches | None = None, check: bool = False,
    accelsim: Path | None = None, fidelity: str = "full",
) -> dict[str, Any]:  # fmt: skip
    """Run `script`, write its report, and return a summary with the script's exit status as `status`.

    `settings` are fields of the GPU to change, each `FIELD=VALUE`. With `save`, launches are saved to files with
    their outputs; with `accelsim`, their traces go to that folder in Accel-Sim's format. With `check`, launches are
    checked (`gpu_model.check`); what is found is shown, and listed in the summary as `findings`. `fidelity` is that of
    `VirtualGPU`.

    Raises:
        ScriptError: no such script, or one that launched nothing.
        GpuError, GpuSpecError, SimError: what a user can mend; see the message.
        Exception: whatever the script lets escape.
    """
    gpu = load_gpu(gpu_name, parse_settings(settings))
    make_folder(folder)
    recorder = save.recorder(Origin(kind="simulated", gpu=gpu.name)) if save else None
    traces = AccelSimWriter(accelsim) if accelsim else None
    with console.stage("run", live=False) as stage:
        status, recording = record(
            lambda: run_script(script, arguments), gpu, stage, cuda=True, check=check, recorder=recorder, traces=traces,
            fidelity=fidelity,
        )  # fmt: skip
        stage.done(f"{plural(len(recording.launches), 'launch')}, {recording.instructions:,} warp-instructions")
    if save and recorder:
        tell_saved(console, recorder, save.folder)
    if traces:
        console.fact("traces", f"{plural(len(traces.files), 'kernel')} in {accelsim}; `warptree time` reads them")
    if not recording.launches:
        raise ScriptError(f"{script} ended with status {status} without launching a Triton kernel: nothing to report")
    dots, options = tuple(recording.dots), options_of(settings)
    options += (["--check"] if check else []) + ([f"--fidelity={fidelity}"] if fidelity != "full" else [])
    findings = tuple(recording.found.values())
    run = RunResult(
        title=script.name,
        command=shlex.join(["warptree", "run", "--gpu", gpu_name, *options, str(script), *arguments]),
        gpu=gpu,
        launches=tuple(recording.launches),
        accuracy=tuple(evaluate_format(dots, block, DESIGN.mantissa_bits) for block in FORMATS) if dots else (),
        cosim=None,
        numbers=(),
        configuration=configuration_hash(gpu, [block.name for block in FORMATS], DESIGN.mantissa_bits),
        findings=findings if check else None,
    )
    with console.stage("report") as stage:
        outputs = write_outputs(run, folder)
        stage.done(str(outputs.report))
    if check:
        console.fact("checks", f"{plural(len(findings), 'finding')} {CHECKED}")
        if findings:
            console.show(findings_table(findings))
    for index, launch in longest(run.launches):
        if launch.timing.sampling is not None:
            console.fact(f"launch {index}", f"{launch.timing.kernel}: {launch.timing.sampling}")
    console.fact("time", f"{run.cycles:,} cycles on {gpu.product}, IPC {run.ipc:.2f}")
    return {
        "status": status,
        "launches": len(run.launches),
        "cycles": run.cycles,
        "ipc": run.ipc,
        "roofline": [
            {"launch": index, "kernel": launch.timing.kernel, **roofline(launch, gpu).as_dict()}
            for index, launch in longest(run.launches)
        ],
        "qsnr_db": {a.format: a.qsnr_db for a in run.accuracy},
        "findings": [finding.as_dict() for finding in findings] if check else None,
        "report": str(outputs.report.resolve()),
        "saved_launches": [str(path) for path in recorder.files] if recorder else [],
    }
