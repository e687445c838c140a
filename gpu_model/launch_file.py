"""Launches as files: code, parameters, memory before, and, if known, memory after (docs/launch-file.md).

Addresses in a file are the ones the kernel saw. A replay gives it the same addresses, whatever the host's are, so
that pointers inside tensors, tensor maps and results that depend on addresses need no relocation.
"""

import dataclasses
import struct
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from gpu_model.cubin import MAX_SHARED_BYTES, Cubin, read_cubin
from gpu_model.decode import decode
from gpu_model.errors import CubinError, LaunchError, LaunchFileError
from gpu_model.launch import LOCAL_WINDOW, Argument, Launch, Segment, check_grid
from gpu_model.sections import MAX_SECTIONS, Count, Header, Record, SectionWriter, read_sections
from gpu_model.tensormap import BYTES as TENSOR_MAP_BYTES

SUFFIX = ".launch"
MAX_BYTES = 8 << 30  # of memory that a file may hold unless the reader asks for more
TENSOR_MAP = "nvTmaDesc"

_Name = Annotated[str, Field(max_length=4096)]
_Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]*$", max_length=64)]


class Origin(Record):
    """Where stored outputs come from.

    Attributes:
        kind: "measured" on a GPU, or "simulated".
        gpu: its name.
        driver: version of the GPU's driver; empty if simulated.
    """

    kind: Literal["measured", "simulated"]
    gpu: _Name
    driver: _Name = ""


class _ArgumentRow(Record):
    name: _Name
    kind: _Name
    offset: Count
    size: Count


class _SegmentRow(Record):
    name: _Name
    address: Annotated[int, Field(gt=0, lt=LOCAL_WINDOW)]
    dtype: _Word
    shape: Annotated[tuple[Count, ...], Field(max_length=64)]
    before: Count
    after: Count | None


class _LaunchHeader(Header):
    kernel: _Name
    arch: Count
    grid: tuple[Count, Count, Count]
    block: tuple[Count, Count, Count]
    shared_bytes: Annotated[int, Field(ge=0, le=MAX_SHARED_BYTES)]
    cubin: Count
    parameters: Count
    arguments: Annotated[tuple[_ArgumentRow, ...], Field(max_length=4096)]
    segments: Annotated[tuple[_SegmentRow, ...], Field(max_length=MAX_SECTIONS)]
    global_address: Count
    parameter_address: Count
    sm_count: Annotated[int, Field(ge=1, le=4096)]
    origin: Origin | None


@dataclass(frozen=True)
class StoredLaunch:
    """A launch read from a file, not yet in memory that a kernel may write.

    Attributes:
        path: the file.
        cubin: the code image.
        resources: what the image says of its kernel.
        grid: blocks in x, y, z.
        threads: threads per block.
        shared_bytes: shared memory of a block, static and dynamic.
        parameters: the kernel's parameter area.
        arguments: what the parameters are.
        segments: global memory, by the kernel's addresses.
        before: contents of each segment before the launch, uint8[size], read-only.
        after: contents after it, None where they are not known.
        global_address: where the kernel's own global data lies, 0 if it has none.
        parameter_address: where a copy of the parameters lies in global memory, 0 if there is none.
        sm_count: SMs of the GPU.
        origin: who computed `after`; None without outputs.
    """

    path: Path
    cubin: bytes = field(repr=False)
    resources: Cubin = field(repr=False)
    grid: tuple[int, int, int]
    threads: int
    shared_bytes: int
    parameters: bytes = field(repr=False)
    arguments: tuple[Argument, ...]
    segments: tuple[Segment, ...]
    before: tuple[np.ndarray, ...] = field(repr=False)
    after: tuple[np.ndarray | None, ...] = field(repr=False)
    global_address: int
    parameter_address: int
    sm_count: int
    origin: Origin | None

    def launch(self) -> Launch:
        """Make it ready to execute, in fresh memory, at the addresses it was recorded at.

        Raises:
            CubinError: the code does not decode.
        """
        program, _ = decode(self.cubin)
        memory = [content.copy() for content in self.before]
        segments = [
            dataclasses.replace(segment, host=content.ctypes.data)
            for segment, content in zip(self.segments, memory, strict=True)
        ]
        return Launch(
            program=program,
            grid=self.grid,
            threads=self.threads,
            shared_bytes=self.shared_bytes,
            parameters=self.parameters,
            segments=tuple(segments),
            keep=tuple(memory),
            global_address=self.global_address,
            parameter_address=self.parameter_address,
            cubin=self.cubin,
            arguments=self.arguments,
            sm_count=self.sm_count,
        )


class LaunchWriter:
    """Saves one launch: made before it runs, written after.

    Args:
        launch: about to run; its memory is copied now.

    Raises:
        LaunchFileError: a launch that cannot be replayed from a file: made by hand without a cubin, or with a
            pointer to memory that is not part of it.
    """

    def __init__(self, launch: Launch):
        if not launch.cubin:
            raise LaunchFileError(f"launch of {launch.program.name}: a program without its cubin cannot be saved")
        try:
            check_pointers(launch.parameters, launch.arguments, launch.segments)
        except LaunchError as error:
            raise LaunchFileError(f"launch of {launch.program.name} cannot be saved: {error}") from error
        self._launch, self._writer = launch, SectionWriter()
        self._cubin, self._parameters = self._writer.add(launch.cubin), self._writer.add(launch.parameters)
        self._before = [self._writer.add(content) for content in launch.memory()]
        self._after: list[int | None] = [None] * len(self._before)
        self._origin: Origin | None = None

    def outputs(self, origin: Origin, known: Collection[int] | None = None) -> None:
        """Take the launch's memory, now that it has run, as what every replay must give.

        Args:
            origin: who ran it.
            known: addresses of the segments to take; None for all.
        """
        contents = zip(self._launch.segments, self._launch.memory(), strict=True)
        self._after = [
            self._writer.add(content) if known is None or segment.address in known else None
            for segment, content in contents
        ]
        self._origin = origin if any(after is not None for after in self._after) else None

    def write(self, path: Path) -> None:
        """Write the file.

        Raises:
            LaunchFileError: it cannot be written.
        """
        launch = self._launch
        rows = zip(launch.segments, self._before, self._after, strict=True)
        header = _LaunchHeader(
            kernel=launch.program.name,
            arch=launch.program.arch,
            grid=(int(launch.grid[0]), int(launch.grid[1]), int(launch.grid[2])),
            block=(launch.threads, 1, 1),
            shared_bytes=launch.shared_bytes,
            cubin=self._cubin,
            parameters=self._parameters,
            arguments=tuple(_ArgumentRow(**dataclasses.asdict(argument)) for argument in launch.arguments),
            segments=tuple(
                _SegmentRow(name=s.name, address=s.address, dtype=s.dtype, shape=s.shape, before=before, after=after)
                for s, before, after in rows
            ),
            global_address=launch.global_address,
            parameter_address=launch.parameter_address,
            sm_count=launch.sm_count,
            origin=self._origin,
            sections=tuple(self._writer.sections),
        )
        self._writer.write(path, header)


def read_launch(path: Path, *, max_bytes: int = MAX_BYTES) -> StoredLaunch:
    """Read and check a launch file; nothing of its code runs, and nothing is disassembled yet.

    Args:
        path: the file.
        max_bytes: most bytes of memory that it may hold, before and after together.

    Raises:
        LaunchFileError: not a launch file, of a newer version, truncated, damaged, too large, or inconsistent.
    """
    header, sections = read_sections(path, _LaunchHeader, max_bytes)
    try:
        return _assemble(path, header, sections, max_bytes)
    except (CubinError, LaunchError) as error:
        raise LaunchFileError(f"launch file {path}: {error}") from error


def _assemble(path: Path, header: _LaunchHeader, sections: list[np.ndarray], max_bytes: int) -> StoredLaunch:
    def section(number: int) -> np.ndarray:
        if number >= len(sections):
            raise LaunchError(f"section {number} is named, there are {len(sections)}")
        return sections[number]

    before = tuple(section(row.before) for row in header.segments)
    after = tuple(None if row.after is None else section(row.after) for row in header.segments)
    total = sum(map(len, before))
    if total > max_bytes:
        raise LaunchError(f"{total} bytes of memory, at most {max_bytes} are accepted")
    segments = tuple(
        Segment(row.name, row.address, len(content), row.dtype, row.shape)
        for row, content in zip(header.segments, before, strict=True)
    )
    stored = StoredLaunch(
        path=path,
        cubin=(image := section(header.cubin).tobytes()),
        resources=read_cubin(image),
        grid=header.grid,
        threads=header.block[0],
        shared_bytes=header.shared_bytes,
        parameters=section(header.parameters).tobytes(),
        arguments=tuple(Argument(**row.model_dump()) for row in header.arguments),
        segments=segments,
        before=before,
        after=after,
        global_address=header.global_address,
        parameter_address=header.parameter_address,
        sm_count=header.sm_count,
        origin=header.origin,
    )
    _check_code(stored, header)
    _check_memory(stored)
    check_pointers(stored.parameters, stored.arguments, segments)
    return stored


def _check_code(stored: StoredLaunch, header: _LaunchHeader) -> None:
    """The cubin must be of the kernel, the architecture and the parameters that the header names."""
    cubin = stored.resources
    if (cubin.kernel, cubin.arch) != (header.kernel, header.arch):
        raise LaunchError(
            f"its cubin is kernel {cubin.kernel} for sm_{cubin.arch}, the header says {header.kernel} for "
            f"sm_{header.arch}"
        )
    if header.block[1:] != (1, 1):
        raise LaunchError(f"a block of {header.block}, expected y and z to be 1")
    check_grid(cubin.kernel, stored.grid, stored.threads)
    if stored.shared_bytes < cubin.shared_bytes:
        raise LaunchError(f"{stored.shared_bytes} bytes of shared memory, its cubin alone needs {cubin.shared_bytes}")
    expected = max((p.offset + p.size for p in cubin.parameters), default=0)
    if len(stored.parameters) != expected:
        raise LaunchError(f"{len(stored.parameters)} bytes of parameters, its cubin expects {expected}")


def _check_memory(stored: StoredLaunch) -> None:
    """Segments must lie in order and apart; outputs must fit them and have an origin."""
    end = 0
    for segment, after in zip(stored.segments, stored.after, strict=True):
        if segment.size == 0 or segment.address < end or segment.address + segment.size > LOCAL_WINDOW:
            raise LaunchError(
                f"{segment.name} at {segment.address:#x}, {segment.size} bytes: segments must be in order, apart, not "
                f"empty and below {LOCAL_WINDOW:#x}"
            )
        end = segment.address + segment.size
        if after is not None and len(after) != segment.size:
            raise LaunchError(f"{segment.name}: {len(after)} bytes after the launch, {segment.size} before")
    if (stored.origin is None) != all(after is None for after in stored.after) and stored.segments:
        raise LaunchError("stored outputs need an origin, and an origin needs outputs")
    for what, address, size in (
        ("the kernel's own data", stored.global_address, len(stored.resources.global_data)),
        ("the copy of the parameters", stored.parameter_address, len(stored.parameters)),
    ):
        if address and not _holds(stored.segments, address, size):
            raise LaunchError(f"{what} at {address:#x}, {size} bytes, is outside its memory")
    if stored.resources.global_data and not stored.global_address:
        raise LaunchError(f"kernel {stored.resources.kernel} has data of its own, but the file does not say where")


def _holds(segments: tuple[Segment, ...], address: int, size: int) -> bool:
    return any(s.address <= address and address + size <= s.address + s.size for s in segments)


def check_pointers(parameters: bytes, arguments: tuple[Argument, ...], segments: tuple[Segment, ...]) -> None:
    """Every pointer and tensor map among the arguments must be null or point into the launch's memory.

    Raises:
        LaunchError: naming the argument and the address.
    """
    for argument in arguments:
        if argument.offset + argument.size > len(parameters):
            raise LaunchError(f"argument {argument.name} ends past the {len(parameters)} bytes of parameters")
        expected = TENSOR_MAP_BYTES if argument.kind == TENSOR_MAP else 8 if argument.kind.startswith("*") else None
        if expected is None:
            continue
        if argument.size != expected:
            raise LaunchError(f"argument {argument.name}: {argument.kind} of {argument.size} bytes, not {expected}")
        (address,) = struct.unpack_from("<Q", parameters, argument.offset)
        if address and not _holds(segments, address, 0):
            raise LaunchError(
                f"argument {argument.name} points to {address:#x}, which belongs to no tensor of the launch"
            )
