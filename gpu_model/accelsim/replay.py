"""Timing an Accel-Sim trace on a GPU's spec."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gpu_model.accelsim.program import check_program, cubin_program, shown_program, with_scoreboard
from gpu_model.accelsim.read import KernelTrace, kernel_files
from gpu_model.core.pool import TraceError
from gpu_model.errors import TraceFormatError, UnsupportedInstruction
from gpu_model.program import Program
from gpu_model.timing import Timing, time_launch
from gpu_model.trace import BlockTrace
from hw.gpu_spec import GpuSpec


@dataclass(frozen=True)
class TimedTrace:
    """A kernel of a trace and what it cost.

    Attributes:
        path: the trace.
        program: what ran.
        dependences: `control bits` of the cubin beside the trace, or `scoreboard`.
        timing: the cost.
    """

    path: Path
    program: Program
    dependences: str
    timing: Timing


def time_traces(folder: Path, spec: GpuSpec, *, time: Callable[..., Timing] = time_launch) -> Iterator[TimedTrace]:
    """Time the kernels that a folder's `kernelslist.g` names, one after the other, each on empty caches.

    Args:
        folder: with the traces, or the list itself.
        spec: the GPU.
        time: `time_launch`, or `gpu_model.sampling.time_sampled`.

    Raises:
        TraceFormatError: a file that does not follow the format.
        UnsupportedInstruction: code of another architecture, or an instruction without timing.
        LaunchError: a block that no SM holds.
    """
    for path in kernel_files(folder):
        yield _time(KernelTrace(path), spec, time)


def _time(kernel: KernelTrace, spec: GpuSpec, time: Callable[..., Timing]) -> TimedTrace:
    header = kernel.header
    if header.arch != spec.arch:
        raise UnsupportedInstruction(
            f"{kernel.path.name} is a trace of sm_{header.arch} code, {spec.name} is sm_{spec.arch}; choose another GPU"
        )
    program = cubin_program(kernel)
    if program is not None:
        dependences, traces = "control bits", _checked(kernel, program)
    else:
        for _ in kernel.blocks():  # the first reading collects the instructions
            pass
        program, spec = shown_program(kernel), with_scoreboard(spec)
        dependences, traces = "scoreboard", kernel.blocks()
    try:
        timing = time(
            program, traces, spec, grid=header.grid, block_threads=header.threads,
            shared_bytes=header.shared_bytes,
        )  # fmt: skip
    except TraceError as error:
        raise TraceFormatError(f"{kernel.path.name}: {error}") from error
    return TimedTrace(kernel.path, program, dependences, timing)


def _checked(kernel: KernelTrace, program: Program) -> Iterator[BlockTrace]:
    """The trace's blocks, each of instructions that the cubin has."""
    known = 0
    for trace in kernel.blocks():
        if len(kernel.instructions) != known:
            check_program(kernel, program)
            known = len(kernel.instructions)
        yield trace
