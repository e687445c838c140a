"""How fast sums are evaluated bit for bit: multiply-accumulates a second on one core."""

from collections.abc import Iterator

import numpy as np

from hw.presets import TENSOR_CORES
from hw.tensor_core import COLUMNS, ROWS
from mx_formats.element import FP16
from sim.dots import tensor_core_sums
from sim.measure import Measurement, best_seconds

PEER = "MMA-Sim (arXiv 2511.10909)"  # the public exact tensor-core model, about 8e4 MAC/s on a core
PEER_MACS_PER_SECOND = 8e4
TILES, K = 1000, 64


def measure(budget_seconds: float) -> Iterator[Measurement]:
    """Yield the rate of fp16 tensor-core dots with FP32 accumulator, operands unpacked from their bit patterns."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((TILES, rows, K)).astype(np.float16) for rows in (ROWS, COLUMNS))
    core = TENSOR_CORES["ampere", FP16]
    seconds = best_seconds(lambda: tensor_core_sums(a, b, core), budget_seconds)
    rate = TILES * ROWS * COLUMNS * K / seconds
    yield Measurement("trees", "tensor core, fp16 to fp32, Ampere", rate, "MAC/s", PEER, PEER_MACS_PER_SECOND)
