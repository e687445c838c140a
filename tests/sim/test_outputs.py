"""The report, the tables and the timeline of one small run."""

import dataclasses
import gzip
import json
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from gpu_model.core.stalls import StallReason
from rtl.cosim import CosimResult, Mismatch
from sim import timeline
from sim.provenance import Origin
from sim.report import numbers, write_report
from sim.results import RunResult
from sim.stall_words import MEANINGS
from sim.tables import launches_frame, write_tables
from sim.timeline import write_timeline

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Collects text, and every attribute that would make a browser fetch something; checks nesting."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)


def read(path: Path) -> tuple[Page, str]:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    return page, " ".join(" ".join(page.words).split())


def test_report_is_one_well_formed_file_that_fetches_nothing(run_result: RunResult, tmp_path: Path) -> None:
    path = write_report(run_result, tmp_path / "report.html")
    page, _ = read(path)
    assert page.open == []
    assert page.fetched == []
    style = path.read_text().split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_report_says_what_ran_and_what_came_out(run_result: RunResult, tmp_path: Path) -> None:
    _, text = read(write_report(run_result, tmp_path / "report.html"))
    assert "hand made & timed on a virtual NVIDIA RTX A6000" in text
    assert "warptree run <script>" in text
    assert "2 kernel launches, 192 warp-instructions" in text
    assert "1: hand<made>" in text
    assert f"{2 * run_result.launches[0].timing.cycles:,}" in text
    assert "RTL against model: equal" in text
    assert "41.5" in text
    assert run_result.configuration in text


def test_a_launch_says_what_it_was_compiled_for(run_result: RunResult, tmp_path: Path) -> None:
    _, text = read(write_report(run_result, tmp_path / "report.html"))
    assert "compiled for" not in text
    first, second = run_result.launches
    tuned = dataclasses.replace(second, compiled_for=(("BLOCK", "64"), ("num_warps", "4")))
    run = dataclasses.replace(run_result, launches=(first, tuned))
    _, text = read(write_report(run, tmp_path / "report.html"))
    assert "compiled for" in text
    assert "BLOCK=64 num_warps=4" in text
    assert launches_frame(run)["compiled_for"].tolist() == ["", "BLOCK=64 num_warps=4"]


def test_every_reason_of_a_report_is_explained(run_result: RunResult, tmp_path: Path) -> None:
    assert list(MEANINGS) == ["ISSUED", *StallReason.__members__]
    _, text = read(write_report(run_result, tmp_path / "report.html"))
    waits = run_result.launches[0].timing.stalls_frame().set_index("reason")["warp_cycles"]
    for reason, meaning in MEANINGS.items():
        assert (meaning in text) == bool(waits[reason])


def test_a_mismatch_is_shown_with_its_inputs(run_result: RunResult, tmp_path: Path) -> None:
    found = Mismatch("INT8", 7, (1,), (2,), 127, 128, 0, 0x40, 0x41)
    bad = CosimResult({"INT8": 4096}, {"INT8": 1}, {"INT8": found}, 1.0, 2.0)
    _, text = read(write_report(dataclasses.replace(run_result, cosim=bad), tmp_path / "report.html"))
    assert "RTL against model: DIFFERENT" in text
    assert "INT8 vector 7: a=[0x01] b=[0x02]" in text


def test_sections_without_data_are_left_out(run_result: RunResult, tmp_path: Path) -> None:
    bare = dataclasses.replace(run_result, accuracy=(), cosim=None)
    _, text = read(write_report(bare, tmp_path / "report.html"))
    assert "RTL" not in text
    assert "MX datapath" not in text


def test_every_number_has_an_origin_and_a_basis(run_result: RunResult) -> None:
    rows = numbers(run_result)
    assert {row.origin for row in rows} == set(Origin)
    assert all(row.basis for row in rows)
    assert len({row.name for row in rows}) == len(rows)


def test_run_totals(run_result: RunResult) -> None:
    timing = run_result.launches[0].timing
    assert run_result.cycles == 2 * timing.cycles
    assert run_result.ipc == pytest.approx(timing.ipc)
    assert (run_result.rtl_vectors, run_result.rtl_mismatches) == (8200, 0)


def test_tables_survive_parquet(run_result: RunResult, tmp_path: Path) -> None:
    paths = write_tables(run_result, tmp_path)
    assert [path.name for path in paths] == ["launches.parquet", "stalls.parquet", "lines.parquet", "accuracy.parquet"]
    launches = pd.read_parquet(tmp_path / "launches.parquet")
    pd.testing.assert_frame_equal(launches.drop(columns="configuration"), launches_frame(run_result), check_dtype=False)
    assert set(launches["configuration"]) == {run_result.configuration}
    timing = run_result.launches[0].timing
    stalls = pd.read_parquet(tmp_path / "stalls.parquet")
    assert stalls["warp_cycles"].sum() == 2 * (timing.issued.sum() + timing.stalled.sum())


def test_no_table_without_rows(run_result: RunResult, tmp_path: Path) -> None:
    paths = write_tables(dataclasses.replace(run_result, accuracy=()), tmp_path)
    assert "accuracy.parquet" not in [path.name for path in paths]


def load(path: Path) -> dict:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return json.load(file)


def test_timeline_is_a_chrome_trace(run_result: RunResult, tmp_path: Path) -> None:
    launches = [(launch.program, launch.timing) for launch in run_result.launches]
    trace = load(write_timeline(tmp_path / "timeline.json.gz", launches))
    slices = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    warps = [event for event in slices if event["name"].startswith("block")]
    issues = [event for event in slices if not event["name"].startswith("block")]
    timing = run_result.launches[0].timing
    assert len(warps) == 2 * 32
    assert len(issues) == 2 * 96
    assert {event["name"] for event in issues} == {"FADD", "FFMA", "EXIT"}
    assert trace["otherData"]["left_out"] == {"warps": 0, "issues": 0}
    second = timing.launch_overhead_cycles + timing.cycles
    assert {event["ts"] >= second for event in warps[32:]} == {True}
    assert max(event["ts"] + event["dur"] for event in warps[:32]) == timing.cycles


def test_an_issue_lies_within_its_warp(run_result: RunResult, tmp_path: Path) -> None:
    launch = run_result.launches[0]
    trace = load(write_timeline(tmp_path / "timeline.json.gz", [(launch.program, launch.timing)]))
    spans: dict[tuple[int, int], tuple[int, int]] = {}
    for event in trace["traceEvents"]:
        if event["ph"] == "X" and event["name"].startswith("block"):
            spans[event["pid"], event["tid"]] = (event["ts"], event["ts"] + event["dur"])
    for event in trace["traceEvents"]:
        if event["ph"] == "X" and not event["name"].startswith("block"):
            first, last = spans[event["pid"], event["tid"]]
            assert first <= event["ts"] <= event["ts"] + event["dur"] <= last


def test_timeline_is_bounded_and_says_so(
    run_result: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "MAX_WARPS", 5)
    monkeypatch.setattr(timeline, "MAX_ISSUES", 10)
    launch = run_result.launches[0]
    trace = load(write_timeline(tmp_path / "timeline.json.gz", [(launch.program, launch.timing)]))
    assert trace["otherData"]["left_out"] == {"warps": 27, "issues": 86}
    assert len([event for event in trace["traceEvents"] if event["name"].startswith("block")]) == 5
