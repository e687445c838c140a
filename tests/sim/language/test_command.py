"""The command from options to page."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from sim.cli import app
from sim.errors import SimError
from sim.language.command import designs


def test_the_command_writes_rows_and_a_page(tmp_path):
    arguments = ["--format", "MXFP4", "--format", "NVFP4", "--steps", "3"]
    result = CliRunner().invoke(app, ["language", *arguments, "--report", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout.splitlines()[-1])
    reference, power_of_two, other = rows
    assert (reference["format"], reference["energy_pj"]) == ("float32", None)
    assert 500 < power_of_two["energy_pj"] < 50_000  # 81,920 products at 6 to 600 fJ
    assert other["energy_pj"] is None
    assert "no RTL" in other["note"]
    assert power_of_two["loss"] != reference["loss"]
    assert pd.read_parquet(tmp_path / "language.parquet").to_dict("records")[1]["loss"] == power_of_two["loss"]
    assert "MXFP4/32 hybrid M=16 8x8" in (tmp_path / "language.html").read_text()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((["MXFP5"], ["hybrid"], [16]), "format 'MXFP5' is not known; there are MXFP8_E5M2"),
        ((["MXFP4"], ["tall"], [16]), "tree 'tall' is not known; there are hybrid"),
        ((["MXFP4"], ["hybrid"], [40]), "mantissa_bits: got 40, legal 10..23"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(given, message):
    with pytest.raises(SimError, match=message):
        designs(*given, "22nm")
