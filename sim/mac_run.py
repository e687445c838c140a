"""Dot products cycle by cycle on the hybrid MAC's model: the results, and the cycles themselves as RTL vectors."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hw import mac
from hw.mac import MacSpec
from mx_formats.block import BlockFormat
from mx_formats.quantize import Quantized, quantize
from rtl.cosim import MacVectors
from sim.dots import Dots

FLOAT32_MANTISSA = 23


class Cycle(NamedTuple):
    """What the MAC takes in one cycle of N dot products: codes uint8[N, lanes], scale codes uint8[N]."""

    a: np.ndarray
    b: np.ndarray
    xa: np.ndarray
    xb: np.ndarray


def sum_on_mac(spec: MacSpec, a: Quantized, b: Quantized) -> np.ndarray:
    """Every dot product of each tile, from +0, products in order of k.

    Args:
        spec: the MAC's mode; its element is that of both operands.
        a: codes uint8[n, 16, K], blocks along K.
        b: codes uint8[n, 8, K].

    Returns:
        float32[n, 16, 8], the accumulator's value: exact, as it has float32's exponent and no more mantissa.
    """
    shape = (a.codes.shape[0], a.codes.shape[1], b.codes.shape[1])
    accumulator = np.zeros(int(np.prod(shape)), np.uint32)
    for cycle in _cycles(spec, a, b):
        accumulator = mac.step(spec, *cycle, accumulator)
    return (accumulator << np.uint32(FLOAT32_MANTISSA - spec.mantissa_bits)).view(np.float32).reshape(shape)


def mac_vectors(dots: tuple[Dots, ...], block: BlockFormat, mantissa_bits: int, at_least: int) -> MacVectors:
    """MAC cycles of whole dot products spread evenly over `dots`, with the accumulator the model leaves after each.

    Args:
        dots: dot products of a run.
        block: format both operands are cast to.
        mantissa_bits: M of the MAC.
        at_least: cycles wanted; dot products are whole, so a few more may come.

    Raises:
        ValueError: the dots have fewer cycles than that.
    """
    spec = MacSpec(block.element, mantissa_bits)
    available = sum(group.count * group.length for group in dots) // spec.lanes
    if available < at_least:
        raise ValueError(f"{block.name}: the run's dots make {available} MAC cycles, {at_least} are wanted")
    parts = [_vectors(group, block, spec, -(-at_least * group.count * group.length // (available * spec.lanes)))
             for group in dots]  # fmt: skip
    return MacVectors(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _vectors(dots: Dots, block: BlockFormat, spec: MacSpec, at_least: int) -> tuple[np.ndarray, ...]:
    """Columns of `MacVectors` for at least so many cycles of one group of dots."""
    cycles = dots.length // spec.lanes
    chosen = np.linspace(0, dots.count - 1, -(-at_least // cycles)).astype(np.int64)
    tile, row, column = np.unravel_index(chosen, dots.tensor_core.shape)
    a = quantize(dots.a[tile, row][:, None], block)
    b = quantize(dots.b[tile, column][:, None], block)
    accumulator, steps = np.zeros(len(chosen), np.uint32), []
    for index, cycle in enumerate(_cycles(spec, a, b)):
        accumulator = mac.step(spec, *cycle, accumulator)
        steps.append((*cycle, np.full(len(chosen), index == 0), accumulator))
    # From [cycle][dot] to dots one after another.
    return tuple(np.stack(column, axis=1).reshape(-1, *column[0].shape[1:]) for column in zip(*steps, strict=True))


def _cycles(spec: MacSpec, a: Quantized, b: Quantized) -> Iterator[Cycle]:
    n, rows, length = a.codes.shape
    columns = b.codes.shape[1]
    for k in range(0, length, spec.lanes):
        block = k // a.format.block_size
        codes_a = np.broadcast_to(a.codes[:, :, None, k : k + spec.lanes], (n, rows, columns, spec.lanes))
        codes_b = np.broadcast_to(b.codes[:, None, :, k : k + spec.lanes], (n, rows, columns, spec.lanes))
        scales_a = np.broadcast_to(a.scales[:, :, None, block], (n, rows, columns))
        scales_b = np.broadcast_to(b.scales[:, None, :, block], (n, rows, columns))
        yield Cycle(codes_a.reshape(-1, spec.lanes), codes_b.reshape(-1, spec.lanes),
                    scales_a.reshape(-1), scales_b.reshape(-1))  # fmt: skip
