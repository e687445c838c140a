"""FlashAttention: what attention moves when its score matrix never reaches memory."""

import math
from collections.abc import Iterator

import torch

from gpu_model import VirtualGPU
from gpu_model.timing import Timing
from sim.gallery.claim import Check, Entry, counted, direction
from workloads.flash_attention import flash_attention
from workloads.matmul import matmul
from workloads.softmax import softmax

_D, _LENGTHS = 64, (512, 1024)


def _checks() -> Iterator[Check]:
    flash = {(n, tile): _flash(n, tile) for n, tile in ((512, 64), (1024, 64), (1024, 128))}
    naive = {n: _naive(n) for n in _LENGTHS}
    for (n, tile), timing in flash.items():
        operand = n * _D * 2
        walked = operand + math.ceil(n / tile) * 2 * operand
        yield counted(f"N {n}, {tile} queries a tile: bytes read beyond L1, q once and k, v once a tile", walked,
                      timing.traffic_bytes["l2_read"], "B")  # fmt: skip
        yield counted(f"N {n}, {tile} queries a tile: bytes read of HBM, each operand once", 3 * operand,
                      timing.traffic_bytes["dram_read"], "B")  # fmt: skip
    scores = 2 * _LENGTHS[1] ** 2
    operands = 3 * 2 * _LENGTHS[1] * _D
    read = sum(timing.traffic_bytes["dram_read"] for timing in naive[_LENGTHS[1]])
    yield counted(f"N {_LENGTHS[1]}, three kernels: bytes read of HBM, each operand once and N x N twice",
                  operands + 2 * scores, read, "B")  # fmt: skip
    (short, short_naive), (long, long_naive) = ((_moved(flash[n, 64]), sum(map(_moved, naive[n]))) for n in _LENGTHS)
    for what, published, growth, least, most in (
        ("FlashAttention", "grow as N", long / short, 1.9, 2.1),
        ("three kernels", "grow as N + N^2", long_naive / short_naive, 3.5, 4),
    ):
        holds = least < growth < most
        yield direction(f"twice the length, bytes of HBM with {what}", published, f"{growth:.2f} times", holds)
    saved = long_naive / long
    yield direction(f"N {_LENGTHS[1]}, bytes of HBM saved", "9.2 times (40.3 to 4.4 GB), forward and backward",
                    f"{saved:.1f} times, forward", saved > 9.2)  # fmt: skip
    faster = sum(timing.cycles for timing in naive[_LENGTHS[1]]) / flash[_LENGTHS[1], 64].cycles
    yield direction(f"N {_LENGTHS[1]}, cycles saved, one head alone", "5.7 times (41.7 to 7.3 ms), 1024 heads",
                    f"{faster:.2f} times", faster > 1)  # fmt: skip


def _operands(n: int) -> torch.Tensor:
    return torch.randn((3, 1, 1, n, _D), generator=torch.Generator().manual_seed(0)).half()


def _flash(n: int, tile: int) -> Timing:
    with VirtualGPU("a100_sxm", timing=True) as gpu:
        flash_attention(*_operands(n), causal=False, tile=(tile, 32))
    return gpu.launches[-1].timing


def _naive(n: int) -> tuple[Timing, ...]:
    q, k, v = _operands(n)[:, 0, 0]
    # q is scaled first, exactly, so that scaling the scores takes no kernel of its own.
    q = q / math.sqrt(_D)
    with VirtualGPU("a100_sxm", timing=True) as gpu:
        matmul(softmax(matmul(q, k.T)), v)
    return tuple(launch.timing for launch in gpu.launches)


def _moved(timing: Timing) -> int:
    """Bytes of HBM, those included that are written but still in L2 when the kernel ends."""
    return timing.traffic_bytes["dram_read"] + timing.traffic_bytes["l2_write"]


ENTRY = Entry(
    "flash-traffic",
    "attention by tiles moves bytes that grow with the length, where three kernels move the N x N matrix four times",
    "Dao et al., FlashAttention, arXiv 2205.14135, Figure 2 left: GPT-2 medium on an A100, N 1024, d 64, 16 heads, "
    "batch 64",
    "workloads/flash_attention.py against matmul, softmax, matmul, one head on a virtual A100, each kernel with a cold "
    "L2, as among a thousand heads",
    simulated=True,
    checks=_checks,
)
