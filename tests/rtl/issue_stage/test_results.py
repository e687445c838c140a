"""The calendar of fixed-latency results beside a list of when each is due."""

import dataclasses

import numpy as np
import pytest

from hw.gpu_spec import load_gpu
from rtl import tools
from rtl.compiled import QUICK_BUILD, ClockedRtl
from rtl.issue_stage import IssueDesign
from rtl.issue_stage.design import LONGEST_RESULT, SHORTEST_RESULT
from rtl.issue_stage.instruction import fields, pack
from rtl.issue_stage.results import LANES, FixedResults

CYCLES, WARPS = 4000, 4
LATENCIES = (SHORTEST_RESULT, 4, 5, LONGEST_RESULT)  # no more than can come at once
SPEC = load_gpu("rtx_a6000", {"core.dependence.mechanism": "scoreboard"})
DESIGN = dataclasses.replace(IssueDesign.from_spec(SPEC), warps=WARPS)


def instruction(latency: int, first: int) -> np.ndarray:
    """Words of an instruction that writes one register."""
    columns = {name: np.zeros(1, np.int64) for name in fields(DESIGN)}
    return pack(DESIGN, columns | {"latency": [latency], "make_first0": [first], "make_count0": [1]})[0]


@pytest.mark.skipif(bool(tools.missing("compiled RTL")), reason="compiled RTL needs a C++ compiler and Yosys")
@pytest.mark.parametrize("latencies", [LATENCIES, range(SHORTEST_RESULT, LONGEST_RESULT + 1)])
def test_results_come_when_they_are_due_unless_their_warp_is_gone(latencies) -> None:
    rng = np.random.default_rng(1)
    ports = {name: np.zeros(CYCLES, np.uint32) for name in ("rst", "start", "left", "warp")}
    ports["instruction"] = np.zeros((CYCLES, len(instruction(4, 0))), np.uint32)
    due: list[set[tuple[int, int]]] = [set() for _ in range(CYCLES + LONGEST_RESULT)]
    lanes = np.zeros(CYCLES + LONGEST_RESULT, np.int64)  # taken, also by results of warps that are gone
    last_start = np.zeros(WARPS, np.int64)
    full = False
    for cycle in range(CYCLES):
        if rng.random() < 0.3 and cycle - last_start[warp := int(rng.integers(WARPS))] >= 4:
            ports["start"][cycle], last_start[warp] = 1 << warp, cycle
            for later in due[cycle + 1 :]:
                later -= {result for result in later if result[0] == warp}
        if rng.random() < 0.7:
            warp, latency, register = int(rng.integers(WARPS)), int(rng.choice(latencies)), int(rng.integers(300))
            at = cycle + latency - SHORTEST_RESULT
            if latency > SHORTEST_RESULT:
                if lanes[at] == LANES:
                    full = True
                    continue
                lanes[at] += 1
            ports["left"][cycle], ports["warp"][cycle] = 1, warp
            ports["instruction"][cycle] = instruction(latency, register)
            if not ports["start"][cycle] >> warp & 1 or latency == SHORTEST_RESULT:
                due[at].add((warp, register))
    got = ClockedRtl(FixedResults(DESIGN), "fixed_results", QUICK_BUILD)(**ports)
    assert not got["overflow"].any()
    assert full == (latencies is not LATENCIES)
    results = [got[f"results__{lane}"] for lane in range(LANES + 1)]
    for cycle in range(CYCLES):
        words = [int(result[cycle]) for result in results]
        # Bit 0 is valid, then the warp and the first of the ranges.
        assert {(word >> 1 & 15, word >> 5 & 0x1FF) for word in words if word & 1} == due[cycle], cycle


@pytest.mark.skipif(bool(tools.missing("compiled RTL")), reason="compiled RTL needs a C++ compiler and Yosys")
def test_a_result_without_a_lane_is_told() -> None:
    # Each leaves a cycle behind the one before and is due a cycle earlier after it left.
    count = LANES + 2
    ports = {name: np.zeros(count, np.uint32) for name in ("rst", "start", "warp")}
    ports["left"] = np.ones(count, np.uint32)
    ports["instruction"] = np.stack([instruction(20 - i, i) for i in range(count)])
    run = ClockedRtl(FixedResults(DESIGN), "fixed_results", QUICK_BUILD)
    assert run(**ports)["overflow"].tolist() == [0] * (LANES + 1) + [1]
