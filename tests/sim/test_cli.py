"""The command: its help, its errors, and how arguments travel."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sim import bench, cli, doctor
from sim.measure import Measurement

runner = CliRunner()


def test_help_names_every_command() -> None:
    result = runner.invoke(cli.app, ["--help"])
    assert result.exit_code == 0
    for command in ("demo", "run", "capture", "replay", "test", "bench", "doctor", "gpus"):
        assert command in result.output


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, sim.cli; print([m for m in ('numpy', 'torch', 'triton', 'pandas', 'plotly') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=cli.__file__[:-10], check=True
    )
    assert done.stdout.strip() == "[]"


def test_user_errors_are_one_sentence() -> None:
    result = runner.invoke(cli.app, ["bench", "nonsense"])
    assert result.exit_code == cli.USER_ERROR
    assert result.stderr.splitlines() == [
        "warptree: no benchmark named 'nonsense'; there are execute, timing, trees, numbers, rtl, area"
    ]


def test_debug_shows_the_exception() -> None:
    result = runner.invoke(cli.app, ["--debug", "bench", "nonsense"])
    assert result.exit_code == 1
    assert "no benchmark named" in str(result.exception)


def test_other_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(doctor, "findings", broken)
    assert isinstance(runner.invoke(cli.app, ["doctor"]).exception, KeyError)


def test_bench_json_is_one_object_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Measurement("trees", "sum", 2e9, "MAC/s", "peer", 1e3), Measurement("numbers", "cast", 3.0, "GB/s")]
    monkeypatch.setattr(bench, "run_benches", lambda name, quick: iter(rows))
    result = runner.invoke(cli.app, ["bench", "--json"])
    first, second = map(json.loads, result.stdout.splitlines())
    assert first == {
        "bench": "trees", "metric": "sum", "value": 2e9, "unit": "MAC/s",
        "peer": "peer", "peer_value": 1e3, "ratio": 2e6,
    }  # fmt: skip
    assert second == {"bench": "numbers", "metric": "cast", "value": 3.0, "unit": "GB/s"}
    assert "GB/s" in runner.invoke(cli.app, ["bench"]).stdout


def test_gpus_lists_the_a6000() -> None:
    assert "NVIDIA RTX A6000, sm_86, 84 SMs" in runner.invoke(cli.app, ["gpus"]).stdout


def test_unknown_gpu_names_the_known_ones(tmp_path: Path) -> None:
    result = runner.invoke(cli.app, ["run", "--gpu", "rtx_9090", "--report", str(tmp_path), "workloads/vector_add.py"])
    assert result.exit_code == cli.USER_ERROR
    assert "rtx_9090" in result.stderr
    assert "rtx_a6000" in result.stderr


def test_a_scripts_own_failure_shows_the_scripts_frames_alone(tmp_path: Path) -> None:
    script = tmp_path / "wrong.py"
    script.write_text("def check():\n    import no_such_package.part\n\ncheck()\n")
    result = runner.invoke(cli.app, ["run", "--report", str(tmp_path / "out"), str(script)])
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    alone = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    count = len(alone.stderr.splitlines())
    assert lines[:count] == alone.stderr.splitlines()
    assert "no module 'no_such_package' where warptree runs" in lines[count]
    assert f"{sys.executable} -m pip install" in lines[count]
    assert len(lines) == count + 1


def test_missing_script(tmp_path: Path) -> None:
    result = runner.invoke(cli.app, ["run", "--report", str(tmp_path), "no/such/script.py"])
    assert result.exit_code == cli.USER_ERROR
    assert "no/such/script.py" in result.stderr


def test_gpus_prints_a_gpus_fields_as_set_takes_them() -> None:
    result = runner.invoke(cli.app, ["gpus", "rtx_a6000", "--set", "core.rf.read_ports=2"])
    lines = result.stdout.splitlines()
    assert "core.rf.read_ports=2  (was 1)" in lines
    assert "core.dependence.mechanism=control_bits" in lines
    source = next(line for line in lines if line.startswith("Where each value is from: ")).partition(": ")[2]
    assert 'name = "rtx_a6000"' in Path(source).read_text()
    assert "  control bits                 1,968 bit   0.09 % of the register file" in lines
    read = json.loads(runner.invoke(cli.app, ["gpus", "rtx_a6000", "--json"]).stdout)
    assert read["gpu"]["core"]["rf"]["read_ports"] == 1
    assert [area["bits"] for area in read["dependence_areas"]] == [1968, 31_872, 47_808, 111_552]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--set", "core.read_ports=2", "x.py"], "no field 'core.read_ports'; nearest: core.rf.read_ports, "),
        (["run", "--set", "core.rf.read_ports=99", "x.py"], "core.rf.read_ports: should be less than or equal "),
        (["demo", "--set", "core.rf.read_ports"], "is not FIELD=VALUE"),
        (
            ["run", "--chek", "x.py"],
            "run has no option --chek; did you mean --check? The script's own options go",
        ),
        (["run", "--sets=core.rf.read_ports=2", "x.py"], "run has no option --sets; did you mean --set?"),
        (["capture", "--zzz", "x.py"], "capture has no option --zzz; legal: --output, "),
        (["gpus", "--set", "core.rf.read_ports=2"], "--set changes one GPU: name it"),
        (["gpus", "rtx_a6000", "--set", "core.dependence.consumers=1"], "has no effect with core.dependence.mechanism"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_anything_runs(arguments: list[str], message: str) -> None:
    result = runner.invoke(cli.app, arguments)
    assert result.exit_code == cli.USER_ERROR
    assert message in result.stderr
