"""The coverage table: asked of the lowering table, and joined with a test run's counts."""

import subprocess
import sys
from pathlib import Path

import pytest

from gpu_model.machine.coverage import opcode_table
from gpu_model.machine.lower import LOWERINGS
from sim.errors import SimError
from sim.opcodes import architecture, counted, coverage

ROOT = Path(__file__).parents[2]


def test_the_table_is_the_lowering_table():
    rows = {row.opcode: row for row in opcode_table()}
    assert set(rows) == set(LOWERINGS)
    assert all(row.families for row in rows.values())
    assert {name for name, row in rows.items() if row.result == "bounded"} == {"MUFU"}
    # Modifiers that a lowering names in each of its ways: known(), a membership, a table of choices.
    assert {"FTZ", "SAT", "RZ"} <= set(rows["FADD"].modifiers)
    assert {"WIDE", "HI", "X"} <= set(rows["IMAD"].modifiers)
    assert {"64", "X"} <= set(rows["IADD"].modifiers)
    assert rows["IADD"].families == ("integer", "wide")
    assert rows["HGMMA"].families == ("wgmma",)


def test_counts_of_a_test_run(tmp_path):
    """A run of one test through the plugin, and the table joined with what it counted."""
    counts = tmp_path / "counts.csv"
    test = "tests/gpu_model/ptx/test_matrix.py::test_movmatrix[86]"
    options = ["-q", "-p", "no:xdist", "-p", "gpu_model.opcode_counts", "--opcode-counts", str(counts), test]
    command = [sys.executable, "-m", "pytest", *options]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    rows = {row.opcode: row for row in coverage(counted(counts), 86)}
    assert rows["MOVM"].seen == {86: 1}
    assert rows["MOVM"].forms == ("MOVM.16.MT88",)
    assert "HGMMA" not in rows
    everything = {row.opcode: row for row in coverage(counted(counts), None)}
    assert everything["HGMMA"].seen == {}


def test_counts_of_our_own_tests():
    """The committed counts know only opcodes of the table, and have seen what each architecture is known for."""
    counts = counted(None)
    assert set(counts) >= {80, 86, 89, 90, 120}
    assert {name.split(".")[0] for names in counts.values() for name in names} <= set(LOWERINGS)
    seen = {arch: {row.opcode for row in coverage(counts, arch)} for arch in counts}
    assert {"HGMMA", "UTMALDG", "SYNCS"} <= seen[90]
    assert {"QMMA", "OMMA"} <= seen[120]
    assert not {"HGMMA", "QMMA"} & seen[86]


@pytest.mark.parametrize(
    ("content", "match"),
    [("[1, 2]", "holds no opcode counts"), ("opcode,ada\nMOV,1\n", "'ada'"), ("opcode,sm_86\nMOV\n", "shorter")],
)
def test_a_file_that_holds_no_counts(tmp_path, content, match):
    path = tmp_path / "counts.csv"
    path.write_text(content)
    with pytest.raises(SimError, match=match):
        counted(path)


def test_architectures_are_named():
    assert architecture("sm_90") == architecture("90") == 90
    with pytest.raises(SimError, match="got 'hopper'"):
        architecture("hopper")
    with pytest.raises(SimError, match="sm_75 was not counted, legal are sm_86"):
        coverage({86: {}}, 75)
