"""Parts of an NVIDIA core switched off: which way cycles go, and how far."""

import math
from collections.abc import Iterator

import torch

from gpu_model import VirtualGPU
from sim.gallery.claim import Check, Entry, direction
from workloads.flash_attention import flash_attention
from workloads.matmul import matmul
from workloads.softmax import softmax

_FEW = {"sm_count": 8}  # so that small launches fill the SMs
_PREFETCHED = {1: "1.08", 8: "1.37", 32: "1.40"}  # lines, and speed-up over none


def _checks() -> Iterator[Check]:
    usual = _cycles({})
    prefetch = {lines: _cycles({"core.icache.prefetch_lines": lines}) for lines in (0, *_PREFETCHED)}
    faster = {lines: _mean_ratio(prefetch[0], prefetch[lines]) for lines in _PREFETCHED}
    for lines, published in _PREFETCHED.items():
        holds = faster[lines] > (faster[1] if lines > 1 else 1)
        yield direction(f"instruction prefetch of {lines} lines, faster than none by", published,
                        f"{faster[lines]:.2f} times", holds)  # fmt: skip
    gain = faster[32] / faster[8]
    yield direction("32 lines over 8", "1.02", f"{gain:.2f} times", abs(gain - 1) < 0.03)
    for consumers, published in ((1, "0.95"), (63, "0.98")):
        changes = {"core.dependence.mechanism": "scoreboard", "core.dependence.consumers": consumers}
        speed = _mean_ratio(usual, _cycles(changes))
        yield direction(f"a scoreboard of {consumers} consumers, speed over control bits'", published,
                        f"{speed:.3f} times", 0.93 < speed < 1)  # fmt: skip


def _cycles(changes: dict[str, int | str]) -> list[int]:
    """Cycles of a few kernels on an RTX A6000 of 8 SMs with some fields changed."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((1024, 1000), generator=generator)
    a, b = torch.randn((2, 512, 512), generator=generator).half()
    q, k, v = torch.randn((3, 1, 8, 512, 64), generator=generator).half()
    with VirtualGPU("rtx_a6000", timing=True, overrides=_FEW | changes) as gpu:
        softmax(x, programs=48)
        matmul(a, b)
        flash_attention(q, k, v)
    return [launch.timing.cycles for launch in gpu.launches]


def _mean_ratio(before: list[int], after: list[int]) -> float:
    """Geometric mean of the kernels' speed-ups."""
    return math.exp(sum(math.log(a / b) for a, b in zip(before, after, strict=True)) / len(before))


ENTRY = Entry(
    "core-ablations",
    "instructions must be prefetched, 8 lines are enough; a scoreboard is no faster than control bits",
    "Huerta et al., Dissecting and Modeling the Architecture of Modern GPU Cores, MICRO 2025, mean of 128 programs",
    "workloads' softmax, matmul and flash attention on a virtual RTX A6000 of 8 SMs",
    simulated=True,
    checks=_checks,
)
