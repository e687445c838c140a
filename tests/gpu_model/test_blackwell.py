"""Blackwell consumer: block-scaled products by the published rule, narrow conversions, 64-bit integers."""

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from gpu_model import VirtualGPU
from gpu_model.machine.bytes import FORMATS, encode
from hw.presets import block_scaled_core, tensor_core
from hw.reference import reference
from mx_formats.element import E2M1, E4M3, E5M2, decode_to_float
from mx_formats.scale import E8M0, UE4M3


@pytest.fixture(scope="module")
def gpu():
    with VirtualGPU("rtx_5090") as device:
        yield device


@triton.jit
def _scaled_product(a_ptr, a_scale_ptr, b_ptr, b_scale_ptr, c_ptr, K: tl.constexpr, A: tl.constexpr, B: tl.constexpr,
                    BLOCK: tl.constexpr, PACK: tl.constexpr):  # fmt: skip
    line, byte, block = tl.arange(0, 64), tl.arange(0, K // PACK), tl.arange(0, K // BLOCK)
    a = tl.load(a_ptr + line[:, None] * (K // PACK) + byte[None, :])
    b = tl.load(b_ptr + line[:, None] * (K // PACK) + byte[None, :])
    a_scale = tl.load(a_scale_ptr + line[:, None] * (K // BLOCK) + block[None, :])
    b_scale = tl.load(b_scale_ptr + line[:, None] * (K // BLOCK) + block[None, :])
    c = tl.dot_scaled(a, a_scale, A, b.T, b_scale, B)
    tl.store(c_ptr + line[:, None] * 64 + line[None, :], c)


def nibbles(packed):
    return np.stack([packed & 15, packed >> 4], -1).reshape(len(packed), -1).astype(np.uint32)


def bits(tensor):
    return tensor.numpy().view(np.uint32)


@pytest.mark.parametrize("block", [32, 16], ids=["mxfp4", "nvfp4"])
def test_omma_follows_the_rule(gpu, block):
    rng = np.random.default_rng(block)
    a, b = (rng.integers(0, 256, (64, 64), dtype=np.uint8) for _ in range(2))
    low, high = (117, 137) if block == 32 else (1, 0x7E)
    a_scale, b_scale = (rng.integers(low, high, (64, 128 // block), dtype=np.uint8) for _ in range(2))
    scales = [
        torch.from_numpy(s) if block == 32 else torch.from_numpy(s).view(torch.float8_e4m3fn)
        for s in (a_scale, b_scale)
    ]
    c = torch.empty(64, 64)
    _scaled_product[(1,)](
        torch.from_numpy(a), scales[0], torch.from_numpy(b), scales[1], c, 128, "e2m1", "e2m1", block, 2
    )
    assert any("OMMA.SF" in text for text in gpu.launches[-1].launch.program.text)
    tree, left, right = block_scaled_core(), nibbles(a), nibbles(b)
    groups_a, groups_b = (np.repeat(scale, block // 16, axis=1) for scale in (a_scale, b_scale))
    for row, column in rng.integers(0, 64, (40, 2)):
        total = 0
        for step in range(2):
            k, groups = slice(64 * step, 64 * step + 64), slice(4 * step, 4 * step + 4)
            scales = groups_a[row, groups], groups_b[column, groups], E8M0 if block == 32 else UE4M3
            total = reference(tree, E2M1, left[row, k], E2M1, right[column, k], total, *scales)
        assert bits(c)[row, column] == total


def test_mxfp8_follows_the_rule(gpu):
    """Each QMMA.SF joins 32 products, whose exponents both scales enter."""
    rng = np.random.default_rng(8)
    a, b = (rng.integers(0, 0x78, (64, 128), dtype=np.uint8) for _ in range(2))
    a_scale, b_scale = (rng.integers(117, 137, (64, 4), dtype=np.uint8) for _ in range(2))
    a ^= rng.integers(0, 2, a.shape, dtype=np.uint8) << 7
    c = torch.empty(64, 64)
    left, right = torch.from_numpy(a).view(torch.float8_e4m3fn), torch.from_numpy(b).view(torch.float8_e5m2)
    _scaled_product[(1,)](
        left, torch.from_numpy(a_scale), right, torch.from_numpy(b_scale), c, 128, "e4m3", "e5m2", 32, 1
    )
    assert any("QMMA.SF" in text for text in gpu.launches[-1].launch.program.text)
    tree = tensor_core("blackwell", E4M3)
    for row, column in rng.integers(0, 64, (40, 2)):
        total = 0
        for step in range(4):
            k = slice(32 * step, 32 * step + 32)
            scales = int(a_scale[row, step]), int(b_scale[column, step])
            total = reference(tree, E4M3, a[row, k], E5M2, b[column, k], total, *scales)
        assert bits(c)[row, column] == total


@triton.jit
def _gather_rows(source, rows_ptr, out_ptr):
    rows = tl.load(rows_ptr + tl.arange(0, 32))
    at = tl.arange(0, 32)[:, None] * 64 + tl.arange(0, 64)[None, :]
    tl.store(out_ptr + at, source.gather(rows, 64))


def test_gathered_rows(gpu):
    data, out = torch.randn(100, 96).half(), torch.empty(32, 64).half()
    rows = torch.randint(0, 110, (32,), dtype=torch.int32)
    _gather_rows[(1,)](TensorDescriptor.from_tensor(data, [1, 64]), rows, out)
    padded = torch.zeros(110, 128).half()
    padded[:100, :96] = data
    assert torch.equal(out, padded[rows.long(), 64:])


@triton.jit
def _wide_integers(x_ptr, y_ptr, out_ptr, n):
    at = tl.arange(0, 128)
    x, y = tl.load(x_ptr + at), tl.load(y_ptr + at)
    tl.store(out_ptr + at, x + y - n)
    tl.store(out_ptr + 128 + at, tl.minimum(x, y))
    tl.store(out_ptr + 256 + at, tl.maximum(x, y + n))
    tl.store(out_ptr + 384 + at, (x < y).to(tl.int64))


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint64])
def test_64_bit_integers(gpu, dtype):
    rng = np.random.default_rng(5)
    kind = np.int64 if dtype == torch.int64 else np.uint64
    edges = np.array([0, 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1], np.uint64)
    x, y = (np.concatenate([edges, rng.integers(0, 2**64, 120, np.uint64)]).view(kind) for _ in range(2))
    y = np.roll(y, 3)
    out = torch.empty(512, dtype=dtype)
    n = 12345678901
    _wide_integers[(1,)](torch.from_numpy(x), torch.from_numpy(y), out, n)
    if kind is np.int64:
        later = y + np.int64(n)
        want = [x + y - np.int64(n), np.minimum(x, y), np.maximum(x, later), (x < y).astype(np.int64)]
    else:
        later = y + np.uint64(n)
        want = [x + y - np.uint64(n), np.minimum(x, y), np.maximum(x, later), (x < y).astype(np.uint64)]
    assert out.numpy().tolist() == np.concatenate(want).tolist()


@triton.jit
def _wide_scalars(out_ptr, x, y):
    at = tl.arange(0, 2)
    tl.store(out_ptr + at, tl.minimum(x, y) + at)
    tl.store(out_ptr + 2 + at, tl.maximum(x, y) + at)
    tl.store(out_ptr + 4 + at, tl.minimum(x, 2**33) + at)


@pytest.mark.parametrize(("x", "y"), [(2**40, -(2**41)), (-(2**40), 2**62), (2**33, 2**33 + 1)])
def test_64_bit_scalars_on_the_uniform_datapath(gpu, x, y):
    out = torch.empty(6, dtype=torch.int64)
    compiled = _wide_scalars[(1,)](out, x, y)
    assert "min.s64" in compiled.asm["ptx"]
    low, high, capped = min(x, y), max(x, y), min(x, 2**33)
    assert out.tolist() == [low, low + 1, high, high + 1, capped, capped + 1]


@pytest.mark.parametrize("name", FORMATS)
def test_narrow_encoding_rounds_to_nearest_even_and_saturates(name):
    """Every value, every midpoint of neighbours, and what lies past the largest."""
    element = FORMATS[name]
    form = list(FORMATS).index(name)
    half = 1 << (element.bits - 1)
    values = decode_to_float(np.arange(half, dtype=np.uint32), element)
    values = values[np.isfinite(values)]
    for code, value in enumerate(values):
        assert encode(value, form) == code
        assert encode(-value, form) == code | half
        if code:
            middle = (values[code - 1] + value) / 2
            assert encode(middle, form) == (code if code % 2 == 0 else code - 1)
            assert encode(np.nextafter(middle, 1e9), form) == code
    assert encode(1e30, form) == encode(np.inf, form) == len(values) - 1
