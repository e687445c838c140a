"""Python processes started by a program on the virtual GPU find the same GPU."""

import json
import os
import subprocess
import sys

import pytest

from gpu_model.child_processes import VARIABLE, disinherit, inherit, inherited_by_children

ON_CUDA = """
import torch, triton, triton.language as tl

@triton.jit
def show(x_ptr, out_ptr):
    index = tl.arange(0, 32)
    tl.device_print("x", tl.load(x_ptr + index))
    tl.store(out_ptr + index, 2 * tl.load(x_ptr + index))

x = torch.arange(32, device="cuda")
out = torch.empty_like(x)
show[(1,)](x, out, num_warps=1)
print(torch.cuda.get_device_capability(), out.device, int(out.sum()))
"""


def run(*command, **environment):
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False, env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_child_runs_on_its_parents_gpu(tmp_path):
    script = tmp_path / "on_cuda.py"
    script.write_text(ON_CUDA)
    with inherited_by_children("rtx_5090"):
        lines = run(script)
    assert lines[-1] == f"(12, 0) cuda:0 {2 * sum(range(32))}"
    assert sorted(int(line.rpartition(":")[2]) for line in lines[:-1]) == list(range(32))


def test_a_child_without_torch_pays_nothing_and_keeps_its_own_start(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import os; os.environ['STARTED'] = 'yes'")
    ask = "import os, sys; print(os.environ.get('STARTED'), 'torch' in sys.modules, 'gpu_model' in sys.modules)"
    with inherited_by_children("rtx_a6000"):
        search = os.environ["PYTHONPATH"] + os.pathsep + str(tmp_path)
        assert run("-c", ask, PYTHONPATH=search) == ["yes False False"]


def test_the_environment_comes_back(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", "before")
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    with inherited_by_children("mine.toml", timing=True):
        assert os.environ["PYTHONPATH"].endswith(os.pathsep + "before")
        # A child may work in another folder.
        assert json.loads(os.environ[VARIABLE]) == {"gpu": str(tmp_path / "mine.toml"), "timing": True}
    assert os.environ["PYTHONPATH"] == "before"
    assert VARIABLE not in os.environ


def test_an_inherited_gpu_can_be_taken_away(monkeypatch):
    import torch

    monkeypatch.setenv(VARIABLE, json.dumps({"gpu": "h100_sxm", "timing": False}))
    inherit()
    try:
        assert torch.cuda.get_device_capability() == (9, 0)
    finally:
        disinherit()
    assert not torch.cuda.is_available()


@pytest.mark.parametrize("told", ["", "h100_sxm", "[]", '{"gpu": "h100_sxm"}'])
def test_a_variable_that_others_wrote_is_refused(monkeypatch, told):
    monkeypatch.setenv(VARIABLE, told)
    with pytest.raises(ValueError, match=VARIABLE):
        inherit()
