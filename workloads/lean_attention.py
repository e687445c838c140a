"""Decoding attention whose work is cut by the GPU's size, not by its heads: every program walks as many tiles of keys.

`lean_attention(q, k, v, programs)` takes the queries of one step and the cached keys and values of each head. The tiles
of all heads stand in one line, which is cut into `programs` shares that differ by at most a tile, wherever heads end
(stream-K; LeanAttention, Sanovar et al., arXiv 2405.10480). A head that several programs share is joined by the last of
them to arrive, in order of its tiles, so that nobody waits and the bits do not depend on who comes last. With as many
programs as heads, each walks one head; with s times as many that divide the tiles evenly, each walks one s-th of it.

Checked against float64. Weights are rounded to float16 before they meet v (2^-11 relative) and the output once more;
scores are float32 sums of d tensor-core products, good to d * 2^-22 * |q||k| / sqrt(d); joining adds 2^-20.
"""

# Triton's annotations describe the kernel's body, not its launch.
# pyright: reportArgumentType=false, reportCallIssue=false

import argparse
import math

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS = 16  # of a tensor-core product; a head has at most as many queries


@triton.jit
def owner(tile, least, longer):
    """Return the program that walks a tile: the first `longer` of them walk least + 1 tiles, the others `least`."""
    return tl.where(tile < longer * (least + 1), tile // (least + 1), (tile - longer) // least)


@triton.jit
def attend(
    q, k_ptr, v_ptr, first, last, length, scale_log2, D: tl.constexpr, ROWS: tl.constexpr, BLOCK_N: tl.constexpr
):
    """Let queries attend to keys [first, last): return the unscaled output, the sum of weights, the highest score."""
    feature = tl.arange(0, D)
    total = tl.zeros((ROWS, D), dtype=tl.float32)
    weight_sum = tl.zeros((ROWS,), dtype=tl.float32)
    peak = tl.full((ROWS,), -1e30, dtype=tl.float32)
    for start in range(first, last, BLOCK_N):
        key = start + tl.arange(0, BLOCK_N)
        at = key[:, None] * D + feature[None, :]
        k = tl.load(k_ptr + at, mask=key[:, None] < length, other=0)
        score = tl.where(key[None, :] < length, tl.dot(q, k.T) * scale_log2, -float("inf"))
        new_peak = tl.maximum(peak, tl.max(score, axis=1))
        weight = tl.exp2(score - new_peak[:, None])
        shrink = tl.exp2(peak - new_peak)
        weight_sum = weight_sum * shrink + tl.sum(weight, axis=1)
        v = tl.load(v_ptr + at, mask=key[:, None] < length, other=0)
        total = tl.dot(weight.to(tl.float16), v, total * shrink[:, None])
        peak = new_peak
    return total, weight_sum, peak


@triton.jit
def join(part_ptr, lse_ptr, first, parts, D: tl.constexpr, ROWS: tl.constexpr):
    """Return the output of a head from its parts: that of program `first`, then one of each program after it."""
    row = tl.arange(0, ROWS)
    at = row[:, None] * D + tl.arange(0, D)[None, :]
    total = tl.zeros((ROWS, D), dtype=tl.float32)
    weight_sum = tl.zeros((ROWS,), dtype=tl.float32)
    peak = tl.full((ROWS,), -1e30, dtype=tl.float32)
    for i in range(0, parts):
        slot = 2 * (first + i) + (i == 0)
        lse = tl.load(lse_ptr + slot * ROWS + row)
        new_peak = tl.maximum(peak, lse)
        shrink, weight = tl.exp2(peak - new_peak), tl.exp2(lse - new_peak)
        total = total * shrink[:, None] + tl.load(part_ptr + slot * ROWS * D + at) * weight[:, None]
        weight_sum = weight_sum * shrink + weight
        peak = new_peak
    return total / weight_sum[:, None]


@triton.jit
def lean_attention_kernel(
    q_ptr, k_ptr, v_ptr, out_ptr, part_ptr, lse_ptr, arrived_ptr, queries, length, tiles, least, longer, scale_log2,
    D: tl.constexpr, ROWS: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Walk this program's share of the line of tiles, `tiles` of them a head.

    A program has two slots for parts: of a head that it begins (odd) and of one that it goes on with (even).
    """
    program = tl.program_id(0)
    row, feature = tl.arange(0, ROWS), tl.arange(0, D)
    at = row[:, None] * D + feature[None, :]
    inside = row[:, None] < queries
    tile = program * least + tl.minimum(program, longer)
    stop = tile + least + (program < longer)
    while tile < stop:
        head = tile // tiles
        begin = head * tiles
        end = tl.minimum(stop, begin + tiles)
        q = tl.load(q_ptr + head * queries * D + at, mask=inside, other=0)
        keys = head.to(tl.int64) * length * D
        total, weight_sum, peak = attend(
            q, k_ptr + keys, v_ptr + keys, (tile - begin) * BLOCK_N, tl.minimum((end - begin) * BLOCK_N, length),
            length, scale_log2, D, ROWS, BLOCK_N,
        )  # fmt: skip
        out = total / weight_sum[:, None]
        finished = True
        if end - tile < tiles:  # not the whole head
            slot = 2 * program + (tile == begin)
            tl.store(part_ptr + slot * ROWS * D + at, out)
            tl.store(lse_ptr + slot * ROWS + row, peak + tl.log2(weight_sum))
            tl.debug_barrier()  # every thread has stored before one of them says so
            first = owner(begin, least, longer)
            parts = owner(begin + tiles - 1, least, longer) - first + 1
            finished = tl.atomic_add(arrived_ptr + head, 1, sem="acq_rel") == parts - 1
            if finished:
                out = join(part_ptr, lse_ptr, first, parts, D, ROWS)
        if finished:
            tl.store(out_ptr + head * queries * D + at, out.to(tl.float16), mask=inside)
        tile = end


def lean_attention(q: Tensor, k: Tensor, v: Tensor, programs: int, tile: int = 64) -> Tensor:
    """Return softmax(q k.T / sqrt(d)) v of each head, float16 (heads, queries, d).

    Args:
        q: (heads, queries, d) float16; the queries share the head's keys (grouped-query attention), at most 16 of them;
            d a power of two, at least 16.
        k: (heads, length, d) float16.
        v: the same.
        programs: among which the tiles are shared; more than there are tiles are not started.
        tile: keys of a tile, a power of two, at least 16.

    Raises:
        ValueError: shapes do not fit together, a tensor is not contiguous float16, or there are no programs.
    """
    heads, queries, d = q.shape
    length = k.shape[1]
    for name, tensor, shape in (("q", q, q.shape), ("k", k, (heads, length, d)), ("v", v, (heads, length, d))):
        if tensor.shape != shape or tensor.dtype != torch.float16 or not tensor.is_contiguous() or queries > ROWS:
            raise ValueError(
                f"lean_attention: {name} is {tuple(tensor.shape)} {tensor.dtype}, strides {tensor.stride()}; "
                f"need contiguous float16 {tuple(shape)} of at most {ROWS} queries a head"
            )
    least, longer, programs = shares(heads, length, programs, tile)
    parts = torch.empty((programs, 2, ROWS, d), dtype=torch.float32, device=q.device)
    lse = torch.empty((programs, 2, ROWS), dtype=torch.float32, device=q.device)
    arrived = torch.zeros(heads, dtype=torch.int32, device=q.device)
    out = torch.empty_like(q)
    lean_attention_kernel[(programs,)](
        q, k, v, out, parts, lse, arrived, queries, length, triton.cdiv(length, tile), least, longer,
        math.log2(math.e) / math.sqrt(d), D=d, ROWS=ROWS, BLOCK_N=tile,
    )  # fmt: skip
    return out


def shares(heads: int, length: int, programs: int, tile: int) -> tuple[int, int, int]:
    """Return the fewest tiles that a program walks, how many walk one more, and how many programs there are.

    Raises:
        ValueError: no programs, or nothing to attend to.
    """
    if programs < 1 or length < 1:
        raise ValueError(f"lean_attention: {programs} programs for {length} keys; need at least one of each")
    tiles = heads * triton.cdiv(length, tile)
    programs = min(programs, tiles)
    return tiles // programs, tiles % programs, programs


def error_ratio(q: Tensor, k: Tensor, v: Tensor, out: Tensor) -> tuple[float, float]:
    """Return the largest error of the output against float64, and its largest ratio to the bound (1 passes)."""
    d = q.shape[-1]
    wide, keys, values = q.double(), k.double(), v.double()
    weights = (wide @ keys.mT / math.sqrt(d)).softmax(2)
    score = d * 2.0**-22 * float((wide.abs() @ keys.abs().mT).max()) / math.sqrt(d) + 2.0**-20
    relative = 2 * 2.0**-11 + 2 * score + k.shape[1] * 2.0**-22 + 2.0**-20
    bound = relative * (weights @ values.abs()) + 2.0**-24 * (1 + values.abs().sum(1, keepdim=True))
    error = (out.double() - weights @ values).abs()
    return float(error.max()), float((error / bound).max())


def sample(heads: int, queries: int, length: int, d: int, device: object) -> tuple[Tensor, Tensor, Tensor]:
    """Return seeded queries, keys and values."""
    generator = torch.Generator().manual_seed(0)

    def normal(rows: int) -> Tensor:
        return torch.randn((heads, rows, d), generator=generator).to(device, torch.float16)

    return normal(queries), normal(length), normal(length)


def main() -> None:
    """Attend over seeded tensors and check the output."""
    parser = argparse.ArgumentParser(description="Decoding attention, cut evenly over programs.")
    parser.add_argument("--heads", type=int, default=3)
    parser.add_argument("--queries", type=int, default=4, help="of a head")
    parser.add_argument("--length", type=int, default=500, help="keys of a head")
    parser.add_argument("-d", type=int, default=64, help="features of a head")
    parser.add_argument("--programs", type=int, default=10)
    args = parser.parse_args()
    device = triton.runtime.driver.active.get_active_torch_device()
    q, k, v = sample(args.heads, args.queries, args.length, args.d, device)
    error, ratio = error_ratio(q, k, v, lean_attention(q, k, v, args.programs))
    print(
        f"lean_attention: {args.heads} heads of {args.queries} queries, {args.length} keys, d {args.d}, on "
        f"{args.programs} programs: max |error| {error:.3g}, {ratio:.3f} of its bound"
    )
    if not ratio <= 1:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
