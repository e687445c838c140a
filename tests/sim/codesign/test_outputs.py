"""What a study leaves: page, tables, and the folder of one design."""

import dataclasses
import json
import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from hw.vector_file import check
from rtl import tools
from sim.codesign.command import Study, _inline
from sim.codesign.export import answer, export, find
from sim.codesign.outputs import write_outputs
from sim.codesign.sweep import sweep
from sim.errors import SimError

needs_compiler = pytest.mark.skipif(bool(tools.missing("compiled RTL")), reason="no C++ compiler")
needs_verilator = pytest.mark.skipif(bool(tools.missing("cocotb")), reason="no Verilator")
needs_proofs = pytest.mark.skipif(bool(tools.missing("proofs")), reason="no z3")


@pytest.fixture
def done(study, no_rtl, tmp_path: Path) -> Study:
    """Two formats, one of them infeasible with 11 bits, without synthesis."""
    experiment, runs = study(
        ('tree = ["hybrid", "long-integer"]', 'tree = ["long-integer"]'),
        ('"MXFP8_E4M3", ', ""),
        ('question = "Which of a few?"', 'question = "Which <of> a few?"'),
    )
    return Study(tmp_path / "study.toml", experiment, sweep(experiment, runs, _inline), runs)


def test_the_page_answers_and_fetches_nothing(done: Study, tmp_path: Path) -> None:
    page = write_outputs(done, tmp_path / "out").read_text()
    assert "Which &lt;of&gt; a few?" in page
    found = done.answer
    assert found is not None
    assert found["key"][:8] in page
    assert "MacSpec.mantissa_bits: got 11, legal 12..23 for INT8" in page
    assert "tree long-integer has no RTL" in page
    assert "<svg" in page
    for row in done.front:
        assert row["key"][:8] in page
    assert not re.search(r'<(script|link|img)[^>]+(src|href)="http', page)


def test_tables_agree(done: Study, tmp_path: Path) -> None:
    write_outputs(done, tmp_path / "out")
    frame = pd.read_parquet(tmp_path / "out" / "designs.parquet")
    assert list(frame["key"]) == [row["key"] for row in done.rows]
    rows = json.loads((tmp_path / "out" / "designs.json").read_text())
    assert [row["array_cycles"] for row in rows] == [row["array_cycles"] for row in done.rows]
    csv = pd.read_csv(tmp_path / "out" / "designs.csv")
    assert list(csv["status"]) == [row["status"] for row in done.rows]


def test_a_point_is_named_by_its_first_digits(done: Study) -> None:
    good = next(row for row in done.rows if row["status"] == "ok")
    assert find(done, good["key"][:10]) is good
    with pytest.raises(SimError, match="point 'xyz' is no design"):
        find(done, "xyz")
    with pytest.raises(SimError, match="is more than one design"):
        find(done, "")
    bad = next(row for row in done.rows if row["status"] == "infeasible")
    with pytest.raises(SimError, match="is infeasible: MacSpec.mantissa_bits"):
        find(done, bad["key"])


def test_the_point_to_export_is_the_answer(done: Study) -> None:
    assert done.answer is not None
    assert find(done, answer(done)) is done.answer
    goal = done.experiment.goal.model_copy(update={"require": {"qsnr_db": 1e9}})
    hopeless = dataclasses.replace(done, experiment=done.experiment.model_copy(update={"goal": goal}))
    with pytest.raises(SimError, match="no design of .* meets its goal; name a point, of the front [0-9a-f]{8}"):
        answer(hopeless)


def test_a_design_without_rtl_leaves_its_tree_and_vectors(done: Study, tmp_path: Path) -> None:
    good = next(row for row in done.rows if row["status"] == "ok" and row["mantissa_bits"] == 11)
    assert export(done, good["key"], tmp_path / "x", False, lambda text: None)
    assert json.loads((tmp_path / "x" / "design.json").read_text())["key"] == good["key"]
    count, wrong = check(tmp_path / "x" / "vectors" / "long-integer-m11_E2M1.txt")
    assert (count, wrong) == (2000, [])
    assert not (tmp_path / "x" / "mac.v").exists()
    assert "tree long-integer has no RTL" in (tmp_path / "x" / "report.html").read_text()


@pytest.fixture
def with_rtl(study, tmp_path: Path) -> Study:
    """One FP4 design, evaluated with its RTL."""
    experiment, runs = study(('["hybrid", "long-integer"]', '["fp32-addition"]'),
                             ('"MXINT8", "MXFP8_E4M3", ', ""), ("[11, 16]", "[13]"))  # fmt: skip
    return Study(tmp_path / "study.toml", experiment, sweep(experiment, runs, _inline), runs)


@needs_compiler
def test_a_design_with_rtl_runs_it_on_the_workloads_operands(with_rtl: Study, tmp_path: Path) -> None:
    told: list[str] = []
    assert export(with_rtl, with_rtl.rows[0]["key"], tmp_path / "x", False, told.append)
    assert "module mac" in (tmp_path / "x" / "mac.v").read_text()
    cycles = [line.split() for line in (tmp_path / "x" / "operands.txt").read_text().splitlines()[2:]]
    assert any(f"0 of {len(cycles):,} accumulators differ" in line for line in told)
    # Dots of 64 or 32 products, 8 a cycle: the first of every 8 or 4 cycles starts from zero.
    starts = [index for index, cycle in enumerate(cycles) if cycle[4] == "1"]
    assert {after - before for before, after in zip(starts, starts[1:], strict=False)} <= {4, 8}
    text = (tmp_path / "x" / "README.md").read_text()
    assert "`acc` | 22 | sign, 8 exponent bits" in text
    assert f"0 of {len(cycles):,} accumulators differ from the model" in text


@needs_verilator
def test_an_exported_folder_needs_verilator_alone(with_rtl: Study, tmp_path: Path) -> None:
    export(with_rtl, with_rtl.rows[0]["key"], tmp_path / "made", False, lambda text: None)
    folder = (tmp_path / "made").rename(tmp_path / "moved")
    environment = {name: value for name, value in tools.verilator_environment().items() if name != "PYTHONPATH"}

    def checked() -> subprocess.CompletedProcess[str]:
        run = ["sh", str(folder / "check.sh")]
        return subprocess.run(run, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)

    good = checked()
    count = len((folder / "operands.txt").read_text().splitlines()) - 2
    assert good.returncode == 0, good.stdout + good.stderr
    assert f"0 of {count} accumulators differ" in good.stdout
    lines = (folder / "operands.txt").read_text().splitlines()
    lines[9] = lines[9][:-1] + ("0" if lines[9][-1] != "0" else "1")
    (folder / "operands.txt").write_text("\n".join(lines) + "\n")
    bad = checked()
    assert bad.returncode != 0
    assert f"1 of {count} accumulators differ" in bad.stdout
    assert "cycle 8: expected" in bad.stdout


@needs_proofs
@pytest.mark.slow
@pytest.mark.parametrize("tree", ["fp32-addition", "long-integer"])
def test_an_export_proves_any_tree(study, tree: str, tmp_path: Path) -> None:
    experiment, runs = study(('["hybrid", "long-integer"]', f'["{tree}"]'), ('"MXINT8", "MXFP8_E4M3", ', ""),
                             ("[11, 16]", "[13]"), ('["4x4", "8x8"]', '["4x4"]'))  # fmt: skip
    whole = Study(tmp_path / "study.toml", experiment, sweep(experiment, runs, _inline), runs)
    told: list[str] = []
    assert export(whole, whole.rows[0]["key"], tmp_path / "x", True, told.append)
    assert any(f"the {tree} MAC with M = 13 equals its rule for every input" in line for line in told)
    assert "RTL equal to its rule for every input: proven with z3" in (tmp_path / "x" / "README.md").read_text()
