"""Flash attention, forward: softmax(q k^T / sqrt(d)) v in one pass, without the score matrix.

`flash_attention(q, k, v, causal)` takes float16 tensors (batch, heads, sequence, d), contiguous, and returns the
float16 output of the same shape and the float32 log-sum-exp (batch, heads, sequence) of the scaled scores in nats.
A program owns a tile of queries and walks the keys tile by tile, rescaling what it has whenever the running maximum
grows (online softmax, Milakov and Gimelshein, arXiv 1805.02867; tiling after Dao et al., arXiv 2205.14135).

Checked against float64. Weights are rounded to float16 before they meet v (2^-11 relative) and the output once more;
scores are float32 sums of d tensor-core products, good to d * 2^-22 * |q||k| / sqrt(d). `bounds` adds these up.
"""

# Triton's annotations describe the kernel's body, not its launch.
# pyright: reportArgumentType=false, reportCallIssue=false

import argparse
import math

import torch
import triton
import triton.language as tl
from torch import Tensor

LN2 = tl.constexpr(math.log(2))


@triton.jit
def walk_keys(
    total, weight_sum, peak, q, k_ptr, v_ptr, first, last, query, length, scale_log2,
    D: tl.constexpr, BLOCK_N: tl.constexpr, MASKED: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """Fold keys [first, last) into the running output, sum of weights and maximum (all in base 2)."""
    feature = tl.arange(0, D)
    for start in range(first, last, BLOCK_N):
        key = start + tl.arange(0, BLOCK_N)
        k = tl.load(k_ptr + key[None, :] * D + feature[:, None], mask=key[None, :] < length, other=0)
        score = tl.dot(q, k) * scale_log2
        if MASKED:
            visible = key[None, :] < length
            if CAUSAL:
                visible &= key[None, :] <= query[:, None]
            score = tl.where(visible, score, -float("inf"))
        new_peak = tl.maximum(peak, tl.max(score, axis=1))
        weight = tl.exp2(score - new_peak[:, None])
        shrink = tl.exp2(peak - new_peak)
        weight_sum = weight_sum * shrink + tl.sum(weight, axis=1)
        v = tl.load(v_ptr + key[:, None] * D + feature[None, :], mask=key[:, None] < length, other=0)
        total = tl.dot(weight.to(v.dtype), v, total * shrink[:, None])
        peak = new_peak
    return total, weight_sum, peak


@triton.jit
def flash_attention_kernel(
    q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr, length, scale_log2,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """Attend with queries [BLOCK_M * program_id(0), ...) of head program_id(1)."""
    tile = tl.program_id(0)
    head = tl.program_id(1).to(tl.int64) * length
    query = tile * BLOCK_M + tl.arange(0, BLOCK_M)
    feature = tl.arange(0, D)
    at = (head + query)[:, None] * D + feature[None, :]
    inside = query[:, None] < length
    q = tl.load(q_ptr + at, mask=inside, other=0)
    k_ptr += head * D
    v_ptr += head * D
    total = tl.zeros((BLOCK_M, D), dtype=tl.float32)
    weight_sum = tl.zeros((BLOCK_M,), dtype=tl.float32)
    peak = tl.full((BLOCK_M,), -float("inf"), dtype=tl.float32)

    # Keys that every query of the tile sees need no mask; the diagonal and the ragged end do.
    clear = tile * BLOCK_M // BLOCK_N * BLOCK_N if CAUSAL else length // BLOCK_N * BLOCK_N
    last = min((tile + 1) * BLOCK_M, length) if CAUSAL else length
    total, weight_sum, peak = walk_keys(
        total, weight_sum, peak, q, k_ptr, v_ptr, 0, clear, query, length, scale_log2, D, BLOCK_N, False, CAUSAL
    )
    total, weight_sum, peak = walk_keys(
        total, weight_sum, peak, q, k_ptr, v_ptr, clear, last, query, length, scale_log2, D, BLOCK_N, True, CAUSAL
    )
    tl.store(out_ptr + at, (total / weight_sum[:, None]).to(out_ptr.dtype.element_ty), mask=inside)
    tl.store(lse_ptr + head + query, (peak + tl.log2(weight_sum)) * LN2, mask=query < length)


def flash_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    causal: bool = True,
    tile: tuple[int, int] = (64, 32),
    stages: int = 2,
    warps: int = 4,
) -> tuple[Tensor, Tensor]:
    """Return (output, log-sum-exp) of scaled dot-product attention.

    Args:
        q, k, v: (batch, heads, sequence, d) float16, contiguous; d a power of two, at least 16.
        causal: query i sees keys 0..i only.
        tile: queries and keys of a tile, powers of two, at least 16.
        stages: software pipeline depth of the key loop.
        warps: warps a program.

    Raises:
        ValueError: shapes differ, or a tensor is not contiguous float16.
    """
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        if tensor.shape != q.shape or tensor.dtype != torch.float16 or not tensor.is_contiguous():
            raise ValueError(
                f"flash_attention: {name} is {tuple(tensor.shape)} {tensor.dtype}, strides {tensor.stride()}; "
                f"need contiguous float16 of shape {tuple(q.shape)}"
            )
    batch, heads, length, d = q.shape
    out = torch.empty_like(q)
    lse = torch.empty((batch, heads, length), dtype=torch.float32, device=q.device)
    flash_attention_kernel[(triton.cdiv(length, tile[0]), batch * heads)](
        q, k, v, out, lse, length, math.log2(math.e) / math.sqrt(d),
        D=d, BLOCK_M=tile[0], BLOCK_N=tile[1], CAUSAL=causal, num_stages=stages, num_warps=warps,
    )  # fmt: skip
    return out, lse


def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> tuple[Tensor, Tensor]:
    """Return (weights, scaled scores) of attention in float64."""
    score = q.double() @ k.double().mT / math.sqrt(q.shape[-1])
    if causal:
        future = torch.ones(score.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        score = score.masked_fill(future, -math.inf)
    return score.softmax(-1), score


def bounds(q: Tensor, k: Tensor, v: Tensor, weights: Tensor) -> tuple[Tensor, float]:
    """Return the error bound of each output element, and that of the log-sum-exp (see the module's text)."""
    length, d = q.shape[-2:]
    score = d * 2.0**-22 * float((q.double().abs() @ k.double().abs().mT).max()) / math.sqrt(d) + 2.0**-20
    spread = weights @ v.double().abs()
    relative = 2 * 2.0**-11 + 2 * score + length * 2.0**-22
    return relative * spread + 2.0**-24 * (1 + v.double().abs().sum(-2, keepdim=True)), score + 2.0**-18


def check(q: Tensor, k: Tensor, v: Tensor, causal: bool, out: Tensor, lse: Tensor) -> tuple[float, float]:
    """Return the largest error of the output, and the largest ratio of any error to its bound (1 passes)."""
    weights, score = attention(q, k, v, causal)
    bound, lse_bound = bounds(q, k, v, weights)
    error = (out.double() - weights @ v.double()).abs()
    lse_error = (lse.double() - score.logsumexp(-1)).abs().max()
    return float(error.max()), max(float((error / bound).max()), float(lse_error / lse_bound))


def main() -> None:
    """Attend over seeded tensors and check output and log-sum-exp."""
    parser = argparse.ArgumentParser(description="Flash attention, forward.")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--heads", type=int, default=2)
    parser.add_argument("--sequence", type=int, default=256)
    parser.add_argument("-d", type=int, default=64, help="features of a head")
    parser.add_argument("--full", action="store_true", help="every query sees every key (default: causal)")
    parser.add_argument("--stages", type=int, default=2, help="software pipeline depth")
    args = parser.parse_args()
    device = triton.runtime.driver.active.get_active_torch_device()
    shape = (3, args.batch, args.heads, args.sequence, args.d)
    q, k, v = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device, torch.float16)
    out, lse = flash_attention(q, k, v, not args.full, stages=args.stages)
    error, ratio = check(q, k, v, not args.full, out, lse)
    print(
        f"flash_attention: batch {args.batch}, heads {args.heads}, sequence {args.sequence}, d {args.d}, "
        f"{'full' if args.full else 'causal'}, float16: max |error| {error:.3g}, {ratio:.3f} of its bound"
    )
    if not ratio <= 1:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
