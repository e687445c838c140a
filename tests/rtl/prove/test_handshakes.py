"""Handshakes of streamers, queues and scratchpad, for every state they can be in; and broken ones, which are caught."""

import pytest
from amaranth.hdl import Module

from rtl import tools
from rtl.npu.loops import AddressLoops
from rtl.npu.queue import WordQueue
from rtl.npu.reader import Reader
from rtl.npu.scratchpad import Scratchpad
from rtl.npu.writer import Writer
from rtl.prove.handshakes import prove_handshake
from rtl.prove.streams import CHANNELS, DEPTH, LOOPS, SPEC, handshakes

pytestmark = pytest.mark.skipif(bool(tools.missing("proofs")), reason="proofs need z3 and pyosys")

KNOWN = {handshake.name: handshake for handshake in handshakes()}


@pytest.mark.parametrize("name", KNOWN)
def test_every_claim_holds(name: str) -> None:
    proven, broken = prove_handshake(KNOWN[name])
    assert broken == []
    assert proven >= 10


class Forgetful(WordQueue):
    """Does not count what is taken."""

    def elaborate(self, platform):
        m: Module = super().elaborate(platform)
        m.d.sync += self.level.eq(self.level + self.put)
        return m


class Greedy(Reader):
    """Channel 0 asks whenever its queue has room now, whatever is on its way."""

    def elaborate(self, platform):
        m: Module = super().elaborate(platform)
        room = m.submodules.queue_0.level < DEPTH
        m.d.comb += self.memory[0].valid.eq(m.submodules.loops.valid & room)
        return m


class Deaf(Reader):
    """Takes a step from its queues whether all of them have a word or not."""

    def elaborate(self, platform):
        m: Module = super().elaborate(platform)
        m.d.comb += m.submodules.queue_1.take.eq(self.take)
        return m


class Eager(Writer):
    """Takes a block while words of the last one wait."""

    def elaborate(self, platform):
        m: Module = super().elaborate(platform)
        m.d.comb += self.ready.eq(1)
        return m


class Rude(Scratchpad):
    """Tells a reader that it was served although the DMA was."""

    def elaborate(self, platform):
        m: Module = super().elaborate(platform)
        m.d.comb += self.read[0].ready.eq(self.read[0].valid)
        return m


class Restless(AddressLoops):
    """Goes on although the address was not used."""

    def elaborate(self, platform):
        m: Module = super().elaborate(platform)
        with m.If(~self.next & ~self.start):
            m.d.sync += self.valid.eq(0)
        return m


@pytest.mark.parametrize(
    ("name", "component", "claim"),
    [
        ("queue", Forgetful(SPEC.word_bits, DEPTH), "no word is lost or doubled"),
        ("address loops", Restless(4, LOOPS, CHANNELS), "an address stays until it is used"),
        ("reader", Greedy(SPEC, CHANNELS, 2, DEPTH), "after every cycle: channel 0 asks for no more than its queue"),
        ("reader", Deaf(SPEC, CHANNELS, 2, DEPTH), "channel 1: nor underflow"),
        ("writer", Eager(SPEC, CHANNELS, 2), "a block is taken only when the one before is written"),
        ("scratchpad", Rude(SPEC, 1, 2), "read__0: the word that lies there comes the cycle after"),
    ],
)
def test_broken_hardware_is_caught_and_the_cycle_shown(name: str, component, claim: str) -> None:
    _, broken = prove_handshake(KNOWN[name], component)
    found = [entry for entry in broken if entry.claim.startswith(claim)]
    assert found, [entry.claim for entry in broken]
    assert found[0].nets
