"""How fast sums are evaluated bit for bit: multiply-accumulates a second on one core, next to peers in the same run."""

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec

import numpy as np

from hw.evaluate import evaluate_codes, evaluate_gemm
from hw.mac import MacSpec
from hw.mx_macs import hybrid_mac, mxdotp
from hw.presets import TENSOR_CORES, block_scaled_core, tensor_core
from hw.reduction_tree import ReductionTree
from hw.summation import sequential_fma
from mx_formats.block import MXFP4, MXFP8_E4M3, MXINT8, NVFP4, BlockFormat
from mx_formats.element import FP16
from mx_formats.quantize import quantize
from sim.measure import Measurement, best_seconds

GENERATION = "ampere"
SIZE = 256  # rows, columns and depth of a product on a kernel of its own
SMALL = 64  # on the general kernel
PEER_SIZE = 64  # for the model of tensor cores in torch


def measure(budget_seconds: float) -> Iterator[Measurement]:
    """Yield the rates of fp16 tensor-core sums with FP32 accumulator, of the hybrid MX tree, and of any other tree."""
    rng = np.random.default_rng(0)
    codes = rng.standard_normal((SIZE, SIZE)).astype(np.float16).view(np.uint16)
    tree = tensor_core(GENERATION, FP16)
    rate = SIZE**3 / best_seconds(lambda: evaluate_codes(tree, FP16, codes, FP16, codes), budget_seconds)
    peer = _mma_sim_rate(codes[:PEER_SIZE, :PEER_SIZE], budget_seconds)
    metric = f"tensor core, fp16 to fp32, {GENERATION.capitalize()}"
    yield Measurement("trees", metric, rate, "MAC/s", "MMA-Sim 2.1.1, same run" if peer else "", peer)
    matrix = rng.standard_normal((SIZE, SIZE)).astype(np.float32)
    limit = SIZE**3 / best_seconds(lambda: matrix @ matrix.T, budget_seconds)
    for block in (MXINT8, MXFP8_E4M3, MXFP4):
        rate = _rate(hybrid_mac(MacSpec(block.element)), matrix, block, budget_seconds)
        yield Measurement("trees", f"hybrid tree M=16, {block.name}", rate, "MAC/s", "float32 matmul, all cores", limit)
    rate = _rate(sequential_fma(), matrix, MXFP8_E4M3, budget_seconds)
    yield Measurement("trees", "sequential FP32 FMA, MXFP8_E4M3", rate, "MAC/s", "float32 matmul, all cores", limit)
    small = matrix[:SMALL, :SMALL]
    for general, block in ((mxdotp(), MXFP8_E4M3), (block_scaled_core(), NVFP4)):
        rate = _rate(general, small, block, budget_seconds)
        yield Measurement("trees", f"general kernel, {general.name}"[:42], rate, "MAC/s")


def _rate(tree: ReductionTree, matrix: np.ndarray, block: BlockFormat, budget_seconds: float) -> float:
    operand = quantize(matrix, block)
    return len(matrix) ** 3 / best_seconds(lambda: evaluate_gemm(tree, operand, operand), budget_seconds)


def _mma_sim_rate(codes: np.ndarray, budget_seconds: float) -> float | None:
    """MACs a second of the public tensor-core model on the same operands, if it is installed."""
    if find_spec("mmasim") is None:
        return None
    import torch

    core = TENSOR_CORES[GENERATION, FP16]
    model = import_module("mmasim.arithmetic.fdpa").MMA_T_FDPA(
        core.fraction_bits, "RZ-FP32", core.products, -132, "f16", "f16"
    )
    operand = torch.from_numpy(codes.view(np.float16).copy())
    start = torch.zeros(len(codes), len(codes))
    return codes.size * len(codes) / best_seconds(lambda: model(operand, operand.T, start), budget_seconds)
