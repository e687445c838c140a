"""Each workload is an ordinary Triton script: it imports nothing of ours, checks itself, and fails when wrong."""

import ast
import runpy
import sys
from pathlib import Path

import pytest
import torch

import workloads

FOLDER = Path(workloads.__file__).parent
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if "@triton.jit" in path.read_text())
OTHER_SIZES = {
    "vector_add": ["--length", "300", "--dtype", "float16", "--block", "64"],
    "softmax": ["--rows", "5", "--columns", "130", "--dtype", "float16"],
    "softmax_passes": ["--rows", "2", "--columns", "300", "--way", "reload", "--block", "128"],
    "layer_norm": ["--rows", "3", "--columns", "130", "--dtype", "float32"],
    "dropout": ["--length", "300", "--p", "0.2", "--seed", "9"],
    "matmul": ["-m", "20", "-n", "40", "-k", "33", "--stages", "2"],
    "matmul_float32": ["-m", "20", "-n", "40", "-k", "33", "--tile", "16", "32", "16"],
    "matmul_int8": ["-m", "20", "-n", "40", "-k", "33", "--stages", "2"],
    "flash_attention": ["--heads", "1", "--sequence", "70", "-d", "32", "--full"],
    "lean_attention": ["--heads", "2", "--queries", "1", "--length", "70", "-d", "32", "--programs", "3"],
    "shared_prefix_attention": ["--sequences", "3", "--prefix", "70", "--suffix", "20", "-d", "32", "--apart"],
    "matmul_mxfp4": ["-m", "20", "-n", "40", "-k", "96"],
    "tree_matmul_mxfp4": ["-m", "20", "-n", "40", "-k", "256", "--ranks", "2", "--tile", "16", "32", "64"],
    "tree_matmul": ["-m", "20", "-n", "40", "-k", "192", "--ranks", "2", "--tile", "32", "64", "32"],
}


def run(script: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [str(script), *arguments])
    runpy.run_path(str(script), run_name="__main__")


def test_the_table_lists_every_script():
    text = (FOLDER / "README.md").read_text()
    assert [path.stem for path in SCRIPTS] == sorted(OTHER_SIZES)
    assert all(f"`{path.name}`" in text for path in SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_imports_only_what_a_gpu_user_has(script):
    names = set()
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).split(".")[0])
    assert names <= {"argparse", "math", "numpy", "torch", "triton", "typing"}


@pytest.mark.parametrize("sizes", ["default", "other"])
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_runs_and_reports(gpu, script, sizes, monkeypatch, capsys):
    run(script, monkeypatch, *(OTHER_SIZES[script.stem] if sizes == "other" else []))
    line = capsys.readouterr().out
    assert line.startswith(f"{script.stem}: ")
    assert line.count("\n") == 1
    assert " 0 elements differ (exact)" in line or " of its bound" in line


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_wrong_result_exits_non_zero(script, monkeypatch, capsys):
    class DeadDevice:
        """A device that launches nothing, so that every result is whatever the memory held."""

        @staticmethod
        def get_active_torch_device() -> torch.device:
            return torch.device("cpu")

    monkeypatch.setattr("triton.runtime.driver._active", DeadDevice())
    monkeypatch.setattr("triton.runtime.jit.JITFunction.run", lambda *_, **__: None)
    for name in ("empty", "empty_like"):
        make = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda *args, _make=make, **kwargs: _make(*args, **kwargs).fill_(77))
    with pytest.raises(SystemExit) as stop:
        run(script, monkeypatch)
    assert stop.value.code == 1
