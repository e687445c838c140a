"""An output-stationary array of hybrid MACs (KU Leuven, arXiv 2511.06313): values, cycle by cycle, and cycle counts.

Every MAC keeps one output. In a cycle each row of the array gets the next `lanes` elements of its row of A, each
column those of its column of B, broadcast, so that an 8 x 8 x 8 tile takes 8, 2 or 1 cycles in INT8, FP8 and FP6, or
FP4. When a tile's outputs are done, the next tile starts; nothing overlaps and nothing is skewed.
"""

from dataclasses import dataclass

import numpy as np

from hw.evaluate import evaluate_gemm
from hw.mac import MacSpec, step
from hw.mx_macs import hybrid_mac
from mx_formats.quantize import Quantized


@dataclass(frozen=True)
class ArraySpec:
    """An array of MACs.

    Attributes:
        mac: each of them.
        rows: outputs along m.
        columns: outputs along n.
    """

    mac: MacSpec
    rows: int = 8
    columns: int = 8

    def __post_init__(self) -> None:
        for name, size in (("rows", self.rows), ("columns", self.columns)):
            if size < 1:
                raise ValueError(f"ArraySpec.{name}: got {size}, must be 1 or more")

    @property
    def products_per_cycle(self) -> int:
        """Multiply-accumulates of the whole array a cycle."""
        return self.rows * self.columns * self.mac.lanes

    def cycles(self, m: int, n: int, k: int) -> int:
        """Cycles of an m x n x k product; partial tiles and a partial last cycle count whole."""
        tiles = -(-m // self.rows) * -(-n // self.columns)
        return tiles * -(-k // self.mac.lanes)


@dataclass(frozen=True)
class ArrayRun:
    """What a matrix product costs and gives on an array.

    Attributes:
        values: float32[m, n], exact values of the accumulators.
        cycles: of the array.
        utilisation: multiply-accumulates done over those the cycles had room for, 0 to 1.
    """

    values: np.ndarray
    cycles: int
    utilisation: float


def run(array: ArraySpec, a: Quantized, b: Quantized) -> ArrayRun:
    """a @ b.T on the array.

    Args:
        array: its MAC has the operands' element.
        a: [m, k], blocks along k.
        b: [n, k], blocks along k.

    Raises:
        ValueError: operands of another element, or that do not fit the MAC.
    """
    for name, operand in (("a", a), ("b", b)):
        if operand.format.element != array.mac.element:
            element = operand.format.element.name
            raise ValueError(f"{name}: element is {element}, must be the MAC's {array.mac.element.name}")
    values = evaluate_gemm(hybrid_mac(array.mac), a, b)
    m, n, k = *values.shape, a.codes.shape[1]
    cycles = array.cycles(m, n, k)
    return ArrayRun(values, cycles, m * n * k / max(cycles * array.products_per_cycle, 1))


def trace(array: ArraySpec, a: np.ndarray, b: np.ndarray, scale_a: np.ndarray, scale_b: np.ndarray) -> np.ndarray:
    """The accumulators of one tile after every cycle.

    Args:
        array: the array.
        a: uint8[rows, k], element codes of one block, k a multiple of the lanes.
        b: uint8[columns, k].
        scale_a: uint8[rows], E8M0 code of each row's block.
        scale_b: uint8[columns].

    Returns:
        uint32[cycles, rows, columns], patterns.

    Raises:
        ValueError: shapes that do not fit the array.
    """
    lanes, k = array.mac.lanes, a.shape[-1]
    if a.shape != (array.rows, k) or b.shape != (array.columns, k) or k % lanes:
        raise ValueError(
            f"tile: got {a.shape} and {b.shape}, must be {(array.rows, k)} and {(array.columns, k)} with k a multiple "
            f"of {lanes}"
        )
    sums = np.zeros(array.rows * array.columns, np.uint32)
    shared_a, shared_b = np.repeat(scale_a, array.columns), np.tile(scale_b, array.rows)
    after = np.empty((k // lanes, array.rows, array.columns), np.uint32)
    for cycle in range(k // lanes):
        part = slice(cycle * lanes, (cycle + 1) * lanes)
        left, right = np.repeat(a[:, part], array.columns, axis=0), np.tile(b[:, part], (array.rows, 1))
        sums = step(array.mac, left, right, shared_a, shared_b, sums)
        after[cycle] = sums.reshape(array.rows, array.columns)
    return after
