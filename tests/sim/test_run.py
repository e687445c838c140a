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


RACY = """
import torch, triton, triton.language as tl

@triton.jit
def swap(x, y, FENCED: tl.constexpr):
    i = tl.arange(0, 128)
    text: tl.constexpr = (
        "{ .shared .b32 word[128]; .reg .b32 here, there; mov.u32 here, word; shl.b32 there, $2, 2;"
        " add.u32 here, here, there; st.shared.b32 [here], $1;"
        + (" bar.sync 0;" if FENCED else "") + " xor.b32 there, there, 256; mov.u32 here, word;"
        " add.u32 here, here, there; ld.shared.b32 $0, [here]; }"
    )
    value = tl.inline_asm_elementwise(text, "=r,r,r", [tl.load(x + i), i], dtype=tl.int32, is_pure=False, pack=1)
    tl.store(y + i, value)

x = torch.arange(128, dtype=torch.int32)
for _ in range(2):
    swap[(3,)](x, torch.empty_like(x), {fenced}, num_warps=4)
"""


@pytest.mark.parametrize("fenced", [True, False])
def test_checks_find_a_race_and_fail_the_run(tmp_path: Path, fenced: bool) -> None:
    script = tmp_path / "swap.py"
    script.write_text(RACY.replace("{fenced}", str(fenced)))
    arguments = ["run", "--check", "--json", "--report", str(tmp_path / "out"), str(script)]
    result = CliRunner().invoke(cli.app, arguments)
    found = json.loads(result.stdout.splitlines()[-1])["findings"]
    report = (tmp_path / "out" / "report.html").read_text()
    if fenced:
        assert (result.exit_code, found) == (0, [])
        assert "0 findings" in report
        return
    assert result.exit_code == 1
    assert {entry["kind"] for entry in found} == {
        "uninitialised shared read", "shared race, read after write", "shared race, write after read",
    }  # fmt: skip
    race = next(entry for entry in found if entry["kind"].endswith("read after write"))
    assert race["line"].endswith("swap.py:13")
    assert (race["block"], race["size"], race["times"]) == ([0, 0, 0], 4, 2 * 3 * 64)
    assert race["other"]["warp"] == race["warp"] - 2
    assert "swap.py:13" in report
    assert "3 findings in shared and local memory" in result.stderr
