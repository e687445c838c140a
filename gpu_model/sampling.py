"""Timing a part of a launch: its first waves of blocks and its last, and the rest by what those took.

A wave is as many blocks as the GPU holds at a time. The waves left out count with the cycles an instruction took in the
simulated waves between the first, which finds empty caches, and the last. The estimated error is the spread of that
figure over those waves, largest less smallest, applied to the part left out.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from gpu_model.core.lower import lower
from gpu_model.core.occupancy import occupancy
from gpu_model.core.polls import row_kinds, without_retries
from gpu_model.program import Program
from gpu_model.timing import Timing, time_launch
from gpu_model.trace import BlockTrace
from hw.gpu_spec import GpuSpec

FIRST_WAVES = 5


@dataclass(frozen=True)
class Sampling:
    """What of a launch was simulated, and what its cycles are worth.

    Attributes:
        blocks: of the launch.
        simulated: blocks of them that were simulated.
        error_percent: estimated error of the cycles, per cent either way; 0 if all were simulated.
    """

    blocks: int
    simulated: int
    error_percent: float

    def __str__(self) -> str:
        if self.simulated == self.blocks:
            return f"all {self.blocks} blocks simulated"
        return f"{self.simulated} of {self.blocks} blocks simulated, estimated error {self.error_percent:.1f} %"


class _Sieve:
    """Passes on the blocks to simulate and counts the instructions of all."""

    def __init__(self, program: Program, spec: GpuSpec, skipped: range):
        self._kinds, self._skipped = row_kinds(program, lower(program, spec)), skipped
        self.work: list[int] = []  # instructions of each block, in launch order
        self.order: list[int] = []  # linear block indices
        self.left_out = np.zeros(len(program), np.int64)  # by program row

    def blocks(self, traces: Iterable[BlockTrace]) -> Iterator[BlockTrace]:
        for number, trace in enumerate(traces):
            collapsed = without_retries(trace, self._kinds)
            self.work.append(len(collapsed.row))
            self.order.append(trace.block)
            if number in self._skipped:
                self.left_out += np.bincount(collapsed.row, minlength=len(self.left_out))
            else:
                yield trace


def time_sampled(
    program: Program,
    traces: Iterable[BlockTrace],
    spec: GpuSpec,
    *,
    grid: tuple[int, int, int],
    block_threads: int,
    shared_bytes: int,
    **options: Any,
) -> Timing:
    """Time the first `FIRST_WAVES` waves and the last whole one with what follows it; the rest is estimated.

    Cycles and SM-cycles are extrapolated, instructions counted, traffic and stalls scaled by instructions, so that what
    waves read in common counts too often. Launches too short to leave out two waves are simulated whole.
    `Timing.sampling` says which it was.

    Args and errors: as `gpu_model.timing.time_launch`.
    """
    fits = occupancy(spec, block_threads=block_threads, registers=program.registers, shared_bytes=shared_bytes)
    wave, blocks = fits.blocks * spec.sm_count, math.prod(grid)
    left_out = blocks // wave - FIRST_WAVES - 1
    first = FIRST_WAVES * wave
    skipped = range(first, first + left_out * wave) if left_out >= 2 else range(0)
    shape: dict[str, Any] = {"grid": grid, "block_threads": block_threads, "shared_bytes": shared_bytes}
    sieve = _Sieve(program, spec, skipped)
    timing = time_launch(program, sieve.blocks(traces), spec, **shape, **options)
    if not skipped:
        return dataclasses.replace(timing, sampling=Sampling(blocks, blocks, 0.0))
    return _extrapolated(timing, sieve, skipped, wave, spec)


def _extrapolated(timing: Timing, sieve: _Sieve, skipped: range, wave: int, spec: GpuSpec) -> Timing:
    work = np.array(sieve.work, np.int64)
    rates = _cycles_per_instruction(timing, np.array(sieve.order), work, skipped, wave)
    missing = int(work[skipped.start : skipped.stop].sum())
    more, spread = missing * rates.mean(), missing * (rates.max() - rates.min())
    cycles = timing.cycles + round(more)
    scale = work.sum() / (work.sum() - missing)
    issued = timing.issued + sieve.left_out
    counts = timing.counts.copy()
    for name in counts.dtype.names or ():
        counts[name] = np.rint(counts[name] * (issued / np.maximum(timing.issued, 1)))
    return dataclasses.replace(
        timing,
        cycles=cycles,
        sm_cycles=timing.sm_cycles + round(more) * spec.sm_count,
        warp_instructions=int(issued.sum()),
        traffic_bytes={name: round(value * scale) for name, value in timing.traffic_bytes.items()},
        issued=issued,
        counts=counts,
        stalled=np.rint(timing.stalled * scale).astype(np.int64),
        sampling=Sampling(len(work), len(work) - len(skipped), float(100 * spread / cycles)),
    )


def _cycles_per_instruction(
    timing: Timing, order: np.ndarray, work: np.ndarray, skipped: range, wave: int
) -> np.ndarray:
    """Cycles from the mean start of one simulated wave to that of the next, over the instructions of that wave."""
    starts = np.zeros(order.max() + 1, np.int64)
    starts[timing.warps["block"]] = timing.warps["start_cycle"]
    kept = np.r_[0 : skipped.start, skipped.stop : skipped.stop + wave]
    mean_start = starts[order[kept]].reshape(-1, wave).mean(axis=1)
    instructions = work[: skipped.start].reshape(-1, wave).sum(axis=1)
    return (np.diff(mean_start) / instructions)[1:]


TIMERS = MappingProxyType({"full": time_launch, "sampled": time_sampled})
