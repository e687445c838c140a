"""What a run leaves behind: launches with their timing, accuracy per format, the RTL's verdict."""

from collections.abc import Sequence
from dataclasses import dataclass

from gpu_model.check.findings import Finding
from gpu_model.program import Program
from gpu_model.timing import Timing
from hw.gpu_spec import GpuSpec
from rtl.cosim import CosimResult
from sim.accuracy import FormatAccuracy
from sim.provenance import Number

MAX_LAUNCHES = 12  # shown one by one; the tables have all of them


@dataclass(frozen=True)
class LaunchResult:
    """One kernel launch.

    Attributes:
        program: the machine code that ran.
        timing: what it cost on the virtual GPU.
        block_threads: threads of a block.
        compiled_for: names and values of what Triton compiled the kernel for.
    """

    program: Program
    timing: Timing
    block_threads: int
    compiled_for: tuple[tuple[str, str], ...] = ()

    @property
    def configuration(self) -> str:
        """What the kernel was compiled for, as "BLOCK=64 num_warps=4"."""
        return " ".join(f"{name}={value}" for name, value in self.compiled_for)


def longest(launches: Sequence[LaunchResult]) -> list[tuple[int, LaunchResult]]:
    """The `MAX_LAUNCHES` that took most cycles, each with its number, in launch order."""
    order = sorted(enumerate(launches), key=lambda entry: -entry[1].timing.cycles)
    return sorted(order[:MAX_LAUNCHES], key=lambda entry: entry[0])


@dataclass(frozen=True)
class RunResult:
    """Everything a report needs.

    Attributes:
        title: what ran, e.g. "flash_attention.py".
        command: the command that repeats the run.
        gpu: the virtual GPU.
        launches: in launch order.
        accuracy: one entry per MX format; empty if the run had no tensor-core dots.
        cosim: the RTL's verdict, None if RTL was not asked for.
        numbers: further numbers with their provenance, such as the script's own error.
        configuration: hash of the specs behind the simulated numbers.
        findings: what the checks found, None if the run was not checked.
    """

    title: str
    command: str
    gpu: GpuSpec
    launches: tuple[LaunchResult, ...]
    accuracy: tuple[FormatAccuracy, ...]
    cosim: CosimResult | None
    numbers: tuple[Number, ...]
    configuration: str
    findings: tuple[Finding, ...] | None = None

    @property
    def cycles(self) -> int:
        """Simulated cycles of all launches together, launch overhead excluded."""
        return sum(launch.timing.cycles for launch in self.launches)

    @property
    def ipc(self) -> float:
        """Warp-instructions per SM-cycle, over all launches and the SMs while they had work."""
        timings = [launch.timing for launch in self.launches]
        return sum(t.warp_instructions for t in timings) / max(1, sum(t.sm_cycles for t in timings))

    @property
    def rtl_vectors(self) -> int:
        """MAC cycles the RTL was compared on."""
        return sum(self.cosim.vectors.values()) if self.cosim else 0

    @property
    def rtl_mismatches(self) -> int:
        """Of those, the ones that differed from the model."""
        return sum(self.cosim.mismatches.values()) if self.cosim else 0
