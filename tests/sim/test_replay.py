"""`warptree replay`: saved launches of every workload, run again in a new process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import triton
import triton.language as tl
from typer.testing import CliRunner

from gpu_model import VirtualGPU
from gpu_model.launch_file import Origin
from gpu_model.recorder import LaunchRecorder
from hw.gpu_spec import gpu_names, load_gpu
from sim import cli
from tests.gpu_model.forge import Forged
from tests.workloads.test_scripts import OTHER_SIZES, SCRIPTS, run

runner = CliRunner()


@pytest.mark.parametrize("gpu", ["rtx_a6000", "h100_sxm", "rtx_5090"])
def test_every_workload_replays_in_a_new_process(gpu, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")
    recorder = LaunchRecorder(tmp_path, Origin(kind="simulated", gpu=gpu))
    for script in SCRIPTS:
        with VirtualGPU(gpu, recorder=recorder):
            run(script, monkeypatch, *OTHER_SIZES[script.stem])
    capsys.readouterr()
    assert not recorder.skipped
    command = [sys.executable, "-m", "sim.cli", "replay", "--json", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(cli.__file__).parent.parent)
    assert done.returncode == 0, done.stderr + done.stdout
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(result["file"]) for result in results] == recorder.files
    assert len(results) >= len(SCRIPTS)
    for result in results:
        assert (result["gpu"], result["origin"], result["differences"]) == (gpu, f"simulated on {gpu}", [])
        assert result["compared"] > 0
        assert result["instructions"] > 0


@triton.jit
def double(x_ptr, out_ptr, BLOCK: tl.constexpr):
    index = tl.arange(0, BLOCK)
    tl.store(out_ptr + index, 2 * tl.load(x_ptr + index))


@pytest.fixture
def saved(tmp_path) -> Path:
    recorder = LaunchRecorder(tmp_path, Origin(kind="measured", gpu="NVIDIA GPU", driver="1.0"))
    with VirtualGPU("rtx_a6000", recorder=recorder):
        double[(1,)](torch.arange(64.0), torch.zeros(64), BLOCK=64)
    return recorder.files[0]


def test_differences_name_tensor_element_and_values(saved):
    forged = Forged.take_apart(saved.read_bytes())
    x, out = (next(r for r in forged.header["segments"] if r["name"] == name) for name in ("x_ptr", "out_ptr"))
    out["after"] = x["after"]  # as if the GPU had copied instead of doubled
    saved.write_bytes(forged.join())
    result = runner.invoke(cli.app, ["replay", str(saved)])
    assert result.exit_code == 1
    assert "2 of 3 tensors" in result.stdout
    assert "measured on NVIDIA GPU 1.0" in result.stdout
    assert (
        "DIFFERS out_ptr (float32[64]): 63 of 64 elements differ, first at 1: expected 1.0 (0x3f800000), "
        "got 2.0 (0x40000000)" in result.stdout
    )
    line = json.loads(runner.invoke(cli.app, ["replay", "--json", str(saved)]).stdout)
    assert (line["compared"], line["differences"][0]["differing"]) == (3, 63)


def test_timing_and_other_gpus(saved):
    line = json.loads(runner.invoke(cli.app, ["replay", "--time", "--json", str(saved)]).stdout)
    assert line["cycles"] > 0
    assert line["gpu"] == next(name for name in gpu_names() if load_gpu(name).arch == 86)
    wrong = runner.invoke(cli.app, ["replay", "--gpu", "h100_sxm", str(saved)])
    assert wrong.exit_code == cli.USER_ERROR
    assert "compiled for sm_86, but h100_sxm is sm_90" in wrong.stderr


def test_a_file_without_outputs_says_so(saved):
    forged = Forged.take_apart(saved.read_bytes())
    forged.header["origin"] = None
    for row in forged.header["segments"]:
        row["after"] = None
    saved.write_bytes(forged.join())
    result = runner.invoke(cli.app, ["replay", str(saved)])
    assert result.exit_code == 0
    assert "holds no outputs to compare with" in result.stdout


def test_errors_are_one_sentence(saved, tmp_path):
    (tmp_path / "empty").mkdir()
    saved.write_bytes(saved.read_bytes()[:-3])
    for path, message in ((saved, "is truncated"), (tmp_path / "empty", "holds no *.launch files")):
        result = runner.invoke(cli.app, ["replay", str(path)])
        assert result.exit_code == cli.USER_ERROR
        assert message in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_capture_without_a_gpu_is_one_sentence(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    result = runner.invoke(cli.app, ["capture", "-o", str(tmp_path), "script.py"])
    assert result.exit_code == cli.USER_ERROR
    assert "no NVIDIA driver" in result.stderr
    assert "--save-launches" in result.stderr
