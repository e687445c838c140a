"""How fast the generated RTL runs, compiled and fed with arrays."""

from collections.abc import Iterator

import numpy as np

from hw.mac import step
from rtl.mac import MacDesign
from rtl.simulate import rtl_mac_step
from sim.errors import SimError
from sim.measure import Measurement, best_seconds

PEER = "cocotb 2.1 with Verilator"  # a 16-lane int8 tree, driven and checked in every cycle
PEER_CYCLES_PER_SECOND = 84e3
VECTORS = 500_000
ELEMENT, LANES = "E4M3", 4


def measure(budget_seconds: float) -> Iterator[Measurement]:
    """Yield RTL cycles a second with new random operands in every cycle."""
    design = MacDesign()
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 127, (2, VECTORS, LANES), dtype=np.uint8)
    xa, xb = rng.integers(100, 150, (2, VECTORS), dtype=np.uint8)
    accumulator = np.zeros(VECTORS, np.uint32)
    seconds = best_seconds(lambda: rtl_mac_step(design, ELEMENT, a, b, xa, xb, accumulator), budget_seconds)
    rate = VECTORS / seconds
    yield Measurement("rtl", "hybrid MAC, compiled RTL", rate, "cycles/s", PEER, PEER_CYCLES_PER_SECOND)

    def compared() -> None:
        expected = step(design.spec(ELEMENT), a, b, xa, xb, accumulator)
        if (rtl_mac_step(design, ELEMENT, a, b, xa, xb, accumulator) != expected).any():
            raise SimError("the RTL and the model differ; `warptree rtl test` shows where")

    rate = VECTORS / best_seconds(compared, budget_seconds)
    yield Measurement("rtl", "and every cycle checked by the model", rate, "cycles/s", PEER, PEER_CYCLES_PER_SECOND)
