"""Handshakes of the tile engine, for every state it can be in."""

import pytest
from amaranth.hdl import Module

from rtl import tools
from rtl.engine import TileControl
from rtl.prove.handshakes import prove_handshake
from rtl.prove.induction import Transition
from rtl.prove.streams import handshakes

pytestmark = pytest.mark.skipif(bool(tools.missing("proofs")), reason="proofs need z3 and pyosys")


CONTROL = next(handshake for handshake in handshakes() if handshake.name == "tile control")


def test_handshakes_hold_in_every_cycle() -> None:
    proven, broken = prove_handshake(CONTROL)
    assert broken == []
    assert proven > 6


STATE = ("step", "per_tile", "tiles_left", "summed", "out_valid")
OTHER_INPUTS = ("start", "steps", "tiles", "out_ready", "rst")


def waits_for_valid(control: Transition) -> bool:
    """Whether two states that differ in `operands_valid` alone can differ in `operands_ready`."""
    alike = [control.now(net) == control.after(net) for net in (*STATE, *OTHER_INPUTS)]
    return control.refute(control.now("operands_ready") == control.after("operands_ready"), *alike) is not None


class Shy(TileControl):
    """Ready only for what is there already, which may lock up with a source that waits for `ready`."""

    def elaborate(self, platform):
        m: Module = super().elaborate(platform)
        m.d.comb += self.operands_ready.eq(self.operands_valid & self.first)
        return m


def test_ready_does_not_wait_for_valid() -> None:
    assert not waits_for_valid(Transition(TileControl(), "tile_control"))
    assert waits_for_valid(Transition(Shy(), "tile_control"))


class Hasty(TileControl):
    """Does not wait for the output register."""

    def elaborate(self, platform):
        m: Module = super().elaborate(platform)
        m.d.comb += self.operands_ready.eq(1)
        return m


def test_a_control_that_overruns_its_register_is_caught() -> None:
    _, broken = prove_handshake(CONTROL, Hasty())
    shown = {found.claim: found.nets for found in broken}
    nets = shown["after every cycle: a tile is summed only while the output register is free"]
    assert nets["operands_valid"] == nets["take"] == nets["last"] == 1
    assert nets["summed"] or (nets["out_valid"] and not nets["out_ready"])
