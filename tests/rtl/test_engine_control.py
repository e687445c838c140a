"""Handshakes of the tile engine, for every state it can be in."""

import pytest
import z3
from amaranth.hdl import Module

from rtl import tools
from rtl.engine import TileControl
from rtl.prove.induction import Transition

pytestmark = pytest.mark.skipif(bool(tools.missing("proofs")), reason="proofs need z3 and pyosys")


def on(bits: z3.BitVecRef) -> z3.BoolRef:
    return bits == 1


def exclusive(nets) -> z3.BoolRef:
    """The invariant: a tile is summed only while the output register is free."""
    return z3.Not(z3.And(on(nets("summed")), on(nets("out_valid"))))


def in_flight(nets) -> z3.BitVecRef:
    return z3.ZeroExt(2, nets("summed")) + z3.ZeroExt(2, nets("out_valid"))


def properties(control: Transition) -> dict[str, z3.BoolRef]:
    """What one cycle without reset must do, given the invariant."""
    now, after = control.now, control.after
    emitted = z3.And(on(now("out_valid")), on(now("out_ready")))
    ended = z3.And(on(now("take")), on(now("last")))
    one = z3.BitVecVal(1, 3)
    zero = z3.BitVecVal(0, 3)
    waiting = z3.And(on(now("out_valid")), z3.Not(on(now("out_ready"))))
    return {
        "the invariant stays": exclusive(after),
        "what is offered stays offered": z3.Implies(waiting, on(after("out_valid"))),
        "and its register is not written": z3.Implies(waiting, z3.Not(on(now("summed")))),
        "no output is lost or doubled": in_flight(after)
        == in_flight(now) + z3.If(ended, one, zero) - z3.If(emitted, one, zero),
        "a sum is captured the cycle after": on(after("summed")) == ended,
        "busy while anything is in flight": z3.Implies(in_flight(now) != 0, on(now("busy"))),
        "operands are taken by both sides": on(now("take"))
        == z3.And(on(now("operands_valid")), on(now("operands_ready"))),
    }


def failing(control: Transition) -> list[str]:
    given = exclusive(control.now), control.now("rst") == 0
    return [name for name, goal in properties(control).items() if control.refute_step(goal, *given) is not None]


def test_handshakes_hold_in_every_cycle() -> None:
    control = Transition(TileControl(), "tile_control")
    assert control.refute_start(exclusive(control.now)) is None
    assert failing(control) == []


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


def test_reset_forgets_what_is_in_flight() -> None:
    control = Transition(TileControl(), "tile_control")
    empty = z3.And(in_flight(control.after) == 0, control.after("busy") == 0)
    assert control.refute_step(empty, control.now("rst") == 1) is None


class Hasty(TileControl):
    """Does not wait for the output register."""

    def elaborate(self, platform):
        m: Module = super().elaborate(platform)
        m.d.comb += self.operands_ready.eq(1)
        return m


def test_a_control_that_overruns_its_register_is_caught() -> None:
    broken = failing(Transition(Hasty(), "tile_control"))
    assert "the invariant stays" in broken


def test_a_state_that_breaks_a_property_is_shown() -> None:
    control = Transition(Hasty(), "tile_control")
    shown = control.refute_step(exclusive(control.after), exclusive(control.now), control.now("rst") == 0)
    assert shown is not None
    assert shown["operands_valid"] == shown["take"] == shown["last"] == 1
    assert shown["summed"] or (shown["out_valid"] and not shown["out_ready"])
