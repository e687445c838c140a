import dataclasses

import numpy as np
import pytest

from hw.technology import load_technology
from mx_formats.block import NVFP4, BlockFormat
from mx_formats.quantize import Quantized, quantize
from mx_formats.scale import E8M0
from rtl.mac import MacDesign
from rtl.power import activity
from rtl.power.array import array_energy
from rtl.power.mapped import Mapped
from rtl.tools import ToolError

DESIGN = MacDesign()
NODE = load_technology("22nm")
# GOPS/W of arXiv 2511.06313, table III: INT8, FP8 and FP6 (a range), FP4.
INT8, LOW, HIGH, FP4 = 657, 1438, 1675, 4065


def normal(name: str, tiles: int, k: int = 64) -> tuple[Quantized, Quantized]:
    block = BlockFormat(DESIGN.elements[DESIGN.mode(name)], E8M0, 32)
    a, b = np.random.default_rng(11).standard_normal((2, 8 * tiles, k)).astype(np.float32)
    return quantize(a, block), quantize(b, block)


def test_ratios_are_the_published_within_15_percent() -> None:
    # Nothing in the technology knows a format; the published ones are of a whole system.
    totals = {name: array_energy(DESIGN, *normal(name, 8), NODE).total for name in DESIGN.names}
    assert totals["INT8"] / totals["E2M1"] == pytest.approx(FP4 / INT8, rel=0.15)
    for name in ("E5M2", "E4M3", "E3M2", "E2M3"):
        assert 0.85 * LOW / INT8 <= totals["INT8"] / totals[name] <= 1.15 * HIGH / INT8


def test_glitches_only_add() -> None:
    a, b = normal("E2M1", 1, 32)
    still, moving = (array_energy(DESIGN, a, b, NODE, glitches=glitches) for glitches in (False, True))
    assert moving.gates > still.gates
    assert (moving.accumulators, moving.operands, moving.wires) == (still.accumulators, still.operands, still.wires)


def test_constant_operands_cost_the_clock_and_the_sums() -> None:
    a, b = normal("INT8", 1, 32)
    a, b = (
        dataclasses.replace(side, codes=np.full_like(side.codes, 1), scales=np.full_like(side.scales, 127))
        for side in (a, b)
    )
    found = array_energy(DESIGN, a, b, NODE)
    assert found.wires == 0
    # 8 bits of codes and 8 of scale in 16 registers, clocked twice a cycle; 64 MACs, 2 operations each.
    clock = 2 * NODE.energy_fj(NODE.register_clock_ff)
    assert found.operands == pytest.approx(16 * 16 * clock / (64 * 2))
    assert found.operations == 31 * 64 * 2


def test_a_netlist_that_computes_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    good = activity.mapped_mac(DESIGN)
    kind = good.kind.copy()
    kind[len(kind) // 2] ^= 2
    broken: Mapped = dataclasses.replace(good, kind=kind)
    monkeypatch.setattr(activity, "mapped_mac", lambda design: broken)
    with pytest.raises(ToolError, match="the mapped netlist of E4M3 differs from the model in cycle"):
        array_energy(DESIGN, *normal("E4M3", 4), NODE)


def test_operands_that_do_not_fit_are_named() -> None:
    a, b = normal("E4M3", 2)
    with pytest.raises(ValueError, match=r"got \(16, 64\) and \(8, 64\), must be of one shape"):
        array_energy(DESIGN, a, dataclasses.replace(b, codes=b.codes[:8], scales=b.scales[:8]), NODE)


def test_scales_the_mac_does_not_have_are_named() -> None:
    a = quantize(np.ones((8, 32), np.float32), NVFP4)
    with pytest.raises(ValueError, match="NVFP4 has scales of UE4M3, the MAC takes E8M0 alone"):
        activity.activity(DESIGN, [(a, a)])
    with pytest.raises(ValueError, match="there are none"):
        activity.activity(DESIGN, [])


def test_pairs_of_other_lengths_follow_each_other() -> None:
    """Two pairs in one run switch what they switch alone, and what the step from one to the other does."""
    pairs = [normal("E2M1", 2, 32), normal("E2M1", 1, 64)]
    alone = [activity.activity(DESIGN, [pair]) for pair in pairs]
    together = activity.activity(DESIGN, pairs)
    assert together.mac_cycles == sum(part.mac_cycles for part in alone) + 64
    rest = together.pairs * together.mac_cycles - sum(part.pairs * part.mac_cycles for part in alone)
    assert 0 < rest < 64 * 2 * max(part.pairs for part in alone)
