"""The gallery: every figure of the quick entries holds, and a figure that does not is told and fails the command."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from sim import cli
from sim.gallery import NAMES, entry
from sim.gallery.claim import Verdict, direction, exactly, within

SLOW = set(NAMES) - {"dfloat11", "gpu-core"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in NAMES]
)
def test_published_figures_hold(name: str) -> None:
    checks = list(entry(name).checks())
    assert checks
    assert [check for check in checks if not check.holds] == []


def test_verdicts() -> None:
    assert exactly("x", 5, 5).judged == "exact"
    assert exactly("x", 5, 6).judged == "NOT exact"
    assert within("x", 100, 104, 4).judged == "within 4 %"
    assert within("x", 100, 104.1, 4).judged == "NOT within 4 %"
    assert direction("x", "up", "down", False).verdict is Verdict.DIRECTION


def test_the_list_and_unknown_names() -> None:
    listed = CliRunner().invoke(cli.app, ["reproduce"])
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(NAMES)
    unknown = CliRunner().invoke(cli.app, ["reproduce", "nothing"])
    assert unknown.exit_code == cli.USER_ERROR
    assert f"no published claim named 'nothing'; there are {', '.join(NAMES)}" in unknown.stderr


def test_a_figure_that_does_not_hold_fails_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = replace(entry("gpu-core"), checks=lambda: iter([exactly("a", 1, 2, "cycles")]))
    monkeypatch.setattr("sim.reproduce.entry", lambda name: wrong)
    done = CliRunner().invoke(cli.app, ["reproduce", "gpu-core", "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)[0]["verdict"] == "NOT exact"
    assert "0 of 1 figures hold" in done.stderr
