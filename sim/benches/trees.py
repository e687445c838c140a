"""How fast sums are evaluated bit for bit: multiply-accumulates a second on one core."""

from collections.abc import Iterator

import numpy as np
from numba import njit

from hw.tensor_core import COLUMNS, ROWS, mma_f32, new_scratch, operand_table
from mx_formats.element import ELEMENTS
from sim.measure import Measurement, best_seconds

# tests/hw/test_tensor_core.py checks the kernel timed here against exact rationals.
PEER = "MMA-Sim (arXiv 2511.10909)"  # the public exact tensor-core model, about 8e4 MAC/s on a core
PEER_MACS_PER_SECOND = 8e4
K = 16
TILES = 20_000


def measure(budget_seconds: float) -> Iterator[Measurement]:
    """Yield the rate of fp16 m16n8k16 tensor-core tiles with FP32 accumulator."""
    codes = np.random.default_rng(0).standard_normal((K, ROWS + COLUMNS)).astype(np.float16).view(np.uint16)
    significand, exponent = (table[codes] for table in operand_table(ELEMENTS["FP16"]))
    a = np.ascontiguousarray(significand[:, :ROWS]), np.ascontiguousarray(exponent[:, :ROWS])
    b = np.ascontiguousarray(significand[:, ROWS:]), np.ascontiguousarray(exponent[:, ROWS:])
    accumulator = np.zeros((COLUMNS, ROWS), np.uint32)
    top, total = new_scratch()
    seconds = best_seconds(lambda: _ampere_tiles(*a, *b, accumulator, top, total, TILES), budget_seconds)
    rate = TILES * ROWS * COLUMNS * K / seconds
    yield Measurement("trees", "tensor core, fp16 to fp32, Ampere", rate, "MAC/s", PEER, PEER_MACS_PER_SECOND)


@njit(nogil=True)
def _ampere_tiles(a_sig, a_exp, b_sig, b_exp, accumulator, top, total, tiles):
    """Two fused steps of eight a tile, F = 24, so that products of 20 fraction bits move left by 4."""
    for _ in range(tiles):
        accumulator[:] = 0
        for k0 in (0, 8):
            mma_f32(a_sig, a_exp, b_sig, b_exp, accumulator, k0, k0 + 8, np.int32(4), np.int32(24), top, total)
