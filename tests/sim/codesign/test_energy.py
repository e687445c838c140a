"""Energy of designs: the sample against all operands, other arrays tile by tile, technologies, what it depends on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hw.technology import FOLDER, load_technology
from mx_formats.quantize import quantize
from rtl.mac import MacDesign
from rtl.power import activity as counting
from rtl.power.activity import Activity, activity, cached_activity
from rtl.power.array import cycle_energy, full_array
from sim.codesign.design import Design
from sim.codesign.energy import sample
from sim.codesign.evaluate import evaluate_all
from sim.codesign.recording import Operands

DESIGN = Design("rtx_a6000", (), "MXFP4", 32, "hybrid", 16, 8, "dedicated", 8, 8, "22nm")
PRODUCTS = 32 * 24 * 64 + 16 * 8 * 32  # of the fixture's two matrix products


def row(operands: Operands, **changes):
    return evaluate_all(operands, [replace(DESIGN, **changes)])[0]


def whole_activity(operands: Operands) -> Activity:
    """Of every tile of the fixture, the upper and the lower half of each instruction in turn."""
    block, pairs = DESIGN.block_format, []
    for group in operands.dots:
        left = [half for tile in group.a for half in (tile[:8], tile[8:])]
        right = [tile for tile in group.b for _ in range(2)]
        pairs.append((quantize(np.concatenate(left), block), quantize(np.concatenate(right), block)))
    return activity(MacDesign(16, (block.element,)), pairs)


def test_energy_is_that_of_all_operands_on_the_array(operands: Operands) -> None:
    """14 tiles are fewer than the sample, and fill 8 x 8 arrays: the row must hold what all of them spend together."""
    found = whole_activity(operands)
    per_operation = full_array(cycle_energy(found, load_technology("22nm")), found).total
    got = row(operands)
    assert got["energy"] == pytest.approx(2 * PRODUCTS * per_operation / 1e6, rel=1e-12)
    assert got["pj_per_mac"] == pytest.approx(2 * per_operation / 1e3, rel=1e-12)
    assert got["pj_per_output"] == pytest.approx(got["energy"] * 1e3 / (32 * 24 + 16 * 8), rel=1e-12)


@pytest.mark.parametrize(("rows", "columns"), [(5, 7), (32, 16)])
def test_other_arrays_load_other_registers(operands: Operands, rows: int, columns: int) -> None:
    """Tile by tile: MACs with an output, rows and columns with one, wires the whole way across."""
    parts = cycle_energy(whole_activity(operands), load_technology("22nm"))
    femtojoules = 0.0
    for m, n, k in ((32, 24, 64), (16, 8, 32)):
        for top in range(0, m, rows):
            for start in range(0, n, columns):
                high, wide = min(rows, m - top), min(columns, n - start)
                macs = high * wide * (parts.gates + parts.accumulator)
                left, right = parts.left + columns * parts.left_wire, parts.right + rows * parts.right_wire
                femtojoules += k / 8 * (macs + high * left + wide * right)
    assert row(operands, rows=rows, columns=columns)["energy"] == pytest.approx(femtojoules / 1e6, rel=1e-12)


def test_every_tree_and_16_products_have_energy(operands: Operands) -> None:
    """Each netlist ran the operands and gave what its own tree's model gives, or there would be no number."""
    found = {tree: row(operands, tree=tree)["energy"] for tree in ("hybrid", "fp32-addition", "long-integer")}
    assert found["long-integer"] > max(found["hybrid"], found["fp32-addition"])
    assert row(operands, four_bit_products=16)["pj_per_mac"] < row(operands)["pj_per_mac"]


def test_the_six_format_mac_spends_more_than_the_dedicated(operands: Operands) -> None:
    assert row(operands, mac="six-format")["energy"] > row(operands)["energy"]


def test_a_file_s_voltage_counts_squared_and_names_another_row(operands: Operands, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text((FOLDER / "22nm.toml").read_text().replace("value = 0.8,", "value = 0.4,", 1))
    base, low = row(operands), row(operands, technology=str(mine))
    assert low["energy"] == pytest.approx(base["energy"] / 4, rel=1e-12)
    mine.write_text(mine.read_text().replace("value = 0.4", "value = 0.5"))
    assert row(operands, technology=str(mine))["key"] != low["key"]


def test_a_technology_file_that_went_is_a_failed_row(operands: Operands, monkeypatch: pytest.MonkeyPatch) -> None:
    from hw.technology import TechnologyError
    from sim.codesign import energy

    def gone(name: str) -> None:
        raise TechnologyError(f"no technology {name!r}")

    monkeypatch.setattr(energy, "load_technology", gone)
    found = row(operands)
    assert (found["status"], found["reason"]) == ("failed", "TechnologyError: no technology '22nm'")


def test_the_sample_is_spread_and_every_length_has_a_share(operands: Operands) -> None:
    halves = [int(a.shape[0] / 8) for a, _ in sample(operands.dots, 4)]
    assert halves == [4, 1]
    (_, _), (a, b) = sample(operands.dots, 4)
    np.testing.assert_array_equal(a, operands.dots[1].a[0, :8])
    np.testing.assert_array_equal(b, operands.dots[1].b[0])


def test_what_was_counted_is_not_counted_again(operands: Operands, monkeypatch: pytest.MonkeyPatch) -> None:
    block = DESIGN.block_format
    pairs = [(quantize(a, block), quantize(b, block)) for a, b in sample(operands.dots, 3)]
    mac = MacDesign(16, (block.element,))
    first = cached_activity(mac, pairs)
    assert first == activity(mac, pairs)
    monkeypatch.setattr(counting, "activity", None)
    assert cached_activity(mac, pairs) == first
    with pytest.raises(TypeError):
        cached_activity(mac, pairs[:1])
