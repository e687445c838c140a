"""How fast tensors are cast to block formats, against the memory they stream through."""

from collections.abc import Iterator

import numpy as np

from mx_formats.block import MXFP4, MXFP8_E4M3, MXINT8
from mx_formats.quantize import quantize
from sim.measure import Measurement, best_seconds

PEER = "copy of the same array"
ELEMENTS = 1 << 24  # 64 MiB of float32


def measure(budget_seconds: float) -> Iterator[Measurement]:
    """Yield bytes of float32 read a second by quantisation; the peer is a copy on the same machine, in bytes read."""
    values = np.random.default_rng(0).standard_normal((ELEMENTS // 4096, 4096)).astype(np.float32)
    target = np.empty_like(values)
    copy = values.nbytes / best_seconds(lambda: np.copyto(target, values), budget_seconds / 3) / 1e9
    for block in (MXINT8, MXFP8_E4M3, MXFP4):
        seconds = best_seconds(lambda block=block: quantize(values, block), budget_seconds / 3)
        yield Measurement("numbers", f"float32 to {block.name}", values.nbytes / seconds / 1e9, "GB/s", PEER, copy)
