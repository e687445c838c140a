"""Scripts run as they would by themselves."""

import sys
from pathlib import Path

import pytest

from sim.errors import ScriptError
from sim.script import run_script


def write(folder: Path, text: str) -> Path:
    path = folder / "given.py"
    path.write_text(text)
    return path


def test_arguments_name_and_import_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "neighbour_of_given.py").write_text("value = 7")
    script = write(tmp_path, "import sys, neighbour_of_given\nprint(__name__, sys.argv[1:], neighbour_of_given.value)")
    before = sys.argv, sys.path[:]
    assert run_script(script, ["--size", "3"]) == 0
    assert capsys.readouterr().out == "__main__ ['--size', '3'] 7\n"
    assert (sys.argv, sys.path) == before


@pytest.mark.parametrize(("text", "status"), [("raise SystemExit", 0), ("raise SystemExit(3)", 3), ("exit('why')", 1)])
def test_exit_status(tmp_path: Path, text: str, status: int) -> None:
    assert run_script(write(tmp_path, "import sys\n" + text.replace("exit(", "sys.exit(")), []) == status


def test_exceptions_are_the_callers(tmp_path: Path) -> None:
    argv = sys.argv
    with pytest.raises(ZeroDivisionError):
        run_script(write(tmp_path, "1 / 0"), [])
    assert sys.argv is argv


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match=r"nowhere\.py is not a file"):
        run_script(tmp_path / "nowhere.py", [])


def test_a_dtype_without_a_triton_type_is_named(tmp_path: Path) -> None:
    script = write(
        tmp_path,
        "import torch, triton, triton.language as tl\n"
        "from gpu_model import VirtualGPU\n"
        "@triton.jit\n"
        "def clear(x_ptr):\n"
        "    tl.store(x_ptr, 0.0)\n"
        "with VirtualGPU('rtx_a6000'):\n"
        "    clear[(1,)](torch.zeros(4, dtype=torch.complex64))\n",
    )
    with pytest.raises(ScriptError, match="tensor of dtype complex64, for which Triton has no type"):
        run_script(script, [])


def test_other_key_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="colour"):
        run_script(write(tmp_path, "{}['colour']"), [])
