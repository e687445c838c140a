"""Tree-based invariant kernels: tensor parallelism that does not change a bit, and what it costs."""

from collections.abc import Iterator

import torch

from gpu_model import VirtualGPU
from sim.gallery.claim import Check, Entry, direction, exactly
from workloads.tree_matmul import split_matmul, tree_matmul

_M, _K, _N = 32, 6144, 64
_RANKS = (1, 2, 4, 8)


def _checks() -> Iterator[Check]:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(_M, _K, generator=generator).half()
    b = (torch.randn(_K, _N, generator=generator) / _K**0.5).half()
    with VirtualGPU("rtx_a6000", timing=True) as gpu:
        tree = {ranks: tree_matmul(a, b, ranks) for ranks in _RANKS}
        split = {ranks: split_matmul(a, b, ranks) for ranks in _RANKS}
        cycles = {launch.kernel: launch.timing.cycles for launch in reversed(gpu.launches)}  # of one rank, the first
    for ranks in _RANKS[1:]:
        yield exactly(
            f"tree, bits of {ranks} ranks that differ from one rank's", 0, differing_bits(tree[ranks], tree[1])
        )
    for ranks in _RANKS[1:]:
        bits = differing_bits(split[ranks], split[1])
        yield direction(
            f"split K, bits of {ranks} ranks that differ from one rank's", "more than 0", f"{bits:,}", bits > 0
        )
    exact = a.double() @ b.double()
    errors = [float((c[1].double() - exact).abs().mean()) for c in (tree, split)]
    yield direction("mean error of the tree over that of one float32 sum", "more, as it adds in float16",
                    f"{errors[0] / errors[1]:.2f} times", errors[0] > errors[1])  # fmt: skip
    slower = 100 * (cycles["tree_matmul_kernel"] / cycles["chain_matmul_kernel"] - 1)
    yield direction(
        "one rank's kernel, slower than a plain one by", "22 to 63 % end to end", f"{slower:.0f} %", slower > 0
    )


def differing_bits(x: torch.Tensor, y: torch.Tensor) -> int:
    """Bits that differ between two float16 tensors."""
    differing = (x.view(torch.int16) ^ y.view(torch.int16)).int() & 0xFFFF
    return sum(int((differing >> bit & 1).sum()) for bit in range(16))


ENTRY = Entry(
    "tree-invariance",
    "a matrix product reduced in one binary tree, inside a GPU and across, has the same bits for any number of them",
    "TBIK, github.com/nanomaoli/llm_reproducibility; kernels here are our own",
    f"workloads/tree_matmul.py, {_M} x {_K} x {_N} in float16 on 1, 2, 4 and 8 virtual RTX A6000 (published at M 1024, "
    "N 2048)",
    simulated=True,
    checks=_checks,
)
