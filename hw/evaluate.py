"""Matrix products through a `ReductionTree`, bit for bit.

Three families have kernels of their own: the hybrid MAC (`hw.mac_gemm`), tensor-core steps (`hw.tensor_core_gemm`) and
the FP32 FMA chain (`hw.fma_gemm`). Any other tree runs on the general one (`hw.tree_kernel`), a hundred times slower.
"""

from typing import NamedTuple

import numpy as np

from hw import tree_kernel
from hw.fma_gemm import fma_gemm, fma_gemm_blocks
from hw.lowering import Lowered, elements, lower
from hw.mac import MacSpec
from hw.mac_gemm import mac_gemm
from hw.mx_macs import hybrid_mac
from hw.presets import tensor_core_of
from hw.reduction_tree import IntegerAccumulator, ReductionTree
from hw.summation import sequential_fma
from hw.tensor_core_gemm import tensor_core_gemm
from mx_formats.element import FINITE, ElementFormat, decode
from mx_formats.quantize import Quantized
from mx_formats.scale import ScaleFormat


class Scales(NamedTuple):
    """Scales of one operand: a significand with `fraction_bits`, an exponent and a NaN flag, [rows, steps, groups]."""

    significand: np.ndarray
    exponent: np.ndarray
    nan: np.ndarray
    fraction_bits: int


def evaluate_gemm(tree: ReductionTree, a: Quantized, b: Quantized) -> np.ndarray:
    """a @ b.T of block-scaled operands, every output summed by the tree, its accumulator starting at +0.

    Args:
        tree: the datapath; it takes `tree.products` products a step, in order of k.
        a: [m, k], blocks along k.
        b: [n, k], blocks along k.

    Returns:
        float32[m, n], the accumulators' values (exact). Scales of whole tensors, where the formats have them, come on
        top: the float32 product of both, times the accumulator, each rounded to nearest even.

    Raises:
        ValueError: operands that do not fit each other or the tree, or a tree too wide for the kernels.
    """
    _check_operands(a, b)
    values = accumulator_values(tree, _gemm_patterns(tree, a, b))
    if not (a.format.tensor_scale or b.format.tensor_scale):
        return values
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return values * (np.float32(a.tensor_scale) * np.float32(b.tensor_scale))


def _gemm_patterns(tree: ReductionTree, a: Quantized, b: Quantized) -> np.ndarray:
    element, other = a.format.element, b.format.element
    plain = all(part.format.scale.is_power_of_two and part.format.rows == 1 for part in (a, b))
    spec = _hybrid_like(tree, element) if plain and element == other else None
    if spec is not None:
        return mac_gemm(spec, a, b)
    steps = _steps(tree, a.codes, b.codes)
    chained = fma_gemm_blocks(a, b) if tree == sequential_fma() else None
    if chained is not None:
        return chained
    groups = 1
    if any(part.format.columns % tree.products for part in (a, b)):
        groups = tree.scaled_terms
    scale_a, scale_b = (_block_scales(part, tree, steps, groups) for part in (a, b))
    core = tensor_core_of(tree, element, other)
    out = np.zeros((len(a.codes), len(b.codes)), np.uint32)
    if core is not None and plain and groups == 1:
        scales = [scale_a, scale_b]
        return tensor_core_gemm(core, element, a.codes, other, b.codes, tree.accumulator.bits, out, scales)
    return _run(tree, element, a.codes, other, b.codes, scale_a, scale_b, out, a.format.scale)


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
        accumulator: uint32[m, n] patterns in `tree.accumulator` to start from (uint64 if it is wider than 32 bits); +0
            if None.

    Returns:
        Patterns in `tree.accumulator`, [m, n], uint32 or uint64 likewise.

    Raises:
        ValueError: as `evaluate_gemm`.
    """
    steps = _steps(tree, a, b)
    shape = (len(a), len(b))
    dtype = pattern_dtype(tree)
    out = np.zeros(shape, dtype) if accumulator is None else np.array(accumulator, dtype)
    if out.shape != shape:
        raise ValueError(f"accumulator: shape is {out.shape}, must be {shape}")
    if tree == sequential_fma():
        return fma_gemm(element_a, a, element_b, b, out)
    core = tensor_core_of(tree, element_a, element_b)
    if core is not None:
        return tensor_core_gemm(core, element_a, a, element_b, b, tree.accumulator.bits, out, None)
    return _run(tree, element_a, a, element_b, b, _no_scales(len(a), steps), _no_scales(len(b), steps), out)


def evaluate_steps(
    tree: ReductionTree,
    element_a: ElementFormat,
    a: np.ndarray,
    element_b: ElementFormat,
    b: np.ndarray,
    accumulator: np.ndarray,
    scale_a: np.ndarray,
    scale_b: np.ndarray,
    scale: ScaleFormat,
) -> np.ndarray:
    """One step each of `count` independent dots with scales, on the general kernel.

    Args:
        tree: the datapath.
        element_a: format of `a`.
        a: unsigned codes [count, tree.products].
        element_b: format of `b`.
        b: unsigned codes of the same shape.
        accumulator: patterns [count] in `tree.accumulator`.
        scale_a: codes [count, groups]; groups is 1, or `tree.scaled_terms`.
        scale_b: codes of the same shape.
        scale: format of the scales.

    Returns:
        Patterns [count], uint32 or uint64 as the accumulator needs.

    Raises:
        ValueError: shapes that do not fit, or a tree too wide for the kernel.
    """
    count = len(accumulator)
    for name, part in (("a", a), ("b", b)):
        if part.shape != (count, tree.products):
            raise ValueError(f"{name}: shape is {part.shape}, must be {(count, tree.products)}")
    legal = [(count, groups) for groups in (1, tree.scaled_terms)]
    if scale_a.shape not in legal or scale_b.shape != scale_a.shape:
        raise ValueError(f"scales: shapes are {scale_a.shape} and {scale_b.shape}, must be equal and one of {legal}")
    lowered = _lower_for(tree, element_a, element_b, scale)
    left, right = elements(a, element_a), elements(b, element_b)
    parts_a, parts_b = (scale_parts(codes[:, None, :], scale) for codes in (scale_a, scale_b))
    out = np.array(accumulator, np.uint64)
    tree_kernel.steps(lowered, left, right, parts_a, parts_b, out)
    return out.astype(pattern_dtype(tree))


def pattern_dtype(tree: ReductionTree) -> type[np.uint32] | type[np.uint64]:
    """Dtype of patterns of the tree's accumulator."""
    return np.uint32 if tree.accumulator.bits <= 32 else np.uint64


def accumulator_values(tree: ReductionTree, patterns: np.ndarray) -> np.ndarray:
    """float32 values of accumulator patterns.

    Raises:
        ValueError: the accumulator is neither FP16 nor float32 with fewer mantissa bits.
    """
    accumulator = tree.accumulator
    if isinstance(accumulator, IntegerAccumulator):
        raise ValueError(f"accumulator: {accumulator} has no exact float32 value, legal 8 exponent bits or FP16")
    if (accumulator.exponent_bits, accumulator.mantissa_bits) == (5, 10):
        return patterns.astype(np.uint16).view(np.float16).astype(np.float32)
    if accumulator.exponent_bits != 8 or accumulator.mantissa_bits > 23:
        raise ValueError(f"accumulator: {accumulator} has no exact float32 value, legal 8 exponent bits or FP16")
    return (patterns << np.uint32(23 - accumulator.mantissa_bits)).view(np.float32)


def scale_parts(codes: np.ndarray, scale: ScaleFormat) -> Scales:
    """Significand, exponent and NaN of scale codes of any shape."""
    if scale.magnitudes is None:
        nan = codes == scale.nan
        return Scales(np.ones(codes.shape, np.int64), codes.astype(np.int64) - scale.bias, nan, 0)
    element = scale.magnitudes
    decoded = decode(codes & codes.dtype.type((1 << (element.bits - 1)) - 1), element)
    significand, exponent = decoded.significand.astype(np.int64), decoded.exponent.astype(np.int64)
    return Scales(significand, exponent, decoded.kind != FINITE, element.mantissa_bits)


def _check_operands(a: Quantized, b: Quantized) -> None:
    for name, operand in (("a", a), ("b", b)):
        if operand.codes.ndim != 2 or operand.axis != -1:
            raise ValueError(f"{name}: must be 2-D with blocks along the last axis, got {operand.codes.ndim}-D")
    if a.format.scale != b.format.scale:
        raise ValueError(f"b: scales are {b.format.scale.name}, must be {a.format.scale.name} as in a")


def _hybrid_like(tree: ReductionTree, element: ElementFormat) -> MacSpec | None:
    """The hybrid MAC that this tree is, None if it is none."""
    if isinstance(tree.accumulator, IntegerAccumulator):
        return None
    try:
        spec = MacSpec(element, tree.accumulator.mantissa_bits, 16 if tree.products == 16 else 8)
    except ValueError:
        return None
    return spec if tree == hybrid_mac(spec) else None


def _steps(tree: ReductionTree, a: np.ndarray, b: np.ndarray) -> int:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"operands: shapes are {a.shape} and {b.shape}, must be [m, k] and [n, k]")
    if a.shape[1] % tree.products:
        raise ValueError(f"k: got {a.shape[1]}, must be a multiple of the {tree.products} products a step takes")
    return a.shape[1] // tree.products


def _no_scales(rows: int, steps: int) -> Scales:
    shape = (rows, steps, 1)
    return Scales(np.ones(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.bool_), 0)


def _block_scales(operand: Quantized, tree: ReductionTree, steps: int, groups: int) -> Scales:
    """The scales of each step, one or one for each term of the stage where they enter."""
    columns, covered = operand.format.columns, tree.products // groups
    if columns % covered:
        raise ValueError(
            f"block_size: {columns} is no multiple of the {covered} products of {tree.name!r} that share a scale"
        )
    codes = np.repeat(operand.scales, operand.format.rows, axis=0)[: len(operand.codes)]
    codes = np.repeat(codes, columns // covered, axis=1)[:, : steps * groups]
    return scale_parts(codes.reshape(len(codes), steps, groups), operand.format.scale)


def _lower_for(tree: ReductionTree, a: ElementFormat, b: ElementFormat, scale: ScaleFormat | None) -> Lowered:
    lowered = lower(tree, a, b)
    bits = 0 if scale is None or scale.magnitudes is None else 2 * (scale.magnitudes.mantissa_bits + 1)
    if bits > lowered.widest_scale:
        raise ValueError(
            f"scale: two {scale.name if scale else ''} significands have {bits} bits, legal beside the sums that they "
            f"scale in {tree.name!r} up to {lowered.widest_scale}; hw.reference has no limit"
        )
    return lowered


def _run(tree, element_a, a, element_b, b, scale_a, scale_b, out, scale: ScaleFormat | None = None) -> np.ndarray:
    lowered = _lower_for(tree, element_a, element_b, scale)
    wide = out.astype(np.uint64)
    tree_kernel.gemm(lowered, elements(a, element_a), elements(b, element_b), scale_a, scale_b, wide)
    return wide.astype(pattern_dtype(tree))
