"""Progress off a terminal: one plain line a stage, on stderr."""

import re

import pytest

from sim.console import Console


def test_a_stage_is_one_line_with_its_outcome_and_time(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    with console.stage("decode") as stage:
        stage.say("half way")
        stage.done("[12] instructions")
    console.fact("time", "34 cycles")
    captured = capsys.readouterr()
    assert captured.out == ""
    first, second = captured.err.splitlines()
    assert re.fullmatch(r"  decode    \[12\] instructions +\d+\.\d s", first)
    assert second == "  time      34 cycles"


def test_a_failed_stage_reports_no_outcome(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), Console().stage("decode"):
        raise ZeroDivisionError
    assert capsys.readouterr().err == ""
