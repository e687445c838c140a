"""One kernel launch as data: code, grid, block, parameters, and the memory it may touch."""

import ctypes
import dataclasses
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from gpu_model.cubin import Cubin
from gpu_model.errors import LaunchError
from gpu_model.machine.window import LOCAL_WINDOW, SHARED_WINDOW
from gpu_model.program import Program, Relocation

WARP_LANES = 32
MAX_GRID = (2**31 - 1, 65535, 65535)


# Constant bank 0, below the parameters (CUDA's driver writes it; offsets as ptxas reads them).
@dataclass(frozen=True)
class _Geometry:
    block: int  # three words: threads of a block
    grid: int  # three words: blocks
    stack_top: int  # of a thread's local memory
    sms: int  # SMs of the GPU
    local_window: int  # generic address of a thread's local memory


_EARLIER = _Geometry(block=0x0, grid=0xC, stack_top=0x28, sms=0x10C, local_window=0x20)
_LATER = _Geometry(block=0x360, grid=0x370, stack_top=0x37C, sms=0x2D0, local_window=0x2F8)  # sm_100 and up
_PARAMETER_ADDRESS = {90: 0x198, 120: 0x348}  # generic address of the parameters, for tensor maps among them
_SHARED_WINDOW = 0x18  # later architectures read it from SR_SWINHI
# From sm_90 on, shared addresses begin with what the system takes of each block, and a cubin's size counts it.
_SYSTEM_SHARED_BYTES = 1024


@dataclass(frozen=True)
class _ClusterWords:
    explicit: int  # 1 if the launch has clusters
    shape: int  # three words: blocks of a cluster
    inverse: int  # three floats: 1 / shape
    counts: int  # three words: clusters of the grid
    blocks: int  # of a cluster


_CLUSTERS = {
    90: _ClusterWords(explicit=0x140, shape=0x144, inverse=0x150, counts=0x15C, blocks=0x188),
    120: _ClusterWords(explicit=0x36C, shape=0x2A0, inverse=0x2B0, counts=0x2C0, blocks=0x2CC),
}
HOST_FUNCTIONS = {"vprintf": 1 << 57, "__assertfail": (1 << 57) + 16}  # addresses of functions the host provides


@dataclass(frozen=True)
class Segment:
    """A piece of global memory that the launch may touch.

    Attributes:
        name: what messages call it, for example the parameter's name.
        address: first byte as the kernel sees it.
        size: in bytes.
        dtype: torch's name of the elements' type, empty if they have none.
        shape: of the tensor that the piece was given as.
        host: first byte in this process; the kernel's address where it is 0.
    """

    name: str
    address: int
    size: int
    dtype: str = ""
    shape: tuple[int, ...] = ()
    host: int = 0

    @property
    def about(self) -> str:
        """Dtype and shape, for messages."""
        return f"{self.dtype}{list(self.shape)}" if self.dtype else ""

    @property
    def shift(self) -> int:
        """What to add to one of its addresses to reach the byte in this process."""
        return self.host - self.address if self.host else 0


@dataclass(frozen=True)
class Argument:
    """What a part of the parameter area is.

    Attributes:
        name: of the kernel's argument.
        kind: Triton's type, such as `i32`, `*fp32` for a pointer, or `nvTmaDesc` for a tensor map.
        offset: first byte in the parameter area.
        size: in bytes.
    """

    name: str
    kind: str
    offset: int
    size: int


@dataclass(frozen=True)
class Launch:
    """A kernel launch, ready to execute.

    Attributes:
        program: the decoded kernel.
        grid: blocks in x, y, z.
        threads: threads per block (one-dimensional, as Triton launches).
        shared_bytes: size of a block's shared addresses; `own_shared_bytes` is what it asks for.
        parameters: the kernel's parameter area.
        segments: global memory, sorted by address, not overlapping.
        keep: objects that own the memory.
        global_address: where the kernel's own global data was put, 0 if it has none.
        parameter_address: where a copy of the parameters lies in global memory, 0 if there is none.
        cubin: the code image that `program` was decoded from; empty for a program made by hand.
        arguments: what the parameters are, as far as they are known.
        sm_count: SMs of the GPU, for kernels that ask where they run.
        compiled_for: names and values of what Triton compiled the kernel for, such as ("BLOCK", "64"); for people.
    """

    program: Program
    grid: tuple[int, int, int]
    threads: int
    shared_bytes: int
    parameters: bytes
    segments: tuple[Segment, ...]
    keep: tuple[Any, ...] = field(default=(), repr=False, compare=False)
    global_address: int = 0
    parameter_address: int = 0
    cubin: bytes = field(default=b"", repr=False)
    arguments: tuple[Argument, ...] = ()
    sm_count: int = 1
    compiled_for: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    def memory(self) -> list[np.ndarray]:
        """The bytes of each segment, uint8[size], as they are now; views that live as long as the launch."""
        pieces = []
        for segment in self.segments:
            host = (ctypes.c_uint8 * segment.size).from_address(segment.address + segment.shift)
            pieces.append(np.ctypeslib.as_array(host))
        return pieces

    @cached_property
    def reachable(self) -> np.ndarray:
        """Global memory the launch may touch, int64[n, 3], at least one row: start, end, what leads to host addresses.

        ptxas makes a 16-bit atomic of a loop that exchanges the aligned word around the element. In such programs
        memory ends at whole words: the other half of the word is written back as it was.
        """
        rows = self.program.rows
        swaps = rows["modifiers"][np.char.startswith(rows["opcode"], "ATOM")]
        word = 4 if any("CAS" in modifiers.split(".") for modifiers in swaps) else 1
        ranges = np.array([(s.address, s.address + s.size, s.shift) for s in self.segments] or [(0, 0, 0)], np.int64)
        ranges[:, 0] -= ranges[:, 0] % word
        ranges[:, 1] += -ranges[:, 1] % word
        return ranges

    @property
    def regions(self) -> list[tuple[int, int]]:
        """Address and bytes of its memory, ordered by name: what timing indexes caches by.

        Host addresses, and so their order, differ from run to run; the names do not.
        """
        return [(s.address, s.size) for s in sorted(self.segments, key=lambda s: s.name)]

    @property
    def blocks(self) -> int:
        """Number of thread blocks."""
        return self.grid[0] * self.grid[1] * self.grid[2]

    @property
    def warps(self) -> int:
        """Warps of a block."""
        return -(-self.threads // WARP_LANES)

    def block_index(self, linear: int) -> tuple[int, int, int]:
        """Coordinates of a block from its linear index, x fastest."""
        x, y, _ = self.grid
        return linear % x, linear // x % y, linear // (x * y)

    def cluster_blocks(self, cluster: int) -> list[int]:
        """Linear indices of a cluster's blocks by rank; clusters are counted as blocks are, x fastest."""
        if self.program.cluster == (1, 1, 1):
            return [cluster]
        counts = [g // c for g, c in zip(self.grid, self.program.cluster, strict=True)]
        at = cluster % counts[0], cluster // counts[0] % counts[1], cluster // (counts[0] * counts[1])
        first = [a * c for a, c in zip(at, self.program.cluster, strict=True)]
        width, height, _ = self.program.cluster
        return [
            first[0] + rank % width
            + self.grid[0] * (first[1] + rank // width % height + self.grid[1] * (first[2] + rank // (width * height)))
            for rank in range(math.prod(self.program.cluster))
        ]  # fmt: skip

    @property
    def own_shared_bytes(self) -> int:
        """Shared memory that a block asks for, as a GPU's limits count it: without what the system takes."""
        system = min(self.program.shared_bytes, _SYSTEM_SHARED_BYTES) if self.program.arch >= 90 else 0
        return self.shared_bytes - system

    def constant_banks(self) -> dict[int, bytes]:
        """The constant banks the kernel sees: launch geometry and parameters in bank 0, its own data elsewhere."""
        base = self.program.parameter_base
        bank = bytearray(max(len(self.program.constants.get(0, b"")), base + len(self.parameters)))
        initial = self.program.constants.get(0, b"")
        bank[: len(initial)] = initial
        where = _LATER if self.program.arch >= 100 else _EARLIER
        struct.pack_into("<3I", bank, where.block, self.threads, 1, 1)
        struct.pack_into("<3I", bank, where.grid, *self.grid)
        struct.pack_into("<I", bank, where.stack_top, local_bytes(self.program))
        struct.pack_into("<I", bank, where.sms, self.sm_count)
        if where is _EARLIER:
            struct.pack_into("<Q", bank, _SHARED_WINDOW, SHARED_WINDOW)
        struct.pack_into("<Q", bank, where.local_window, LOCAL_WINDOW)
        if clusters := _CLUSTERS.get(self.program.arch):
            shape = self.program.cluster
            struct.pack_into("<I", bank, clusters.explicit, shape != (1, 1, 1))
            struct.pack_into("<3I", bank, clusters.shape, *shape)
            struct.pack_into("<3f", bank, clusters.inverse, *(_inverse(size) for size in shape))
            struct.pack_into("<3I", bank, clusters.counts, *(g // c for g, c in zip(self.grid, shape, strict=True)))
            struct.pack_into("<I", bank, clusters.blocks, math.prod(shape))
        if self.parameter_address and self.program.arch in _PARAMETER_ADDRESS:
            struct.pack_into("<Q", bank, _PARAMETER_ADDRESS[self.program.arch], self.parameter_address)
        bank[base : base + len(self.parameters)] = self.parameters
        banks = {number: bytearray(data) for number, data in self.program.constants.items()} | {0: bank}
        for relocation in self.program.relocations:
            struct.pack_into("<Q", banks[relocation.bank], relocation.offset, self._address(relocation))
        return {number: bytes(data) for number, data in banks.items()}

    def _address(self, relocation: Relocation) -> int:
        if relocation.target is not None:
            return self.global_address + relocation.target
        if relocation.symbol not in HOST_FUNCTIONS:
            known = ", ".join(HOST_FUNCTIONS)
            raise LaunchError(f"kernel {self.program.name} calls {relocation.symbol}; host functions known: {known}")
        return HOST_FUNCTIONS[relocation.symbol]


def local_bytes(program: Program) -> int:
    """Local memory of a thread, in bytes: its stack, rounded up to 16."""
    return -(-program.local_bytes // 16) * 16


def _inverse(divisor: int) -> np.float32:
    """1 / divisor, rounded up unless exact, so that the product with a multiple of it is not cut off below it."""
    inverse = np.float32(1) / np.float32(divisor)
    return inverse if float(inverse) * divisor >= 1 else np.nextafter(inverse, np.float32(2))


def check_grid(
    kernel: str,
    grid: tuple[int, int, int],
    threads: int,
    limit: int = 1024,
    cluster: tuple[int, int, int] = (1, 1, 1),
) -> None:
    """Refuse a grid, block or cluster that no GPU launches.

    Raises:
        LaunchError: naming the dimension, its value and the legal range.
    """
    for axis, blocks, most in zip("xyz", grid, MAX_GRID, strict=True):
        if not 0 <= blocks <= most:
            raise LaunchError(f"launch of {kernel}: grid {axis} is {blocks}, legal 0 to {most}")
    for axis, blocks, size in zip("xyz", grid, cluster, strict=True):
        if blocks % size:
            raise LaunchError(
                f"launch of {kernel}: grid {axis} is {blocks}, expected a multiple of the cluster's {size} blocks"
            )
    if not 1 <= threads <= limit:
        raise LaunchError(f"launch of {kernel}: {threads} threads a block, legal 1 to {limit}")


_FORMATS = {
    "i1": "<?", "i8": "<b", "i16": "<h", "i32": "<i", "i64": "<q",
    "u1": "<?", "u8": "<B", "u16": "<H", "u32": "<I", "u64": "<Q",
    "fp16": "<e", "fp32": "<f", "f32": "<f", "fp64": "<d",
}  # fmt: skip


def pack_value(kind: str, value: Any) -> bytes:
    """Bytes of one scalar or pointer argument of a Triton type such as `i32`, `fp16` or `*fp32`.

    Raises:
        LaunchError: a type without a rule, or a value that does not fit.
    """
    if kind.startswith("*") or kind == "ptr":
        return struct.pack("<Q", value)
    if kind == "bf16":
        (bits,) = struct.unpack("<I", struct.pack("<f", value))
        bits += 0x7FFF + (bits >> 16 & 1) if value == value else 0
        return struct.pack("<H", bits >> 16 & 0xFFFF)
    if kind not in _FORMATS:
        raise LaunchError(f"argument of type {kind!r}: known types are pointers and {', '.join(_FORMATS)}, bf16")
    try:
        return struct.pack(_FORMATS[kind], value)
    except (struct.error, OverflowError) as error:
        raise LaunchError(f"argument {value!r} does not fit its type {kind}: {error}") from error


def pack_parameters(cubin: Cubin, named: Sequence[tuple[str, str, bytes]]) -> tuple[bytes, tuple[Argument, ...]]:
    """Lay out arguments, given as (name, type, bytes), as the kernel expects them.

    Returns:
        The parameter area, and where each argument lies in it.

    Raises:
        LaunchError: too many or too few arguments, or one of the wrong size.
    """
    if len(named) != len(cubin.parameters):
        raise LaunchError(
            f"kernel {cubin.kernel} takes {len(cubin.parameters)} parameters, the launch gives {len(named)}"
        )
    area = bytearray(max((p.offset + p.size for p in cubin.parameters), default=0))
    arguments = []
    for number, (parameter, (name, kind, value)) in enumerate(zip(cubin.parameters, named, strict=True)):
        if len(value) > parameter.size:
            raise LaunchError(
                f"kernel {cubin.kernel}, parameter {number}: {len(value)} bytes given, {parameter.size} expected"
            )
        area[parameter.offset : parameter.offset + len(value)] = value
        arguments.append(Argument(name, kind, parameter.offset, len(value)))
    return bytes(area), tuple(arguments)


def merge_segments(segments: list[Segment]) -> tuple[Segment, ...]:
    """Sort segments and join those that share bytes (two arguments may view one storage).

    Raises:
        LaunchError: two that share addresses but not their bytes in this process.
    """
    merged: list[Segment] = []
    for segment in sorted((s for s in segments if s.size), key=lambda s: (s.address, -s.size)):
        last = merged[-1] if merged else None
        if last and segment.address < last.address + last.size:
            if segment.shift != last.shift:
                raise LaunchError(
                    f"{last.name} and {segment.name} overlap at {segment.address:#x}, but lie apart on the host"
                )
            end = max(last.address + last.size, segment.address + segment.size)
            name = last.name if segment.name in last.name.split(" and ") else f"{last.name} and {segment.name}"
            merged[-1] = dataclasses.replace(last, name=name, size=end - last.address)
        else:
            merged.append(segment)
    return tuple(merged)
