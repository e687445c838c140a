"""What a design's array spends on the run's dot products: toggles of its own gates under a sample of the operands.

The sample is `TILES` tiles of 8 x 8 outputs, spread evenly over the run's. Means of its cycles stand for all cycles. A
MAC without an output in a partial tile, and registers of a row or column without one, are not clocked.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from math import ceil

import numpy as np

from hw.technology import load_technology
from mx_formats.quantize import quantize
from rtl.mac import MacDesign
from rtl.power.activity import SIDE, Activity, cached_activity
from rtl.power.array import CycleEnergy, cycle_energy
from sim.codesign.cost import mac_design
from sim.codesign.design import Design
from sim.codesign.mapping import Shape
from sim.dots import Dots

TILES = 32


def energy_pj(design: Design, dots: tuple[Dots, ...], operands: str, shapes: Counter[Shape]) -> float | None:
    """Energy of a workload's products on a design; None where there is no RTL to count toggles in.

    Args:
        design: the array and its technology.
        dots: the run's dot products.
        operands: their digest.
        shapes: the matrix products they make, each with how many there are.

    Raises:
        TechnologyError: a technology that cannot be used.
        ToolError: Yosys is missing or fails.
    """
    try:
        mac = mac_design(design)
    except ValueError:
        return None
    found = _activity(mac, design, dots, operands)
    parts = cycle_energy(found, load_technology(design.technology))
    return sum(count * product_fj(shape, parts, design, found.lanes) for shape, count in shapes.items()) / 1000


def product_fj(shape: Shape, parts: CycleEnergy, design: Design, lanes: int) -> float:
    """An m x n x k product: outputs stay, rows of the left come once a tile along n, rows of the right once along m."""
    m, n, k = shape
    cycles = ceil(k / lanes)
    left = parts.left + design.columns * parts.left_wire
    right = parts.right + design.rows * parts.right_wire
    per_cycle = m * n * (parts.gates + parts.accumulator)
    per_cycle += m * ceil(n / design.columns) * left + n * ceil(m / design.rows) * right
    return cycles * per_cycle


_known: dict[tuple, Activity] = {}


def _activity(mac: MacDesign, design: Design, dots: tuple[Dots, ...], operands: str) -> Activity:
    """Activity of a MAC; the last one is kept, since designs that share it come together."""
    key = mac, design.block_format, operands
    if key not in _known:
        block = design.block_format
        pairs = [(quantize(a, block), quantize(b, block)) for a, b in sample(dots, TILES)]
        found = cached_activity(mac, pairs)
        _known.clear()
        _known[key] = found
    return _known[key]


def sample(dots: Iterable[Dots], tiles: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Tiles of 8 x 8 dot products spread evenly over all, float32[8 t, K] twice for each length K.

    Every length has a share of the tiles as large as its share of the products, and at least one tile.
    """
    groups = tuple(dots)
    products = sum(group.count * group.length for group in groups)
    for group in groups:
        halves = group.a.reshape(-1, SIDE, group.length)  # two tiles an instruction's 16 x 8 outputs
        share = max(1, round(tiles * group.count * group.length / products))
        chosen = np.unique(np.linspace(0, len(halves) - 1, share).astype(np.int64))
        yield halves[chosen].reshape(-1, group.length), group.b[chosen // 2].reshape(-1, group.length)
