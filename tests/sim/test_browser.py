"""Pages in a headless Chromium, where there is one: figures are drawn, nothing is fetched, nothing hangs over."""

from dataclasses import replace

import pytest

from gpu_model.program import Program
from gpu_model.timing import Timing
from sim.figures import stacked_shares
from sim.page import document, table
from sim.report import write_report
from sim.results import LaunchResult, RunResult
from tests.sim.browser import look_at, needs_chromium

LONG = "a_kernel_whose_name_says_everything_that_it_does_" * 4

pytestmark = needs_chromium


def named(run: RunResult, program: Program, timing: Timing, name: str, count: int) -> RunResult:
    launch = LaunchResult(program, replace(timing, kernel=name), 128)
    return replace(run, title=name, launches=(launch,) * count)


@pytest.mark.parametrize("width", [1280, 600])
@pytest.mark.parametrize(("name", "count"), [("softmax", 1), (LONG, 30)])
def test_a_report(run_result, program, timing, tmp_path, name, count, width) -> None:
    page = write_report(named(run_result, program, timing, name, count), tmp_path / "report.html")
    seen = look_at(page, width)
    assert (seen["wrong"], seen["fetched"]) == ([], [])
    assert seen["drawn"] == seen["figures"] >= 4
    assert seen["overhang"] <= 0
    assert min(seen["plots"]) > 0.3  # labels leave room for what they label


def test_the_probe_sees_what_is_wrong(tmp_path) -> None:
    """A page without its script draws nothing and says so; a table too wide hangs over unless it scrolls."""
    page = tmp_path / "bare.html"
    wide = table(["x"] * 300, [[1] * 300])
    page.write_text(document("bare", stacked_shares(["a"], {"b": [1.0]}, "cycles") + wide, ""), "utf-8")
    seen = look_at(page, 800)
    assert seen["wrong"]
    assert (seen["figures"], seen["drawn"], seen["overhang"]) == (1, 0, 0)
    page.write_text(page.read_text("utf-8").replace('class="scroll"', ""), "utf-8")
    assert look_at(page, 800)["overhang"] > 0
