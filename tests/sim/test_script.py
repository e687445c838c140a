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
