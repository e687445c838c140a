"""Loops with trip counts from data, nested branches, several warps and blocks, function calls, early returns."""

import numpy as np
import pytest
import torch
import triton
import triton.language as tl


@triton.jit
def collatz(x_ptr, out_ptr):
    pid = tl.program_id(0)
    value = tl.load(x_ptr + pid)
    steps = 0
    while value != 1:
        if value % 2 == 0:  # noqa: SIM108 - a branch is what is under test
            value = value // 2
        else:
            value = 3 * value + 1
        steps += 1
    tl.store(out_ptr + pid, steps)


def collatz_steps(value: int) -> int:
    steps = 0
    while value != 1:
        value = value // 2 if value % 2 == 0 else 3 * value + 1
        steps += 1
    return steps


@pytest.mark.parametrize("warps", [1, 4])
def test_loops_until_a_value_is_reached(gpu, warps):
    x = torch.tensor([1, 2, 3, 7, 27, 97, 871, 6171])
    out = torch.zeros(8, dtype=torch.int32)
    collatz[(8,)](x, out, num_warps=warps)
    assert out.tolist() == [collatz_steps(v) for v in x.tolist()]


@triton.jit
def grid_stride(x_ptr, out_ptr, n, B: tl.constexpr):
    total = tl.zeros((B,), tl.int64)
    for start in range(tl.program_id(0) * B, n, tl.num_programs(0) * B):
        at = start + tl.arange(0, B)
        total += tl.load(x_ptr + at, mask=at < n, other=0)
    tl.store(out_ptr + tl.program_id(0), tl.sum(total))


@pytest.mark.parametrize(("n", "blocks", "warps"), [(1000, 3, 1), (4099, 2, 8), (5, 4, 2), (0, 1, 4), (2048, 1, 16)])
def test_grid_stride_loops(gpu, n, blocks, warps):
    x = torch.arange(max(n, 1))
    out = torch.full((blocks,), -1)
    grid_stride[(blocks,)](x, out, n, B=256, num_warps=warps)
    want = [sum(i for i in range(n) if i // 256 % blocks == b) for b in range(blocks)]
    assert out.tolist() == want


@triton.jit
def _classify(x, low, high):
    if x < low:
        return -1
    if x > high:
        return 1
    return 0


@triton.jit(noinline=True)
def _never_inlined(x, y):
    return x * 3 + y


@triton.jit
def branches(x_ptr, out_ptr, n, flag, MODE: tl.constexpr, N: tl.constexpr):
    pid = tl.program_id(0)
    if pid >= n:
        return
    x = tl.load(x_ptr + pid)
    result = _classify(x, -10, 10)
    if flag:
        if x % 3 == 0 and x > 0:
            result += 100
        elif x % 3 == 1 or x < -50:
            result += 200
    if MODE == "triple":
        result = _never_inlined(x, result)
    for i in tl.static_range(3):
        if x > i * 10:
            result += 1
    vector = tl.arange(0, N)
    tl.store(out_ptr + pid * N + vector, tl.where(vector % 2 == 0, result, -result))


@pytest.mark.parametrize(("flag", "mode"), [(True, "plain"), (False, "plain"), (True, "triple")])
def test_nested_branches(gpu, flag, mode):
    x = torch.arange(-64, 64, 9, dtype=torch.int32)
    n = len(x) - 1
    out = torch.full((len(x), 32), 7777, dtype=torch.int32)
    branches[(len(x),)](x, out, n, flag, MODE=mode, N=32)

    def expected(v: int) -> int:
        remainder = int(np.fmod(v, 3))
        result = -1 if v < -10 else 1 if v > 10 else 0
        if flag:
            result += 100 if remainder == 0 and v > 0 else 200 if remainder == 1 or v < -50 else 0
        if mode == "triple":
            result = 3 * v + result
        return result + sum(v > i * 10 for i in range(3))

    for v, row in zip(x.tolist()[:n], out[:n], strict=True):
        assert row[0::2].tolist() == [expected(v)] * 16
        assert row[1::2].tolist() == [-expected(v)] * 16
    assert set(out[n].tolist()) == {7777}


@triton.jit
def lane_loops(x_ptr, out_ptr, N: tl.constexpr):
    """Newton's square root of integers: every lane stops by itself."""
    i = tl.arange(0, N)
    x = tl.load(x_ptr + i)
    guess = x
    following = (x + 1) // 2
    while tl.max((following < guess).to(tl.int32), 0) != 0:
        better = following < guess
        guess = tl.where(better, following, guess)
        following = tl.where(better, (guess + x // tl.maximum(guess, 1)) // 2, following)
    tl.store(out_ptr + i, guess)


@pytest.mark.parametrize("warps", [1, 2, 4, 8, 16])
def test_loops_with_a_reduction_as_condition(gpu, warps):
    x = np.random.default_rng(1).integers(1, 1 << 30, 512, dtype=np.int32)
    x[:4] = [1, 2, 4, (1 << 30) - 1]
    out = np.zeros(512, np.int32)
    lane_loops[(1,)](torch.from_numpy(x), torch.from_numpy(out), N=512, num_warps=warps)
    assert out.tolist() == [int(v) ** 2 and int(np.floor(np.sqrt(float(v)))) for v in x]


@triton.jit(noinline=True)
def _store_sum(x, y, out_ptr):
    tl.store(out_ptr, x + y)


@triton.jit
def stores_in_calls(x_ptr, out_ptr):
    x = tl.load(x_ptr)
    _store_sum(x, 1, out_ptr)
    _store_sum(x, 2, out_ptr + 1)


def test_lanes_that_return_from_a_call_before_others(gpu):
    # One lane stores a scalar; the others take a predicated RET before the store.
    x, out = torch.tensor([40], dtype=torch.int32), torch.zeros(2, dtype=torch.int32)
    stores_in_calls[(1,)](x, out)
    assert out.tolist() == [41, 42]


@triton.jit
def times(out_ptr, n):
    start = tl.extra.cuda.globaltimer()
    for _ in range(n):
        tl.atomic_add(out_ptr, 1)
    tl.store(out_ptr + 1, tl.extra.cuda.globaltimer() - start)


def test_clocks_advance_with_the_work(gpu):
    short, long = torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64)
    times[(1,)](short, 10, num_warps=1)
    times[(1,)](long, 100, num_warps=1)
    assert (short[0], long[0]) == (10, 100)
    assert 10 < short[1] < long[1]
