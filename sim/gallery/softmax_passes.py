"""Softmax in two passes over memory: what moves, and what time that saves."""

from collections.abc import Iterator

import torch

from gpu_model import VirtualGPU
from sim.gallery.claim import Check, Entry, direction, exactly
from workloads.softmax_passes import WAYS, softmax_passes

_ROWS, _COLUMNS = 84, 40960  # a row an SM: longer than L1, and all rows longer than L2
_PUBLISHED = {"recompute": (3, 1), "reload": (3, 2), "two-pass": (2, 1)}  # reads and writes of the row
_CPU = {"recompute": "up to 28 % with AVX512, 33 % if bytes were all", "reload": "less than 67 %, if bytes were all"}


def _checks() -> Iterator[Check]:
    x = torch.randn((_ROWS, _COLUMNS), generator=torch.Generator().manual_seed(0))
    timings = {}
    with VirtualGPU("rtx_a6000", timing=True) as gpu:
        for way in WAYS:
            softmax_passes(x, way)
            timings[way] = gpu.launches[-1].timing
    size = x.numel() * x.element_size()
    for way, (reads, writes) in _PUBLISHED.items():
        moved = timings[way].traffic_bytes
        yield exactly(f"{way}, bytes read beyond L1 over those of the input", reads, moved["l2_read"] / size)
        yield exactly(f"{way}, bytes written over those of the input", writes, moved["l2_write"] / size)
    two = timings["two-pass"]
    for way, published in _CPU.items():
        bound = sum(_PUBLISHED[way]) / sum(_PUBLISHED["two-pass"])
        faster = timings[way].cycles / two.cycles
        yield direction(f"two-pass, faster than {way} by", published, f"{100 * (faster - 1):.0f} %", 1 < faster < bound)


ENTRY = Entry(
    "softmax-passes",
    "a softmax that sums mantissas and exponents apart needs two passes over memory instead of three",
    "Dukhan and Ablavatski, The Two-Pass Softmax Algorithm, arXiv 2001.04438, on CPUs",
    f"workloads/softmax_passes.py, {_ROWS} rows of {_COLUMNS} on a virtual RTX A6000",
    simulated=True,
    checks=_checks,
)
