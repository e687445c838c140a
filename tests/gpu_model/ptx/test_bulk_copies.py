"""cp.async.bulk and cp.reduce.async.bulk: contiguous bytes between global and shared memory, copied or combined."""

import numpy as np
import pytest

from gpu_model.errors import MemoryFault
from tests.gpu_model.ptx import tensor_tiles as tt
from tests.gpu_model.ptx.test_tensor_copies import DTYPES, combine, numbers

ARCH, CASES, BYTES = 90, 24, tt.SHARED
TYPES = {"u32": np.dtype(np.uint32), "s32": np.dtype(np.int32), "u64": np.dtype(np.uint64), "s64": np.dtype(np.int64),
         "b32": np.dtype(np.uint32), "b64": np.dtype(np.uint64), "f16": np.dtype(np.float16),
         "bf16": np.dtype(DTYPES[10]), "f32": np.dtype(np.float32), "f64": np.dtype(np.float64)}  # fmt: skip
LOGIC = ("and", "or", "xor")
TO_GLOBAL = [
    *[("add", kind) for kind in ("u32", "s32", "u64", "noftz.f16", "noftz.bf16", "f32", "f64")],
    *[(order, kind) for order in ("min", "max") for kind in ("u32", "s32", "u64", "s64", "f16", "bf16")],
    ("inc", "u32"), ("dec", "u32"), *[(logic, kind) for logic in LOGIC for kind in ("b32", "b64")],
]  # fmt: skip
TO_SHARED = [
    *[("add", kind) for kind in ("u32", "s32", "u64")],
    *[(order, kind) for order in ("min", "max") for kind in ("u32", "s32")],
    ("inc", "u32"), ("dec", "u32"), *[(logic, "b32") for logic in LOGIC],
]  # fmt: skip
# The map's place in a case holds a global address; c0 and c1 are offsets in shared memory, and size counts bytes.
_ADDRESSES = "ld.global.b64 map, [map];\nadd.u32 c0, base, c0;\nadd.u32 c1, base, c1;\n"
_EXPECT = "mbarrier.arrive.expect_tx.shared.b64 _, [where], size;\n"
_WAIT = "again:\nmbarrier.try_wait.parity.shared.b64 done, [where], 0;\n@!done bra again;"
_STORED = "cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;"


def cases_of(addresses: np.ndarray, places: np.ndarray, sizes: np.ndarray) -> list[bytes]:
    cases = np.zeros((len(sizes), 40), np.uint32)
    cases[:, :2] = addresses.astype(np.uint64).view(np.uint32).reshape(-1, 2)
    cases[:, 32:34], cases[:, 37] = places, sizes
    return [case.tobytes() for case in cases]


def draw(seed: int) -> tuple[np.random.Generator, np.ndarray, np.ndarray, np.ndarray]:
    """Sizes, places of two separate areas in shared memory, and offsets in a global row, all multiples of 16 bytes."""
    rng = np.random.default_rng(seed)
    sizes = 16 * rng.integers(1, BYTES // 64, CASES)
    places = np.stack([16 * rng.integers(0, (BYTES // 2 - sizes) // 16 + 1) for _ in range(2)], 1)
    places[:, 1] += BYTES // 2
    return rng, sizes, places, 16 * rng.integers(0, (BYTES - sizes) // 16 + 1)


def test_to_shared():
    rng, sizes, places, offsets = draw(1)
    tensor = tt.aligned(rng.integers(0, 256, (CASES, BYTES), np.uint8))
    images = rng.integers(0, 256, (CASES, BYTES), np.uint8)
    addresses = tensor.ctypes.data + BYTES * np.arange(CASES) + offsets
    name = "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
    body = f"{_ADDRESSES}{_EXPECT}{name} [c0], [map], size, [where];"
    got = tt.run(body, _WAIT, cases_of(addresses, places, sizes), images, tensor, ARCH)
    for want, row, place, size, offset in zip(images, tensor, places[:, 0], sizes, offsets, strict=True):
        want[place : place + size] = row[offset : offset + size]
    np.testing.assert_array_equal(got, images)


def check_global(name: str, kind: str, dtype: np.dtype) -> None:
    rng, sizes, places, offsets = draw(2)
    tensor, images = tt.aligned(numbers(rng, (CASES, BYTES // 2))), numbers(rng, (CASES, BYTES // 2))
    addresses, want = tensor.ctypes.data + BYTES * np.arange(CASES) + offsets, tensor.copy()
    body = f"{_ADDRESSES}{name} [map], [c0], size;\n{_STORED}"
    tt.run(body, "", cases_of(addresses, places, sizes), images, tensor, ARCH)
    for row, image, place, size, offset in zip(want, images, places[:, 0], sizes, offsets, strict=True):
        x, y = image[place : place + size].view(dtype), row[offset : offset + size].view(dtype)
        row[offset : offset + size] = (combine(kind, x, y) if kind else x).view(np.uint8)
    np.testing.assert_array_equal(tensor, want)


def test_to_global():
    check_global("cp.async.bulk.global.shared::cta.bulk_group", "", np.dtype(np.uint8))


@pytest.mark.parametrize(("kind", "element"), TO_GLOBAL)
def test_combined_with_global(kind, element):
    name = f"cp.reduce.async.bulk.global.shared::cta.bulk_group.{kind}.{element}"
    check_global(name, kind, TYPES[element.split(".")[-1]])


def check_shared(name: str, kind: str, dtype: np.dtype) -> None:
    rng, sizes, places, _ = draw(3)
    images, nothing = rng.integers(0, 256, (CASES, BYTES), np.uint8), tt.aligned(np.zeros(16, np.uint8))
    body = f"{_ADDRESSES}{_EXPECT}{name} [c1], [c0], size, [where];"
    cases = cases_of(np.full(CASES, nothing.ctypes.data), places, sizes)
    got = tt.run(body, _WAIT, cases, images, nothing, ARCH)
    for image, (origin, target), size in zip(images, places, sizes, strict=True):
        x, y = image[origin : origin + size].view(dtype), image[target : target + size].view(dtype)
        image[target : target + size] = (combine(kind, x, y) if kind else x).view(np.uint8)
    np.testing.assert_array_equal(got, images)


def test_between_shared():
    check_shared("cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes", "", np.dtype(np.uint8))


@pytest.mark.parametrize(("kind", "element"), TO_SHARED)
def test_combined_with_shared(kind, element):
    name = f"cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.{kind}.{element}"
    check_shared(name, kind, TYPES[element])


@pytest.mark.parametrize(
    ("offset", "place", "size", "message"),
    [(8, 0, 64, "misaligned global access of 64 bytes"), (0, 8, 64, "misaligned shared access of 64 bytes"),
     (0, BYTES - 64, 128, "out-of-bounds shared access of 128 bytes"),
     (BYTES - 64, 0, 128, "out-of-bounds global access of 128 bytes")],
)  # fmt: skip
def test_bytes_that_do_not_fit_are_named(offset, place, size, message):
    tensor, images = tt.aligned(np.zeros(BYTES, np.uint8)), np.zeros((1, BYTES), np.uint8)
    case = cases_of(np.array([tensor.ctypes.data + offset]), np.array([[place, 0]]), np.array([size]))
    body = f"{_ADDRESSES}cp.async.bulk.global.shared::cta.bulk_group [map], [c0], size;\n{_STORED}"
    with pytest.raises(MemoryFault, match=message):
        tt.run(body, "", case, images, tensor, ARCH)
