"""The demo from end to end, on a smaller attention."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rtl import tools
from sim import cli, demo

KEYS = ["max_abs_err", "cycles", "ipc", "rtl_vectors", "rtl_mismatches", "qsnr_db", "report"]

needs_build_tools = pytest.mark.skipif(bool(tools.missing("cocotb")), reason="no C++ compiler, make or perl")


@needs_build_tools
def test_json_line_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "SHAPE", (1, 1, 128, 32))
    result = CliRunner().invoke(cli.app, ["demo", "--json", "--report", str(tmp_path / "out")])
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout.splitlines()[-1])
    assert list(summary) == KEYS
    assert 0 < summary["max_abs_err"] < 0.01
    assert summary["cycles"] > 1000
    assert 0 < summary["ipc"] < 4
    assert summary["rtl_vectors"] >= 3 * 4096
    assert summary["rtl_mismatches"] == 0
    assert list(summary["qsnr_db"]) == ["MXINT8", "MXFP8_E4M3", "MXFP4"]
    assert summary["report"] == str(tmp_path / "out" / "report.html")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    tables = {f"{name}.parquet" for name in ("launches", "stalls", "lines", "accuracy")}
    assert names == {"report.html", "run.json", "timeline.json.gz", *tables}
    for stage in ("launch", "decode", "execute", "time", "dots", "rtl", "report"):
        assert stage in result.stderr


def test_missing_tools_stop_it_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(purpose: str) -> None:
        raise tools.ToolError("no make")

    monkeypatch.setattr(tools, "require", absent)
    result = CliRunner().invoke(cli.app, ["demo", "--report", str(tmp_path / "out")])
    assert result.exit_code == cli.USER_ERROR
    assert result.stderr == "warptree: no make\n"
    assert not (tmp_path / "out").exists()
