"""Reductions and scans along every axis, with ties, custom combines and reversed order, against NumPy."""

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint32", "uint64")
FLOATS = ("float16", "bfloat16", "float32", "float64")
SHAPES = ((32, 64), (1, 128), (16, 4), (128, 8))


@triton.jit
def _largest_magnitude(a, b):
    return tl.where(tl.abs(a) >= tl.abs(b), a, b)


@triton.jit
def _pair_sum(a0, a1, b0, b1):
    return a0 + b0, a1 + b1


@triton.jit
def reductions(x_ptr, out_ptr, at_ptr, sum_ptr, M: tl.constexpr, N: tl.constexpr, AXIS: tl.constexpr):
    rows, columns = tl.arange(0, M)[:, None], tl.arange(0, N)[None, :]
    x = tl.load(x_ptr + rows * N + columns)
    K: tl.constexpr = N if AXIS == 0 else M
    i = tl.arange(0, K)
    tl.store(out_ptr + i, tl.max(x, AXIS))
    tl.store(out_ptr + K + i, tl.min(x, AXIS))
    tl.store(out_ptr + 2 * K + i, tl.reduce(x, AXIS, _largest_magnitude))
    tl.store(at_ptr + i, tl.argmax(x, AXIS))
    tl.store(at_ptr + K + i, tl.argmin(x, AXIS))
    tl.store(at_ptr + 2 * K + i, tl.argmax(x, AXIS, tie_break_left=True))
    tl.store(sum_ptr + i, tl.sum(x, AXIS))
    first, second = tl.reduce((x.to(tl.int32), rows * 0 + columns), AXIS, _pair_sum)
    tl.store(sum_ptr + K + i, first)
    tl.store(sum_ptr + 2 * K + i, second)


def small_values(name: str, shape: tuple[int, int], seed: int) -> torch.Tensor:
    """Small whole numbers with many ties: every order of summation gives one answer."""
    low = 0 if name.startswith("u") else -6
    values = np.random.default_rng(seed).integers(low, 7, shape)
    return torch.from_numpy(values).to(getattr(torch, name))


@pytest.mark.parametrize(("name", "shape", "axis", "warps"), [
    *((name, SHAPES[i % 4], i % 2, (1, 2, 4, 8)[i % 4]) for i, name in enumerate(INTEGERS + FLOATS)),
    *(("int32", shape, axis, 4) for shape in SHAPES for axis in (0, 1)),
    ("float32", (64, 64), 0, 16),
    ("float16", (64, 64), 1, 16),
])  # fmt: skip
def test_reductions(gpu, name, shape, axis, warps):
    x = small_values(name, shape, 1)
    count = shape[1 - axis]
    out, at = torch.zeros(3, count, dtype=x.dtype), torch.zeros(3, count, dtype=torch.int32)
    sums = torch.zeros(3, count, dtype=torch.int64)
    reductions[(1,)](x, out, at, sums, M=shape[0], N=shape[1], AXIS=axis, num_warps=warps)
    values = x.to(torch.int64).numpy()
    assert out[0].to(torch.int64).tolist() == values.max(axis).tolist()
    assert out[1].to(torch.int64).tolist() == values.min(axis).tolist()
    assert out[2].to(torch.int64).abs().tolist() == np.abs(values).max(axis).tolist()
    assert at[0].tolist() == at[2].tolist() == values.argmax(axis).tolist()
    assert at[1].tolist() == values.argmin(axis).tolist()
    assert sums[0].tolist() == sums[1].tolist() == values.sum(axis).tolist()
    lanes = np.broadcast_to(np.arange(shape[1]), shape)
    assert sums[2].tolist() == lanes.sum(axis).tolist()


@triton.jit
def bit_reductions(x_ptr, out_ptr, N: tl.constexpr):
    x = tl.load(x_ptr + tl.arange(0, N))
    tl.store(out_ptr, tl.xor_sum(x, 0))
    tl.store(out_ptr + 1, tl.reduce_or(x, 0))
    tl.store(out_ptr + 2, tl.sum(x))
    tl.store(out_ptr + 3, tl.max(x, 0))


@pytest.mark.parametrize("name", ["int8", "int32", "uint32", "int64"])
@pytest.mark.parametrize("count", [32, 512, 2048])
def test_bitwise_reductions(gpu, name, count):
    info = np.iinfo(name)
    x = np.random.default_rng(2).integers(info.min, info.max, count, dtype=name)
    out = np.zeros(4, np.int64)
    bit_reductions[(1,)](torch.from_numpy(x), torch.from_numpy(out), N=count)
    assert out[0] == int(np.bitwise_xor.reduce(x))
    assert out[1] == int(np.bitwise_or.reduce(x))
    # Sums of narrow integers are made in 32 bits.
    wide = x if info.bits >= 32 else x.astype(np.int32 if info.min < 0 else np.uint32)
    assert out[2] == int(wide.sum(dtype=wide.dtype))
    assert out[3] == int(x.max())


@triton.jit
def _affine(a0, b0, a1, b1):
    """Composition of x -> a x + b: associative, and it shows the order."""
    return a0 * a1, b0 * a1 + b1


@triton.jit
def _second(a, b):
    return b


@triton.jit
def scans(x_ptr, out_ptr, affine_ptr, M: tl.constexpr, N: tl.constexpr, AXIS: tl.constexpr, REVERSE: tl.constexpr):
    at = tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :]
    x = tl.load(x_ptr + at)
    tl.store(out_ptr + at, tl.cumsum(x, AXIS, reverse=REVERSE))
    tl.store(out_ptr + M * N + at, tl.cumprod(x, AXIS, reverse=REVERSE))
    tl.store(out_ptr + 2 * M * N + at, tl.associative_scan(x, AXIS, _second, reverse=REVERSE))
    scale = x.to(tl.int32) * 2 + 1
    first, second = tl.associative_scan((scale, scale + 1), AXIS, _affine, reverse=REVERSE)
    tl.store(affine_ptr + at, first)
    tl.store(affine_ptr + M * N + at, second)


def affine_scan(x: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    scale = (2 * x + 1).astype(np.int32)
    a, b = np.moveaxis(scale, axis, 0).copy(), np.moveaxis(scale + 1, axis, 0).astype(np.int32).copy()
    with np.errstate(over="ignore"):
        for i in range(1, len(a)):
            b[i] = b[i - 1] * a[i] + b[i]
            a[i] = a[i - 1] * a[i]
    return np.moveaxis(a, 0, axis), np.moveaxis(b, 0, axis)


@pytest.mark.parametrize(("name", "shape", "axis", "reverse", "warps"), [
    ("int32", (32, 64), 1, False, 4),
    ("int32", (32, 64), 0, True, 4),
    ("int64", (4, 128), 1, True, 1),
    ("float32", (8, 32), 0, False, 2),
    ("float32", (64, 32), 1, True, 8),
    ("float16", (16, 16), 1, False, 4),
    ("uint32", (128, 4), 0, False, 4),
    ("bfloat16", (8, 64), 1, False, 4),
    ("float64", (2, 256), 1, False, 16),
])  # fmt: skip
def test_scans(gpu, name, shape, axis, reverse, warps):
    rng = np.random.default_rng(3)
    values = rng.choice([0, 1, 1, 1, 2] if name.startswith("u") else [-1, 1, 1, 1, 2, 0], shape)
    values[rng.random(shape) < 0.9] = 1
    if name in ("float16", "bfloat16"):
        values = np.minimum(values, 1)
    x = torch.from_numpy(values).to(getattr(torch, name))
    out, affine = torch.zeros(3, *shape, dtype=x.dtype), torch.zeros(2, *shape, dtype=torch.int32)
    scans[(1,)](x, out, affine, M=shape[0], N=shape[1], AXIS=axis, REVERSE=reverse, num_warps=warps)
    flip = (lambda v: np.flip(v, axis)) if reverse else (lambda v: v)
    whole = flip(values)
    with np.errstate(over="ignore"):
        want = [np.cumsum(whole, axis), np.cumprod(whole, axis), whole]
    for got, expected in zip(out, want, strict=True):
        assert got.double().tolist() == torch.from_numpy(flip(expected).copy()).to(x.dtype).double().tolist()
    for got, expected in zip(affine, affine_scan(whole, axis), strict=True):
        assert got.tolist() == flip(expected).tolist()
