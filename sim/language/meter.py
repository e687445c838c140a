"""What a datapath is given while a model runs on it: the shapes of its products, and a sample of their operands."""

from collections import Counter
from dataclasses import replace

import numpy as np

from mx_formats.quantize import Quantized
from mx_formats.torch_modules import Products
from rtl.power.activity import SIDE
from sim.codesign.mapping import Shape

TILES = 16  # of eight rows each, for every length of dot product


class Meter:
    """`products` that counts and remembers what passes through it.

    Attributes:
        shapes: how many products of each (m, n, k), k filled up to whole blocks.
    """

    def __init__(self, products: Products) -> None:
        self._products = products
        self.shapes: Counter[Shape] = Counter()
        self._rows: dict[int, list[tuple[Quantized, Quantized]]] = {}

    def __call__(self, a: Quantized, b: Quantized) -> np.ndarray:
        """As `mx_formats.torch_modules` calls it."""
        m, k = a.codes.shape
        n = len(b.codes)
        self.shapes[m, n, k] += 1
        if m >= SIDE and n >= SIDE:
            self._rows.setdefault(k, []).append((_first_rows(a), _first_rows(b)))
        return self._products(a, b)

    @property
    def products(self) -> int:
        """Multiplications."""
        return sum(count * m * n * k for (m, n, k), count in self.shapes.items())

    def sample(self) -> list[tuple[Quantized, Quantized]]:
        """Eight rows and columns of up to 16 products of each length, spread evenly over all that passed."""
        pairs = []
        for rows in self._rows.values():
            chosen = np.unique(np.linspace(0, len(rows) - 1, TILES).astype(np.int64))
            pairs.append((_stacked([rows[i][0] for i in chosen]), _stacked([rows[i][1] for i in chosen])))
        return pairs


def _first_rows(part: Quantized) -> Quantized:
    return replace(part, codes=part.codes[:SIDE].copy(), scales=part.scales[:SIDE].copy())


def _stacked(parts: list[Quantized]) -> Quantized:
    codes, scales = (np.concatenate([getattr(part, name) for part in parts]) for name in ("codes", "scales"))
    return replace(parts[0], codes=codes, scales=scales)
