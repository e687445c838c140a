"""Operations that move elements: sort, topk, histogram, gather, join, split, reshape, permute, flip, concatenation."""

import numpy as np
import pytest
import torch
import triton
import triton.language as tl


@triton.jit
def sorts(x_ptr, out_ptr, top_ptr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    at = tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :]
    x = tl.load(x_ptr + at)
    tl.store(out_ptr + at, tl.sort(x))
    tl.store(out_ptr + M * N + at, tl.sort(x, descending=True))
    tl.store(top_ptr + tl.arange(0, M)[:, None] * K + tl.arange(0, K)[None, :], tl.topk(x, K))


@pytest.mark.parametrize(("name", "shape", "warps"), [
    ("int32", (4, 64), 4), ("int64", (1, 128), 2), ("uint8", (8, 32), 1), ("int16", (2, 256), 4),
    ("float32", (8, 64), 4), ("float16", (16, 16), 4), ("bfloat16", (4, 32), 8), ("float64", (1, 64), 1),
])  # fmt: skip
def test_sort_and_topk(gpu, name, shape, warps):
    rng = np.random.default_rng(1)
    x = torch.from_numpy(rng.integers(0, 200, shape)).to(getattr(torch, name))
    if name.startswith("float"):
        x = (x - 100) / 8
    out, top = torch.zeros(2, *shape, dtype=x.dtype), torch.zeros(shape[0], 8, dtype=x.dtype)
    sorts[(1,)](x, out, top, M=shape[0], N=shape[1], K=8, num_warps=warps)
    ordered = np.sort(x.double().numpy(), 1)
    assert out[0].double().tolist() == ordered.tolist()
    assert out[1].double().tolist() == ordered[:, ::-1].tolist()
    assert top.double().tolist() == ordered[:, ::-1][:, :8].tolist()


@triton.jit
def histograms(x_ptr, out_ptr, masked_ptr, n, N: tl.constexpr, BINS: tl.constexpr):
    i = tl.arange(0, N)
    x = tl.load(x_ptr + i)
    bins = tl.arange(0, BINS)
    tl.store(out_ptr + bins, tl.histogram(x, BINS))
    tl.store(masked_ptr + bins, tl.histogram(x, BINS, mask=i < n))


@pytest.mark.parametrize(("count", "bins", "warps"), [(256, 16, 4), (1024, 256, 4), (2048, 2, 8), (128, 64, 1)])
def test_histogram(gpu, count, bins, warps):
    x = np.random.default_rng(2).integers(0, bins, count, dtype=np.int32)
    out, masked = np.zeros(bins, np.int32), np.zeros(bins, np.int32)
    tensors = [torch.from_numpy(array) for array in (x, out, masked)]
    histograms[(1,)](*tensors, count - 37, N=count, BINS=bins, num_warps=warps)
    assert out.tolist() == np.bincount(x, minlength=bins).tolist()
    assert masked.tolist() == np.bincount(x[: count - 37], minlength=bins).tolist()


@triton.jit
def gathers(x_ptr, index_ptr, out_ptr, M: tl.constexpr, N: tl.constexpr, AXIS: tl.constexpr):
    at = tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :]
    tl.store(out_ptr + at, tl.gather(tl.load(x_ptr + at), tl.load(index_ptr + at), AXIS))


@pytest.mark.parametrize(("shape", "axis"), [((32, 16), 0), ((4, 128), 1), ((64, 64), 0), ((16, 32), 1)])
@pytest.mark.parametrize("name", ["float32", "int8"])
def test_gather(gpu, shape, axis, name):
    rng = np.random.default_rng(3)
    x = torch.from_numpy(rng.integers(-90, 90, shape)).to(getattr(torch, name))
    index = torch.from_numpy(rng.integers(0, shape[axis], shape).astype(np.int32))
    out = torch.zeros_like(x)
    gathers[(1,)](x, index, out, M=shape[0], N=shape[1], AXIS=axis)
    assert torch.equal(out, torch.gather(x, axis, index.long()))


@triton.jit
def rearrangements(x_ptr, y_ptr, out_ptr, M: tl.constexpr, N: tl.constexpr):
    rows, columns = tl.arange(0, M)[:, None], tl.arange(0, N)[None, :]
    at = rows * N + columns
    flat = tl.arange(0, M * N)
    across = tl.arange(0, N)[:, None] * M + tl.arange(0, M)[None, :]
    x, y = tl.load(x_ptr + at), tl.load(y_ptr + at)
    size: tl.constexpr = M * N
    tl.store(out_ptr + across, tl.trans(x))
    tl.store(out_ptr + size + across, tl.permute(y, (1, 0)))
    tl.store(out_ptr + 2 * size + flat, tl.reshape(x, (M * N,)))
    tl.store(out_ptr + 3 * size + across, tl.reshape(x, (N, M)))
    tl.store(out_ptr + 4 * size + at, tl.flip(x, 1))
    tl.store(out_ptr + 5 * size + at, tl.flip(x, 0))
    tl.store(out_ptr + 6 * size + flat, tl.ravel(y))
    low, high = tl.split(tl.reshape(x, (M, N // 2, 2)))
    half = tl.arange(0, M)[:, None] * (N // 2) + tl.arange(0, N // 2)[None, :]
    tl.store(out_ptr + 7 * size + half, low)
    tl.store(out_ptr + 7 * size + size // 2 + half, high)
    doubled = tl.arange(0, M)[:, None] * 2 * N + tl.arange(0, 2 * N)[None, :]
    tl.store(out_ptr + 8 * size + doubled, tl.interleave(x, y))
    joined = tl.join(x, y)
    tl.store(out_ptr + 10 * size + at[:, :, None] * 2 + tl.arange(0, 2)[None, None, :], joined)
    cube = tl.permute(tl.reshape(x, (M, N // 4, 4)), (2, 0, 1))
    tl.store(out_ptr + 12 * size + flat, tl.reshape(cube, (M * N,)))
    tl.store(out_ptr + 13 * size + tl.arange(0, 2 * M * N), tl.cat(tl.ravel(x), tl.ravel(y)))
    tl.store(out_ptr + 15 * size + at, tl.broadcast_to(tl.sum(x, 1)[:, None], (M, N)))
    tl.store(out_ptr + 16 * size + at, tl.expand_dims(tl.max(y, 0), 0) + tl.zeros((M, 1), x.dtype))


@pytest.mark.parametrize(("name", "shape", "warps"), [
    ("int32", (16, 32), 4), ("float16", (32, 32), 2), ("int8", (64, 16), 8), ("float64", (4, 64), 1),
    ("int16", (8, 8), 4),
])  # fmt: skip
def test_rearrangements(gpu, name, shape, warps):
    rng, (m, n) = np.random.default_rng(4), shape
    x, y = (torch.from_numpy(rng.integers(-3, 4, shape)).to(getattr(torch, name)) for _ in range(2))
    out = torch.zeros(17 * m * n, dtype=x.dtype)
    rearrangements[(1,)](x, y, out, M=m, N=n, num_warps=warps)
    want = [x.T, y.T, x, x, x.flip(1), x.flip(0), y, x[:, ::2], x[:, 1::2], torch.stack([x, y], -1),
            torch.stack([x, y], -1), x.reshape(m, n // 4, 4).permute(2, 0, 1), torch.cat([x, y]),
            x.sum(1, dtype=x.dtype)[:, None].expand(m, n), y.max(0)[0][None].expand(m, n)]  # fmt: skip
    assert out.tolist() == torch.cat([part.reshape(-1) for part in want]).tolist()
