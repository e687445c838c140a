"""Attention with online softmax: autotuned, causal, forward and backward, and decoding over a paged cache."""

import pytest
import torch
import triton
import triton.language as tl

LOG2E = 1.4426950408889634


@triton.jit
def _accumulate(acc, total, top, q, k_ptr, v_ptr, first, last, rows, scale, time, D: tl.constexpr, N: tl.constexpr,
                MASKED: tl.constexpr):  # fmt: skip
    columns, dims = tl.arange(0, N), tl.arange(0, D)
    for start in tl.range(first, last, N):
        at = start + columns
        inside = at < time
        k = tl.load(k_ptr + at[None, :] * D + dims[:, None], mask=inside[None, :], other=0.0)
        scores = tl.dot(q, k) * scale
        keep = inside[None, :] & (rows[:, None] >= at[None, :]) if MASKED else inside[None, :]
        scores = tl.where(keep, scores, -1.0e6)
        higher = tl.maximum(top, tl.max(scores, 1))
        weights = tl.math.exp2(scores - higher[:, None])
        shrink = tl.math.exp2(top - higher)
        v = tl.load(v_ptr + at[:, None] * D + dims[None, :], mask=inside[:, None], other=0.0)
        acc = tl.dot(weights.to(v.dtype), v, acc * shrink[:, None])
        total = total * shrink + tl.sum(weights, 1)
        top = higher
    return acc, total, top


@triton.autotune(
    [triton.Config({"M": m, "N": n}, num_warps=w, num_stages=s) for m, n, w, s in [(64, 32, 4, 3), (32, 32, 2, 2)]],
    key=["time", "D", "CAUSAL"],
)
@triton.jit
def attention(q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr, time, scale, D: tl.constexpr, CAUSAL: tl.constexpr,
              M: tl.constexpr, N: tl.constexpr):  # fmt: skip
    block, head = tl.program_id(0), tl.program_id(1)
    base = head.to(tl.int64) * time * D
    rows, dims = block * M + tl.arange(0, M), tl.arange(0, D)
    q = tl.load(q_ptr + base + rows[:, None] * D + dims[None, :], mask=rows[:, None] < time, other=0.0)
    acc, total = tl.zeros((M, D), tl.float32), tl.zeros((M,), tl.float32)
    top = tl.full((M,), -float("inf"), tl.float32)
    scale *= 1.4426950408889634
    middle = block * M // N * N if CAUSAL else time
    acc, total, top = _accumulate(acc, total, top, q, k_ptr + base, v_ptr + base, 0, middle, rows, scale, time, D, N,
                                  False)  # fmt: skip
    if CAUSAL:
        acc, total, top = _accumulate(acc, total, top, q, k_ptr + base, v_ptr + base, middle,
                                      tl.minimum(block * M + M, time), rows, scale, time, D, N, True)  # fmt: skip
    inside = rows < time
    out = (acc / total[:, None]).to(out_ptr.dtype.element_ty)
    tl.store(out_ptr + base + rows[:, None] * D + dims[None, :], out, mask=inside[:, None])
    tl.store(lse_ptr + head * time + rows, top + tl.math.log2(total), mask=inside)


@triton.jit
def attention_backward(q_ptr, k_ptr, v_ptr, do_ptr, lse_ptr, delta_ptr, dq_ptr, dk_ptr, dv_ptr, time, scale,
                       D: tl.constexpr, M: tl.constexpr, N: tl.constexpr):  # fmt: skip
    """A block owns N keys; gradients of queries meet in atomic additions."""
    block, head = tl.program_id(0), tl.program_id(1)
    base, dims = head.to(tl.int64) * time * D, tl.arange(0, D)
    at = block * N + tl.arange(0, N)
    here = (at < time)[:, None]
    keys = base + at[:, None] * D + dims[None, :]
    k, v = tl.load(k_ptr + keys, mask=here, other=0.0), tl.load(v_ptr + keys, mask=here, other=0.0)
    dk, dv = tl.zeros((N, D), tl.float32), tl.zeros((N, D), tl.float32)
    for start in range(block * N // M * M, time, M):
        rows = start + tl.arange(0, M)
        inside = rows < time
        queries = base + rows[:, None] * D + dims[None, :]
        q = tl.load(q_ptr + queries, mask=inside[:, None], other=0.0)
        do = tl.load(do_ptr + queries, mask=inside[:, None], other=0.0)
        lse = tl.load(lse_ptr + head * time + rows, mask=inside, other=0.0)
        delta = tl.load(delta_ptr + head * time + rows, mask=inside, other=0.0)
        p = tl.math.exp2(tl.dot(q, k.T) * (scale * 1.4426950408889634) - lse[:, None])
        p = tl.where((rows[:, None] >= at[None, :]) & inside[:, None], p, 0.0)
        dv = tl.dot(p.to(do.dtype).T, do, dv)
        ds = (p * (tl.dot(do, v.T) - delta[:, None]) * scale).to(q.dtype)
        dk = tl.dot(ds.T, q, dk)
        tl.atomic_add(dq_ptr + queries, tl.dot(ds, k), mask=inside[:, None])
    tl.store(dk_ptr + keys, dk, mask=here)
    tl.store(dv_ptr + keys, dv, mask=here)


class Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, scale, causal):
        heads, time, dim = q.shape
        out, lse = torch.empty_like(q), q.new_empty((heads, time), dtype=torch.float32)
        attention[lambda meta: (triton.cdiv(time, meta["M"]), heads)](q, k, v, out, lse, time, scale, dim, causal)
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx, do):
        q, k, v, out, lse = ctx.saved_tensors
        heads, time, dim = q.shape
        delta = (do.float() * out.float()).sum(-1)
        dq, dk, dv = (torch.zeros_like(x, dtype=torch.float32) for x in (q, k, v))
        attention_backward[(triton.cdiv(time, 32), heads)](
            q, k, v, do.contiguous(), lse, delta, dq, dk, dv, time, ctx.scale, dim, 32, 32
        )
        return dq.to(q.dtype), dk.to(q.dtype), dv.to(q.dtype), None, None


def _reference(q, k, v, scale, causal):
    scores = q.double() @ k.double().mT * scale
    if causal:
        scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -torch.inf)
    return scores.softmax(-1) @ v.double()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("time", [64, 75])
def test_forward(gpu, causal, time):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, time, 32, device="cuda").half() for _ in range(3))
    out = Attention.apply(q, k, v, 0.3, causal)
    torch.testing.assert_close(out.double(), _reference(q, k, v, 0.3, causal), atol=2e-3, rtol=2e-3)


def test_backward(gpu):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 75, 32, device="cuda").half().requires_grad_() for _ in range(3))
    do = torch.randn(2, 75, 32, device="cuda").half()
    Attention.apply(q, k, v, 0.3, True).backward(do)
    got = [x.grad for x in (q, k, v)]
    exact = [x.detach().double().requires_grad_() for x in (q, k, v)]
    _reference(*exact, 0.3, True).backward(do.double())
    for gradient, want in zip(got, exact, strict=True):
        torch.testing.assert_close(gradient.double(), want.grad, atol=1e-2, rtol=1e-2)


@triton.jit
def decode(q_ptr, cache_k_ptr, cache_v_ptr, pages_ptr, lengths_ptr, out_ptr, scale, most_pages, GROUP: tl.constexpr,
           D: tl.constexpr, PAGE: tl.constexpr):  # fmt: skip
    """One new token a sequence; the keys of a sequence lie in pages that a table names."""
    sequence = tl.program_id(0)
    heads, dims, slots = tl.arange(0, GROUP), tl.arange(0, D), tl.arange(0, PAGE)
    q = tl.load(q_ptr + (sequence * GROUP + heads[:, None]) * D + dims[None, :])
    length = tl.load(lengths_ptr + sequence)
    acc, total = tl.zeros((GROUP, D), tl.float32), tl.zeros((GROUP,), tl.float32)
    top = tl.full((GROUP,), -float("inf"), tl.float32)
    for number in range(tl.cdiv(length, PAGE)):
        page = tl.load(pages_ptr + sequence * most_pages + number).to(tl.int64)
        inside = number * PAGE + slots < length
        where = (page * PAGE + slots[:, None]) * D + dims[None, :]
        k = tl.load(cache_k_ptr + where, mask=inside[:, None], other=0.0)
        scores = tl.where(inside[None, :], tl.dot(q, k.T) * scale, -float("inf"))
        higher = tl.maximum(top, tl.max(scores, 1))
        weights, shrink = tl.exp(scores - higher[:, None]), tl.exp(top - higher)
        v = tl.load(cache_v_ptr + where, mask=inside[:, None], other=0.0)
        acc = tl.dot(weights.to(v.dtype), v, acc * shrink[:, None])
        total, top = total * shrink + tl.sum(weights, 1), higher
    tl.store(out_ptr + (sequence * GROUP + heads[:, None]) * D + dims[None, :], acc / total[:, None])


def test_decoding_over_a_paged_cache(gpu):
    torch.manual_seed(0)
    group, dim, page, lengths = 16, 32, 16, torch.tensor([5, 33, 48], device="cuda")
    cache_k, cache_v = (torch.randn(12, page, dim, device="cuda").bfloat16() for _ in range(2))
    pages = torch.randperm(12)[:9].reshape(3, 3).int().cuda()
    q, out = torch.randn(3, group, dim, device="cuda").bfloat16(), torch.empty(3, group, dim, device="cuda")
    decode[(3,)](q, cache_k, cache_v, pages, lengths, out, 0.2, 3, group, dim, page)
    for i, length in enumerate(lengths.tolist()):
        k, v = (cache[pages[i].long()].flatten(0, 1)[:length].double() for cache in (cache_k, cache_v))
        want = (q[i].double() @ k.T * 0.2).softmax(-1) @ v
        torch.testing.assert_close(out[i].double(), want, atol=2e-2, rtol=2e-2)
