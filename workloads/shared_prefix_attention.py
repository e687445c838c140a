"""Decoding attention of sequences that begin with the same text: the prefix's keys and values are read once for all.

`shared_prefix_attention(q, prefix, suffix)` takes one float16 query a sequence, the keys and values of the common
prefix, and those of each sequence's own suffix. All queries attend to the prefix together, as one matrix product; each
attends to its suffix alone; what they found is joined by log-sum-exp (Hydragen, Juravsky et al., arXiv 2402.05099; the
few-shot case of DeFT, Yao et al., arXiv 2404.00242). With `together=False` every query walks both by itself, as usual.

Checked against float64. Weights are rounded to float16 before they meet v (2^-11 relative) and the output once more;
scores are float32 sums of d tensor-core products, good to d * 2^-22 * |q||k| / sqrt(d); joining adds 2^-20.
"""

# Triton's annotations describe the kernel's body, not its launch.
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false

import argparse
import math
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor


class KeysValues(NamedTuple):
    """Keys and values, float16, contiguous: (length, d) of a prefix, (sequences, length, d) of suffixes."""

    k: Tensor
    v: Tensor


@triton.jit
def partial_attention_kernel(
    q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr, sequences, queries, length, kv_group, part, parts, scale_log2,
    D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    """Let the queries of group program_id(1), `queries` of them, attend to TILES tiles of keys.

    Writes part `part` + program_id(0) of each query: its output, normalised, and its base-2 log-sum-exp.
    """
    group = tl.program_id(1)
    row = tl.arange(0, BLOCK_M)
    sequence = group * queries + row
    feature = tl.arange(0, D)
    inside = (row < queries) & (sequence < sequences)
    q = tl.load(q_ptr + sequence[:, None] * D + feature[None, :], mask=inside[:, None], other=0)
    total = tl.zeros((BLOCK_M, D), dtype=tl.float32)
    weight_sum = tl.zeros((BLOCK_M,), dtype=tl.float32)
    peak = tl.full((BLOCK_M,), -1e30, dtype=tl.float32)
    first = tl.program_id(0) * TILES * BLOCK_N
    for start in range(first, min(first + TILES * BLOCK_N, length), BLOCK_N):
        key = start + tl.arange(0, BLOCK_N)
        at = group * kv_group + key[:, None] * D + feature[None, :]
        k = tl.load(k_ptr + at, mask=key[:, None] < length, other=0)
        score = tl.where(key[None, :] < length, tl.dot(q, k.T) * scale_log2, -float("inf"))
        new_peak = tl.maximum(peak, tl.max(score, axis=1))
        weight = tl.exp2(score - new_peak[:, None])
        shrink = tl.exp2(peak - new_peak)
        weight_sum = weight_sum * shrink + tl.sum(weight, axis=1)
        v = tl.load(v_ptr + at, mask=key[:, None] < length, other=0)
        total = tl.dot(weight.to(tl.float16), v, total * shrink[:, None])
        peak = new_peak
    place = sequence * parts + part + tl.program_id(0)
    tl.store(out_ptr + place[:, None] * D + feature[None, :], total / weight_sum[:, None], mask=inside[:, None])
    tl.store(lse_ptr + place, peak + tl.log2(weight_sum), mask=inside)


@triton.jit
def join_kernel(part_ptr, lse_ptr, out_ptr, parts, D: tl.constexpr, PARTS: tl.constexpr):
    """Join the parts of sequence program_id(0) by their log-sum-exps; PARTS is at least `parts`."""
    sequence = tl.program_id(0)
    part = tl.arange(0, PARTS)
    feature = tl.arange(0, D)
    lse = tl.load(lse_ptr + sequence * parts + part, mask=part < parts, other=-float("inf"))
    weight = tl.exp2(lse - tl.max(lse, axis=0))
    at = (sequence * parts + part)[:, None] * D + feature[None, :]
    values = tl.load(part_ptr + at, mask=part[:, None] < parts, other=0)
    out = tl.sum(values * weight[:, None], axis=0) / tl.sum(weight, axis=0)
    tl.store(out_ptr + sequence * D + feature, out.to(out_ptr.dtype.element_ty))


def shared_prefix_attention(
    q: Tensor, prefix: KeysValues, suffix: KeysValues, together: bool = True, tile: int = 64, tiles: int = 4
) -> Tensor:
    """Return softmax(q [prefix, suffix].T / sqrt(d)) of each sequence, float16 (sequences, d).

    Args:
        q: (sequences, d) float16, at most 64 sequences; d a power of two, at least 16.
        prefix: of all sequences.
        suffix: of each.
        together: queries share one reading of the prefix; otherwise each reads it for itself.
        tile: keys of a tile, a power of two, at least 16.
        tiles: that a program walks.

    Raises:
        ValueError: shapes do not fit together, or a tensor is not contiguous float16.
    """
    sequences, d = q.shape
    own = (sequences, suffix.k.shape[1], d)
    wanted = {
        "q": (q, (sequences, d)),
        "prefix.k": (prefix.k, (len(prefix.k), d)),
        "prefix.v": (prefix.v, prefix.k.shape),
    }
    wanted |= {"suffix.k": (suffix.k, own), "suffix.v": (suffix.v, own)}
    for name, (tensor, shape) in wanted.items():
        if tensor.shape != shape or tensor.dtype != torch.float16 or not tensor.is_contiguous() or sequences > 64:
            raise ValueError(
                f"shared_prefix_attention: {name} is {tuple(tensor.shape)} {tensor.dtype}, strides {tensor.stride()}; "
                f"need contiguous float16 {tuple(shape)} of at most 64 sequences"
            )
    lengths = len(prefix.k), suffix.k.shape[1]
    counts = [triton.cdiv(length, tile * tiles) for length in lengths]
    parts = torch.empty((sequences, sum(counts), d), dtype=torch.float32, device=q.device)
    lse = torch.empty((sequences, sum(counts)), dtype=torch.float32, device=q.device)
    members, scale = sequences if together else 1, math.log2(math.e) / math.sqrt(d)
    for (k, v), length, group, kv_group, part, count in (
        (prefix, lengths[0], members, 0, 0, counts[0]),
        (suffix, lengths[1], 1, lengths[1] * d, counts[0], counts[1]),
    ):
        partial_attention_kernel[(count, sequences // group)](
            q, k, v, parts, lse, sequences, group, length, kv_group, part, sum(counts), scale,
            D=d, BLOCK_M=max(16, triton.next_power_of_2(group)), BLOCK_N=tile, TILES=tiles,
        )  # fmt: skip
    out = torch.empty_like(q)
    join_kernel[(sequences,)](parts, lse, out, sum(counts), D=d, PARTS=triton.next_power_of_2(sum(counts)))
    return out


def error_ratio(q: Tensor, prefix: KeysValues, suffix: KeysValues, out: Tensor) -> tuple[float, float]:
    """Return the largest error of the output against float64, and its largest ratio to the bound (1 passes)."""
    sequences, d = q.shape
    k, v = (
        torch.cat([common.double().expand(sequences, -1, -1), own.double()], 1)
        for common, own in zip(prefix, suffix, strict=True)
    )
    wide = q.double()[:, None, :]
    weights = (wide @ k.mT / math.sqrt(d)).softmax(2)
    score = d * 2.0**-22 * float((wide.abs() @ k.abs().mT).max()) / math.sqrt(d) + 2.0**-20
    relative = 2 * 2.0**-11 + 2 * score + k.shape[1] * 2.0**-22 + 2.0**-20
    bound = relative * (weights @ v.abs())[:, 0] + 2.0**-24 * (1 + v.abs().sum(1))
    error = (out.double() - (weights @ v)[:, 0]).abs()
    return float(error.max()), float((error / bound).max())


def sample(sequences: int, prefix: int, suffix: int, d: int, device: object) -> tuple[Tensor, KeysValues, KeysValues]:
    """Return seeded queries, prefix and suffixes."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device, torch.float16)

    common, own = (KeysValues(normal(*shape), normal(*shape)) for shape in ((prefix, d), (sequences, suffix, d)))
    return normal(sequences, d), common, own


def main() -> None:
    """Attend over seeded tensors and check the output."""
    parser = argparse.ArgumentParser(description="Decoding attention with a shared prefix.")
    parser.add_argument("--sequences", type=int, default=20)
    parser.add_argument("--prefix", type=int, default=500)
    parser.add_argument("--suffix", type=int, default=70)
    parser.add_argument("-d", type=int, default=64, help="features of a head")
    parser.add_argument("--apart", action="store_true", help="every sequence reads the prefix for itself")
    args = parser.parse_args()
    device = triton.runtime.driver.active.get_active_torch_device()
    q, prefix, suffix = sample(args.sequences, args.prefix, args.suffix, args.d, device)
    out = shared_prefix_attention(q, prefix, suffix, not args.apart)
    error, ratio = error_ratio(q, prefix, suffix, out)
    print(
        f"shared_prefix_attention: {args.sequences} sequences, prefix {args.prefix}, suffix {args.suffix}, d {args.d}, "
        f"{'apart' if args.apart else 'together'}: max |error| {error:.3g}, {ratio:.3f} of its bound"
    )
    if not ratio <= 1:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
