"""Atomics, locks between blocks, and launches whose blocks wait for each other."""

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from gpu_model import VirtualGPU, execute
from gpu_model.errors import ExecutionError, MemoryFault
from tests.gpu_model.sass_runner import run

EDGES = np.array([0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 100, 0x12345678], np.uint32)


def signed(x):
    return int(x) - (1 << 32) if int(x) >> 31 else int(x)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("ADD", lambda a, b: a + b),
        ("MIN", min),
        ("MAX", max),
        ("MIN.S32", lambda a, b: min(a, b, key=signed)),
        ("MAX.S32", lambda a, b: max(a, b, key=signed)),
        ("AND", lambda a, b: a & b),
        ("OR", lambda a, b: a | b),
        ("XOR", lambda a, b: a ^ b),
        ("EXCH", lambda a, b: b),
        ("INC", lambda a, b: 0 if a >= b else a + 1),
        ("DEC", lambda a, b: b if a == 0 or a > b else a - 1),
    ],
)
def test_every_kind_on_shared_memory(name, rule):
    old, value = np.resize(EDGES, 32), np.repeat(EDGES, 4)
    got = run(f"STS [R0.X4], R10\nATOMS.{name} R40, [R0.X4], R11\nLDS R41, [R0.X4]", old, value, outputs=2,
              shared_bytes=128)  # fmt: skip
    assert got[0].tolist() == old.tolist()
    assert got[1].tolist() == [rule(int(a), int(b)) & 0xFFFFFFFF for a, b in zip(old, value, strict=True)]


def test_compare_and_swap():
    old, expected = np.resize(EDGES, 32), np.repeat(EDGES, 4)
    got = run("STS [R0.X4], R10\nMOV R12, 0x7\nATOMS.CAS R40, [R0.X4], R11, R12\nLDS R41, [R0.X4]", old, expected,
              outputs=2, shared_bytes=128)  # fmt: skip
    assert got[0].tolist() == old.tolist()
    assert got[1].tolist() == np.where(old == expected, 7, old).tolist()


def test_lanes_that_collide_take_effect_in_order():
    value = np.arange(1, 33, dtype=np.uint32)
    got = run("ATOMS.ADD R40, [RZ], R10\nATOMS.POPC.INC.32 RZ, [RZ]\nLDS R41, [RZ]", value, outputs=2, shared_bytes=16)
    assert got[0].tolist() == [int(value[:lane].sum()) for lane in range(32)]
    assert set(got[1].tolist()) == {int(value.sum()) + 32}


@triton.jit
def every_type(x_ptr, old_ptr, value, BLOCK: tl.constexpr):
    index = tl.arange(0, BLOCK)
    old = tl.atomic_add(x_ptr + index % 4, value + index.to(x_ptr.dtype.element_ty))
    tl.store(old_ptr + index, old)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.float16, torch.float32, torch.float64])
def test_add_of_every_type(dtype):
    x, old = torch.zeros(4, dtype=dtype), torch.zeros(64, dtype=dtype)
    with VirtualGPU("rtx_a6000"):
        every_type[(1,)](x, old, 1, BLOCK=64)
    sums = [sum(1 + i for i in range(k, 64, 4)) for k in range(4)]
    assert x.tolist() == sums  # small integers: exact in every type
    assert sorted(old.tolist()) == sorted(sum(1 + i for i in range(k % 4, k, 4)) for k in range(64))


@triton.jit
def locked_count(lock_ptr, total_ptr, order_ptr):
    while tl.atomic_cas(lock_ptr, 0, 1) == 1:
        pass
    total = tl.load(total_ptr)
    tl.store(order_ptr + total, tl.program_id(0))
    tl.store(total_ptr, total + 1)
    tl.debug_barrier()
    tl.atomic_xchg(lock_ptr, 0)


def test_spin_lock_between_blocks():
    lock, total, order = (torch.zeros(n, dtype=torch.int32) for n in (1, 1, 37))
    with VirtualGPU("rtx_a6000"):
        locked_count[(37,)](lock, total, order)
    assert total.item() == 37
    assert sorted(order.tolist()) == list(range(37))


@triton.jit
def wait_for_later_block(flag_ptr, out_ptr):
    program = tl.program_id(0)
    if program == 0:
        while tl.atomic_add(flag_ptr, 0) < 5:
            pass
        tl.store(out_ptr, tl.load(flag_ptr, volatile=True))
    else:
        tl.atomic_add(flag_ptr, 1)


def test_a_block_may_wait_for_later_ones():
    flag, out = torch.zeros(1, dtype=torch.int32), torch.zeros(1, dtype=torch.int32)
    with VirtualGPU("rtx_a6000"):
        wait_for_later_block[(6,)](flag, out)
    assert out.item() == 5


def test_a_wait_that_never_ends_is_named(monkeypatch):
    monkeypatch.setattr(execute, "_STUCK", 3_000_000)
    monkeypatch.setattr(execute, "_TURN", 200_000)
    flag, out = torch.zeros(1, dtype=torch.int32), torch.zeros(1, dtype=torch.int32)
    with VirtualGPU("rtx_a6000"), pytest.raises(ExecutionError, match="none finished or changed memory") as caught:
        wait_for_later_block[(5,)](flag, out)  # only four blocks count up
    assert "test_atomics.py:" in str(caught.value)
    assert "block (0, 0, 0)" in str(caught.value)


@triton.jit
def split_k_sum(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(out_ptr, tl.sum(tl.load(x_ptr + index, mask=index < n, other=0.0)))


def test_float_sums_over_blocks_are_reproducible():
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    results = []
    for _ in range(2):
        out = torch.zeros(1)
        with VirtualGPU("rtx_a6000"):
            split_k_sum[(8,)](x, out, 1000, BLOCK=128)
        results.append(out)
    assert torch.equal(*results)
    torch.testing.assert_close(results[0][0], x.sum(), rtol=1e-5, atol=1e-5)


@triton.jit
def add_each(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.atomic_add(x_ptr + i, tl.load(y_ptr + i, i < n), i < n)


@triton.jit
def add_past_the_end(x_ptr, n):
    tl.atomic_add(x_ptr + n, 1.0)


@pytest.mark.parametrize("gpu", ["rtx_a6000", "h100_sxm", "rtx_5090"])
@pytest.mark.parametrize("n", [1, 3, 33])
def test_half_precision_atomics_at_the_odd_end_of_a_tensor(gpu, n):
    """ptxas exchanges whole words around them; the tensor has half of the last one."""
    generator = torch.Generator().manual_seed(n)
    x, y = torch.randn(n, generator=generator).half(), torch.randn(n, generator=generator).half()
    expected = x + y
    with VirtualGPU(gpu):
        add_each[(1,)](x, y, n, 64)
        with pytest.raises(MemoryFault, match="out-of-bounds"):
            add_past_the_end[(1,)](x, n + 1)
    assert torch.equal(x, expected)
