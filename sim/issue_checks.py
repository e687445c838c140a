"""`warptree rtl test --issue-stage GPU`: the issue stage's RTL beside the core model on whole kernels."""

import contextlib
import io
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import workloads
from gpu_model import VirtualGPU
from gpu_model.device import LaunchRecord
from gpu_model.issue_stream import IssueStream, observe_launch
from hw.gpu_settings import parse_settings
from hw.gpu_spec import GpuSpec, load_gpu
from rtl import tools
from rtl.issue_stage import IssueDesign
from rtl.issue_stage.design import UNLIMITED_READERS
from sim.console import plural
from sim.errors import SimError
from sim.issue_stage import compare, compare_in_cocotb, slots_for
from sim.script import run_script

Say = Callable[[str], None]
COCOTB_CYCLES = 1500
KERNELS = ("softmax", "layer_norm", "matmul", "flash_attention")


def kernel_streams(name: str, spec: GpuSpec) -> Iterator[tuple[str, IssueStream]]:
    """Each launch of a script of `workloads`, observed on one SM: kernel and stream.

    The launch runs a second time for that, so its outputs must not be among its inputs.
    """
    script, found = Path(workloads.__path__[0]) / f"{name}.py", []

    def observe(record: LaunchRecord) -> None:
        if record.launch is None:
            raise SimError(f"{name}: a launch was not kept, so it cannot be observed")
        found.append((record.launch.program.name, observe_launch(record.launch, spec)))

    with VirtualGPU(spec, on_launch=observe), contextlib.redirect_stdout(io.StringIO()) as printed:
        if run_script(script, ()):
            raise SimError(f"{script.name} failed: {printed.getvalue()}")
    yield from found


def compare_kernels(gpu: str, say: Say, settings: Sequence[str] = ()) -> bool:
    """Compare RTL and core model on four kernels and say how it went; False where they differ.

    Args:
        gpu: a name or a TOML file.
        say: takes lines.
        settings: of its fields, as `--set` takes them.

    Raises:
        SimError: an issue stage or an instruction for which there is no RTL.
    """
    tools.require("compiled RTL")
    spec = load_gpu(gpu, parse_settings(settings))
    try:
        design = IssueDesign.from_spec(spec)
    except ValueError as error:
        raise SimError(str(error)) from None
    total, last = 0, None
    for name in KERNELS:
        for kernel, stream in kernel_streams(name, spec):
            started = time.perf_counter()
            try:
                compared = compare(stream, design)
            except ValueError as error:
                raise SimError(f"kernel {kernel}: {error}") from None
            if compared.divergence is not None:
                say(f"FAILED  {kernel}: {compared.divergence}")
                return False
            total, last = total + compared.instructions, stream
            seconds = time.perf_counter() - started
            say(f"equal   {kernel:<24} {compared.instructions:>8,} instructions issue and enter Control in the model's "
                f"cycles; {compared.cycles:,} sub-core cycles, {seconds:.1f} s")  # fmt: skip
    dependences = f"a scoreboard of {plural(design.consumers, 'consumer')}" if design.consumers else "control bits"
    if design.consumers == UNLIMITED_READERS:
        dependences = "a scoreboard of unlimited consumers"
    say(f"{plural(total, 'instruction')} in all, {spec.name}, {plural(design.warps, 'warp slot')} a sub-core, "
        f"{dependences}, {design.policy}")  # fmt: skip
    return last is None or _compare_in_cocotb(last, design, say)


def _compare_in_cocotb(stream: IssueStream, design: IssueDesign, say: Say) -> bool:
    """The first cycles of a stream once more, on Verilator."""
    if absent := tools.missing("cocotb"):
        wants = "; ".join(f"{tool.name} not found, try: {tool.how_to_get}" for tool in absent)
        say(f"skipped cocotb: {wants}")
        return True
    started, fewer = time.perf_counter(), slots_for(stream, design)
    compared = compare_in_cocotb(stream, fewer, 0, COCOTB_CYCLES)
    if compared.divergence is not None:
        say(f"FAILED  in cocotb: {compared.divergence}")
        return False
    seconds = time.perf_counter() - started
    say(f"equal   cocotb on Verilator: {compared.instructions:,} instructions of the last kernel, {compared.cycles:,} "
        f"cycles, {plural(fewer.warps, 'warp slot')}, reset in flight; {seconds:.1f} s")  # fmt: skip
    return True
