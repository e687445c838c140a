"""A run's dot products cycle by cycle on the hybrid MAC's model: input for the RTL, and what it must answer."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hw.mac import MacSpec
from mx_formats.block import BlockFormat
from mx_formats.quantize import Quantized, quantize
from rtl.cosim import MacVectors
from rtl.mac import MacDesign
from rtl.mac.model import model_step
from sim.dots import Dots


class Cycle(NamedTuple):
    """What the MAC takes in one cycle of N dot products: codes uint8[N, lanes], scale codes uint8[N]."""

    a: np.ndarray
    b: np.ndarray
    xa: np.ndarray
    xb: np.ndarray


def mac_vectors(dots: tuple[Dots, ...], block: BlockFormat, design: MacDesign, at_least: int) -> MacVectors:
    """MAC cycles of whole dot products spread evenly over `dots`, with the accumulator the model leaves after each.

    Args:
        dots: dot products of a run.
        block: format both operands are cast to.
        design: the MAC.
        at_least: cycles wanted; dot products are whole, so a few more may come.

    Raises:
        ValueError: the dots have fewer cycles than that, or the MAC has no such format.
    """
    spec = design.spec(block.element.name)
    available = sum(group.count * group.length for group in dots) // spec.lanes
    if available < at_least:
        raise ValueError(f"{block.name}: the run's dots make {available} MAC cycles, {at_least} are wanted")
    parts = [_vectors(group, block, design, -(-at_least * group.count * group.length // (available * spec.lanes)))
             for group in dots]  # fmt: skip
    return MacVectors(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _vectors(dots: Dots, block: BlockFormat, design: MacDesign, at_least: int) -> tuple[np.ndarray, ...]:
    """Columns of `MacVectors` for at least so many cycles of one group of dots."""
    name = block.element.name
    spec = design.spec(name)
    cycles = dots.length // spec.lanes
    chosen = np.linspace(0, dots.count - 1, -(-at_least // cycles)).astype(np.int64)
    tile, row, column = np.unravel_index(chosen, dots.tensor_core.shape)
    a = quantize(dots.a[tile, row], block)
    b = quantize(dots.b[tile, column], block)
    accumulator, steps = np.zeros(len(chosen), np.uint32), []
    for index, cycle in enumerate(_cycles(spec, a, b)):
        accumulator = model_step(design, name, *cycle, accumulator)
        steps.append((*cycle, np.full(len(chosen), index == 0), accumulator))
    # From [cycle][dot] to dots one after another.
    return tuple(np.stack(column, axis=1).reshape(-1, *column[0].shape[1:]) for column in zip(*steps, strict=True))


def _cycles(spec: MacSpec, a: Quantized, b: Quantized) -> Iterator[Cycle]:
    """What each cycle of N dot products takes, from operands of shape [N, K]."""
    for k in range(0, a.codes.shape[1], spec.lanes):
        lanes, block = slice(k, k + spec.lanes), k // a.format.block_size
        yield Cycle(a.codes[:, lanes], b.codes[:, lanes], a.scales[:, block], b.scales[:, block])
