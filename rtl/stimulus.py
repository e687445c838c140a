"""Random and adversarial cycles of the MAC, for comparing its renderings."""

import numpy as np

from mx_formats.element import FINITE, decode
from rtl.mac import MacDesign


class Cycles:
    """N independent random cycles of one mode; the attributes are named and shaped as `rtl_mac_step` takes them.

    Scales and accumulators are such that every distance of the alignment window is met. A tenth each have any scales
    and accumulator at all, no accumulator, zero operands, or products that cancel.

    Args:
        design: the MAC.
        element: name of one of its modes.
        n: how many.
        seed: the same seed gives the same cycles.
        finite: no NaN or infinity among codes and scales.
    """

    def __init__(self, design: MacDesign, element: str, n: int, seed: int, *, finite: bool = False):
        self.design, self.element = design, element
        spec = design.spec(element)
        rng = np.random.default_rng([seed, design.mode(element), design.mantissa_bits])
        self.a = rng.integers(0, 1 << spec.element.bits, (n, spec.lanes), dtype=np.uint8)
        self.b = rng.integers(0, 1 << spec.element.bits, (n, spec.lanes), dtype=np.uint8)
        self.xa = rng.integers(100, 155, n).astype(np.uint8)
        self.xb = rng.integers(100, 155, n).astype(np.uint8)
        self.acc = self._accumulators(rng, n)
        self._make_adversarial(rng, n)
        if finite:
            self.xa, self.xb = np.minimum(self.xa, 254), np.minimum(self.xb, 254)
            for codes in (self.a, self.b):
                codes[decode(codes, spec.element).kind != FINITE] = 0

    def _accumulators(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Exponents around the product sum's."""
        m = self.design.mantissa_bits
        near = self.xa.astype(int) + self.xb - 127 + rng.integers(-2 * m - 12, m + 12, n)
        mantissa = rng.integers(0, 1 << m, n)
        mantissa = np.select([rng.random(n) < 0.2, rng.random(n) < 0.2], [0, (1 << m) - 1], mantissa)
        sign = rng.integers(0, 2, n)
        return (sign << (m + 8) | np.clip(near, 0, 255) << m | mantissa).astype(np.uint32)

    def _make_adversarial(self, rng: np.random.Generator, n: int) -> None:
        wild, empty, zero, cancel = (rng.random(n) < 0.1 for _ in range(4))
        self.xa[wild] = rng.integers(0, 256, wild.sum())
        self.xb[wild] = rng.integers(0, 256, wild.sum())
        self.acc[wild] = rng.integers(0, 1 << self.design.accumulator_bits, wild.sum(), dtype=np.uint32)
        self.acc[empty] = 0
        self.a[zero] = 0
        if self.a.shape[1] > 1:
            half = self.a.shape[1] // 2
            top = np.uint8(1 << (self.design.spec(self.element).element.bits - 1))
            self.a[cancel, half:] = self.a[cancel, :half]
            self.b[cancel, half:] = self.b[cancel, :half] ^ top

    def inputs(self) -> dict[str, np.ndarray]:
        """All of them, by argument name."""
        return {name: getattr(self, name) for name in ("a", "b", "xa", "xb", "acc")}
