"""tl.dot over types, shapes and precisions. Whole numbers keep every order of summation exact."""

import numpy as np
import pytest
import torch
import triton
import triton.language as tl


@triton.jit
def dots(a_ptr, b_ptr, c_ptr, out_ptr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, PRECISION: tl.constexpr,
         OUT: tl.constexpr):  # fmt: skip
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    a = tl.load(a_ptr + m[:, None] * K + k[None, :])
    b = tl.load(b_ptr + k[:, None] * N + n[None, :])
    c = tl.load(c_ptr + m[:, None] * N + n[None, :])
    result = tl.dot(a, b, acc=c, input_precision=PRECISION, out_dtype=OUT)
    tl.store(out_ptr + m[:, None] * N + n[None, :], result)


OUTPUTS = {"float32": tl.float32, "float16": tl.float16, "int32": tl.int32, "float64": tl.float64}


@pytest.mark.parametrize(("name", "out", "precision", "shape", "warps"), [
    ("float16", "float32", "ieee", (16, 16, 16), 1),
    ("float16", "float32", "ieee", (64, 32, 64), 4),
    ("float16", "float32", "ieee", (128, 128, 32), 8),
    ("float16", "float16", "ieee", (32, 32, 32), 2),
    ("bfloat16", "float32", "ieee", (32, 64, 32), 4),
    ("float32", "float32", "tf32", (32, 32, 32), 4),
    ("float32", "float32", "tf32x3", (16, 16, 32), 2),
    ("float32", "float32", "ieee", (32, 16, 16), 4),
    ("int8", "int32", "ieee", (32, 32, 64), 4),
    ("float64", "float64", "ieee", (16, 16, 16), 4),
    ("float16", "float32", "ieee", (16, 8, 16), 4),
])  # fmt: skip
def test_whole_numbers(gpu, name, out, precision, shape, warps):
    m, n, k = shape
    rng = np.random.default_rng(1)
    a, b = (torch.from_numpy(rng.integers(-4, 5, s)).to(getattr(torch, name)) for s in ((m, k), (k, n)))
    c = torch.from_numpy(rng.integers(-9, 10, (m, n))).to(getattr(torch, out))
    result = torch.zeros(m, n, dtype=c.dtype)
    dots[(1,)](a, b, c, result, M=m, N=n, K=k, PRECISION=precision, OUT=OUTPUTS[out], num_warps=warps)
    want = a.double() @ b.double() + c.double()
    assert want.abs().max() < 2048  # exact in float16 as well
    assert result.double().tolist() == want.tolist()


@triton.jit
def transposed_dot(a_ptr, b_ptr, out_ptr, N: tl.constexpr):
    i = tl.arange(0, N)
    at = i[:, None] * N + i[None, :]
    a, b = tl.load(a_ptr + at), tl.load(b_ptr + at)
    tl.store(out_ptr + at, tl.dot(tl.trans(a), tl.trans(b)))
    tl.store(out_ptr + N * N + at, tl.dot(a, tl.trans(b).to(a.dtype)) + tl.dot(b, a))


@pytest.mark.parametrize("name", ["float16", "bfloat16", "int8"])
def test_transposed_operands(gpu, name):
    rng = np.random.default_rng(2)
    a, b = (torch.from_numpy(rng.integers(-4, 5, (32, 32))).to(getattr(torch, name)) for _ in range(2))
    out = torch.zeros(2, 32, 32, dtype=torch.int32 if name == "int8" else torch.float32)
    transposed_dot[(1,)](a, b, out, N=32)
    x, y = a.double(), b.double()
    assert out.double().tolist() == torch.stack([x.T @ y.T, x @ y.T + y @ x]).tolist()


@triton.jit
def batched_dot(a_ptr, b_ptr, out_ptr, B: tl.constexpr, N: tl.constexpr):
    i = tl.arange(0, N)
    at = tl.arange(0, B)[:, None, None] * N * N + i[None, :, None] * N + i[None, None, :]
    tl.store(out_ptr + at, tl.dot(tl.load(a_ptr + at), tl.load(b_ptr + at)))


def test_batches(gpu):
    rng = np.random.default_rng(3)
    a, b = (torch.from_numpy(rng.integers(-4, 5, (4, 16, 16))).half() for _ in range(2))
    out = torch.zeros(4, 16, 16)
    batched_dot[(1,)](a, b, out, B=4, N=16)
    assert out.tolist() == (a.float() @ b.float()).tolist()


@triton.jit
def accumulating_dot(a_ptr, b_ptr, out_ptr, k, M: tl.constexpr, K: tl.constexpr):
    i, j = tl.arange(0, M), tl.arange(0, K)
    total = tl.zeros((M, M), tl.float32)
    for start in range(0, k, K):
        a = tl.load(a_ptr + i[:, None] * k + start + j[None, :], mask=start + j[None, :] < k, other=0.0)
        b = tl.load(b_ptr + (start + j[:, None]) * M + i[None, :], mask=start + j[:, None] < k, other=0.0)
        total = tl.dot(a, b, total)
    tl.store(out_ptr + i[:, None] * M + i[None, :], total)


@pytest.mark.parametrize(("k", "stages"), [(128, 1), (200, 2), (256, 3), (130, 4)])
def test_pipelined_loops(gpu, k, stages):
    rng = np.random.default_rng(4)
    a, b = torch.from_numpy(rng.integers(-4, 5, (32, k))).half(), torch.from_numpy(rng.integers(-4, 5, (k, 32))).half()
    out = torch.zeros(32, 32)
    accumulating_dot[(1,)](a, b, out, k, M=32, K=32, num_stages=stages)
    assert out.tolist() == (a.float() @ b.float()).tolist()


@triton.jit
def float8_dot(a_ptr, b_ptr, out_ptr, N: tl.constexpr):
    i = tl.arange(0, N)
    at = i[:, None] * N + i[None, :]
    a = tl.load(a_ptr + at).to(tl.float8e5, bitcast=True)
    b = tl.load(b_ptr + at).to(tl.float8e5, bitcast=True)
    tl.store(out_ptr + at, tl.dot(a, b))


def test_float8_operands(gpu):
    rng = np.random.default_rng(5)
    a, b = (torch.from_numpy(rng.integers(-4, 5, (32, 32))).float().to(torch.float8_e5m2) for _ in range(2))
    out = torch.zeros(32, 32)
    float8_dot[(1,)](a.view(torch.int8), b.view(torch.int8), out, N=32)
    assert out.tolist() == (a.float() @ b.float()).tolist()
