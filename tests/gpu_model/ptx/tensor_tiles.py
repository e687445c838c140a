"""Tensor copies of PTX on one warp, and where the elements of a box lie by the rules of cuTensorMapEncodeTiled."""

from dataclasses import dataclass
from itertools import product

import numpy as np

from gpu_model import tensormap
from gpu_model.decode import decode
from gpu_model.execute import Machine, execute
from gpu_model.launch import Launch, Segment
from tests.gpu_model.ptx.harness import assemble

SHARED = 8192  # bytes that a kernel fills before a copy and shows after it; they begin where every swizzle does
_BARRIER = 1024  # bytes before them, for an mbarrier
_MAP_BYTES, _ARGUMENTS = 128, 32  # a case: tensor map, arguments (coordinates, bytes expected), shared memory
CASE_BYTES = _MAP_BYTES + _ARGUMENTS + SHARED
_KERNEL = """
.version {version}
.target sm_{arch}a
.address_size 64
.extern .shared .align 1024 .b8 tile[];
.visible .entry probe(.param .u64 source, .param .u64 result)
{{
.reg .b64 src, dst, map, from, to;
.reg .b32 tid, block, start, at, base, where, size, x, y, z, w, c<5>;
.reg .pred first, more, done;
ld.param.u64 src, [source];
ld.param.u64 dst, [result];
mov.u32 tid, %tid.x;
mov.u32 start, tile;
mov.u32 block, %ctaid.x;
mad.wide.u32 src, block, {case_bytes}, src;
mad.wide.u32 dst, block, {shared}, dst;
add.u32 base, start, {barrier};
mul.lo.u32 at, tid, 16;
fill:
cvt.u64.u32 from, at;
add.u64 from, from, src;
ld.global.v4.b32 {{x, y, z, w}}, [from+{image}];
add.u32 where, base, at;
st.shared.v4.b32 [where], {{x, y, z, w}};
add.u32 at, at, 512;
setp.lt.u32 more, at, {shared};
@more bra fill;
mov.b64 map, src;
ld.global.v4.b32 {{c0, c1, c2, c3}}, [src+{arguments}];
ld.global.b32 c4, [src+{arguments}+16];
ld.global.b32 size, [src+{arguments}+20];
ld.global.b32 x, [src+{arguments}+24];
add.u32 base, base, x;
mov.u32 where, start;
setp.eq.u32 first, tid, 0;
@!first bra ready;
mbarrier.init.shared.b64 [where], 1;
ready:
fence.proxy.async;
bar.sync 0;
@!first bra wait;
{copy}
wait:
{wait}
bar.sync 0;
add.u32 base, start, {barrier};
mul.lo.u32 at, tid, 16;
show:
add.u32 where, base, at;
ld.shared.v4.b32 {{x, y, z, w}}, [where];
cvt.u64.u32 to, at;
add.u64 to, to, dst;
st.global.v4.b32 [to], {{x, y, z, w}};
add.u32 at, at, 512;
setp.lt.u32 more, at, {shared};
@more bra show;
ret;
}}
"""
_EXPECT = "mbarrier.arrive.expect_tx.shared.b64 _, [where], size;"
_LOADED = "again:\nmbarrier.try_wait.parity.shared.b64 done, [where], 0;\n@!done bra again;"
_STORED = "cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;"


@dataclass(frozen=True)
class Tile:
    """A copy: the tensor map's fields, innermost dimension first, the box's coordinates, and its place in a tile."""

    element: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    box: tuple[int, ...]
    steps: tuple[int, ...]
    swizzle: int
    fill_nan: bool
    start: tuple[int, ...]
    place: int = 0

    @property
    def size(self) -> int:
        """Bytes of an element."""
        return tensormap.ELEMENT_BYTES[self.element]

    @property
    def counts(self) -> tuple[int, ...]:
        """Elements of the box in each dimension."""
        return (self.box[0], *(-(-n // step) for n, step in zip(self.box[1:], self.steps[1:], strict=True)))

    @property
    def nbytes(self) -> int:
        """Bytes of the box."""
        return int(np.prod(self.counts)) * self.size

    def encode(self, address: int) -> bytes:
        """The tensor map of a tensor at an address."""
        return tensormap.encode(address, self.sizes, self.strides, self.box, self.element, swizzle=self.swizzle,
                                fill_nan=self.fill_nan, element_strides=self.steps)  # fmt: skip

    def remote(self) -> tuple[np.ndarray, np.ndarray]:
        """Byte offset in the tensor of each element of the box, innermost first, and whether it is inside."""
        offsets, inside = np.zeros(1, np.int64), np.ones(1, bool)
        steps, strides = (1, *self.steps[1:]), (self.size, *self.strides)
        for count, step, stride, size, start in zip(self.counts, steps, strides, self.sizes, self.start, strict=True):
            index = start + step * np.arange(count)
            offsets = (index[:, None] * stride + offsets).reshape(-1)
            inside = (((index >= 0) & (index < size))[:, None] & inside).reshape(-1)
        return offsets, inside

    def shared(self) -> np.ndarray:
        """Byte offset in the tile of each element: packed, then 16-byte chunks permuted by the 128-byte line."""
        offset = self.place + self.size * np.arange(np.prod(self.counts))
        line, inside = np.divmod(offset, 128)
        return 128 * line + ((inside // 16) ^ (line % (1 << self.swizzle))) * 16 + inside % 16


def bytes_at(offsets: np.ndarray, size: int) -> np.ndarray:
    """Offsets of all bytes of elements, [element, byte]."""
    return offsets[:, None] + np.arange(size)


def run(body: str, wait: str, cases: list[bytes], images: np.ndarray, tensor: np.ndarray, arch: int) -> np.ndarray:
    """Run `body` on lane 0 of a warp a case; shared memory afterwards, uint8[case, SHARED].

    `c0` to `c4`, `size`, `base` and `map` hold a case's arguments; `where` is an mbarrier that expects one arrival.
    """
    heads = [np.frombuffer(case, np.uint8) for case in cases]
    source = aligned(np.stack([np.concatenate(pair) for pair in zip(heads, images, strict=True)]))
    result = aligned(np.zeros((len(cases), SHARED), np.uint8))
    version = "9.1" if arch == 120 else "8.6"
    ptx = _KERNEL.format(version=version, arch=arch, case_bytes=CASE_BYTES, shared=SHARED, arguments=_MAP_BYTES,
                         image=_MAP_BYTES + _ARGUMENTS, barrier=_BARRIER, copy=body, wait=wait)  # fmt: skip
    program, _ = decode(assemble(ptx, arch))
    memory = [("source", source), ("result", result), ("tensor", tensor)]
    segments = sorted((Segment(name, a.ctypes.data, a.nbytes) for name, a in memory), key=lambda s: s.address)
    parameters = np.array([source.ctypes.data, result.ctypes.data], np.uint64).tobytes()
    execute(Machine(Launch(program, (len(cases), 1, 1), 32, program.shared_bytes + _BARRIER + SHARED, parameters,
                           tuple(segments), (source, result, tensor))))  # fmt: skip
    return result


def aligned(array: np.ndarray) -> np.ndarray:
    """A copy that starts at a multiple of 128 bytes."""
    flat = np.zeros(array.nbytes + 128, np.uint8)
    start = -flat.ctypes.data % 128
    out = flat[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    out[...] = array
    return out


def case_of(tile: Tile, address: int) -> bytes:
    """Tensor map and arguments of a case."""
    arguments = np.array([*tile.start, *[0] * (5 - len(tile.start)), tile.nbytes, tile.place, 0], np.int32)
    return tile.encode(address) + arguments.tobytes()


def _coordinates(rank: int) -> str:
    return "{" + ", ".join(f"c{i}" for i in range(rank)) + "}"


def load(tiles: list[Tile], images: np.ndarray, tensor: np.ndarray, arch: int) -> np.ndarray:
    """cp.async.bulk.tensor to shared memory; waits for exactly the bytes of the box."""
    rank = len(tiles[0].sizes)
    space = "cta" if arch == 120 else "cluster"  # ptxas makes a call to the system of the other one
    name = f"cp.async.bulk.tensor.{rank}d.shared::{space}.global.tile.mbarrier::complete_tx::bytes"
    body = f"{_EXPECT}\n{name} [base], [map, {_coordinates(rank)}], [where];"
    return run(body, _LOADED, [case_of(tile, tensor.ctypes.data) for tile in tiles], images, tensor, arch)


def store(tiles: list[Tile], images: np.ndarray, tensor: np.ndarray, arch: int, reduction: str = "") -> None:
    """cp.async.bulk.tensor or cp.reduce.async.bulk.tensor to row i of `tensor` for tile i."""
    rank = len(tiles[0].sizes)
    name = f"cp.{'reduce.' * bool(reduction)}async.bulk.tensor"
    how = f".{reduction}" if reduction else ""
    body = f"{name}.{rank}d.global.shared::cta{how}.tile.bulk_group [map, {_coordinates(rank)}], [base];\n{_STORED}"
    cases = [case_of(tile, row.ctypes.data) for tile, row in zip(tiles, tensor, strict=True)]
    run(body, "", cases, images, tensor, arch)


ELEMENTS = [kind for kind in range(len(tensormap.ELEMENT_BYTES)) if kind != tensormap.F32_FTZ]
FLOATS = (tensormap.F16, tensormap.BF16, tensormap.F32, tensormap.F64)
_SPANS = (0, 32, 64, 128)


def draw_tile(rng: np.random.Generator, rank: int, element: int, swizzle: int, tensor_bytes: int) -> Tile:
    """A tile with ragged edges, padded strides, steps, and coordinates on every side of the tensor."""
    size = tensormap.ELEMENT_BYTES[element]
    inner = _SPANS[swizzle] or 16 * int(rng.integers(1, min(16, 256 * size // 16) + 1))
    while True:
        steps = [1] + [int(rng.choice([1, 1, 1, 2, 3, 8])) for _ in range(rank - 1)]
        box = [inner // size] + [int(rng.integers(1, {2: 20, 3: 7, 4: 4, 5: 3}[rank])) * step for step in steps[1:]]
        box = [box[0]] + [max(1, n - int(rng.integers(0, step))) for n, step in zip(box[1:], steps[1:], strict=True)]
        sizes = [int(rng.integers(1, 300 // size + 2))] + [int(rng.integers(1, 9)) for _ in range(rank - 1)]
        strides, stride = [], sizes[0] * size
        for n in sizes[1:]:
            stride = -(-stride // 16) * 16 + 16 * int(rng.integers(0, 3))
            strides.append(stride)
            stride *= n
        start = [int(rng.integers(-n - 1, m + 2)) if rng.random() < 0.7 else 0 for n, m in zip(box, sizes, strict=True)]
        fill_nan = bool(element in FLOATS and rng.random() < 0.5)
        tile = Tile(element, tuple(sizes), tuple(strides), tuple(box), tuple(steps), swizzle, fill_nan, tuple(start))
        room = SHARED - tile.nbytes
        if room >= 0 and stride <= tensor_bytes and max(box) <= 256:
            return Tile(**{**tile.__dict__, "place": 128 * int(rng.integers(0, room // 128 + 1))})


def tiles_of(rank: int, count: int, seed: int, tensor_bytes: int, elements: list[int]) -> list[Tile]:
    """Tiles of every element type and swizzle in turn."""
    rng, kinds = np.random.default_rng(seed), list(product(elements, range(4)))
    chosen = [kinds[i % len(kinds)] for i in range(count)]
    return [draw_tile(rng, rank, element, swizzle, tensor_bytes) for element, swizzle in chosen]
