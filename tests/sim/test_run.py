"""Scripts on the virtual GPU through the command, with their reports."""

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from sim import cli

SCRIPT = """
import sys
import torch, triton, triton.language as tl

@triton.jit
def double(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, 2 * tl.load(x + i, mask=i < n), mask=i < n)

device = triton.runtime.driver.active.get_active_torch_device()
x = torch.arange(int(sys.argv[1]), dtype=torch.float32, device=device)
y = torch.empty_like(x)
for _ in range(2):
    double[(triton.cdiv(len(x), 256),)](x, y, {n}, BLOCK=256)
print("sum", y.sum().item())
{end}
"""


@pytest.fixture(autouse=True)
def fresh_compile_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton's cache ignores where a script lies, so a cached kernel would name the file of an earlier test."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))


def run(folder: Path, n: str = "len(x)", end: str = "", *options: str) -> Result:
    script = folder / "double_it.py"
    script.write_text(SCRIPT.replace("{n}", n).replace("{end}", end))
    return CliRunner().invoke(cli.app, ["run", "--report", str(folder / "out"), *options, str(script), "1000"])


def test_a_script_of_ones_own(tmp_path: Path) -> None:
    result = run(tmp_path, "len(x)", "", "--json")
    assert result.exit_code == 0, result.stderr
    assert f"sum {2.0 * sum(range(1000))}" in result.stdout
    summary = json.loads(result.stdout.splitlines()[-1])
    assert (summary["status"], summary["launches"], summary["qsnr_db"]) == (0, 2, {})
    launches = pd.read_parquet(tmp_path / "out" / "launches.parquet")
    assert list(launches["kernel"]) == ["double", "double"]
    assert list(launches["grid"]) == ["4x1x1"] * 2
    # 1000 floats are 125 sectors of 32 bytes, each fetched once into cold caches.
    assert (launches["dram_read_bytes"] == 4000).all()
    report = (tmp_path / "out" / "report.html").read_text()
    assert "double_it.py on a virtual NVIDIA RTX A6000" in report
    assert "tl.store(y + i, 2 * tl.load(x + i" in report


def test_the_scripts_exit_status_is_ours(tmp_path: Path) -> None:
    assert run(tmp_path, "len(x)", "sys.exit(7)").exit_code == 7


def test_an_access_out_of_bounds_names_line_and_tensor(tmp_path: Path) -> None:
    result = run(tmp_path, "len(x) + 20")
    assert result.exit_code == cli.USER_ERROR
    assert "double_it.py:8" in result.stderr
    assert "float32[1000]" in result.stderr


def test_a_script_without_launches(tmp_path: Path) -> None:
    script = tmp_path / "nothing.py"
    script.write_text("print('hello')")
    result = CliRunner().invoke(cli.app, ["run", "--report", str(tmp_path / "out"), str(script)])
    assert result.exit_code == cli.USER_ERROR
    assert "ended with status 0 without launching a Triton kernel" in result.stderr


def test_a_report_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    result = run(tmp_path)
    assert result.exit_code == cli.USER_ERROR
    assert "choose another with --report" in result.stderr


@pytest.mark.parametrize("name", ["vector_add", "matmul"])
def test_workloads_run_unchanged(tmp_path: Path, name: str) -> None:
    script = Path(cli.__file__).parents[1] / "workloads" / f"{name}.py"
    result = CliRunner().invoke(cli.app, ["run", "--json", "--report", str(tmp_path), str(script)])
    assert result.exit_code == 0, result.output
    assert ("MXINT8" in json.loads(result.stdout.splitlines()[-1])["qsnr_db"]) == (name == "matmul")
