"""Matrix products through a `ReductionTree`, bit for bit.

Two families have kernels of their own, the hybrid MAC (`hw.mac_gemm`) and tensor-core steps into FP32 or FP16
(`hw.tensor_core`); any other tree runs on the general one (`hw.tree_kernel`), some fifty times slower.
"""

import numpy as np
from numba import njit

from hw import tree_kernel
from hw.mac import MacSpec
from hw.mac_gemm import mac_gemm
from hw.presets import hybrid_mac, tensor_core_of
from hw.reduction_tree import ReductionTree
from hw.tensor_core import COLUMNS, ROWS, mma_f16, mma_f32, new_scratch, split_codes
from mx_formats.element import ElementFormat
from mx_formats.quantize import Quantized


def evaluate_gemm(tree: ReductionTree, a: Quantized, b: Quantized) -> np.ndarray:
    """a @ b.T of block-scaled operands, every output summed by the tree, its accumulator starting at +0.

    Args:
        tree: the datapath; it takes `tree.products` products a step, in order of k.
        a: [m, k], blocks along k.
        b: [n, k], blocks along k.

    Returns:
        float32[m, n], the accumulators' values (exact).

    Raises:
        ValueError: operands that do not fit each other or the tree, or a tree too wide for the kernels.
    """
    element = a.format.element
    if element.bits <= 8 and tree == _hybrid_like(tree, element) and b.format.element == element:
        return accumulator_values(tree, mac_gemm(MacSpec(element, tree.accumulator.mantissa_bits), a, b))
    steps = _steps(tree, a.codes, b.codes)
    shift_a, nan_a = _step_scales(a, tree.products, steps)
    shift_b, nan_b = _step_scales(b, tree.products, steps)
    out = np.zeros((len(a.codes), len(b.codes)), np.uint32)
    _run(tree, element, a.codes, b.format.element, b.codes, shift_a, shift_b, nan_a, nan_b, out)
    return accumulator_values(tree, out)


def evaluate_codes(
    tree: ReductionTree,
    element_a: ElementFormat,
    a: np.ndarray,
    element_b: ElementFormat,
    b: np.ndarray,
    accumulator: np.ndarray | None = None,
) -> np.ndarray:
    """accumulator + a @ b.T of plain element codes, summed by the tree.

    Args:
        tree: the datapath.
        element_a: format of `a`.
        a: unsigned codes [m, k], k a multiple of `tree.products`.
        element_b: format of `b`.
        b: unsigned codes [n, k].
        accumulator: uint32[m, n] patterns in `tree.accumulator` to start from; +0 if None.

    Returns:
        uint32[m, n], patterns in `tree.accumulator`.

    Raises:
        ValueError: as `evaluate_gemm`.
    """
    steps = _steps(tree, a, b)
    shape = (len(a), len(b))
    out = np.zeros(shape, np.uint32) if accumulator is None else np.array(accumulator, np.uint32)
    if out.shape != shape:
        raise ValueError(f"accumulator: shape is {out.shape}, must be {shape}")
    core = tensor_core_of(tree, element_a)
    if core is not None and element_a == element_b:
        return _tensor_core_gemm(element_a, a, b, core.fraction_bits, core.products, tree.accumulator.bits == 32, out)
    none = np.zeros((1, steps), np.int64), np.zeros((1, steps), np.bool_)
    (shift_a, nan_a), (shift_b, nan_b) = (
        tuple(np.repeat(part, len(codes), axis=0) for part in none) for codes in (a, b)
    )
    _run(tree, element_a, a, element_b, b, shift_a, shift_b, nan_a, nan_b, out)
    return out


def accumulator_values(tree: ReductionTree, patterns: np.ndarray) -> np.ndarray:
    """float32 values of uint32 accumulator patterns.

    Raises:
        ValueError: the accumulator is neither FP16 nor float32 with fewer mantissa bits.
    """
    accumulator = tree.accumulator
    if (accumulator.exponent_bits, accumulator.mantissa_bits) == (5, 10):
        return patterns.astype(np.uint16).view(np.float16).astype(np.float32)
    if accumulator.exponent_bits != 8 or accumulator.mantissa_bits > 23:
        raise ValueError(f"accumulator: {accumulator} has no exact float32 value, legal 8 exponent bits or FP16")
    return (patterns << np.uint32(23 - accumulator.mantissa_bits)).view(np.float32)


def _hybrid_like(tree: ReductionTree, element: ElementFormat) -> ReductionTree | None:
    """The hybrid MAC of this element and accumulator width, None if there is none."""
    try:
        return hybrid_mac(MacSpec(element, tree.accumulator.mantissa_bits))
    except ValueError:
        return None


def _steps(tree: ReductionTree, a: np.ndarray, b: np.ndarray) -> int:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"operands: shapes are {a.shape} and {b.shape}, must be [m, k] and [n, k]")
    if a.shape[1] % tree.products:
        raise ValueError(f"k: got {a.shape[1]}, must be a multiple of the {tree.products} products a step takes")
    return a.shape[1] // tree.products


def _step_scales(operand: Quantized, products: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Exponent of the scale and whether it is NaN, [rows, steps]."""
    size, scale = operand.format.block_size, operand.format.scale
    if not scale.is_power_of_two or operand.format.rows > 1:
        raise ValueError(f"format: {operand.format.name}, legal power-of-two scales of blocks along k")
    if size % products:
        raise ValueError(f"block_size: {size} is no multiple of the {products} products a step takes")
    codes = np.repeat(operand.scales, size // products, axis=1)[:, :steps].astype(np.int64)
    return codes - scale.bias, codes == scale.nan


def _run(tree, element_a, a, element_b, b, shift_a, shift_b, nan_a, nan_b, out) -> None:
    lowered = tree_kernel.lower(tree, element_a, element_b)
    a, b = tree_kernel.elements(a, element_a), tree_kernel.elements(b, element_b)
    tree_kernel.gemm(lowered, a, b, shift_a, shift_b, nan_a, nan_b, out)


def _tensor_core_gemm(element, a, b, fraction_bits, products, single, out) -> np.ndarray:
    a_sig, a_exp = _operand_tiles(element, a, ROWS)
    b_sig, b_exp = _operand_tiles(element, b, COLUMNS)
    m, n = out.shape
    padded = np.pad(out, ((0, -m % ROWS), (0, -n % COLUMNS)))
    tiles = padded.reshape(len(a_sig), ROWS, len(b_sig), COLUMNS).transpose(0, 2, 3, 1)
    tiles = np.ascontiguousarray(tiles)
    left = np.int32(fraction_bits - 2 * element.mantissa_bits)
    _tiles(a_sig, a_exp, b_sig, b_exp, tiles, products, left, np.int32(fraction_bits), single, *new_scratch())
    return np.ascontiguousarray(tiles.transpose(0, 3, 1, 2).reshape(padded.shape)[:m, :n])


def _operand_tiles(element: ElementFormat, codes: np.ndarray, lines: int) -> tuple[np.ndarray, np.ndarray]:
    """Significands and exponents as [tile, k, line]; padded by zeros."""
    padded = np.pad(codes, ((0, -len(codes) % lines), (0, 0)))
    tiles = np.ascontiguousarray(padded.reshape(-1, lines, codes.shape[1]).transpose(0, 2, 1))
    return split_codes(tiles, element)


@njit(cache=True, nogil=True, error_model="numpy")
def _tiles(a_sig, a_exp, b_sig, b_exp, out, products, left, fraction_bits, single, top, total):
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            sa, ea, sb, eb = a_sig[i], a_exp[i], b_sig[j], b_exp[j]
            for k in range(0, a_sig.shape[1], products):
                if single:
                    mma_f32(sa, ea, sb, eb, out[i, j], k, k + products, left, fraction_bits, top, total)
                else:
                    mma_f16(sa, ea, sb, eb, out[i, j], k, k + products, left, fraction_bits, top, total)
