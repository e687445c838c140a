"""Run Triton code on a virtual GPU and keep what the reports need: programs, timings, tensor-core operands."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from gpu_model import VirtualGPU
from gpu_model.accelsim.write import AccelSimWriter
from gpu_model.check.findings import Finding, merge
from gpu_model.device import LaunchRecord
from gpu_model.recorder import LaunchRecorder
from hw.gpu_spec import GpuSpec
from sim.accuracy import measurable
from sim.console import Stage
from sim.dots import Dots, collect_dots
from sim.fragments import first_tiles, unpack_records
from sim.results import LaunchResult

TILES_PER_RUN = 4096  # of 16 x 8 outputs of an instruction, whose operands are kept, 8 MiB
ISSUES_PER_SM = 8192  # issue events kept for the timeline of each launch
MATRIX_OPCODES = ("HMMA", "HGMMA", "QMMA", "QGMMA", "OMMA", "IMMA", "IGMMA", "BMMA", "DMMA")
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
    _room: int = TILES_PER_RUN

    def add(self, record: LaunchRecord, gpu: GpuSpec) -> None:
        """Keep what is needed of a launch; its tensors are let go."""
        program = record.launch.program
        self.launches.append(LaunchResult(program, record.timing, record.threads, record.launch.compiled_for))
        self.instructions += record.instructions
        merge(self.found, record.findings)
        words = record.dots.words[: self._room]
        self._room -= len(words)
        self.kept += first_tiles(words)
        for operands in unpack_records(words):
            self.dots += measurable(collect_dots(operands, GENERATIONS[gpu.arch]))


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
    operands: int = TILES_PER_RUN,
) -> tuple[Result, Recording]:
    """Call `work` with `gpu` as Triton's device; every launch in it is executed and timed.

    With `cuda`, torch's CUDA names mean that GPU too; with `check`, each launch is checked (`gpu_model.check`); with a
    recorder, launches are saved to files; `traces` writes them for Accel-Sim. `fidelity` is that of `VirtualGPU`.
    `operands`: how many 16 x 8 tiles of tensor-core instructions are kept.

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
