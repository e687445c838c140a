"""Register-file ports and the reuse cache. Source: Huerta et al., MICRO 2025, Listings 1 and 4."""

import numpy as np
import pytest


def listing_1(x: int, y: int, last: str = "NOP\n") -> str:
    return f"""CS2R.32 R30, SR_CLOCKLO
NOP
FFMA R11, R10, R12, R14
FFMA R13, R16, R{x}, R{y}
{last}CS2R.32 R32, SR_CLOCKLO"""


@pytest.mark.parametrize(("x", "y", "cycles"), [(19, 21, 5), (18, 21, 6), (18, 20, 7)])
def test_listing_1_bank_conflicts_delay_the_second_clock(clocks, x, y, cycles):
    assert clocks(listing_1(x, y)) == cycles


def test_listing_1_without_the_last_nop_hides_the_conflict(clocks):
    assert len({clocks(listing_1(x, y, last="")) for x, y in ((19, 21), (18, 21), (18, 20))}) == 1


@pytest.mark.parametrize(("ports", "cycles"), [(1, 7), (2, 5)])
def test_a_second_read_port_removes_the_conflict(clocks, ports, cycles):
    assert clocks(listing_1(18, 20), core__rf__read_ports=ports) == cycles


def steady_interval(record) -> float:
    cycles = record.cycle[0][40:-1]
    return (cycles[-1] - cycles[0]) / (len(cycles) - 1)


@pytest.mark.parametrize(
    ("instruction", "interval"),
    [
        ("FMUL R{d}, R10, R13", 1),  # different banks: no bubble
        ("FMUL R{d}, R10, R12", 2),  # same bank: one bubble
        ("FFMA R{d}, R10, R12, R13", 2),
        ("FFMA R{d}, R10, R12, R14", 3),  # three sources in a bank: two bubbles
        ("IADD3 R{d}, R10, R13, RZ", 2),  # 16 lanes
        ("MUFU.EX2 R{d}, R10", 8),  # 4 lanes
    ],
)
def test_streams_run_at_the_rate_of_ports_and_lanes(issued, instruction, interval):
    listing = "\n".join(instruction.format(d=20 + i % 40) for i in range(100))
    assert steady_interval(issued(listing)) == interval


@pytest.mark.parametrize(
    ("first", "second", "hit"),
    [
        ("R2.reuse, R20, R21", "R2, R23, R24", False),
        ("R2.reuse, R20, R21", "R2.reuse, R23, R24", True),
        ("R2.reuse, R20, R21", "R7, R2, R25", True),
        ("R2.reuse, R20, R21", "R4, R23, R24", False),
    ],
)
def test_listing_4_what_the_third_instruction_finds_in_the_reuse_cache(issued, clocks, first, second, hit):
    # The FFMA before the last takes bank 0 in two of its three read cycles, which leaves two slots of bank 0
    # in the last one's window: enough for R26 and R28 if R2 hits, one too few if it does not.
    listing = f"""FFMA R40, {first}
NOP
NOP
NOP
FFMA R41, {second}
NOP
NOP
CS2R.32 R30, SR_CLOCKLO
FFMA R47, R43, R46, R48
FFMA R42, R2, R26, R28
NOP
CS2R.32 R32, SR_CLOCKLO"""
    assert clocks(listing) == (4 if hit else 5)
    assert clocks(listing, core__rf__reuse_cache=False) == 5


def test_the_reuse_cache_is_per_warp(issued):
    # Two warps on one sub-core: W1's reuse of R2 must not serve W0.
    listing = "FFMA R40, R2.reuse, R4, R6\nFFMA R41, R2, R8, R10\nNOP\nNOP"
    alone = issued(listing)
    both = issued(listing, warps=2, core__sub_cores=1, limits__warps=16)
    assert np.diff(alone.control[0])[1] < np.diff(issued(listing, core__rf__reuse_cache=False).control[0]).max() + 1
    assert both.hazard == ""


@pytest.mark.parametrize("offset", range(15, 26))
def test_a_load_that_meets_a_fixed_latency_result_at_its_bank_is_one_cycle_late(issued, offset):
    # LDG at 2 writes R8 so that a waiter issues 32 later. FFMA writes ten cycles after its issue, so the one
    # issued 21 cycles after the load meets it.
    def waiter(destination: int) -> int:
        nops = "\n".join(["NOP"] * (offset - 1))
        listing = f"[B------:R-:W0:-:S01] LDG.E R8, [R2.64]\n{nops}\nFFMA R{destination}, R20, R21, R23\n"
        record = issued(listing + "[B0-----:R-:W-:-:S01] MOV R30, R8")
        return int(record.cycle[0][-2] - record.cycle[0][0])

    assert waiter(12) == (33 if offset == 21 else 32)
    assert waiter(13) == 32  # the other bank


def test_two_fixed_latency_results_at_one_bank_do_not_wait(issued):
    # HADD2 (5) then FFMA (4) end in the same cycle in the same bank; the result queue takes one.
    record = issued("HADD2 R8, R20, R21\n[B------:R-:W-:-:S04] FFMA R10, R22, R23, R25\nFADD R11, R10, R8")
    assert np.diff(record.cycle[0])[:2].tolist() == [1, 4]
    assert record.hazard == ""
