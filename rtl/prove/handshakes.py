"""Claims about every cycle of a clocked component, whatever it did before: proven by induction.

An invariant holds after power-up and, if it held before a cycle, after it. A claim holds of every cycle before which
all invariants held. Cycles in reset are proven apart.
"""

# z3 annotates its operators as returning anything it has.
# pyright: reportArgumentType=false, reportReturnType=false, reportOperatorIssue=false

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import z3
from amaranth.lib.wiring import Component

from rtl.prove.induction import Nets, Transition

Claims = Mapping[str, z3.BoolRef]


@dataclass(frozen=True)
class Handshake:
    """What is claimed of a component.

    Attributes:
        name: of what is proven.
        component: makes it, in a size that the proof can hold; the logic does not depend on widths.
        invariants: of a state.
        given: what whoever drives it promises of a cycle.
        claims: of a cycle without reset.
        in_reset: of a cycle with reset.
    """

    name: str
    component: Callable[[], Component]
    invariants: Callable[[Nets], Claims]
    given: Callable[[Transition], list[z3.BoolRef]]
    claims: Callable[[Transition], Claims]
    in_reset: Callable[[Transition], Claims] = lambda _: {}


@dataclass(frozen=True)
class Broken:
    """A claim that does not hold.

    Attributes:
        claim: it.
        nets: of the cycle that breaks it.
    """

    claim: str
    nets: dict[str, int]


def prove_handshake(handshake: Handshake, component: Component | None = None) -> tuple[int, list[Broken]]:
    """How many claims hold, and those that do not.

    Args:
        handshake: what is claimed.
        component: RTL to prove it of in place of the handshake's own.

    Raises:
        ToolError: a tool is missing, or z3 does not decide in time.
    """
    step = Transition(component or handshake.component(), "handshake")
    before, after = handshake.invariants(step.now), handshake.invariants(step.after)
    held, running = [*before.values(), *handshake.given(step)], step.now("rst") == 0
    questions = [(f"at power-up: {name}", step.refute_start, goal, ()) for name, goal in before.items()]
    for name, goal in after.items():
        questions.append((f"after every cycle: {name}", step.refute_step, goal, (*held, running)))
        questions.append((f"after reset: {name}", step.refute_step, goal, (step.now("rst") == 1,)))
    for name, goal in handshake.claims(step).items():
        questions.append((name, step.refute_step, goal, (*held, running)))
    for name, goal in handshake.in_reset(step).items():
        questions.append((name, step.refute_step, goal, (step.now("rst") == 1,)))
    broken = [Broken(name, nets) for name, refute, goal, given in questions
              if (nets := refute(goal, *given)) is not None]  # fmt: skip
    return len(questions) - len(broken), broken


def on(net: z3.BitVecRef) -> z3.BoolRef:
    """A net of one bit is high."""
    return net == 1


def bit(net: z3.BitVecRef, place: int) -> z3.BoolRef:
    """A bit of a net is high."""
    return z3.Extract(place, place, net) == 1


def wide(net: z3.BitVecRef, bits: int = 8) -> z3.BitVecRef:
    """A net with room to add."""
    return z3.ZeroExt(bits - net.size(), net)
