"""The walk through the first hour does what the page says: its files are written, its commands run and say the same."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from rtl.tools import missing as missing_tools

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "first-hour.md"
GIVE_UP_S = 900  # a command, its first compilation included
STATUS = re.compile(r"  +# exit status (\d+)$")


class Block(NamedTuple):
    """A fenced block of the page: its language, and its lines."""

    language: str
    lines: list[str]


def blocks() -> Iterator[Block]:
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        yield Block(language, text.splitlines())


def run(command: str, folder: Path) -> str:
    """The output of a command that ends with the status that the page says."""
    status = STATUS.search(command)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "COLUMNS": "120",
    }
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", STATUS.sub("", command)], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=GIVE_UP_S, check=False,
    )  # fmt: skip
    assert done.returncode == (int(status[1]) if status else 0), f"{command}\n{done.stdout}"
    return done.stdout


def test_the_page_is_made_of_files_commands_and_their_output() -> None:
    found = list(blocks())
    assert {block.language for block in found} == {"python", "toml", "sh", "text"}
    for before, block in zip([None, *found], found, strict=False):
        if block.language in ("python", "toml"):
            assert re.fullmatch(rf"# \w+\.{'py' if block.language == 'python' else 'toml'}", block.lines[0])
        if block.language == "text":
            assert before is not None
            assert before.language == "sh"


@pytest.mark.slow
@pytest.mark.skipif(bool(missing_tools("cocotb")), reason="the page exports a MAC, which needs Verilator")
def test_everything_on_the_page_comes_true(tmp_path: Path) -> None:
    output = ""
    for block in blocks():
        if block.language == "sh":
            output = "".join(run(command, tmp_path) for command in block.lines)
        elif block.language == "text":
            missing = [line for line in block.lines if line not in output]
            assert not missing, output
        else:
            (tmp_path / block.lines[0].removeprefix("# ")).write_text("\n".join(block.lines) + "\n")
    for page in ("warptree-out/report.html", "compare.html", "warptree-out/study/report.html", "mac/report.html"):
        assert (tmp_path / page).read_text().rstrip().endswith("</html>")
