"""MXFP4 matrix product split along K over ranks, the same bits for any number of ranks.

Each rank has a share of K and casts its own share of the activations. A scale for a whole row would depend on where the
shares are cut, and with it every code. An MX scale belongs to a block of 32 along K, which no cut divides, so codes are
the same for any number of ranks; sums are too if their order is fixed, as in `tree_matmul.py`: leaves of products are
rounded to float16, a few make a subtree, and subtrees are added in one binary tree, inside a rank and across ranks.

`to_mxfp4` casts to e2m1 elements and E8M0 scales (OCP MX v1.0). `tree_matmul_mxfp4(a, b, ranks)` multiplies two such
matrices; `tl.dot_scaled` is one instruction where the core has block-scaled tensor cores, elsewhere the compiler
decodes to bfloat16 first, which is exact. `split_matmul_mxfp4` is the usual way: a float32 sum in each rank, the ranks'
rounded to float16 and added in order.

Checked against float64 of the decoded operands, within the bound that `tree_matmul.py` derives.
"""

# Triton's annotations describe the kernel's body, not its launch.
# pyright: reportArgumentType=false, reportCallIssue=false

import argparse
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 32  # elements that share a scale
E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6], dtype=torch.float64)  # value of each code without its sign
LARGEST_EXPONENT = 2
SCALE_BIAS = 127  # an E8M0 code c means 2^(c - 127); 255 is NaN
SUBTREES = 8  # at most, of the whole product
TILE = (32, 64, 128)


class Mxfp4(NamedTuple):
    """A matrix (rows, K) whose rows are cut into blocks.

    Attributes:
        codes: uint8 (rows, K / 2), two e2m1 elements a byte, the first in the low bits.
        scales: uint8 (rows, K / 32) of E8M0.
    """

    codes: Tensor
    scales: Tensor

    def share(self, rank: int, ranks: int) -> "Mxfp4":
        """What a rank has of it: its part of K."""
        return Mxfp4(*(part.chunk(ranks, 1)[rank].contiguous() for part in self))

    def decode(self) -> Tensor:
        """float64 (rows, K)."""
        codes = torch.stack([self.codes & 15, self.codes >> 4], 2).reshape(len(self.codes), -1).int()
        values = torch.cat([E2M1, -E2M1]).to(codes.device)[codes]
        return torch.ldexp(values, (self.scales.int() - SCALE_BIAS).repeat_interleave(BLOCK, 1))


def to_mxfp4(x: Tensor) -> Mxfp4:
    """Cast a finite float32 matrix, K a multiple of 32: scale 2^(floor(log2(amax)) - 2), elements to nearest even.

    Raises:
        ValueError: no such matrix.
    """
    if x.ndim != 2 or x.dtype != torch.float32 or x.shape[1] % BLOCK:
        raise ValueError(f"to_mxfp4: x is {tuple(x.shape)} {x.dtype}, need a float32 matrix, K a multiple of {BLOCK}")
    blocks = x.reshape(len(x), -1, BLOCK)
    exponent = (torch.frexp(blocks.abs().amax(2)).exponent - 1 - LARGEST_EXPONENT).clamp(-SCALE_BIAS, SCALE_BIAS)
    magnitude = torch.ldexp(blocks.abs().double(), -exponent[..., None])
    middle = ((E2M1[1:] + E2M1[:-1]) / 2).to(x.device)
    below, above = (torch.bucketize(magnitude, middle, right=right) for right in (False, True))  # differ in a tie
    codes = torch.where(below % 2 == 0, below, above) | torch.where(torch.signbit(blocks), 8, 0)
    pairs = codes.reshape(len(x), -1, 2).to(torch.uint8)
    return Mxfp4(pairs[..., 0] | pairs[..., 1] << 4, (exponent + SCALE_BIAS).to(torch.uint8))


@triton.jit
def leaf_product(a_tile, a_scale, b_tile, b_scale, a_mask, b_mask, total):
    """Return total plus the product of one tile of each operand; b is stored by columns."""
    a = tl.load(a_tile, mask=a_mask, other=0)
    b = tl.load(b_tile, mask=b_mask, other=0)
    a_exponent = tl.load(a_scale, mask=a_mask, other=0)
    b_exponent = tl.load(b_scale, mask=b_mask, other=0)
    return tl.dot_scaled(a, a_exponent, "e2m1", b.T, b_exponent, "e2m1", total)


@triton.jit
def tree_sum(
    a_tile, a_scale, b_tile, b_scale, a_mask, b_mask,
    LEAVES: tl.constexpr, SUBTREES: tl.constexpr,
):  # fmt: skip
    """Return the float16 sum of SUBTREES (a power of two) of LEAVES leaves each, and the pointers after them."""
    BYTES: tl.constexpr = a_tile.shape[1]
    if SUBTREES == 1:
        total = tl.zeros((a_tile.shape[0], b_tile.shape[0]), dtype=tl.float16)
        for _ in range(LEAVES):
            nothing = tl.zeros((a_tile.shape[0], b_tile.shape[0]), dtype=tl.float32)
            total += leaf_product(a_tile, a_scale, b_tile, b_scale, a_mask, b_mask, nothing).to(tl.float16)
            a_tile += BYTES
            b_tile += BYTES
            a_scale += BYTES // 16
            b_scale += BYTES // 16
    else:
        left, a_tile, a_scale, b_tile, b_scale = tree_sum(
            a_tile, a_scale, b_tile, b_scale, a_mask, b_mask, LEAVES, SUBTREES // 2
        )
        right, a_tile, a_scale, b_tile, b_scale = tree_sum(
            a_tile, a_scale, b_tile, b_scale, a_mask, b_mask, LEAVES, SUBTREES // 2
        )
        total = left + right
    return total, a_tile, a_scale, b_tile, b_scale


@triton.jit
def matmul_kernel(
    a_ptr, a_scale_ptr, b_ptr, b_scale_ptr, c_ptr, m, n, k,
    LEAVES: tl.constexpr, SUBTREES: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Compute a tile of c = a @ b.T in a tree of SUBTREES x LEAVES leaves, or, if SUBTREES is 0, in one float32 sum."""
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    column = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)[:, None]
    byte = tl.arange(0, BLOCK_K // 2)[None, :]
    block = tl.arange(0, BLOCK_K // 32)[None, :]
    a_tile, a_scale = a_ptr + row * (k // 2) + byte, a_scale_ptr + row * (k // 32) + block
    b_tile, b_scale = b_ptr + column * (k // 2) + byte, b_scale_ptr + column * (k // 32) + block
    if SUBTREES > 0:
        result, _, _, _, _ = tree_sum(a_tile, a_scale, b_tile, b_scale, row < m, column < n, LEAVES, SUBTREES)
    else:
        total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
        for _ in range(LEAVES):
            total = leaf_product(a_tile, a_scale, b_tile, b_scale, row < m, column < n, total)
            a_tile += BLOCK_K // 2
            b_tile += BLOCK_K // 2
            a_scale += BLOCK_K // 32
            b_scale += BLOCK_K // 32
        result = total.to(tl.float16)
    column = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    tl.store(c_ptr + row * n + column, result, mask=(row < m) & (column < n))


def subtrees_of(k: int, leaf: int) -> int:
    """Subtrees of a product along k: the largest power of two that divides its leaves, up to `SUBTREES`.

    Raises:
        ValueError: k is no multiple of a leaf.
    """
    if k % leaf:
        raise ValueError(f"tree_matmul_mxfp4: K is {k}, must be a multiple of the leaf, {leaf}")
    leaves = k // leaf
    return min(leaves & -leaves, SUBTREES)


def tree_matmul_mxfp4(a: Mxfp4, b: Mxfp4, ranks: int = 1, tile: tuple[int, int, int] = TILE) -> Tensor:
    """Return decode(a) @ decode(b).T in float16, each rank a share of K; the same bits for any legal number of ranks.

    Args:
        a: (M, K).
        b: (N, K).
        ranks: a power of two that divides the subtrees.
        tile: (BLOCK_M, BLOCK_N, leaf), powers of two, at least 16, 16 and 64.

    Raises:
        ValueError: K is no multiple of the leaf, or too few subtrees for the ranks.
    """
    k = 2 * a.codes.shape[1]
    subtrees = subtrees_of(k, tile[2])
    if ranks < 1 or subtrees % ranks:
        raise ValueError(f"tree_matmul_mxfp4: ranks is {ranks}, must divide the {subtrees} subtrees of K = {k}")
    leaves = k // tile[2] // subtrees
    parts = [_launch(a.share(i, ranks), b.share(i, ranks), leaves, subtrees // ranks, tile) for i in range(ranks)]
    while len(parts) > 1:  # what the ranks' tree all-reduce does
        parts = [left + right for left, right in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def split_matmul_mxfp4(a: Mxfp4, b: Mxfp4, ranks: int = 1, tile: tuple[int, int, int] = TILE) -> Tensor:
    """Return decode(a) @ decode(b).T in float16, each rank's share summed in float32, the ranks' added in order.

    Arguments and errors as `tree_matmul_mxfp4`; any number of ranks that leaves each a multiple of the tile's K.
    """
    k = 2 * a.codes.shape[1]
    if k % (ranks * tile[2]):
        raise ValueError(f"split_matmul_mxfp4: K is {k}, must be a multiple of ranks x {tile[2]}")
    total = None
    for i in range(ranks):
        part = _launch(a.share(i, ranks), b.share(i, ranks), k // ranks // tile[2], 0, tile)
        total = part if total is None else total + part
    assert total is not None
    return total


def _launch(a: Mxfp4, b: Mxfp4, leaves: int, subtrees: int, tile: tuple[int, int, int]) -> Tensor:
    m, n, k = len(a.codes), len(b.codes), 2 * a.codes.shape[1]
    c = torch.empty((m, n), dtype=torch.float16, device=a.codes.device)
    matmul_kernel[(triton.cdiv(m, tile[0]), triton.cdiv(n, tile[1]))](
        a.codes, a.scales, b.codes, b.scales, c, m, n, k,
        LEAVES=leaves, SUBTREES=subtrees, BLOCK_M=tile[0], BLOCK_N=tile[1], BLOCK_K=tile[2],
    )  # fmt: skip
    return c


def error_ratio(a: Mxfp4, b: Mxfp4, c: Tensor, leaf: int) -> tuple[float, float]:
    """Return the largest error of c against float64, and its largest ratio to the bound (1 passes)."""
    left, right = a.decode(), b.decode()
    magnitude = left.abs() @ right.abs().T
    leaves, subtrees = left.shape[1] // leaf, subtrees_of(left.shape[1], leaf)
    roundings = 1 + leaves // subtrees + subtrees.bit_length() - 1
    spread = roundings * 2.0**-11 * (1 + 2.0**-11) ** roundings
    bound = (spread + leaf * 2.0**-22) * magnitude + 2 * leaves * 2.0**-25
    error = (c.double() - left @ right.T).abs()
    return float(error.max()), float((error / bound).max())


def main() -> None:
    """Multiply two seeded matrices on several ranks; check the product, and its bits against those of one rank."""
    parser = argparse.ArgumentParser(description="MXFP4 product split along K, the same bits for any ranks.")
    parser.add_argument("-m", type=int, default=20)
    parser.add_argument("-n", type=int, default=40)
    parser.add_argument("-k", type=int, default=1024)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--tile", type=int, nargs=3, default=TILE, metavar=("M", "N", "LEAF"))
    args = parser.parse_args()
    device = triton.runtime.driver.active.get_active_torch_device()
    generator = torch.Generator().manual_seed(0)
    a, b = (to_mxfp4(torch.randn(rows, args.k, generator=generator).to(device)) for rows in (args.m, args.n))
    c = tree_matmul_mxfp4(a, b, args.ranks, tuple(args.tile))
    error, ratio = error_ratio(a, b, c, args.tile[2])
    differing = int((c != tree_matmul_mxfp4(a, b, 1, tuple(args.tile))).sum())
    print(
        f"tree_matmul_mxfp4: {args.m} x {args.n} x {args.k} on {args.ranks} ranks, MXFP4: {differing} elements differ "
        f"from one rank's, max |error| {error:.3g}, {ratio:.3f} of its bound"
    )
    if differing or not ratio <= 1:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
