"""Issue policies: which of several ready warps of one sub-core goes."""

import numpy as np
import pytest

ONE_SUB_CORE = {"core__sub_cores": 1, "limits__warps": 16}
LONG = "\n".join(f"FADD R{20 + i}, R2, R3" for i in range(24))


def order(issued, policy: str, listing: str = LONG, warps: int = 3, skip: int = 0) -> list[int]:
    """Warps in the order of their issues, W0 the oldest, from the first cycle on in which all could issue."""
    record = issued(listing, warps=warps, core__issue_policy=policy, **ONE_SUB_CORE)
    return record.order["warp"][skip:].tolist()


def runs(warps: list[int]) -> list[int]:
    """The same without immediate repeats."""
    return [warp for i, warp in enumerate(warps) if i == 0 or warps[i - 1] != warp]


def test_greedy_policies_finish_one_warp_first(issued):
    assert runs(order(issued, "cggty"))[-3:] == [2, 1, 0]
    assert runs(order(issued, "gto"))[-3:] == [0, 1, 2]


def test_greedy_then_oldest_falls_back_to_the_oldest(issued):
    # Each warp stalls after each instruction, so that the policy chooses anew every cycle: the oldest that can.
    listing = "\n".join(f"[B------:R-:W-:-:S02] FADD R{20 + i}, R2, R3" for i in range(12))
    assert set(runs(order(issued, "gto", listing))[4:20]) == {0, 1}
    assert set(runs(order(issued, "cggty", listing))[4:20]) == {1, 2}


@pytest.mark.parametrize("warps", [2, 3, 5])
def test_round_robin_takes_turns(issued, warps):
    # The stalls before the barrier fill all instruction buffers.
    listing = "[B------:R-:W-:Y:S15] NOP\n[B------:R-:W-:Y:S15] NOP\nBAR.SYNC 0x0\n" + LONG
    turns = order(issued, "lrr", listing, warps)[-20 * warps : -2 * warps]
    assert set(np.diff(turns) % warps) == {1}


def test_policies_do_the_same_work_in_the_same_time_where_nothing_else_binds(issued):
    cycles = [
        issued(LONG, warps=4, core__issue_policy=p, **ONE_SUB_CORE).order["cycle"] for p in ("cggty", "gto", "lrr")
    ]
    assert len({len(c) for c in cycles}) == 1
    assert np.ptp([c[-1] for c in cycles]) <= 4
