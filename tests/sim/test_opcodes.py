"""The coverage table: asked of the lowering table, and joined with a test run's counts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gpu_model.machine.coverage import opcode_table
from gpu_model.machine.lower import LOWERINGS
from sim.errors import SimError
from sim.opcodes import coverage, read_counts

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
    counts = tmp_path / "counts.json"
    test = "tests/gpu_model/ptx/test_matrix.py::test_movmatrix[86]"
    options = ["-q", "-p", "no:xdist", "-p", "gpu_model.opcode_counts", "--opcode-counts", str(counts), test]
    command = [sys.executable, "-m", "pytest", *options]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    rows = {row.opcode: row for row in coverage(read_counts(counts), 86)}
    assert rows["MOVM"].seen == {86: 1}
    assert rows["MOVM"].forms == ("MOVM.16.MT88",)
    assert "HGMMA" not in rows
    everything = {row.opcode: row for row in coverage(read_counts(counts), None)}
    assert everything["HGMMA"].seen == {}


def test_a_file_that_holds_no_counts(tmp_path):
    path = tmp_path / "counts.json"
    path.write_text(json.dumps([1, 2]))
    with pytest.raises(SimError, match="holds no opcode counts"):
        read_counts(path)
