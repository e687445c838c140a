"""How fast sums are evaluated bit for bit: multiply-accumulates a second on one core."""

from collections.abc import Iterator

import numpy as np

from hw.evaluate import evaluate_gemm
from hw.mac import MacSpec
from hw.mx_macs import hybrid_mac
from hw.presets import TENSOR_CORES
from hw.tensor_core import COLUMNS, ROWS
from mx_formats.block import MXFP4, MXFP8_E4M3, MXINT8
from mx_formats.element import FP16
from mx_formats.quantize import quantize
from sim.dots import tensor_core_sums
from sim.measure import Measurement, best_seconds

PEER = "MMA-Sim (arXiv 2511.10909)"  # the public exact tensor-core model, about 8e4 MAC/s on a core
PEER_MACS_PER_SECOND = 8e4
TILES, K = 1000, 64
GEMM = 256  # rows, columns and depth of the matrix product on the hybrid tree


def measure(budget_seconds: float) -> Iterator[Measurement]:
    """Yield the rates of fp16 tensor-core dots with FP32 accumulator, and of the hybrid MX tree per format."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((TILES, rows, K)).astype(np.float16) for rows in (ROWS, COLUMNS))
    codes = a.view(np.uint16), b.view(np.uint16)
    core = TENSOR_CORES["ampere", FP16]
    seconds = best_seconds(lambda: tensor_core_sums(*codes, FP16, core), budget_seconds)
    macs = TILES * ROWS * COLUMNS * K
    yield Measurement("trees", "tensor core, fp16 to fp32, Ampere", macs / seconds, "MAC/s", PEER, PEER_MACS_PER_SECOND)
    matrix = rng.standard_normal((GEMM, GEMM)).astype(np.float32)
    for block in (MXINT8, MXFP8_E4M3, MXFP4):
        operand, tree = quantize(matrix, block), hybrid_mac(MacSpec(block.element))
        seconds = best_seconds(lambda tree=tree, operand=operand: evaluate_gemm(tree, operand, operand), budget_seconds)
        yield Measurement("trees", f"hybrid tree M=16, {block.name}", GEMM**3 / seconds, "MAC/s")
