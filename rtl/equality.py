"""The MAC's compiled RTL against the value model of its tree, in bulk."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hw.evaluate import evaluate_steps
from hw.mac import step
from mx_formats.scale import E8M0
from rtl.mac import MacDesign, Tree
from rtl.simulate import rtl_mac_step
from rtl.stimulus import Cycles

DOTS_AT_ONCE = 100_000
CYCLES_PER_DOT = 8
UNIT_SCALE = 127  # the E8M0 code of 1


class Difference(Exception):
    """The RTL and the model differ; the message shows the first input for which they do."""


@dataclass(frozen=True)
class Checked:
    """So many cycles of one format agreed."""

    element: str
    what: str
    cycles: int


def check_product_pairs(design: MacDesign, element: str) -> Checked:
    """Every pair of codes, alone in each lane in turn; raises `Difference`."""
    spec = design.spec(element)
    codes = np.arange(1 << spec.element.bits, dtype=np.uint8)
    left, right = (side.ravel() for side in np.meshgrid(codes, codes, indexing="ij"))
    ones, zero = np.full(left.size, UNIT_SCALE, np.uint8), np.zeros(left.size, np.uint32)
    for lane in range(spec.lanes):
        a, b = np.zeros((2, left.size, spec.lanes), np.uint8)
        a[:, lane], b[:, lane] = left, right
        _compare(design, element, {"a": a, "b": b, "xa": ones, "xb": ones, "acc": zero})
    return Checked(element, "product pairs", left.size * spec.lanes)


def check_dots(design: MacDesign, element: str, dots: int, seed: int = 0) -> Iterator[Checked]:
    """Random dot products of eight cycles, sums fed back; one report a hundred thousand, raises `Difference`."""
    for first in range(0, dots, DOTS_AT_ONCE):
        count = min(DOTS_AT_ONCE, dots - first)
        sums = np.zeros(count, np.uint32)
        for cycle in range(CYCLES_PER_DOT):
            inputs = Cycles(design, element, count, _batch_seed(seed, first, cycle), finite=True).inputs()
            sums = _compare(design, element, {**inputs, "acc": sums})
        yield Checked(element, "dots", count * CYCLES_PER_DOT)


def check_single_cycles(design: MacDesign, element: str, cycles: int, seed: int = 0) -> Checked:
    """Independent cycles with adversarial accumulators, NaN and infinities included; raises `Difference`."""
    _compare(design, element, Cycles(design, element, cycles, seed).inputs())
    return Checked(element, "single cycles", cycles)


def model_step(
    design: MacDesign, element: str, a: np.ndarray, b: np.ndarray, xa: np.ndarray, xb: np.ndarray, acc: np.ndarray
) -> np.ndarray:
    """What the RTL must give: arguments and result as of `rtl.simulate.rtl_mac_step`, by the model of the tree."""
    spec = design.spec(element)
    if design.tree is Tree.HYBRID:
        return step(spec, a, b, xa, xb, acc)
    tree = design.reduction_tree(element)
    return evaluate_steps(tree, spec.element, a, spec.element, b, acc, xa[:, None], xb[:, None], E8M0)


def _batch_seed(seed: int, first: int, cycle: int) -> int:
    """One number for each cycle of each batch, the same in every run."""
    return (seed << 40) + first * CYCLES_PER_DOT + cycle


def _compare(design: MacDesign, element: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The sums that both leave."""
    expected = model_step(design, element, **inputs)
    got = rtl_mac_step(design, element, **inputs)
    if (wrong := got != expected).any():
        at = int(wrong.argmax())
        shown = " ".join(f"{name}={inputs[name][at].tolist()}" for name in ("a", "b", "xa", "xb", "acc"))
        raise Difference(f"{element}: {shown}: the model gives {int(expected[at]):#x}, the RTL {int(got[at]):#x}; "
                         f"{int(wrong.sum())} of {len(wrong)} differ")  # fmt: skip
    return expected
