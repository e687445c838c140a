"""Control bits and issue order. Source of the numbers: Huerta et al., "Dissecting and Modeling the
Architecture of Modern GPU Cores", MICRO 2025."""

import numpy as np
import pytest


def test_listing_2_a_stale_read_is_five_cycles_and_a_hazard(issued, clocks):
    # CS2R, NOP, FADD (stall 1), FFMA, NOP, CS2R: five instructions after the first, one a cycle.
    listing = """CS2R.32 R20, SR_CLOCKLO
NOP
[B------:R-:W-:-:S01] FADD R1, R2, R3
FFMA R5, R1, R1, R1
NOP
CS2R.32 R22, SR_CLOCKLO"""
    assert clocks(listing) == 5
    assert "reads R1" in issued(listing).hazard


def test_listing_2_with_the_right_stall_is_eight_cycles(issued, clocks):
    listing = """CS2R.32 R20, SR_CLOCKLO
NOP
[B------:R-:W-:-:S04] FADD R1, R2, R3
FFMA R5, R1, R1, R1
NOP
CS2R.32 R22, SR_CLOCKLO"""
    assert clocks(listing) == 8
    assert issued(listing).hazard == ""


@pytest.mark.parametrize(
    ("stall", "consumer", "correct"),
    [
        (4, "MOV R4, R2", True),
        (3, "MOV R4, R2", False),
        (4, "LDG.E R4, [R2]", False),
        (5, "LDG.E R4, [R2]", True),
    ],
)
def test_listing_3_results_bypass_to_fixed_latency_consumers_only(issued, stall, consumer, correct):
    record = issued(f"[B------:R-:W-:-:S{stall:02}] MOV R2, R6\n{consumer}")
    assert (record.hazard == "") == correct


@pytest.mark.parametrize("stall", range(1, 12))
def test_a_stall_count_is_the_issue_distance(issued, stall):
    record = issued(f"[B------:R-:W-:-:S{stall:02}] NOP\nNOP")
    assert record.cycle[0][1] - record.cycle[0][0] == stall


def test_a_lone_warp_that_yields_loses_one_cycle(issued):
    record = issued("[B------:R-:W-:Y:S01] NOP\nNOP")
    assert record.cycle[0][1] - record.cycle[0][0] == 2


@pytest.mark.parametrize("stall", [2, 7, 15])
def test_yield_does_not_matter_with_a_longer_stall(issued, stall):
    record = issued(f"[B------:R-:W-:Y:S{stall:02}] NOP\nNOP")
    assert record.cycle[0][1] - record.cycle[0][0] == stall


def test_stall_zero_with_yield_is_forty_five_cycles(issued):
    record = issued("[B------:R-:W-:Y:S00] NOP\nNOP")
    assert record.cycle[0][1] - record.cycle[0][0] == 45


@pytest.mark.parametrize("stall", [12, 13, 15])
def test_a_long_stall_without_yield_lasts_two_cycles(issued, stall):
    # The paper saw one or two cycles; ptxas never emits it.
    record = issued(f"[B------:R-:W-:-:S{stall:02}] NOP\nNOP")
    assert record.cycle[0][1] - record.cycle[0][0] == 2


@pytest.mark.parametrize(("producer_stall", "distance"), [(1, 1), (2, 32), (3, 32)])
def test_a_counter_shows_one_cycle_after_control(issued, producer_stall, distance):
    # With stall 1 the next instruction looks before the increment shows, and issues at once.
    record = issued(
        f"[B------:R-:W0:-:S{producer_stall:02}] LDG.E R8, [R2.64]\n[B0-----:R-:W-:-:S01] MOV R10, R8",
    )
    assert record.cycle[0][1] - record.cycle[0][0] == distance
    assert ("reads R8" in record.hazard) == (producer_stall == 1)


def test_yield_also_makes_a_counter_visible(issued):
    record = issued("[B------:R-:W0:Y:S01] LDG.E R8, [R2.64]\n[B0-----:R-:W-:-:S01] MOV R10, R8")
    assert record.cycle[0][1] - record.cycle[0][0] == 32


@pytest.mark.parametrize(("limit", "loads_done"), [(2, 1), (1, 2), (0, 3)])
def test_depbar_waits_for_all_but_n(issued, limit, loads_done):
    # Three loads in cycles 2, 3, 4 use the address unit for 4 cycles each: data at 34, 38, 42 (Tables 1 and 2).
    load = "[B------:R-:W0:-:S01] LDG.E R8, [R2.64]\n"
    record = issued(load * 2 + load.replace("S01", "S02") + f"[B------:R-:W-:-:S04] DEPBAR.LE SB0, {limit:#x}\nNOP")
    assert record.cycle[0][3] == 34 + 4 * (loads_done - 1)
    assert record.cycle[0][4] - record.cycle[0][3] == 4


def test_depbar_also_waits_for_the_counters_it_lists(issued):
    record = issued(
        "[B------:R-:W0:-:S01] LDG.E R8, [R2.64]\n"
        "[B------:R-:W1:-:S02] LDG.E R9, [R2.64]\n"
        "[B------:R-:W-:-:S04] DEPBAR.LE SB0, 0x1, {1}"
    )
    assert record.cycle[0][2] == 38


PROLOGUE = 3
INSTRUCTIONS = 32


def figure_4(issued, second: str = "NOP", **overrides):
    """Issue order of Figure 4: one sub-core, W3 the youngest, 32 independent instructions.

    A barrier fills all instruction buffers first; W3 arrives there last, so that the greedy scheduler
    starts with it.
    """
    listing = "\n".join(
        ["[B------:R-:W-:Y:S15] NOP"] * 2 + ["BAR.SYNC 0x0", "NOP", second] + ["NOP"] * (INSTRUCTIONS - 3)
    )
    whole = range(PROLOGUE + INSTRUCTIONS)
    record = issued(
        listing, paths=[whole[PROLOGUE - 1 :]] * 3 + [whole], core__sub_cores=1, limits__warps=16, **overrides
    )
    events = record.order[record.order["row"] >= PROLOGUE]
    edges = np.flatnonzero(np.diff(events["warp"])) + 1
    return [(int(part[0]), len(part)) for part in np.split(events["warp"], edges)], record


def test_figure_4a_a_cache_miss_hands_over_to_a_warp_that_finds_the_line(issued):
    # Two lines are prefetched ahead and arrive 17 cycles after they are asked for, 8 instructions are a line:
    # W3 outruns the prefetcher, W2 does not.
    order, _ = figure_4(
        issued,
        core__icache__perfect=False,
        core__icache__network_cycles=8,
        core__icache__miss_cycles=0,
        core__icache__prefetch_lines=2,
    )
    assert [warp for warp, _ in order] == [3, 2, 3, 1, 0]
    assert order[1] == (2, INSTRUCTIONS)


def test_figure_4b_a_stall_makes_bursts_of_two(issued):
    order, record = figure_4(issued, "[B------:R-:W-:-:S04] NOP")
    assert order == [(3, 2), (2, 2), (1, 2), (3, 30), (2, 30), (1, 30), (0, 32)]
    alone = np.diff(record.cycle[0][1:])
    assert alone[1] == 4
    assert (np.delete(alone, 1) == 1).all()


def test_figure_4c_yield_goes_to_the_youngest_other(issued):
    order, _ = figure_4(issued, "[B------:R-:W-:Y:S01] NOP")
    assert order == [(3, 2), (2, 2), (3, 30), (2, 30), (1, 2), (0, 2), (1, 30), (0, 30)]


def test_a_lone_warp_issues_every_cycle_with_three_buffer_entries(issued):
    listing = "\n".join(["NOP"] * 32)
    assert (np.diff(issued(listing).cycle[0]) == 1).all()
    assert not (np.diff(issued(listing, core__instruction_buffer=2).cycle[0]) == 1).all()
