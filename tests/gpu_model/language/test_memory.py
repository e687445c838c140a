"""Loads and stores: masks, defaults, block pointers, tensor descriptors, strides, atomics, locks between blocks."""

import numpy as np
import pytest
import torch
import triton
import triton.language as tl


@triton.jit
def masked_copy(x_ptr, out_ptr, n, other, N: tl.constexpr):
    i = tl.arange(0, N)
    x = tl.load(x_ptr + i, mask=i < n, other=other)
    tl.store(out_ptr + i, x, mask=i % 3 != 1)


@pytest.mark.parametrize(
    "name", ["int8", "uint8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]
)
@pytest.mark.parametrize("n", [0, 77, 256])
def test_masks_and_defaults(gpu, name, n):
    dtype = getattr(torch, name)
    x = torch.arange(256).remainder(100).to(dtype)[: max(n, 1)].clone()
    out = torch.full((256,), 3, dtype=dtype)
    masked_copy[(1,)](x, out, n, 7, N=256)
    want = [3 if i % 3 == 1 else (x[i].item() if i < n else 7) for i in range(256)]
    assert out.tolist() == want


@triton.jit
def strided(x_ptr, out_ptr, row, column, rows, columns, M: tl.constexpr, N: tl.constexpr):
    i, j = tl.arange(0, M)[:, None], tl.arange(0, N)[None, :]
    inside = (i < rows) & (j < columns)
    x = tl.load(x_ptr + i * row + j * column, mask=inside, other=-1)
    tl.store(out_ptr + i * N + j, x)


def test_strides(gpu):
    base = torch.arange(40 * 50, dtype=torch.int32).reshape(40, 50)
    out = torch.zeros(32, 64, dtype=torch.int32)
    for view in (base, base.T, base[3:, ::2], base[::3]):
        strided[(1,)](view, out, view.stride(0), view.stride(1), view.shape[0], view.shape[1], M=32, N=64)
        want = torch.full((32, 64), -1, dtype=torch.int32)
        cut = view[:32, :64]
        want[: cut.shape[0], : cut.shape[1]] = cut
        assert torch.equal(out, want)


@triton.jit
def described_copy(x_ptr, out_ptr, rows, columns, M: tl.constexpr, N: tl.constexpr):
    source = tl.make_tensor_descriptor(x_ptr, shape=[rows, columns], strides=[columns, 1], block_shape=[M, N])
    target = tl.make_tensor_descriptor(out_ptr, shape=[rows, columns], strides=[columns, 1], block_shape=[M, N])
    for i in range(0, rows, M):
        for j in range(0, columns, N):
            target.store([i, j], source.load([i, j]) * 2)


@pytest.mark.parametrize(("rows", "columns"), [(32, 64), (37, 52)])
def test_tensor_descriptors(gpu, rows, columns):
    x = torch.arange(rows * columns, dtype=torch.float32).reshape(rows, columns)
    out = torch.zeros_like(x)
    described_copy[(1,)](x, out, rows, columns, M=16, N=32)
    assert torch.equal(out, 2 * x)


@triton.jit
def atomics(x_ptr, out_ptr, old_ptr, KIND: tl.constexpr, N: tl.constexpr):
    i = tl.program_id(0) * N + tl.arange(0, N)
    x, cell = tl.load(x_ptr + i), out_ptr + tl.load(x_ptr + i).to(tl.int32) % 8
    if KIND == "add":
        old = tl.atomic_add(cell, x)
    elif KIND == "max":
        old = tl.atomic_max(cell, x)
    elif KIND == "min":
        old = tl.atomic_min(cell, x)
    elif KIND == "and":
        old = tl.atomic_and(cell, x)
    elif KIND == "or":
        old = tl.atomic_or(cell, x)
    elif KIND == "xor":
        old = tl.atomic_xor(cell, x)
    else:
        old = tl.atomic_xchg(cell, x)
    tl.store(old_ptr + i, old)


OPERATIONS = {
    "add": np.add, "max": np.maximum, "min": np.minimum, "and": np.bitwise_and, "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), [
    *((kind, name) for kind in OPERATIONS for name in ("int32", "uint32", "int64", "uint64")),
    *((kind, name) for kind in ("add", "max", "min") for name in ("float32", "float64")),
    ("add", "float16"), ("add", "bfloat16"), ("exchange", "int32"), ("exchange", "float32"), ("exchange", "int64"),
])  # fmt: skip
def test_atomics(gpu, kind, name):
    dtype = getattr(torch, name)
    # Sums stay exact in the 16-bit formats.
    values = np.random.default_rng(1).integers(0, 4 if name in ("float16", "bfloat16") else 40, 256)
    x = torch.from_numpy(values).to(dtype)
    start = torch.full((8,), 5).to(dtype)
    out, old = start.clone(), torch.zeros_like(x)
    atomics[(2,)](x, out, old, KIND=kind, N=128, num_warps=2)
    for cell in range(8):
        chosen = values[values % 8 == cell]
        seen = old[torch.from_numpy(values % 8 == cell)].double().tolist()
        if kind == "exchange":
            # Every value but the last written is seen once, the start included.
            assert sorted([*seen, out[cell].item()]) == sorted([5, *chosen.tolist()])
            continue
        assert out[cell].item() == OPERATIONS[kind].reduce(np.append(chosen, 5))
        assert 5 in seen or not seen  # the first one sees what was there


@triton.jit
def compare_and_swap(cell_ptr, seen_ptr):
    pid = tl.program_id(0)
    kind = cell_ptr.dtype.element_ty
    tl.store(seen_ptr + pid, tl.atomic_cas(cell_ptr, tl.full((), 0, kind), (pid + 1).to(kind)))


@pytest.mark.parametrize("name", ["int32", "int64"])
def test_compare_and_swap(gpu, name):
    cell, seen = torch.zeros(1, dtype=getattr(torch, name)), torch.zeros(6, dtype=getattr(torch, name))
    compare_and_swap[(6,)](cell, seen)
    assert sorted(seen.tolist()) == [0, *[cell.item()] * 5]
    assert seen[cell.item() - 1] == 0


@triton.jit
def locked_sum(x_ptr, total_ptr, lock_ptr, N: tl.constexpr):
    x = tl.load(x_ptr + tl.program_id(0) * N + tl.arange(0, N))
    while tl.atomic_cas(lock_ptr, 0, 1) == 1:
        pass
    at = total_ptr + tl.arange(0, N)
    tl.store(at, tl.load(at) + x)
    tl.debug_barrier()
    tl.atomic_xchg(lock_ptr, 0)


def test_lock_between_blocks(gpu):
    x = torch.from_numpy(np.random.default_rng(2).integers(-9, 9, (12, 64))).float()
    total, lock = torch.zeros(64), torch.zeros(1, dtype=torch.int32)
    locked_sum[(12,)](x, total, lock, N=64)
    assert torch.equal(total, x.sum(0))
    assert lock.item() == 0


@triton.jit
def last_block_sums(x_ptr, partial_ptr, count_ptr, out_ptr, B: tl.constexpr, N: tl.constexpr):
    """Split reduction: the block that arrives last adds the partial sums."""
    pid = tl.program_id(0)
    tl.store(partial_ptr + pid, tl.sum(tl.load(x_ptr + pid * N + tl.arange(0, N))))
    arrived = tl.atomic_add(count_ptr, 1, sem="acq_rel")
    if arrived == B - 1:
        tl.store(out_ptr, tl.sum(tl.load(partial_ptr + tl.arange(0, B))))


def test_last_block_reduces(gpu):
    x = torch.arange(16 * 128, dtype=torch.int32)
    partial, count, out = (torch.zeros(n, dtype=torch.int32) for n in (16, 1, 1))
    last_block_sums[(16,)](x, partial, count, out, B=16, N=128)
    assert out.item() == x.sum().item()
    assert count.item() == 16


@triton.jit
def spilling(x_ptr, out_ptr, N: tl.constexpr):
    at = tl.arange(0, N)[:, None] * N + tl.arange(0, N)[None, :]
    a = tl.load(x_ptr + at)
    b = tl.trans(a)
    c = tl.sum(a[:, :, None] * 1 + b[:, None, :] * 2, 0) if N < 32 else a + b
    tl.store(out_ptr + at, c)


def test_many_registers(gpu):
    x = torch.from_numpy(np.random.default_rng(3).integers(-9, 9, (16, 16))).to(torch.int32)
    out = torch.zeros_like(x)
    spilling[(1,)](x, out, N=16, num_warps=1)
    want = (x[:, :, None] + 2 * x.T[:, None, :]).sum(0, dtype=torch.int32)
    assert torch.equal(out, want)
