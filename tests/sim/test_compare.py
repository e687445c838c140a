"""Run folders read back and put side by side; rooflines of kernels whose operations are known."""

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from gpu_model import VirtualGPU
from hw.gpu_spec import load_gpu
from sim import cli
from sim.compare import compare
from sim.compare_text import terminal_tables, write_page
from sim.errors import SimError
from sim.output import write_outputs
from sim.results import LaunchResult, RunResult
from sim.roofline import roofline
from sim.run_folder import SUMMARY, read_run
from tests.sim.browser import CHROMIUM, look_at
from workloads.matmul import matmul

runner = CliRunner()
WARPS = 8 * 4  # of a launch of the fixture: blocks and warps of each


@pytest.fixture(scope="session")
def folders(run_result: RunResult, time_on, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same code on the A6000 and on one without prefetch; the second run launches it once only."""
    gpu = load_gpu("rtx_a6000", {"core.icache.prefetch_lines": 0, "core.icache.miss_cycles": 500})
    launch = dataclasses.replace(run_result.launches[0], timing=time_on(gpu))
    other = dataclasses.replace(run_result, title="slower <B>", gpu=gpu, launches=(launch,))
    a, b = tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("b")
    write_outputs(run_result, a)
    write_outputs(other, b)
    return a, b


def test_sums_are_those_of_the_runs(folders: tuple[Path, Path]) -> None:
    a, b = map(read_run, folders)
    comparison = compare(a, b)
    totals = comparison.totals.set_index("quantity")
    assert totals.loc["cycles", "a"] == a.launches["cycles"].sum() > 0
    assert totals.loc["cycles", "ratio"] == b.launches["cycles"].sum() / a.launches["cycles"].sum()
    assert totals.loc["operations", ["a", "b"]].tolist() == [2 * WARPS * 32 * 3, WARPS * 32 * 3]
    assert totals.loc["microseconds", "a"] == a.launches["cycles"].sum() / 1800
    assert comparison.differences == (
        ("core.icache.miss_cycles", 218, 500),
        ("core.icache.prefetch_lines", 8, 0),
    )
    (kernel,) = comparison.kernels.to_dict("records")
    assert (kernel["launches_a"], kernel["launches_b"]) == (2, 1)
    stalls = comparison.stalls.set_index("reason")
    assert stalls["a"].sum() == a.stalls["warp_cycles"].sum() == comparison.lines["a"].sum()
    assert (stalls["change"] == stalls["b"] - stalls["a"]).all()
    assert comparison.stalls["change"].abs().is_monotonic_decreasing


def test_a_run_compared_with_itself_has_no_change(folders: tuple[Path, Path]) -> None:
    run = read_run(folders[0])
    comparison = compare(run, run)
    assert comparison.differences == ()
    assert set(comparison.totals["ratio"].dropna()) == {1.0}
    assert not comparison.stalls["change"].any()
    assert [table.title for table in terminal_tables(comparison)] == [
        "In all",
        "Cycles by kernel",
        "Where the warp-cycles went",
        "How near the roofs, the longest launch of each kernel",
    ]  # fmt: skip


def test_the_command_prints_writes_json_and_a_page(folders: tuple[Path, Path], tmp_path: Path) -> None:
    arguments = ["compare", *map(str, folders), "--html", str(tmp_path / "page.html")]
    text = runner.invoke(cli.app, arguments).stdout
    assert "A: warptree run <script>" in text
    assert "core.icache.prefetch_lines  8    0" in text
    page = (tmp_path / "page.html").read_text()
    assert "slower &lt;B&gt;" in page
    assert "instruction fetch" in page
    read = json.loads(runner.invoke(cli.app, [*arguments, "--json"]).stdout)
    assert read["differences"][1] == {"field": "core.icache.prefetch_lines", "a": 8, "b": 0}
    assert [row["quantity"] for row in read["totals"]][:2] == ["cycles", "microseconds"]
    assert read["roofs"][0]["dram_intensity"] is None  # nothing moved


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (SUMMARY, None, "holds no run.json; `warptree run --report"),
        (SUMMARY, b"{", "run.json cannot be read"),
        (SUMMARY, b"[]", "field 'title' is None, expected a str"),
        (SUMMARY, b"\xff\xfe", "run.json cannot be read"),
        ("lines.parquet", None, "holds no lines.parquet"),
        ("lines.parquet", b"PAR1nothing", "lines.parquet cannot be read"),
    ],
)
def test_a_damaged_folder_is_named(folders, tmp_path: Path, file: str, content: bytes | None, message: str) -> None:
    for path in folders[0].glob("*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    result = runner.invoke(cli.app, ["compare", str(folders[0]), str(tmp_path)])
    assert result.exit_code == cli.USER_ERROR
    assert message in result.stderr.replace("\n", "")


def test_a_table_of_another_version_is_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for path in folders[0].glob("*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    pd.read_parquet(tmp_path / "lines.parquet").drop(columns="conflicts").to_parquet(tmp_path / "lines.parquet")
    with pytest.raises(SimError, match="lines.parquet has no column conflicts"):
        read_run(tmp_path)


def test_a_matrix_products_operations_and_bytes() -> None:
    size = 128
    a, b = (torch.ones((size, size), dtype=torch.float16) for _ in range(2))
    with VirtualGPU("rtx_a6000", timing=True) as gpu:
        matmul(a, b)
        record = gpu.launches[-1]
    line = roofline(LaunchResult(record.launch.program, record.timing, record.threads), gpu.spec)
    tensor = {kind.name: count for kind, count in line.operations.items()}["tensor 16-bit, FP32 sums"]
    assert tensor == 2 * size**3
    assert line.level_bytes["DRAM"] == 2 * 2 * size**2  # each operand once into cold caches, the result stays in L2
    assert line.intensity("DRAM") == line.total / (4 * size**2)
    assert line.tera_per_second == pytest.approx(line.total / line.cycles * 1.8e9 * 1e-12)
    assert 0 < line.attained < 1
    assert line.bounds["DRAM"] == 4 * size**2 / 416.0


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on the PATH")
@pytest.mark.parametrize("width", [1280, 600])
def test_the_page_in_a_browser(folders: tuple[Path, Path], tmp_path: Path, width: int) -> None:
    page = write_page(compare(*map(read_run, folders)), tmp_path / "compare.html")
    seen = look_at(page, width)
    assert (seen["wrong"], seen["fetched"]) == ([], [])
    assert seen["drawn"] == seen["figures"] == seen["hovered"] >= 1
    assert seen["rows"]
    assert all(seen["rows"])
    assert seen["overhang"] <= 0
    assert min(seen["plots"]) > 0.3
