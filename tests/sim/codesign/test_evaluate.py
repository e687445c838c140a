"""Rows of designs: values, cycles and area against what they are made of, and failures as rows."""

from dataclasses import replace
from math import ceil
from pathlib import Path

import numpy as np
import pytest

from hw.mac import MacSpec
from rtl.mac import Mac, MacDesign
from rtl.synthesis import area
from sim.accuracy import evaluate_format
from sim.codesign.design import Design
from sim.codesign.evaluate import SCHEMA, evaluate_all
from sim.codesign.mapping import products_of
from sim.codesign.recording import load, save
from sim.errors import SimError

from .conftest import made_operands, product_tiles

DESIGN = Design("rtx_a6000", (), "MXFP4", 32, "long-integer", 16, 8, "dedicated", 8, 8, "22nm")


def row(operands, **changes):
    return evaluate_all(operands, [replace(DESIGN, **changes)])[0]


def test_tiles_are_put_together_to_the_products_they_were_cut_from(operands) -> None:
    assert products_of(operands.dots) == {(32, 24, 64): 1, (16, 8, 32): 1}
    parts = [product_tiles(64, 40, 96, seed=3), product_tiles(16, 8, 96, seed=4)]
    shuffled = np.random.default_rng(0).permutation(21)
    a, b, sums = (
        np.concatenate([getattr(part, name) for part in parts])[shuffled] for name in ("a", "b", "tensor_core")
    )
    assert products_of([replace(parts[0], a=a, b=b, tensor_core=sums)]) == {(64, 40, 96): 1, (16, 8, 96): 1}


@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (16, 16), (5, 7)])
def test_cycles_and_utilisation(operands, no_rtl, rows: int, columns: int) -> None:
    """FP4 takes 8 products a cycle; 32 x 24 x 64 and 16 x 8 x 32 products, partial tiles count whole."""
    found = row(operands, rows=rows, columns=columns)
    cycles = ceil(32 / rows) * ceil(24 / columns) * 8 + ceil(16 / rows) * ceil(8 / columns) * 4
    assert found["array_cycles"] == cycles
    products = 32 * 24 * 64 + 16 * 8 * 32
    assert found["products"] == products
    assert found["utilisation"] == products / (cycles * rows * columns * 8)


def test_values_are_those_of_the_single_design_run(operands, no_rtl) -> None:
    for name, bits in (("MXINT8", 12), ("MXFP8_E4M3", 23)):
        found = row(operands, tree="hybrid", format=name, mantissa_bits=bits, mac="six-format")
        design = replace(DESIGN, format=name)
        expected = evaluate_format(operands.dots, design.block_format, bits)
        for column in ("qsnr_db", "cast_qsnr_db", "tensor_core_qsnr_db", "max_abs_err", "max_abs_err_tree"):
            assert found[column] == getattr(expected, column)


def test_trees_differ_where_the_accumulator_is_narrow(operands, no_rtl) -> None:
    """The long-integer tree rounds once a step, to nearest; the others cut. 23 bits lose nothing beside the cast."""
    narrow = {
        tree: row(operands, tree=tree, format="MXFP8_E4M3", mantissa_bits=12)
        for tree in ("hybrid", "fp32-addition", "long-integer")
    }
    assert len({found["qsnr_db"] for found in narrow.values()}) == 3
    assert narrow["long-integer"]["max_abs_err_tree"] < narrow["hybrid"]["max_abs_err_tree"]
    wide = row(operands, mantissa_bits=23)
    assert wide["qsnr_db"] == pytest.approx(wide["cast_qsnr_db"], abs=1e-3)


def test_tensor_scales_reach_the_sum(no_rtl) -> None:
    """NVFP4 of operands times 2**60: without the tensors' own factors the results would be off by 2**120."""
    found = [row(made_operands(replace(tiles, a=tiles.a * np.float32(factor))), format="NVFP4", block_size=16)
             for tiles in [product_tiles(16, 8, 32)] for factor in (1, 2.0**60)]  # fmt: skip
    assert found[0]["qsnr_db"] == pytest.approx(found[1]["qsnr_db"], abs=1e-3)
    assert found[0]["qsnr_db"] > 15


def test_area_is_that_of_the_designs_own_mac(operands) -> None:
    found = row(operands, tree="hybrid", rows=3, columns=5)
    mac = area(Mac(MacDesign(16, (DESIGN.block_format.element,))), "mac")
    assert (found["mac_nand2"], found["nand2"]) == (mac.nand2, 15 * mac.nand2)
    assert found["flip_flops"] == 15 * (1 + 8 + 16)
    assert found["nand2_cycles"] == found["nand2"] * found["array_cycles"]


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"tree": "hybrid", "format": "MXINT6"}, "INT6 does not fit the multiplier grid"),
        ({"tree": "hybrid", "format": "NVFP4", "block_size": 16}, "the MAC's scales are powers of two"),
    ],
)
def test_no_rtl_is_said_and_not_guessed(operands, changes, note: str) -> None:
    found = row(operands, **changes)
    assert found["status"] == "ok"
    assert note in found["rtl_note"]
    names = ("mac_nand2", "nand2", "flip_flops", "nand2_cycles", "energy", "pj_per_mac", "pj_per_output")
    assert [found[name] for name in names] == [None] * len(names)


def test_infeasible_designs_are_rows_with_the_models_reason(operands) -> None:
    with pytest.raises(ValueError, match="mantissa_bits") as reason:
        MacSpec(replace(DESIGN, format="MXINT8").block_format.element, 11)
    found = row(operands, format="MXINT8", mantissa_bits=11)
    assert (found["status"], found["reason"], found["qsnr_db"]) == ("infeasible", str(reason.value), None)
    assert found["format"] == "MXINT8"
    assert list(found) == SCHEMA.names


def test_a_failing_tool_is_a_row(operands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("WARPTREE_CACHE", str(tmp_path / "file"))
    found = row(operands, tree="hybrid")
    assert found["status"] == "failed"
    assert found["reason"].startswith("ToolError: build cache ")
    assert found["qsnr_db"] is None


def test_rows_say_what_they_were_computed_from(operands, no_rtl) -> None:
    found = row(operands)
    assert (found["gpu_cycles"], found["gpu_microseconds"], found["covered"]) == (1000, 0.5, 0.75)
    other = made_operands(product_tiles(32, 24, 64, seed=9))
    keys = {found["key"], row(other)["key"], row(operands, rows=4)["key"]}
    assert len(keys) == 3


def test_operands_survive_the_disk_and_damage_is_found(operands, tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    save(operands, path)
    again = load(path)
    assert again.digest == operands.digest
    assert all((x.a == y.a).all() and (x.tensor_core == y.tensor_core).all()
               for x, y in zip(again.dots, operands.dots, strict=True))  # fmt: skip
    save(replace(operands, gpu_cycles=7), path)
    with pytest.raises(SimError, match=r"run\.npz are damaged"):
        load(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(SimError, match="cannot be read"):
        load(path)
