"""Running saved launches again and comparing their memory, bit for bit, with what was stored."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gpu_model import VirtualGPU
from gpu_model.launch import Segment
from gpu_model.launch_file import SUFFIX, StoredLaunch, read_launch
from hw.gpu_settings import parse_settings
from hw.gpu_spec import gpu_names, load_gpu
from sim.errors import SimError


@dataclass(frozen=True)
class Difference:
    """A tensor that did not come out as stored.

    Attributes:
        tensor: name of the segment.
        about: its dtype and shape.
        elements: how many it has; bytes, where it has no dtype.
        differing: how many of them differ in any bit.
        first: index of the first that does, in memory order.
        expected: its stored bytes, in hexadecimal as a number.
        got: the replay's.
        expected_value: the stored value.
        got_value: the replay's.
    """

    tensor: str
    about: str
    elements: int
    differing: int
    first: int
    expected: str
    got: str
    expected_value: str
    got_value: str

    def __str__(self) -> str:
        return (
            f"{self.tensor} ({self.about}): {self.differing:,} of {self.elements:,} elements differ, first at "
            f"{self.first}: expected {self.expected_value} ({self.expected}), got {self.got_value} ({self.got})"
        )


@dataclass(frozen=True)
class Replay:
    """What one replay gave.

    Attributes:
        file: the launch file.
        kernel: name.
        arch: compute capability times ten.
        grid: blocks in x, y, z.
        threads: threads per block.
        gpu: the virtual GPU it ran on.
        origin: who computed the stored outputs, in words; empty if there are none.
        compared: tensors compared.
        compared_bytes: their size together.
        differences: those that differ.
        instructions: warp-instructions executed.
        cycles: simulated, None unless asked for.
    """

    file: str
    kernel: str
    arch: int
    grid: tuple[int, int, int]
    threads: int
    gpu: str
    origin: str
    compared: int
    compared_bytes: int
    differences: tuple[Difference, ...]
    instructions: int
    cycles: int | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def launch_files(paths: Sequence[Path]) -> list[Path]:
    """The files named, and those inside the folders named, in order.

    Raises:
        SimError: a folder without launch files.
    """
    found = []
    for path in paths:
        inside = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
        if not inside:
            raise SimError(f"folder {path} holds no *{SUFFIX} files; `warptree run --save-launches` writes them")
        found += inside
    return found


def replay(
    path: Path,
    gpu_name: str | None,
    settings: Sequence[str] = (),
    *,
    timing: bool,
    max_bytes: int,
    max_instructions: int | None = None,
) -> Replay:
    """Run a launch file on a virtual GPU.

    Args:
        path: the file.
        gpu_name: None for the GPU of the recording, or the first of its architecture.
        settings: fields of the GPU to change, each `FIELD=VALUE`.
        timing: time it too.
        max_bytes: most memory that the file may hold.
        max_instructions: warp-instructions after which it is given up.

    Raises:
        GpuError: a file that cannot be read, or a launch that goes wrong.
        GpuSpecError: no such GPU, or a setting that it cannot have.
        SimError: no GPU of the launch's architecture.
    """
    stored = read_launch(path, max_bytes=max_bytes)
    spec = load_gpu(gpu_name or _gpu_of(stored), parse_settings(settings))
    gpu, launch = VirtualGPU(spec, timing=timing, max_instructions=max_instructions), stored.launch()
    record = gpu.run(launch)
    compared = [
        (segment, expected, got)
        for segment, expected, got in zip(stored.segments, stored.after, launch.memory(), strict=True)
        if expected is not None
    ]
    origin = stored.origin
    return Replay(
        file=str(path),
        kernel=stored.resources.kernel,
        arch=stored.resources.arch,
        grid=stored.grid,
        threads=stored.threads,
        gpu=spec.name,
        origin=f"{origin.kind} on {' '.join(filter(None, [origin.gpu, origin.driver]))}" if origin else "",
        compared=len(compared),
        compared_bytes=sum(len(expected) for _, expected, _ in compared),
        differences=tuple(_differences(compared)),
        instructions=record.instructions,
        cycles=record.timing.cycles if record.timing else None,
    )


def _gpu_of(stored: StoredLaunch) -> str:
    arch = stored.resources.arch
    specs = [load_gpu(name) for name in gpu_names()]
    fitting = [spec for spec in specs if spec.arch == arch]
    if not fitting:
        raise SimError(f"launch file {stored.path}: no GPU of sm_{arch} is known; give one as a TOML file with --gpu")
    return next((spec for spec in fitting if stored.origin and spec.name == stored.origin.gpu), fitting[0]).name


def _differences(compared: Sequence[tuple[Segment, np.ndarray, np.ndarray]]) -> Iterator[Difference]:
    for segment, expected, got in compared:
        if np.array_equal(expected, got):
            continue
        dtype = _torch_type(segment)
        size = dtype.itemsize if dtype else 1
        unequal = (expected != got).reshape(-1, size).any(axis=1)
        first = int(np.flatnonzero(unequal)[0])
        pieces = [memory[first * size : (first + 1) * size] for memory in (expected, got)]
        numbers = [f"0x{int.from_bytes(piece.tobytes(), 'little'):0{2 * size}x}" for piece in pieces]
        values = [_value(piece, dtype) for piece in pieces] if dtype else numbers
        yield Difference(
            segment.name, segment.about or "bytes", len(unequal), int(unequal.sum()), first, *numbers, *values
        )


def _torch_type(segment: Segment) -> torch.dtype | None:
    """The segment's dtype, if it names one of torch's that fits the size."""
    dtype = getattr(torch, segment.dtype, None)
    return dtype if isinstance(dtype, torch.dtype) and segment.size % dtype.itemsize == 0 else None


def _value(piece: np.ndarray, dtype: torch.dtype) -> str:
    """One element as torch reads it."""
    element = torch.from_numpy(piece.copy())
    try:
        return str(element.view(dtype).item())
    except (RuntimeError, TypeError, ValueError):  # quantised and sub-byte types have no plain value
        return piece.tobytes().hex()


def describe(result: Replay) -> list[str]:
    """A replay in words, a line each."""
    head = (
        f"{result.file}: {result.kernel} for sm_{result.arch}, grid {result.grid}, {result.threads} threads, "
        f"{result.instructions:,} warp-instructions on {result.gpu}"
    )
    if result.cycles is not None:
        head += f", {result.cycles:,} cycles (simulated)"
    if not result.origin:
        return [f"{head}; the file holds no outputs to compare with"]
    same = result.compared - len(result.differences)
    verdict = f"  {same} of {result.compared} tensors ({result.compared_bytes:,} bytes in all) equal to those"
    return [head, f"{verdict} {result.origin}", *(f"  DIFFERS {difference}" for difference in result.differences)]
