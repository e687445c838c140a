"""Accel-Sim traces on a virtual GPU: one line a kernel."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gpu_model.accelsim.replay import TimedTrace, time_traces
from gpu_model.core.stalls import StallReason
from gpu_model.sampling import TIMERS
from hw.gpu_settings import parse_settings
from hw.gpu_spec import load_gpu

STALLS_SHOWN = 3


@dataclass(frozen=True)
class TraceLine:
    """What is told of one kernel of a trace."""

    timed: TimedTrace

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        timing = self.timed.timing
        sampling = asdict(timing.sampling) if timing.sampling else None
        return {
            "file": self.timed.path.name,
            "kernel": timing.kernel,
            "gpu": timing.gpu,
            "dependences": self.timed.dependences,
            "cycles": timing.cycles,
            "microseconds": timing.microseconds,
            "warp_instructions": timing.warp_instructions,
            "ipc": timing.ipc,
            "traffic_bytes": timing.traffic_bytes,
            "sampling": sampling,
        }

    def __str__(self) -> str:
        timing = self.timed.timing
        stalls = timing.stalled.sum(axis=0)
        total = max(1, int(stalls.sum() + timing.issued.sum()))
        most = sorted(range(len(stalls)), key=lambda reason: -stalls[reason])[:STALLS_SHOWN]
        waits = ", ".join(f"{StallReason(reason).name} {100 * stalls[reason] / total:.0f} %" for reason in most)
        return (
            f"{self.timed.path.name}: {timing.kernel} on {timing.gpu}, {timing.cycles:,} cycles "
            f"({timing.microseconds:.2f} us), {timing.warp_instructions:,} warp-instructions, IPC {timing.ipc:.2f}; "
            f"dependences by {self.timed.dependences}; warps wait for {waits}"
            + (f"; {timing.sampling}" if timing.sampling else "")
        )


def time_folder(folder: Path, gpu_name: str, settings: Sequence[str], fidelity: str = "full") -> Iterator[TraceLine]:
    """Time the traces of a folder on a GPU with its settings; `fidelity` is that of `VirtualGPU`.

    Raises:
        GpuSpecError, GpuError: what a user can mend; see the message.
    """
    for timed in time_traces(folder, load_gpu(gpu_name, parse_settings(settings)), time=TIMERS[fidelity]):
        yield TraceLine(timed)
