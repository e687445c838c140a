"""Run Triton code on a virtual GPU and keep what the reports need: programs, timings, tensor-core operands."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from gpu_model import VirtualGPU
from gpu_model.accelsim.write import AccelSimWriter
from gpu_model.check.findings import Finding, merge
from gpu_model.device import LaunchRecord
from gpu_model.program import Program
from gpu_model.recorder import LaunchRecorder
from hw.gpu_spec import GpuSpec
from hw.presets import TENSOR_CORES
from mx_formats.element import BF16, FP16, ElementFormat
from sim.accuracy import measurable
from sim.console import Stage
from sim.dots import Dots, collect_dots, unpack_fragments
from sim.results import LaunchResult

HMMA_PER_RUN = 4096  # instructions whose operands are kept, 7 MiB
ISSUES_PER_SM = 8192  # issue events kept for the timeline of each launch
GENERATIONS = {75: "turing", 80: "ampere", 86: "ampere", 87: "ampere", 89: "ada", 90: "hopper", 120: "blackwell"}

Result = TypeVar("Result")


@dataclass
class Recording:
    """What a piece of Triton code did on a virtual GPU.

    Attributes:
        launches: one per kernel launch, in order.
        dots: dot products of its tensor-core instructions, by length; those with a defined error only.
        instructions: warp-instructions executed.
        kept: tensor-core instructions whose operands `dots` are made of.
        found: what the checks found, by what makes it one finding.
    """

    launches: list[LaunchResult] = field(default_factory=list)
    dots: list[Dots] = field(default_factory=list)
    instructions: int = 0
    kept: int = 0
    found: dict[tuple, Finding] = field(default_factory=dict)
    _room: int = HMMA_PER_RUN

    def add(self, record: LaunchRecord, gpu: GpuSpec) -> None:
        """Keep what is needed of a launch; its tensors are let go."""
        program = record.launch.program
        self.launches.append(LaunchResult(program, record.timing, record.threads))
        self.instructions += record.instructions
        merge(self.found, record.findings)
        words = record.dots.words[: self._room]
        element = operand_format(program)
        if len(words) and element is not None:
            self._room -= len(words)
            self.kept += len(words)
            operands = unpack_fragments(words, np.zeros(len(words), np.int64), element)
            self.dots += measurable(collect_dots(operands, TENSOR_CORES[GENERATIONS[gpu.arch], element]))


def operand_format(program: Program) -> ElementFormat | None:
    """Format of the program's 16-bit tensor-core operands; None if it has none, or both kinds."""
    modifiers = program.rows["modifiers"][program.rows["opcode"] == "HMMA"]
    brain = np.char.find(modifiers, "BF16") >= 0
    if len(modifiers) == 0 or (brain.any() and not brain.all()):
        return None
    return BF16 if brain.all() else FP16


def record(
    work: Callable[[], Result],
    gpu: GpuSpec,
    stage: Stage,
    *,
    cuda: bool = False,
    check: bool = False,
    recorder: LaunchRecorder | None = None,
    traces: AccelSimWriter | None = None,
    fidelity: str = "full",
    operands: int = HMMA_PER_RUN,
) -> tuple[Result, Recording]:
    """Call `work` with `gpu` as Triton's device; every launch in it is executed and timed.

    With `cuda`, torch's CUDA names mean that GPU too; with `check`, each launch is checked (`gpu_model.check`); with a
    recorder, launches are saved to files; `traces` writes them for Accel-Sim. `fidelity` is
    that of `VirtualGPU`. `operands`: of how many tensor-core
    instructions they are kept.

    Raises:
        GpuError: a launch that cannot run or goes wrong.
    """
    recording = Recording(_room=operands)

    def keep(launch: LaunchRecord) -> None:
        recording.add(launch, gpu)
        stage.say(f"launch {len(recording.launches)}, {launch.kernel}, {launch.timing.cycles:,} cycles")

    with VirtualGPU(
        gpu, timing=True, dots=operands, check=check, events=ISSUES_PER_SM, on_launch=keep, cuda=cuda,
        recorder=recorder, traces=traces, fidelity=fidelity,
    ):  # fmt: skip
        result = work()
    return result, recording
