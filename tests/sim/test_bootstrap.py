"""`./warptree` with a PATH of our making: what it says when something is missing, and that it installs once."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SYSTEM = ("bash", "cat", "cksum", "dirname", "env", "grep", "rm", "sed", "sh", "sleep", "sort", "tail", "tee", "uname")

# A Python that passes the checks, makes an environment of itself, and whose pip writes a `warptree` that echoes.
PYTHON = f"""#!/bin/sh
case "$*" in
    *fcntl*) exec {sys.executable} "$@" ;;
    "-m venv"*) for last; do :; done; mkdir -p "$last/bin"; cp "$0" "$last/bin/python" ;;
    "-m pip --version") ;;
    "-m pip install"*)
        echo "Collecting numpy==2.4.6"
        echo installed >> "$COUNT"
        sleep 0.2
        if [ -n "$PIP_FAILS" ]; then echo "ERROR: No matching distribution found for torch==2.13.0"; exit 1; fi
        printf '#!/bin/sh\\necho "ran $*"\\n' > "${{0%/*}}/warptree"
        chmod +x "${{0%/*}}/warptree" ;;
esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the script and what it reads, and a `bin` that is the whole PATH."""
    for name in ("warptree", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    for name in (*SYSTEM, "mkdir", "cp", "chmod", "make", "perl", "g++"):
        found = shutil.which(name)
        (tmp_path / "bin" / name).symlink_to(found or shutil.which("true") or "/bin/true")
    program(tmp_path, "python3.11", PYTHON)
    return tmp_path


def program(clone: Path, name: str, text: str) -> None:
    path = clone / "bin" / name
    path.unlink(missing_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def start(clone: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    env = {"PATH": str(clone / "bin"), "HOME": str(clone), "COUNT": str(clone / "count"), **environment}
    command = [str(clone / "bin" / "bash"), str(clone / "warptree"), *arguments]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=os.sep)


def run(clone: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    process = start(clone, *arguments, **environment)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def installs(clone: Path) -> int:
    return len((clone / "count").read_text().splitlines()) if (clone / "count").exists() else 0


def test_installs_once_and_passes_arguments_on(clone: Path) -> None:
    code, out, err = run(clone, "run", "a script.py", "--flag")
    assert (code, out) == (0, "ran run a script.py --flag\n")
    assert "fetching numpy==2.4.6" in err
    assert run(clone, "doctor") == (0, "ran doctor\n", "")
    assert installs(clone) == 1


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_installs_again_when_the_pins_change(clone: Path, name: str) -> None:
    run(clone, "doctor")
    (clone / name).write_text((clone / name).read_text() + "\n# changed\n")
    run(clone, "doctor")
    assert installs(clone) == 2


def test_simultaneous_first_runs_install_once(clone: Path) -> None:
    processes = [start(clone, "doctor") for _ in range(3)]
    outputs = [process.communicate(timeout=30)[0] for process in processes]
    assert outputs == ["ran doctor\n"] * 3
    assert installs(clone) == 1


def test_pip_failure_is_shown_and_the_next_run_tries_again(clone: Path) -> None:
    code, _, err = run(clone, "demo", PIP_FAILS="1")
    assert code == 1
    assert "No matching distribution found for torch==2.13.0" in err
    assert f"{clone}/.venv/install.log" in err
    assert run(clone, "demo")[0] == 0


def test_other_platforms_are_refused(clone: Path) -> None:
    program(clone, "uname", '#!/bin/sh\n[ "$1" = -s ] && echo Darwin || echo arm64\n')
    code, _, err = run(clone, "demo")
    assert code == 1
    assert "this is Darwin arm64" in err
    assert "Linux x86_64" in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no Python found"),
        (
            '#!/bin/sh\ncase "$*" in *version_info*) exit 1;; -V) echo Python 3.9.2;; esac\n',
            "Python 3.9.2, but warptree",
        ),
        ('#!/bin/sh\ncase "$*" in *ensurepip*) exit 1;; esac\n', "apt-get install python3-venv"),
    ],
)
def test_unusable_pythons(clone: Path, text: str | None, message: str) -> None:
    (clone / "bin" / "python3.11").unlink()
    if text is not None:
        program(clone, "python3", text)
    code, _, err = run(clone, "demo")
    assert code == 1
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(("tool", "message"), [("g++", "no C++ compiler"), ("make", "no make"), ("perl", "no perl")])
def test_missing_build_tools_stop_the_demo_but_not_the_doctor(clone: Path, tool: str, message: str) -> None:
    (clone / "bin" / tool).unlink()
    code, _, err = run(clone, "demo")
    assert code == 1
    assert message in err
    assert "apt-get install" in err
    assert run(clone, "doctor")[:2] == (0, "ran doctor\n")
