"""The command from options to page."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import sim.language.study
from sim.cli import app
from sim.errors import SimError
from sim.language.command import designs
from sim.language.model import ModelSpec
from sim.language.row import Row
from sim.language.store import RowStore, row_key
from sim.language.study import INFERENCE, TRAINING, study
from sim.language.training import TrainingSpec


def test_the_command_writes_rows_and_a_page(tmp_path):
    arguments = ["--format", "MXFP4", "--format", "NVFP4", "--steps", "3"]
    folders = ["--report", str(tmp_path), "--store", str(tmp_path / "rows")]
    result = CliRunner().invoke(app, ["language", *arguments, *folders, "--json"])
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


def test_what_is_known_is_not_computed_again(tmp_path, monkeypatch):
    monkeypatch.setattr(sim.language.study, "_energy", lambda design, meter: (None, "not asked for"))
    chosen, training = designs(["MXFP4"], ["hybrid"], [16], "22nm"), TrainingSpec(steps=2, batch=2)
    modes, small = (INFERENCE, TRAINING), ModelSpec(layers=1, width=32, heads=1, hidden=32)
    first = list(study(chosen, modes, small, training, RowStore(tmp_path)))
    assert [row.mode for row in first] == [INFERENCE, INFERENCE, TRAINING]
    files = sorted(tmp_path.glob("*.json"))
    assert len(files) == 3

    def again() -> list[Row]:
        return list(study(chosen, modes, small, training, RowStore(tmp_path)))

    with monkeypatch.context() as patch:
        patch.setattr(sim.language.study, "train", None)
        assert again() == first
    for file in files:
        file.unlink()
        assert again() == first
    more = list(study([], modes, small, replace(training, seed=1), RowStore(tmp_path)))
    assert more[0].loss != first[0].loss


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"mode": 1}', "\x00"])
def test_a_damaged_row_is_named(tmp_path, text):
    key = row_key("inference", None, ModelSpec(), TrainingSpec())
    (tmp_path / f"{key}.json").write_text(text)
    with pytest.raises(SimError, match=f"{key}.json holds no row of the language study .* delete it"):
        RowStore(tmp_path).row(key, lambda: pytest.fail("computed"))


@pytest.mark.slow
def test_a_killed_study_goes_on_with_the_same_rows(tmp_path):
    arguments = ["--format", "MXFP4", "--format", "MXINT8", "--steps", "20", "--train", "--json"]
    command = [sys.executable, "-m", "sim.cli", "language", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}

    def started(store: str) -> subprocess.Popen[bytes]:
        folders = ["--store", str(tmp_path / store), "--report", str(tmp_path / "out")]
        return subprocess.Popen([*command, *folders], cwd=tmp_path, env=environment, stdout=subprocess.PIPE)

    whole = started("whole").communicate()[0]
    moments = random.Random(0)
    for _ in range(5):
        process = started("killed")
        time.sleep(moments.uniform(2, 15))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert started("killed").communicate()[0] == whole
    assert len(json.loads(whole)) == 5


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
