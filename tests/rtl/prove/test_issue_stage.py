"""The issue stage's control in every state it can be in, and controls for which the claims do not hold."""

import pytest

from rtl import tools
from rtl.issue_stage import control_bits
from rtl.issue_stage.buffer import InstructionBuffer
from rtl.issue_stage.control_bits import ControlBits
from rtl.issue_stage.select import Selector
from rtl.prove.handshakes import prove_handshake
from rtl.prove.issue_stage import BUFFER, CONTROL_BITS, DESIGN, SELECTOR, issue_stage_claims

pytestmark = pytest.mark.skipif(bool(tools.missing("proofs")), reason="proofs need z3 and pyosys")


@pytest.mark.parametrize("part", issue_stage_claims(), ids=lambda part: part.name)
def test_every_claim_holds(part) -> None:
    proven, broken = prove_handshake(part)
    assert broken == []
    assert proven >= 10


class HalfBlind(ControlBits):
    """Does not see the lowest bit of counter 3."""

    def _counts(self, m):
        counts = super()._counts(m)
        return [*counts[:3], counts[3][1:], *counts[4:]]


def test_a_counter_that_is_not_seen_whole_is_caught() -> None:
    _, broken = prove_handshake(CONTROL_BITS, HalfBlind())
    assert {found.claim for found in broken} == {
        "nothing issues that waits for counter 3 before it is zero",
        "DEPBAR issues once counter 3 is at most its limit",
    }


def test_a_stall_that_is_a_cycle_short_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_bits, "YIELD_CYCLES", 1)
    _, broken = prove_handshake(CONTROL_BITS)
    assert [found.claim for found in broken] == ["yield keeps the warp"]
    assert broken[0].nets["yields"] == 1


class Generous(Selector):
    """Chooses the warp of slot 0 too whenever that can issue."""

    def _by_age(self, m):
        return super()._by_age(m) | (self.eligible & 1)


def test_a_choice_of_several_warps_is_caught() -> None:
    _, broken = prove_handshake(SELECTOR, Generous(DESIGN))
    assert "one warp at most is chosen" in {found.claim for found in broken}


class Forgetful(InstructionBuffer):
    """Loses the stall count."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.head.stall.eq(0)
        return m


def test_a_head_that_is_not_the_oldest_is_caught() -> None:
    _, broken = prove_handshake(BUFFER, Forgetful(DESIGN))
    assert [found.claim for found in broken] == ["the head is the oldest"]
