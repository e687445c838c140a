"""An NPU around the array of MX MACs: streamers, scratchpad, DMA, requantiser; cycles of matrix products on it.

The machine is KU Leuven's integration of the array in SNAX (arXiv 2511.06313): 8 x 8 hybrid MACs, a scratchpad of
128 KiB in 32 banks, a DMA of 512 bits a cycle, streamers that bring both operands from the scratchpad every cycle, and
a requantiser that takes a finished tile's outputs at once. Blocks are 8 x 8 squares that share one E8M0 scale.

How a product is done
    Outputs stay in the array: a tile of `rows` x `columns` outputs takes k / lanes cycles, k filled up to whole blocks.
    While a tile is computed, the requantiser works on the one before; its outputs go to the scratchpad. Array and
    requantiser take the cycles of our RTL (`engine_cycles`), whose counters are only 16 bits wide.
    A step computes the tiles of a panel of the left operand times a panel of the right one, both whole along k. While
    it runs, the DMA brings what the next step needs and takes away the outputs of the last one: everything has two
    buffers. A step lasts as long as the longer of the two; its products start `start_cycles` late.
    One operand stays while the panels of the other pass; which, and how large the panels, is what takes fewest cycles.
    Where not even two panels of one tile fit, a step is a part of a tile along k.

Our RTL (`rtl.npu`) takes the same cycles where operands, outputs and DMA lie in different banks and panels fill whole
lines of the DMA; `hw.npu_step` counts any other layout, conflicts included. Assumed, since no source says: main memory
keeps up with the DMA, and the control core writes a step's registers while the one before runs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from hw.mac_array import ArraySpec

BLOCK = 8  # side of the square that shares a scale
_LARGEST_PANEL = 512  # tiles


@dataclass(frozen=True)
class NpuSpec:
    """The machine.

    Attributes:
        array: of MACs; its element is that of both operands.
        output_bits: of an output element, after requantisation.
        scratchpad_bytes: of all banks.
        dma_bytes: moved between main memory and scratchpad a cycle.
        start_cycles: of a step beside the engine's: its START, two until the first operands are there, one to write
            the last outputs.
        clock_hz: of everything.
    """

    array: ArraySpec
    output_bits: int = 8
    scratchpad_bytes: int = 128 * 1024
    dma_bytes: int = 64
    start_cycles: int = 4
    clock_hz: float = 500e6

    def __post_init__(self) -> None:
        for name, least in (("output_bits", 1), ("scratchpad_bytes", 1), ("dma_bytes", 1), ("start_cycles", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"NpuSpec.{name}: got {getattr(self, name)}, must be {least} or more")

    @property
    def peak_gops(self) -> float:
        """10^9 operations a second, a product and its sum being two."""
        return 2 * self.array.products_per_cycle * self.clock_hz / 1e9

    def bytes_of(self, elements: ArrayLike, bits: int) -> np.ndarray:
        """Elements with their share of scales."""
        return np.asarray(elements) * (bits / 8 + 1 / BLOCK**2)

    def lines_of(self, elements: ArrayLike, bits: int) -> np.ndarray:
        """Cycles of the DMA for them: codes and scales lie apart, each in whole lines."""
        elements = np.asarray(elements)
        return np.ceil(elements * bits / 8 / self.dma_bytes) + np.ceil(elements / BLOCK**2 / self.dma_bytes)


@dataclass(frozen=True)
class Window:
    """Where the left operand is a convolution's input: neighbouring rows read many of the same elements.

    Attributes:
        channels: of the input.
        kernel: side of the square window.
        stride: between windows.
        width_in: of the input, padding included.
        width_out: windows side by side.
    """

    channels: int
    kernel: int
    stride: int
    width_in: int
    width_out: int

    def elements(self, rows: ArrayLike) -> np.ndarray:
        """Input elements that so many consecutive windows need, whole lines."""
        lines = -(-np.asarray(rows) // self.width_out) * self.stride + self.kernel - self.stride
        return lines * self.width_in * self.channels


@dataclass(frozen=True)
class Product:
    """A matrix product [m, k] x [n, k], done `count` times on different operands."""

    name: str
    m: int
    n: int
    k: int
    count: int = 1
    window: Window | None = None

    def __post_init__(self) -> None:
        for name in ("m", "n", "k", "count"):
            if getattr(self, name) < 1:
                raise ValueError(f"Product.{name}: got {getattr(self, name)}, must be 1 or more")

    @property
    def products(self) -> int:
        """Multiplications asked for."""
        return self.m * self.n * self.k * self.count


@dataclass(frozen=True)
class ProductRun:
    """What a product takes.

    Attributes:
        cycles: from the first load to the last store.
        array_cycles: in which the array had operands.
        dma_bytes: moved, both ways.
        panels: rows of the left panel and of the right one.
        utilisation: products asked for over those that all cycles had room for, 0 to 1.
    """

    cycles: int
    array_cycles: int
    dma_bytes: int
    panels: tuple[int, int]
    utilisation: float


def engine_cycles(tiles: ArrayLike, steps: ArrayLike) -> np.ndarray:
    """Cycles in which the tile engine (`rtl.engine`) does tiles of so many steps each, operands always there.

    From the cycle after its start until the last outputs are taken: a tile takes its steps, but at least two, and
    outputs leave two cycles after a tile's last operands.
    """
    tiles, steps = np.asarray(tiles), np.asarray(steps)
    return (tiles - 1) * np.maximum(steps, 2) + steps + 2


_Plan = tuple[int, int, int, tuple[int, int]]


def run(npu: NpuSpec, work: Product) -> ProductRun:
    """Cycles of a product, its panels chosen for fewest.

    Raises:
        ValueError: a scratchpad that cannot hold two blocks of every operand.
    """
    found = [plan for plan in _plans(npu, work) if plan is not None]
    if not found:
        raise ValueError(
            f"NpuSpec.scratchpad_bytes: got {npu.scratchpad_bytes}, too small for a tile of {work.name} twice"
        )
    cycles, array_cycles, moved, panels = min(found)
    room = cycles * npu.array.products_per_cycle
    return ProductRun(
        cycles * work.count, array_cycles * work.count, moved * work.count, panels, work.products / work.count / room
    )


def _plans(npu: NpuSpec, work: Product) -> Iterator[_Plan | None]:
    """Every way of doing one product: cycles, the array's cycles, bytes moved, panels."""
    sizes = [2**i for i in range(_LARGEST_PANEL.bit_length())]
    for left, right in product(sizes, repeat=2):
        for left_stays in (True, False):
            yield _panels(npu, work, left, right, left_stays)
    yield _parts_of_a_tile(npu, work)


def _panels(npu: NpuSpec, work: Product, left: int, right: int, left_stays: bool) -> _Plan | None:
    """Panels of `left` and `right` tiles; None where they do not fit, or smaller ones do as well."""
    array, bits = npu.array, npu.array.mac.element.bits
    depth = -(-work.k // BLOCK) * BLOCK
    rows, columns = _split(work.m, left * array.rows), _split(work.n, right * array.columns)
    if (left > 1 and len(rows) == 1 and work.m <= left // 2 * array.rows) or (
        right > 1 and len(columns) == 1 and work.n <= right // 2 * array.columns
    ):
        return None
    left_elements = np.minimum(rows * depth, _window_elements(work, rows))
    right_elements, outputs = columns * depth, np.multiply.outer(rows, columns)
    held = sum(npu.bytes_of(side.max() * min(2, len(side)), bits) for side in (left_elements, right_elements))
    if held + 2 * npu.bytes_of(outputs.max(), npu.output_bits) > npu.scratchpad_bytes:
        return None
    tiles = np.multiply.outer(-(-rows // array.rows), -(-columns // array.columns))
    steps = depth // array.mac.lanes
    busy = engine_cycles(tiles, steps)

    def brought(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Before each step: of the operand that stays once, of the other each time, but once if it is all there."""
        stays, passes = (left, right) if left_stays else (right, left)
        found = np.zeros((len(stays), len(passes)))
        found[:, 0] += stays
        found += passes if len(passes) > 1 else 0
        found[0, 0] += 0 if len(passes) > 1 else passes[0]
        return found.ravel()

    loads = brought(npu.lines_of(left_elements, bits), npu.lines_of(right_elements, bits))
    moved = brought(npu.bytes_of(left_elements, bits), npu.bytes_of(right_elements, bits)).sum()
    moved += npu.bytes_of(outputs.sum(), npu.output_bits)
    if not left_stays:
        busy, outputs = busy.T, outputs.T
    cycles = _overlapped(npu, busy.ravel(), loads, npu.lines_of(outputs.ravel(), npu.output_bits))
    return cycles, int(tiles.sum()) * steps, int(np.ceil(moved)), (int(rows.max()), int(columns.max()))


def _parts_of_a_tile(npu: NpuSpec, work: Product) -> _Plan | None:
    """Tile by tile, each in as many parts along k as two buffers of both operands need."""
    array, bits = npu.array, npu.array.mac.element.bits
    depth = -(-work.k // BLOCK) * BLOCK
    side = array.rows + array.columns
    outputs = array.rows * array.columns
    output_bytes = npu.bytes_of(outputs, npu.output_bits)
    room = float((npu.scratchpad_bytes - 2 * output_bytes) / 2 / npu.bytes_of(side, bits))
    if room < BLOCK:
        return None
    fewest = -(-depth // (int(room) // BLOCK * BLOCK))
    parts = _split(depth, -(-depth // fewest // BLOCK) * BLOCK)  # alike, so that loads and products take turns evenly
    tiles = -(-work.m // array.rows) * -(-work.n // array.columns)
    ends = np.r_[np.zeros(len(parts) - 1, np.int64), 1]
    steps = parts // array.mac.lanes
    busy = np.tile(np.where(ends, engine_cycles(1, steps), steps), tiles)
    loads = np.tile(npu.lines_of(array.rows * parts, bits) + npu.lines_of(array.columns * parts, bits), tiles)
    stores = np.tile(npu.lines_of(outputs, npu.output_bits) * ends, tiles)
    cycles = _overlapped(npu, busy, loads, stores)
    moved = int(np.ceil(tiles * (npu.bytes_of(side * depth, bits) + output_bytes)))
    return cycles, tiles * int(steps.sum()), moved, (array.rows, array.columns)


def _overlapped(npu: NpuSpec, busy: np.ndarray, loads: np.ndarray, stores: np.ndarray) -> int:
    """Cycles of steps one after the other, the lines of loads a step ahead and those of stores a step behind."""
    dma = np.r_[loads[1:], 0] + np.r_[0, stores[:-1]]
    return int(np.maximum(busy + npu.start_cycles, dma).sum() + loads[0] + stores[-1])


def _split(size: int, panel: int) -> np.ndarray:
    """Sizes of panels, all alike but the last."""
    whole, rest = divmod(size, panel)
    return np.array([panel] * whole + [rest] * bool(rest))


def _window_elements(work: Product, rows: np.ndarray) -> np.ndarray | float:
    return np.inf if work.window is None else work.window.elements(rows)
