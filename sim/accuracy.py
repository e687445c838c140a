"""A run's dot products through an MX datapath: how far from exact, and whose fault it is.

The error against float64 has two parts, reported apart: casting the operands to the format, and summing on the
reduction tree with its narrow accumulator. Both operands are cast in blocks along K, as OCP MX 1.0 defines a dot
product; the sum starts from zero.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import numpy as np

from hw.evaluate import evaluate_gemm
from hw.mac import MacSpec
from hw.mx_macs import hybrid_mac
from hw.reduction_tree import ReductionTree
from mx_formats.block import BlockFormat
from mx_formats.error import qsnr_db
from mx_formats.quantize import Quantized, dequantize, quantize
from sim.dots import Dots


@dataclass(frozen=True)
class FormatAccuracy:
    """Errors of one format on one tree, over all sampled dot products.

    Attributes:
        format: name of the block format, both operands.
        tree: name of the reduction tree.
        dots: dot products evaluated.
        products: multiply-accumulates in them.
        qsnr_db: of the results against float64 on the uncast operands, 10 log10(sum x^2 / sum (x - y)^2).
        cast_qsnr_db: the same with a float64 sum of the cast operands: what the format alone costs.
        tensor_core_qsnr_db: of the tensor core's own results against float64.
        max_abs_err: largest error against float64.
        max_abs_err_tensor_core: largest difference from the tensor core's result.
        max_abs_err_tree: largest error of the tree against a float64 sum of the cast operands.
    """

    format: str
    tree: str
    dots: int
    products: int
    qsnr_db: float
    cast_qsnr_db: float
    tensor_core_qsnr_db: float
    max_abs_err: float
    max_abs_err_tensor_core: float
    max_abs_err_tree: float

    def as_dict(self) -> dict[str, str | int | float]:
        """One table row."""
        return asdict(self)


def measurable(dots: Iterable[Dots]) -> tuple[Dots, ...]:
    """The tiles on which errors are defined: all operands finite, and not all zero."""
    kept = []
    for group in dots:
        finite = np.isfinite(group.a).all((1, 2)) & np.isfinite(group.b).all((1, 2))
        good = finite & group.tensor_core.any((1, 2))
        if good.any():
            kept.append(Dots(group.a[good], group.b[good], group.tensor_core[good]))
    return tuple(kept)


def evaluate_format(dots: tuple[Dots, ...], block: BlockFormat, mantissa_bits: int) -> FormatAccuracy:
    """Evaluate `dots` (at least one, as `measurable` leaves them) on the hybrid tree with an M-bit mantissa.

    Raises:
        ValueError: no dots, or M outside what the element allows.
    """
    return evaluate_tree(dots, block, hybrid_mac(MacSpec(block.element, mantissa_bits)))


def evaluate_tree(dots: tuple[Dots, ...], block: BlockFormat, tree: ReductionTree) -> FormatAccuracy:
    """Evaluate `dots` (at least one, as `measurable` leaves them), cast to `block`, on any tree.

    Raises:
        ValueError: no dots, or a tree that cannot hold products of the element.
    """
    exact = _pooled(dots, lambda group: _products(group.a, group.b))
    tensor_core = _pooled(dots, lambda group: group.tensor_core)
    quantized = [(quantize(group.a, block), quantize(group.b, block)) for group in dots]
    cast = np.concatenate([_products(dequantize(a), dequantize(b)).ravel() for a, b in quantized])
    summed = np.concatenate([tree_sums(tree, a, b).ravel() for a, b in quantized]).astype(np.float64)
    return FormatAccuracy(
        format=block.name,
        tree=tree.name,
        dots=exact.size,
        products=sum(group.count * group.length for group in dots),
        qsnr_db=qsnr_db(exact, summed),
        cast_qsnr_db=qsnr_db(exact, cast),
        tensor_core_qsnr_db=qsnr_db(exact, tensor_core),
        max_abs_err=_largest(summed - exact),
        max_abs_err_tensor_core=_largest(summed - tensor_core),
        max_abs_err_tree=_largest(summed - cast),
    )


def tree_sums(tree: ReductionTree, a: Quantized, b: Quantized) -> np.ndarray:
    """Every dot product of each tile, from +0 in order of k: [n, 16, K] and [n, 8, K] to float32[n, 16, 8]."""
    tiles = [
        [
            Quantized(*tile, side.format, tensor_scale=side.tensor_scale)
            for tile in zip(side.codes, side.scales, strict=True)
        ]
        for side in (a, b)
    ]
    return np.stack([evaluate_gemm(tree, *pair) for pair in zip(*tiles, strict=True)])


def _products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a.astype(np.float64) @ b.astype(np.float64).swapaxes(1, 2)


def _pooled(dots: tuple[Dots, ...], values: Callable[[Dots], np.ndarray]) -> np.ndarray:
    return np.concatenate([values(group).ravel() for group in dots]).astype(np.float64)


def _largest(error: np.ndarray) -> float:
    return float(np.abs(error).max())
