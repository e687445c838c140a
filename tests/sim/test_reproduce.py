"""The gallery: every figure of the quick entries holds, and a figure that does not is told and fails the command."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rtl.tools import ToolError
from sim import cli
from sim.gallery import NAMES, entry
from sim.gallery.claim import Curve, Verdict, counted, direction, exactly, within
from sim.reproduce import run_entry

SLOW = set(NAMES) - {"dfloat11", "gpu-core", "int-or-float", "npu-utilisation", "olive"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in NAMES]
)
def test_published_figures_hold(name: str) -> None:
    outcome = run_entry(entry(name))
    assert outcome.checks
    assert not outcome.stopped
    assert [check for check in outcome.checks if not check.holds] == []


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
    wrong = replace(entry("gpu-core"), checks=lambda: iter([exactly("a", 1, 2, "cycles"), counted("b", 3, 3)]))
    monkeypatch.setattr("sim.reproduce.entry", lambda name: wrong)
    done = CliRunner().invoke(cli.app, ["reproduce", "gpu-core", "--json"])
    assert done.exit_code == 1
    (told,) = json.loads(done.stdout)
    assert told["source"] == wrong.source
    assert told["figures"] == [
        {"what": "a", "published": "1", "basis": "published", "ours": "2", "unit": "cycles", "verdict": "NOT exact",
         "holds": False},
        {"what": "b", "published": "3", "basis": "counted", "ours": "3", "unit": "", "verdict": "exact", "holds": True},
    ]  # fmt: skip
    assert "1 of 2 figures hold" in done.stderr


def test_what_a_stranger_reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def checks():
        yield within("a <quantity>", 100, 103, 5, "B")
        yield counted("another", 7, 7, "bit")
        yield Curve(
            "how it grows", "keys", "times", {"published": [(1, 2.0), (10, 3.0)], "ours": [(1, 2.5)]}, log_x=True
        )

    monkeypatch.setattr("sim.reproduce.entry", lambda name: replace(entry("gpu-core"), checks=checks))
    page = tmp_path / "new" / "claims.html"
    done = CliRunner().invoke(cli.app, ["reproduce", "gpu-core", "--html", str(page)])
    assert done.exit_code == 0, done.output
    rows = [re.split(r"  +", line.strip()) for line in done.stdout.splitlines()]
    assert ["figure", "published", "ours", "verdict"] in rows
    assert ["a <quantity>", "100 B", "103 B", "within 5 %"] in rows
    assert ["another", "7 bit (counted)", "7 bit", "exact"] in rows
    text = page.read_text()
    assert "2 of 2 figures hold" in text
    assert "a &lt;quantity&gt;" in text
    assert "how it grows" in text
    assert '"dash":"dash"' in text  # the published line
    assert 'src="http' not in text


def test_a_missing_tool_ends_its_claim_and_not_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def checks(wanting: bool):
        yield exactly("first", 1, 1)
        if wanting:
            raise ToolError("synthesis needs tools that are missing: yosys")
        yield exactly("second", 2, 2)

    monkeypatch.setattr(
        "sim.reproduce.entry", lambda name: replace(entry(name), checks=lambda: checks(name == "dfloat11"))
    )
    page = tmp_path / "claims.html"
    done = CliRunner().invoke(cli.app, ["reproduce", "dfloat11", "gpu-core", "--html", str(page), "--json"])
    assert done.exit_code == 1
    assert [told["stopped"] for told in json.loads(done.stdout)] == [
        "synthesis needs tools that are missing: yosys", ""
    ]  # fmt: skip
    assert "ended early: synthesis needs tools that are missing: yosys" in done.stderr
    assert "3 of 3 figures hold; 1 claim ended early" in done.stderr
    assert "Ended early: synthesis needs tools" in page.read_text()


def test_a_page_that_cannot_be_written_is_said_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "claims.html", tmp_path):
        done = CliRunner().invoke(cli.app, ["reproduce", "gpu-core", "--html", str(path)])
        assert done.exit_code == cli.USER_ERROR
        assert f"page {path}: " in done.stderr
        assert "--html FILE" in done.stderr
        assert "figures hold" not in done.stdout


def test_a_fault_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        run_entry(replace(entry("gpu-core"), checks=lambda: iter([1 // 0])))


@pytest.mark.parametrize("name", NAMES)
def test_every_claim_names_its_source_and_workload(name: str) -> None:
    claim = entry(name)
    assert claim.name == name
    assert min(map(len, (claim.claim, claim.source, claim.workload))) > 20
