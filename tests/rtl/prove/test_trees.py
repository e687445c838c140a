"""Proofs of the MACs that sum by a floating-point addition and in a long integer."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false

import numpy as np
import pytest

import rtl.mac.float_add
import rtl.mac.long_integer
from rtl.equality import model_step
from rtl.mac import MacDesign, Tree
from rtl.mac.design import lane_bits
from rtl.prove import Input, Theorem, prove, stages, theorems
from rtl.prove.long_integer_rule import far_below

FLOAT, LONG = (MacDesign(tree=tree) for tree in (Tree.FP32_ADDITION, Tree.LONG_INTEGER))
SLOWEST = "rounded sum"  # a minute with M = 16


@pytest.fixture(autouse=True)
def _fresh_netlists():
    """Netlists are cached by design, which a mutant does not change."""
    stages.netlist.cache_clear()
    yield
    stages.netlist.cache_clear()


def holds(design: MacDesign, theorem: Theorem) -> int:
    verdict = prove(design, theorem)
    assert verdict.failure is None, verdict.failure
    return verdict.proven


def test_a_floating_point_addition_holds_for_every_input() -> None:
    counts = {t.stage: holds(FLOAT, t) for t in theorems(FLOAT, ("E4M3",))}
    m = FLOAT.mantissa_bits
    assert counts["normalised product"] == m + 4 + 1
    assert counts["floating point sum"] == 2 * (m + 2) + 1 + 3


def test_a_long_integer_holds_for_every_input_up_to_its_rounding() -> None:
    chosen = [t for t in theorems(LONG, ("E2M1",)) if t.stage != SLOWEST]
    counts = {t.stage: holds(LONG, t) for t in chosen}
    assert counts["exact sum"] == far_below(LONG.spec("E2M1")) + 70 + 2
    assert counts["words"] == 4


@pytest.mark.slow
@pytest.mark.parametrize("tree", [Tree.FP32_ADDITION, Tree.LONG_INTEGER])
@pytest.mark.parametrize("m", [12, 16, 23])
def test_every_mode_holds_for_every_input(m: int, tree: Tree) -> None:
    design = MacDesign(m, tree=tree)
    for theorem in theorems(design):
        assert holds(design, theorem) > 0 or theorem.stage == "lanes"


@pytest.mark.slow
def test_a_broken_addition_is_caught_and_the_input_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtl.mac.float_add, "GUARD", 1)
    failure = prove(FLOAT, by_stage(FLOAT, "floating point sum")).failure
    assert failure is not None
    assert failure.input is not None
    assert failure.input.expected == model(FLOAT, failure.input) != failure.input.got


@pytest.mark.slow
def test_a_broken_long_integer_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtl.mac.long_integer, "LONG_FRACTION_BITS", 33)
    failure = prove(LONG, by_stage(LONG, "words")).failure
    assert failure is not None
    assert failure.claim == "word 0, exponent 2"


def by_stage(design: MacDesign, stage: str) -> Theorem:
    return next(t for t in theorems(design, ("E4M3",)) if t.stage == stage)


def model(design: MacDesign, shown: Input) -> int:
    """What the value model makes of an input that the prover shows."""
    spec = design.spec(shown.element)
    width, mask = lane_bits(spec.element), (1 << spec.element.bits) - 1
    a, b = ([[shown.ports[port] >> lane * width & mask for lane in range(spec.lanes)]] for port in "ab")
    xa, xb = (np.array([shown.ports[port]], np.uint8) for port in ("xa", "xb"))
    acc = np.array([shown.ports["acc"]], np.uint32)
    return int(model_step(design, shown.element, np.array(a, np.uint8), np.array(b, np.uint8), xa, xb, acc)[0])
