"""Traces for Accel-Sim through the commands that write and time them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sim import cli

SCRIPT = """
import torch, triton, triton.language as tl

@triton.jit
def double(x, y, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, 2 * tl.load(x + i))

x = torch.arange(1024.0)
double[(4,)](x, torch.empty_like(x), BLOCK=256)
"""


@pytest.fixture(autouse=True)
def fresh_compile_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))


def test_a_run_writes_traces_that_take_the_same_time(tmp_path: Path) -> None:
    script, traces = tmp_path / "double_it.py", tmp_path / "traces"
    script.write_text(SCRIPT)
    options = ["--report", str(tmp_path / "out"), "--accelsim", str(traces), "--json"]
    result = CliRunner().invoke(cli.app, ["run", *options, str(script)])
    assert result.exit_code == 0, result.stderr
    cycles = json.loads(result.stdout.splitlines()[-1])["cycles"]
    again = CliRunner().invoke(cli.app, ["time", str(traces), "--json"])
    assert again.exit_code == 0, again.stderr
    line = json.loads(again.stdout)
    assert (line["kernel"], line["cycles"], line["dependences"]) == ("double", cycles, "control bits")
    told = CliRunner().invoke(cli.app, ["time", str(traces), "--set", "memory.dram_cycles=3000"])
    assert told.exit_code == 0
    assert "kernel-1.traceg: double on rtx_a6000, 3," in told.stdout
    other = CliRunner().invoke(cli.app, ["time", str(traces), "--gpu", "h100_sxm"])
    assert other.exit_code == cli.USER_ERROR
    assert "is a trace of sm_86 code, h100_sxm is sm_90" in other.stderr
