"""Tree-based invariant kernels with MX operands: each rank casts its own share, and still no bit changes."""

from collections.abc import Iterator

import torch

from gpu_model import VirtualGPU
from sim.gallery.claim import Check, Entry, direction, exactly
from sim.gallery.tree_invariance import differing_bits
from workloads.tree_matmul_mxfp4 import Mxfp4, split_matmul_mxfp4, to_mxfp4, tree_matmul_mxfp4

_M, _K, _N, _TILE = 32, 6144, 64, (32, 64, 256)
_RANKS = (2, 4, 8)


def _checks() -> Iterator[Check]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(_M, _K, generator=generator)
    whole, weights = to_mxfp4(x), to_mxfp4(torch.randn(_N, _K, generator=generator))
    for ranks in _RANKS:
        shares = [to_mxfp4(part.contiguous()) for part in x.chunk(ranks, 1)]
        joined = Mxfp4(*(torch.cat(parts, 1) for parts in zip(*shares, strict=True)))
        changed = sum(int((a != b).sum()) for a, b in zip(joined, whole, strict=True))
        yield exactly(f"codes and scales of {ranks} ranks' casts that differ from one's", 0, changed)
    changed = int((torch.cat([_by_row(part) for part in x.chunk(2, 1)], 1) != _by_row(x)).sum())
    yield direction("INT8 codes with a scale a row, of 2 ranks' casts that differ", "more than 0", f"{changed:,}",
                    changed > 0)  # fmt: skip
    with VirtualGPU("rtx_5090", timing=True) as gpu:
        tree, split = (
            {ranks: multiply(whole, weights, ranks, _TILE) for ranks in (1, *_RANKS)}
            for multiply in (tree_matmul_mxfp4, split_matmul_mxfp4)
        )
        cycles = [gpu.launches[first].timing.cycles for first in (0, 1 + sum(_RANKS))]  # of one rank, tree and split
    for ranks in _RANKS:
        bits = differing_bits(tree[ranks], tree[1])
        yield exactly(f"tree, bits of {ranks} ranks that differ from one rank's", 0, bits)
    for ranks in _RANKS:
        bits = differing_bits(split[ranks], split[1])
        yield direction(f"split K, bits of {ranks} ranks that differ from one rank's", "more than 0", f"{bits:,}",
                        bits > 0)  # fmt: skip
    slower = 100 * (cycles[0] / cycles[1] - 1)
    yield direction("one rank's kernel, slower than a plain one by", "22 to 63 % end to end, bf16", f"{slower:.0f} %",
                    slower > 0)  # fmt: skip


def _by_row(x: torch.Tensor) -> torch.Tensor:
    return torch.round(x * (127 / x.abs().amax(1, keepdim=True)))


ENTRY = Entry(
    "tree-invariance-mx",
    "the invariance of a tree carries over to MX formats, whose scales no cut of K divides",
    "our extension of TBIK, github.com/nanomaoli/llm_reproducibility, which has no quantised types",
    f"workloads/tree_matmul_mxfp4.py, {_M} x {_K} x {_N} on 1, 2, 4 and 8 virtual RTX 5090, block-scaled tensor cores",
    simulated=True,
    checks=_checks,
)
