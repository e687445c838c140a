"""The whole idea on one kernel, as a list of stages: the newcomer's way into the code.

script -> machine code -> results and cycles -> dot products -> MX datapath -> RTL -> report
"""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hw.gpu_settings import parse_settings
from hw.gpu_spec import GpuSpec, load_gpu
from mx_formats.block import MXFP4, MXFP8_E4M3, MXINT8
from rtl import tools
from rtl.cosim import CosimResult, run_cocotb
from rtl.mac import MacDesign
from sim.accuracy import FormatAccuracy, evaluate_format
from sim.console import Console, plural
from sim.dots import Dots
from sim.errors import SimError
from sim.gpus import options_of
from sim.mac_run import mac_vectors
from sim.output import make_folder, write_outputs
from sim.provenance import Number, Origin, configuration_hash
from sim.record import Recording, record
from sim.results import RunResult
from workloads import flash_attention

FORMATS = (MXINT8, MXFP8_E4M3, MXFP4)
DESIGN = MacDesign(mantissa_bits=16)
VECTORS_PER_FORMAT = 4096
SHAPE = (1, 2, 256, 64)  # batch, heads, sequence, features of a head


def run_demo(gpu_name: str, folder: Path, console: Console, settings: Sequence[str] = ()) -> dict[str, Any]:
    """Run every stage and return the summary that `--json` prints.

    Raises:
        SimError, GpuError, ToolError, GpuSpecError: what a user can mend; see the message.
    """
    gpu = load_gpu(gpu_name, parse_settings(settings))
    tools.require("cocotb")
    make_folder(folder)
    console.line(f"flash_attention.py on a virtual {gpu.product}")
    error, recording = launch(gpu, console)
    dots = tuple(recording.dots)
    accuracy = evaluate_dots(dots, console)
    cosim = check_rtl(dots, console)
    run = RunResult(
        title="flash_attention.py",
        command=shlex.join(["./warptree", "demo", "--gpu", gpu_name, *options_of(settings)]),
        gpu=gpu,
        launches=tuple(recording.launches),
        accuracy=accuracy,
        cosim=cosim,
        numbers=(error,),
        configuration=configuration_hash(gpu, [block.name for block in FORMATS], DESIGN.mantissa_bits, SHAPE),
    )
    return report(run, folder, console)


def launch(gpu: GpuSpec, console: Console) -> tuple[Number, Recording]:
    """Triton compiles, we decode, execute and time; the script's own check judges the result."""
    with console.stage("launch") as stage:
        (error, ratio), recording = record(attend, gpu, stage)
        count = plural(len(recording.launches), "launch")
        stage.done(f"{count}, {recording.instructions:,} warp-instructions executed and timed")
    for result in recording.launches:
        timing = result.timing
        console.fact("decode", f"{timing.kernel}: {len(result.program)} SASS instructions for sm_{gpu.arch}")
        console.fact("execute", f"largest error {error:.3g} against float64, {ratio:.2f} of the script's own bound")
        console.fact("time", f"{timing.cycles:,} cycles = {timing.microseconds:.1f} us, IPC {timing.ipc:.2f}")
    if not ratio <= 1:
        raise SimError(f"flash_attention.py: the result misses its own bound by a factor of {ratio:.3g}")
    basis = "output against attention in float64 on the same operands, workloads/flash_attention.py"
    return Number("largest error of the output", error, "", Origin.SIMULATED, basis), recording


def attend() -> tuple[float, float]:
    """What the script does: seeded fp16 tensors, one causal pass, its own check (error, error over bound)."""
    q, k, v = torch.randn((3, *SHAPE), generator=torch.Generator().manual_seed(0)).half()
    out, lse = flash_attention.flash_attention(q, k, v, causal=True)
    return flash_attention.check(q, k, v, True, out, lse)


def evaluate_dots(dots: tuple[Dots, ...], console: Console) -> tuple[FormatAccuracy, ...]:
    """The operands of the run's tensor cores in each MX format, summed bit for bit on the hybrid tree."""
    with console.stage("dots") as stage:
        accuracy = tuple(evaluate_format(dots, block, DESIGN.mantissa_bits) for block in FORMATS)
        quality = ", ".join(f"{a.format} {a.qsnr_db:.1f} dB" for a in accuracy)
        stage.done(f"{accuracy[0].dots:,} dot products: {quality}")
    return accuracy


def check_rtl(dots: tuple[Dots, ...], console: Console) -> CosimResult:
    """The MAC's RTL in Verilator under cocotb, on cycles of the same dots; every accumulator is compared."""
    with console.stage("rtl") as stage:
        stage.say("building the simulator")
        vectors = {b.element.name: mac_vectors(dots, b, DESIGN, VECTORS_PER_FORMAT) for b in FORMATS}
        cosim = run_cocotb(DESIGN, vectors, on_progress=lambda name, done, _: stage.say(f"{name}, {done:,} vectors"))
        checked = ", ".join(f"{count:,} {name}" for name, count in cosim.vectors.items())
        stage.done(f"{sum(cosim.mismatches.values())} mismatches in {checked} vectors")
    return cosim


def report(run: RunResult, folder: Path, console: Console) -> dict[str, Any]:
    """Write the files and return the summary."""
    with console.stage("report") as stage:
        outputs = write_outputs(run, folder)
        stage.done(str(outputs.report))
    return {
        "max_abs_err": run.numbers[0].value,
        "cycles": run.cycles,
        "ipc": run.ipc,
        "rtl_vectors": run.rtl_vectors,
        "rtl_mismatches": run.rtl_mismatches,
        "qsnr_db": {a.format: a.qsnr_db for a in run.accuracy},
        "report": str(outputs.report.resolve()),
    }
