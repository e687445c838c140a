"""Kernels led by their data: sparse rows, segments, recurrences, sorting, sampling, experts."""

import pytest
import torch
import triton
import triton.language as tl


@triton.jit
def add_edges(values_ptr, rows_ptr, columns_ptr, x_ptr, y_ptr, edges, width, B: tl.constexpr, W: tl.constexpr):
    """Sparse times dense in coordinates: every edge adds a row, with atomics."""
    at, across = tl.program_id(0) * B + tl.arange(0, B), tl.arange(0, W)
    inside = at < edges
    row, column = tl.load(rows_ptr + at, mask=inside, other=0), tl.load(columns_ptr + at, mask=inside, other=0)
    value = tl.load(values_ptr + at, mask=inside, other=0.0)
    both = inside[:, None] & (across < width)[None, :]
    x = tl.load(x_ptr + column[:, None] * width + across[None, :], mask=both)
    tl.atomic_add(y_ptr + row[:, None] * width + across[None, :], value[:, None] * x, mask=both)


def test_sparse_times_dense_with_atomics(gpu):
    torch.manual_seed(0)
    edges, rows, width = 300, 20, 24
    row, column = torch.randint(0, rows, (edges,), device="cuda"), torch.randint(0, 30, (edges,), device="cuda")
    values = torch.randint(-4, 5, (edges,), device="cuda").float()
    x = torch.randint(-4, 5, (30, width), device="cuda").float()
    y = torch.zeros(rows, width, device="cuda")
    add_edges[(triton.cdiv(edges, 64),)](values, row, column, x, y, edges, width, 64, 32)
    want = torch.zeros_like(y).index_add(0, row, values[:, None] * x[column])
    assert torch.equal(y, want)


@triton.jit
def _segmented(value, flag, next_value, next_flag):
    return tl.where(next_flag != 0, next_value, value + next_value), flag | next_flag


@triton.jit
def segmented_sums(x_ptr, flags_ptr, out_ptr, B: tl.constexpr, REVERSE: tl.constexpr):
    at = tl.arange(0, B)
    sums, _ = tl.associative_scan((tl.load(x_ptr + at), tl.load(flags_ptr + at)), 0, _segmented, reverse=REVERSE)
    tl.store(out_ptr + at, sums)


@pytest.mark.parametrize("reverse", [False, True])
def test_segmented_scan(gpu, reverse):
    torch.manual_seed(0)
    x, flags = torch.randint(-9, 10, (512,), device="cuda"), (torch.rand(512, device="cuda") < 0.1).int()
    out = torch.empty_like(x)
    segmented_sums[(1,)](x, flags, out, 512, reverse)
    want, total = [], 0
    order = list(zip(x.tolist(), flags.tolist(), strict=True))
    for value, flag in reversed(order) if reverse else order:
        total = value if flag else total + value
        want.append(total)
    assert out.tolist() == (want[::-1] if reverse else want)


@triton.jit
def _affine(a, b, next_a, next_b):
    return a * next_a, b * next_a + next_b


@triton.jit
def recurrence(a_ptr, b_ptr, h_ptr, time, width, T: tl.constexpr, W: tl.constexpr):
    """h[t] = a[t] h[t - 1] + b[t], a block of steps at a time, the state carried between blocks."""
    across = tl.arange(0, W)
    state = tl.zeros((1, W), tl.float32)
    for start in range(0, time, T):
        at = start + tl.arange(0, T)
        where, inside = at[:, None] * width + across[None, :], (at < time)[:, None] & (across < width)[None, :]
        a, b = tl.load(a_ptr + where, mask=inside, other=1.0), tl.load(b_ptr + where, mask=inside, other=0.0)
        products, sums = tl.associative_scan((a, b), 0, _affine)
        h = products * state + sums
        tl.store(h_ptr + where, h, mask=inside)
        state = tl.sum(tl.where((tl.arange(0, T) == T - 1)[:, None], h, 0.0), 0, keep_dims=True)


def test_linear_recurrence(gpu):
    torch.manual_seed(0)
    a, b = torch.rand(70, 20, device="cuda"), torch.randn(70, 20, device="cuda")
    h, state = torch.empty_like(a), torch.zeros(20, dtype=torch.float64)
    recurrence[(1,)](a, b, h, 70, 20, 32, 32)
    for t in range(70):
        state = a[t].cpu().double() * state + b[t].cpu().double()
        torch.testing.assert_close(h[t].cpu().double(), state, atol=1e-5, rtol=1e-5)


@triton.jit
def best_of_row(x_ptr, values_ptr, indices_ptr, columns, K: tl.constexpr, B: tl.constexpr):
    """Top K as routers do it: order-preserving codes with the column in the low half, sorted."""
    row, at = tl.program_id(0), tl.arange(0, B)
    x = tl.load(x_ptr + row * columns + at, mask=at < columns, other=-float("inf"))
    bits = x.to(tl.int32, bitcast=True)
    code = tl.where(bits < 0, ~bits, bits ^ -2147483648).to(tl.uint32, bitcast=True)
    best = tl.topk((code.to(tl.uint64) << 32) | (B - 1 - at).to(tl.uint64), K)
    code = (best >> 32).to(tl.uint32).to(tl.int32, bitcast=True)
    values = tl.where(code < 0, code ^ -2147483648, ~code).to(tl.float32, bitcast=True)
    tl.store(values_ptr + row * K + tl.arange(0, K), values)
    tl.store(indices_ptr + row * K + tl.arange(0, K), B - 1 - (best & 0xFFFFFFFF).to(tl.int64))


def test_top_k_with_indices(gpu):
    torch.manual_seed(0)
    x = torch.randn(7, 100, device="cuda")
    values, indices = torch.empty(7, 8, device="cuda"), torch.empty(7, 8, dtype=torch.int64, device="cuda")
    best_of_row[(7,)](x, values, indices, 100, 8, 128)
    want = x.topk(8)
    assert torch.equal(values, want.values)
    assert torch.equal(indices, want.indices)


@triton.jit
def digit_counts(x_ptr, counts_ptr, n, shift, B: tl.constexpr, BINS: tl.constexpr):
    at = tl.program_id(0) * B + tl.arange(0, B)
    digits = (tl.load(x_ptr + at, mask=at < n, other=0) >> shift) & (BINS - 1)
    counts = tl.histogram(digits, BINS, mask=at < n)
    tl.store(counts_ptr + tl.arange(0, BINS) * tl.num_programs(0) + tl.program_id(0), counts)


@triton.jit
def place_digits(x_ptr, starts_ptr, out_ptr, n, shift, B: tl.constexpr, BINS: tl.constexpr):
    at = tl.program_id(0) * B + tl.arange(0, B)
    x = tl.load(x_ptr + at, mask=at < n, other=0)
    digits = (x >> shift) & (BINS - 1)
    same = (digits[:, None] == tl.arange(0, BINS)[None, :]) & (at < n)[:, None]
    rank = tl.sum(tl.where(same, tl.cumsum(same.to(tl.int32), 0) - 1, 0), 1)
    start = tl.load(starts_ptr + digits * tl.num_programs(0) + tl.program_id(0))
    tl.store(out_ptr + start + rank, x, mask=at < n)


def test_radix_sort_across_blocks(gpu):
    torch.manual_seed(0)
    x, blocks, bins = torch.randint(0, 4096, (900,), device="cuda", dtype=torch.int32), 4, 16
    want = x.sort().values
    for shift in (0, 4, 8):
        counts = torch.zeros(bins * blocks, dtype=torch.int32, device="cuda")
        digit_counts[(blocks,)](x, counts, 900, shift, 256, bins)
        starts, out = counts.cumsum(0, dtype=torch.int32) - counts, torch.empty_like(x)
        place_digits[(blocks,)](x, starts, out, 900, shift, 256, bins)
        x = out
    assert torch.equal(x, want)


@triton.jit
def sample(logits_ptr, out_ptr, columns, seed, B: tl.constexpr):
    """A draw from a softmax, by the largest of logits with Gumbel noise."""
    row, at = tl.program_id(0), tl.arange(0, B)
    x = tl.load(logits_ptr + at, mask=at < columns, other=-float("inf"))
    noise = -tl.log(-tl.log(tl.maximum(tl.rand(seed, row * B + at), 1e-10)))
    tl.store(out_ptr + row, tl.argmax(x + noise, 0))


def test_sampling_by_gumbel_noise(gpu):
    logits, out = (
        torch.tensor([0.0, 1.0, 2.0, -1.0, 0.5], device="cuda"),
        torch.empty(1500, dtype=torch.int32, device="cuda"),
    )
    sample[(1500,)](logits, out, 5, 7, 8, num_warps=1)
    share = out.long().bincount(minlength=5).double() / 1500
    spread = (logits.softmax(0) * (1 - logits.softmax(0)) / 1500).sqrt().double()
    assert ((share - logits.softmax(0)).abs() < 5 * spread).all()


@triton.jit
def mixture(x_ptr, w_ptr, tokens_ptr, experts_ptr, gains_ptr, out_ptr, count, k, n, M: tl.constexpr, N: tl.constexpr,
            K: tl.constexpr):  # fmt: skip
    """Tokens sorted by expert and padded to blocks; each block reads one expert's weights and scatters its rows."""
    block = tl.program_id(0)
    expert = tl.load(experts_ptr + block)
    token = tl.load(tokens_ptr + block * M + tl.arange(0, M))
    inside, j = token < count, tl.program_id(1) * N + tl.arange(0, N)
    total = tl.zeros((M, N), tl.float32)
    for start in range(0, k, K):
        inner = start + tl.arange(0, K)
        x = tl.load(x_ptr + token[:, None] * k + inner[None, :], mask=inside[:, None], other=0.0)
        total = tl.dot(x, tl.load(w_ptr + (expert * k + inner[:, None]) * n + j[None, :]), total)
    gain = tl.load(gains_ptr + token, mask=inside, other=0.0)
    tl.store(out_ptr + token[:, None] * n + j[None, :], total * gain[:, None], mask=inside[:, None])


def test_mixture_of_experts(gpu):
    torch.manual_seed(0)
    count, experts, size, k, n = 50, 4, 16, 64, 32
    x = torch.randint(-3, 4, (count, k), device="cuda").half()
    w = torch.randint(-3, 4, (experts, k, n), device="cuda").half()
    chosen, gains = torch.randint(0, experts, (count,)), 2.0 ** torch.randint(-2, 3, (count,), device="cuda").float()
    tokens, owners = [], []
    for expert in range(experts):
        mine = (chosen == expert).nonzero()[:, 0].tolist()
        blocks = triton.cdiv(len(mine), size)
        tokens += mine + [count] * (blocks * size - len(mine))
        owners += [expert] * blocks
    out = torch.empty(count, n, device="cuda")
    arrays = (torch.tensor(values, dtype=torch.int32, device="cuda") for values in (tokens, owners))
    mixture[(len(owners), 1)](x, w, *arrays, gains, out, count, k, n, size, n, 32)
    want = torch.einsum("tk,tkn->tn", x.float(), w.float()[chosen.cuda()]) * gains[:, None]
    assert torch.equal(out, want)
