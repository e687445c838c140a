"""Where a launch stands between its arithmetic and its bytes: intensity, attained rate, and what binds it."""

from dataclasses import dataclass
from typing import Any

from gpu_model.operations import Kind, count_operations
from hw.gpu_spec import GpuSpec
from sim.results import LaunchResult

LEVELS = ("L2", "DRAM")


@dataclass(frozen=True)
class Roofline:
    """One launch under the roofs of one GPU. Operations count a fused multiply-add as two.

    Attributes:
        operations: floating-point and tensor operations by kind.
        level_bytes: bytes moved at `LEVELS`.
        level_peaks: bytes a cycle that those can move.
        cycles: simulated.
        clock_mhz: core clock, MHz.
    """

    operations: dict[Kind, int]
    level_bytes: dict[str, int]
    level_peaks: dict[str, float]
    cycles: int
    clock_mhz: int

    @property
    def total(self) -> int:
        """Operations of all kinds."""
        return sum(self.operations.values())

    @property
    def tera_per_second(self) -> float:
        """Operations attained, 10^12 a second."""
        return self.total / max(1, self.cycles) * self.clock_mhz * 1e-6

    def intensity(self, level: str) -> float | None:
        """Operations per byte moved at a level; None if none moved."""
        moved = self.level_bytes[level]
        return self.total / moved if moved else None

    @property
    def bounds(self) -> dict[str, float]:
        """Cycles that each resource needs at its peak: kinds of operations, L2 and DRAM."""
        compute = {kind.name: count / kind.peak for kind, count in self.operations.items()}
        return compute | {level: self.level_bytes[level] / self.level_peaks[level] for level in LEVELS}

    @property
    def bound_by(self) -> str:
        """The resource that needs most cycles at its peak."""
        return max(self.bounds, key=lambda name: self.bounds[name])

    @property
    def attained(self) -> float:
        """Share of that resource's peak that the launch reached, at most 1."""
        return self.bounds[self.bound_by] / max(1, self.cycles)

    def as_dict(self) -> dict[str, Any]:
        """For JSON and tables."""
        return {
            "operations": self.total,
            "operations_by_kind": {kind.name: count for kind, count in self.operations.items()},
            "dram_intensity": self.intensity("DRAM"),
            "l2_intensity": self.intensity("L2"),
            "tera_per_second": self.tera_per_second,
            "bound_by": self.bound_by,
            "attained": self.attained,
        }


def roofline(launch: LaunchResult, gpu: GpuSpec) -> Roofline:
    """The roofline of one launch."""
    timing, moved = launch.timing, launch.timing.traffic_bytes
    return Roofline(
        operations=count_operations(launch.program, timing.counts["lanes"], gpu),
        level_bytes={
            "L2": moved["l2_read"] + moved["l2_write"],
            "DRAM": moved["dram_read"] + moved["dram_write"],
        },
        level_peaks={"L2": gpu.memory.l2_bytes_per_cycle, "DRAM": gpu.memory.dram_bytes_per_cycle},
        cycles=timing.cycles,
        clock_mhz=gpu.core_clock_mhz,
    )
