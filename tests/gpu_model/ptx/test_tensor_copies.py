"""Tensor copies of 1 to 5 dimensions: every element type, swizzle and step, ragged edges, fills and reductions.

Each test draws boxes at random and computes what a copy does with NumPy, byte for byte, from PTX ISA (tensors) and
cuTensorMapEncodeTiled.
"""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from gpu_model import tensormap
from gpu_model.errors import ExecutionError, LaunchError, MemoryFault
from tests.gpu_model.ptx import tensor_tiles as tt

ARCHES = (90, 120)
DTYPES = {
    tensormap.U8: np.uint8, tensormap.U16: np.uint16, tensormap.U32: np.uint32, tensormap.S32: np.int32,
    tensormap.U64: np.uint64, tensormap.S64: np.int64, tensormap.F16: np.float16, tensormap.F32: np.float32,
    tensormap.F64: np.float64, tensormap.BF16: ml_dtypes.bfloat16,
}  # fmt: skip
BYTES = 16384


def slow(arch: int) -> list[pytest.MarkDecorator]:
    return [pytest.mark.slow] if arch != 90 else []


RANKS = [pytest.param(arch, rank, marks=slow(arch)) for arch in ARCHES for rank in range(1, 6)]


@pytest.mark.parametrize(("target", "rank"), [pytest.param(*case.values, marks=case.marks) for case in RANKS])
def test_loads(target, rank):
    rng = np.random.default_rng(rank)
    tensor = tt.aligned(rng.integers(0, 256, BYTES, np.uint8))
    tiles = tt.tiles_of(rank, 80, rank, BYTES, tt.ELEMENTS)
    images = rng.integers(0, 256, (len(tiles), tt.SHARED), np.uint8)
    got = tt.load(tiles, images, tensor, target)
    for tile, before, after in zip(tiles, images, got, strict=True):
        remote, inside = tile.remote()
        values = np.zeros((len(inside), tile.size), np.uint8)
        if tile.fill_nan:
            assert np.isnan(after[tt.bytes_at(tile.shared(), tile.size)].view(DTYPES[tile.element])[~inside, 0]
                            .astype(np.float64)).all(), tile  # fmt: skip
            values[:] = after[tt.bytes_at(tile.shared(), tile.size)]
        values[inside] = tensor[tt.bytes_at(remote[inside], tile.size)]
        want = before.copy()
        want[tt.bytes_at(tile.shared(), tile.size)] = values
        np.testing.assert_array_equal(after, want, err_msg=str(tile))


@pytest.mark.parametrize(("target", "rank"), [pytest.param(*case.values, marks=case.marks) for case in RANKS])
def test_stores(target, rank):
    rng = np.random.default_rng(10 + rank)
    tiles = tt.tiles_of(rank, 80, 10 + rank, BYTES, tt.ELEMENTS)
    tensor = tt.aligned(rng.integers(0, 256, (len(tiles), BYTES), np.uint8))
    images, want = rng.integers(0, 256, (len(tiles), tt.SHARED), np.uint8), tensor.copy()
    tt.store(tiles, images, tensor, target)
    for tile, image, row in zip(tiles, images, want, strict=True):
        remote, inside = tile.remote()
        row[tt.bytes_at(remote[inside], tile.size)] = image[tt.bytes_at(tile.shared()[inside], tile.size)]
    np.testing.assert_array_equal(tensor, want)


INTEGERS = [tensormap.U32, tensormap.S32, tensormap.U64, tensormap.S64]
REDUCTIONS = {
    "add": [tensormap.U32, tensormap.S32, tensormap.U64, tensormap.F16, tensormap.BF16, tensormap.F32],
    "min": [*INTEGERS, tensormap.F16, tensormap.BF16], "max": [*INTEGERS, tensormap.F16, tensormap.BF16],
    "inc": [tensormap.U32], "dec": [tensormap.U32], "and": INTEGERS, "or": INTEGERS, "xor": INTEGERS,
}  # fmt: skip


def combine(kind: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """PTX ISA, red: y is the old value."""
    one = x.dtype.type(1)
    rules = {
        "add": lambda: x + y, "min": lambda: np.minimum(x, y), "max": lambda: np.maximum(x, y),
        "and": lambda: x & y, "or": lambda: x | y, "xor": lambda: x ^ y,
        "inc": lambda: np.where(y >= x, 0, y + one), "dec": lambda: np.where((y == 0) | (y > x), x, y - one),
    }  # fmt: skip
    with np.errstate(over="ignore"):
        return rules[kind]().astype(x.dtype)


def numbers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Bytes whose floats of every width are finite and not so far apart that one is lost in a sum."""
    data = rng.integers(0, 256, (*shape, 2), np.uint8)
    data[..., 1] = rng.integers(0x3A, 0x44, shape, np.uint8) | rng.integers(0, 2, shape, np.uint8) << 7
    return data.reshape(*shape[:-1], -1)


@pytest.mark.parametrize("kind", REDUCTIONS)
@pytest.mark.parametrize("target", [pytest.param(arch, marks=slow(arch)) for arch in ARCHES])
def test_reductions(target, kind):
    for rank in (1, 3, 5):
        rng = np.random.default_rng(100 + rank)
        tiles = tt.tiles_of(rank, 4 * len(REDUCTIONS[kind]), 20 + rank, BYTES, REDUCTIONS[kind])
        tensor, images = tt.aligned(numbers(rng, (len(tiles), BYTES // 2))), numbers(rng, (len(tiles), tt.SHARED // 2))
        want = tensor.copy()
        tt.store(tiles, images, tensor, target, kind)
        for tile, image, row in zip(tiles, images, want, strict=True):
            remote, inside = tile.remote()
            dtype, at = DTYPES[tile.element], tt.bytes_at(remote[inside], tile.size)
            x, y = (np.ascontiguousarray(part).view(dtype) for part in
                    (image[tt.bytes_at(tile.shared()[inside], tile.size)], row[at]))  # fmt: skip
            row[at] = combine(kind, x, y).view(np.uint8)
        np.testing.assert_array_equal(tensor, want, err_msg=kind)


def plain(**changes: Any) -> tt.Tile:
    fields: dict[str, Any] = {
        "element": tensormap.F32, "sizes": (32, 8), "strides": (128,), "box": (32, 8), "steps": (1, 1), "swizzle": 3,
        "fill_nan": False, "start": (0, 0),
    }  # fmt: skip
    return tt.Tile(**(fields | changes))


def test_a_swizzled_box_at_the_end_of_shared_memory_stays_inside_it():
    tensor, image = tt.aligned(np.arange(1024, dtype=np.uint8)), np.zeros((1, tt.SHARED), np.uint8)
    tile = plain(place=tt.SHARED - 1024)
    got = tt.load([tile], image, tensor, 90)[0]
    assert not got[:-1024].any()
    assert got[tt.bytes_at(tile.shared(), 4)].reshape(-1).tolist() == tensor.tolist()


@pytest.mark.parametrize(
    ("place", "message"),
    [(tt.SHARED - 896, "out-of-bounds shared access of 1024 bytes"), (64, "misaligned shared access of 1024 bytes")],
)
def test_a_box_that_does_not_fit_is_named(place, message):
    tensor, image = tt.aligned(np.zeros(1024, np.uint8)), np.zeros((1, tt.SHARED), np.uint8)
    with pytest.raises(MemoryFault, match=message):
        tt.load([plain(place=place)], image, tensor, 90)


@pytest.mark.parametrize(
    ("word", "bits", "message"),
    [(tensormap.FLAGS_WORD, 2 << tensormap.RANK_SHIFT, "its rank is not the instruction's"),
     (tensormap.FLAGS_WORD, 15 << tensormap.TYPE_SHIFT, "its element type is packed"),
     (tensormap.FLAGS_WORD, 1 << tensormap.INTERLEAVE_SHIFT, "it is interleaved"),
     (tensormap.FLAGS_WORD, 1 << 19, "its swizzle has atoms of 32 or 64 bytes"),
     (tensormap.BOX0_WORD, 32 << 24, "its box row is not as long as its swizzle")],
)  # fmt: skip
def test_maps_that_are_not_modelled_are_named(word, bits, message):
    tensor, tile = tt.aligned(np.zeros(1024, np.uint8)), plain()
    words = np.frombuffer(tt.case_of(tile, tensor.ctypes.data), np.uint32).copy()
    words[word] ^= bits
    body = "cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [map, {c0, c1}], [base];"
    with pytest.raises(ExecutionError, match=message):
        tt.run(body, "", [words.tobytes()], np.zeros((1, tt.SHARED), np.uint8), tensor, 90)


def test_a_reduction_the_element_type_lacks_is_named():
    tensor, image = tt.aligned(np.zeros((1, 1024), np.uint8)), np.zeros((1, tt.SHARED), np.uint8)
    with pytest.raises(ExecutionError, match="its element type does not have this reduction"):
        tt.store([plain()], image, tensor, 90, "and")


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"fill_nan": True, "element": tensormap.S32}, "NaN outside elements of type 3"),
     ({"steps": (1, 9)}, "element strides"), ({"box": (16, 8)}, "a box row of 64 bytes, must be 128")],
)  # fmt: skip
def test_maps_the_driver_refuses_are_refused(changes, message):
    with pytest.raises(LaunchError, match=message):
        plain(**changes).encode(0)
