"""What the control of the issue stage does in every state that it can be in (rules: Huerta et al., MICRO 2025)."""

# z3 annotates its operators as returning anything it has.
# pyright: reportArgumentType=false, reportReturnType=false, reportOperatorIssue=false

from dataclasses import replace
from itertools import combinations

import z3

from hw.gpu_spec import load_gpu
from rtl.issue_stage import IssueDesign
from rtl.issue_stage.buffer import InstructionBuffer
from rtl.issue_stage.control_bits import LONG_STALL, ControlBits
from rtl.issue_stage.design import COUNTER_BITS, COUNTERS
from rtl.issue_stage.select import Selector
from rtl.prove.handshakes import Claims, Handshake, bit, on, wide
from rtl.prove.induction import Nets, Transition

DESIGN = replace(IssueDesign.from_spec(load_gpu("rtx_a6000")), warps=6)
_FULL = (1 << COUNTER_BITS) - 1


def _expected(step: Transition, counter: int) -> z3.BitVecRef:
    """A dependence counter's value after a cycle, with room for what does not fit it."""
    count, released = step.now(f"count_{counter}"), step.now(f"released__{counter}")
    named = [z3.And(on(step.now("control")), step.now(net) == counter) for net in ("write_counter", "read_counter")]
    ups = [z3.If(condition, z3.BitVecVal(1, 8), z3.BitVecVal(0, 8)) for condition in named]
    return wide(count) + ups[0] + ups[1] - wide(released)


def _within(step: Transition) -> list[z3.BoolRef]:
    """No counter is released more often than it was counted up, and none is counted up beyond its bits."""
    return [z3.And(_expected(step, i) >= 0, _expected(step, i) <= _FULL) for i in range(COUNTERS)]


def _waits(step: Transition) -> Claims:
    """What holds a warp's next instruction, and for how long."""
    now, left, later = step.now, step.now("left"), step.after("left")
    ready, runs = on(now("ready")), z3.And(now("clear") == 0, now("issue") == 0)
    issues = z3.And(now("clear") == 0, on(now("issue")), now("yields") == 0, z3.ULT(now("stall"), LONG_STALL))
    claims = {"nothing issues before its stall count is spent": z3.Implies(ready, left == 0)}
    for i in range(COUNTERS):
        count, asked = now(f"count_{i}"), bit(now("wait_mask"), i)
        depbar = z3.And(on(now("bar")), now("bar_counter") == i)
        exact = wide(step.after(f"count_{i}")) == _expected(step, i)
        claims |= {
            f"nothing issues that waits for counter {i} before it is zero": z3.Implies(
                z3.And(ready, z3.Or(asked, z3.And(on(now("bar")), bit(now("bar_mask"), i)))), count == 0
            ),
            f"DEPBAR issues once counter {i} is at most its limit": z3.Implies(
                z3.And(ready, depbar), z3.ULE(count, now("bar_limit"))
            ),
            f"counter {i} counts exactly": z3.Or(on(now("clear")), exact),
            f"counter {i} is zero for a new warp": z3.Implies(on(now("clear")), step.after(f"count_{i}") == 0),
        }
    return claims | {
        "a stall count of s keeps the warp for s - 1 cycles": z3.Implies(
            issues, later == z3.If(now("stall") == 0, 0, z3.ZeroExt(2, now("stall")) - 1)
        ),
        "yield keeps the warp": z3.Implies(z3.And(now("clear") == 0, on(now("issue")), on(now("yields"))), later != 0),
        "a cycle passes": z3.Implies(runs, later == z3.If(left == 0, 0, left - 1)),
    }


def _orders(nets: Nets) -> Claims:
    """The age matrix is an order, and at most one warp was the last to issue."""
    triples = []
    for i, j, k in combinations(range(DESIGN.warps), 3):
        first, second, across = (nets(f"younger_{a}_{b}") for a, b in ((i, j), (j, k), (i, k)))
        triples.append(z3.Not(z3.And(first == second, first != across)))
    return {
        "one warp at most issued last": nets("last") & (nets("last") - 1) == 0,
        "of any three warps the ages have an order": z3.And(triples),
    }


def _selects(step: Transition) -> Claims:
    eligible, chosen = step.now("eligible"), step.now("chosen")
    return {
        "one warp at most is chosen": chosen & (chosen - 1) == 0,
        "who is chosen can issue": chosen & ~eligible == 0,
        "one is chosen if one can issue": z3.Implies(eligible != 0, chosen != 0),
        "the last warp goes on while it can": z3.Implies(eligible & step.now("last") != 0, chosen == step.now("last")),
    }


def _room(nets: Nets) -> Claims:
    return {"no more instructions than entries": z3.ULE(nets("used"), DESIGN.buffer)}


def _order(step: Transition) -> Claims:
    """Entry i of the next cycle is entry i or i + 1 of this one, or what was pushed behind them all."""
    now, after = step.now, step.after
    left = now("used") - wide(now("pop"), now("used").size())
    claims = {"there is a head while there are instructions": on(now("valid")) == (now("used") != 0)}
    claims["the head is the oldest"] = now("head") == now("entry_0")
    for i in range(DESIGN.buffer):
        stays = now(f"entry_{i}") if i + 1 == DESIGN.buffer else (
            z3.If(on(now("pop")), now(f"entry_{i + 1}"), now(f"entry_{i}"))
        )  # fmt: skip
        claims[f"entry {i} keeps the order"] = z3.Implies(z3.UGT(left, i), after(f"entry_{i}") == stays)
        claims[f"entry {i} takes what comes behind"] = z3.Implies(
            z3.And(on(now("push")), left == i), after(f"entry_{i}") == now("instruction")
        )
    return claims


def _buffer_given(step: Transition) -> list[z3.BoolRef]:
    now = step.now
    return [
        z3.Implies(on(now("pop")), now("used") != 0),
        z3.Implies(on(now("push")), z3.Or(z3.ULT(now("used"), DESIGN.buffer), on(now("pop")))),
    ]


CONTROL_BITS = Handshake("issue stage: control bits", ControlBits, lambda _: {}, _within, _waits)
SELECTOR = Handshake(
    "issue stage: selection",
    lambda: Selector(DESIGN),
    _orders,
    lambda step: [z3.Or(step.now("issue") == 0, step.now("issue") == step.now("chosen"))],
    _selects,
)
BUFFER = Handshake("issue stage: buffer", lambda: InstructionBuffer(DESIGN), _room, _buffer_given, _order)


def issue_stage_claims() -> list[Handshake]:
    """The parts of the issue stage, for `rtl.prove.handshakes.prove_handshake`."""
    return [CONTROL_BITS, SELECTOR, BUFFER]
