# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false

import numpy as np
import pytest

import rtl.mac.step
from hw.mac import step as model_step
from rtl.mac import MacDesign
from rtl.mac.accumulate import Accumulate
from rtl.mac.design import lane_bits
from rtl.prove import Input, Theorem, prove, stages, theorems
from tests.rtl.mutants import E2M3_BIAS, FP4_ANCHOR, INT8_DIGIT_WEIGHTS, SIGN_OF_THE_SUM

DESIGN = MacDesign()


def by_name(design: MacDesign, stage: str, element: str | None) -> Theorem:
    return next(t for t in theorems(design) if (t.stage, t.element) == (stage, element))


@pytest.fixture(autouse=True)
def _fresh_netlists():
    """Netlists are cached by design, which a mutant does not change."""
    stages.netlist.cache_clear()
    yield
    stages.netlist.cache_clear()


def holds(design: MacDesign, element: str | None) -> None:
    chosen = [t for t in theorems(design) if t.element == element]
    assert len(chosen) == (4 if element is None else 6)
    for theorem in chosen:
        verdict = prove(design, theorem)
        assert verdict.failure is None
        assert verdict.proven > 0 or theorem.stage == "lanes"


@pytest.mark.parametrize("element", ["E4M3", "E2M1"])
def test_stage_1_holds_for_every_input(element: str) -> None:
    holds(DESIGN, element)


def test_stage_2_holds_for_every_input() -> None:
    holds(DESIGN, None)


@pytest.mark.slow
@pytest.mark.parametrize("m", [12, 13, 16, 23])
@pytest.mark.parametrize("element", [*DESIGN.names, None])
def test_every_mode_holds_for_every_input(m: int, element: str | None) -> None:
    holds(MacDesign(m), element)


class KeepsOneTooMany(Accumulate):
    """Returns the accumulator one exponent too early: wrong for a few of 2**100 inputs."""

    def elaborate(self, platform):
        from amaranth.hdl import Signal, signed

        m = super().elaborate(platform)
        d = Signal(signed(10))
        m.d.comb += [d.eq(self.field - self.exponent), self.keep.eq((d >= self._m_bits) | ~self.product.any())]
        return m


MUTANTS = {
    "E2M3 bias": (*E2M3_BIAS, "exponents", "E2M3"),
    "INT8 digit weights": (*INT8_DIGIT_WEIGHTS, "product sum", "INT8"),
    "FP4 anchor": (*FP4_ANCHOR, "product sum", "E2M1"),
    "sign of the sum": (*SIGN_OF_THE_SUM, "normalised sum", None),
    "left edge": (rtl.mac.step, "Accumulate", KeepsOneTooMany, "result", None),
}


QUICK = ("FP4 anchor", "left edge")


@pytest.mark.parametrize("mutant", [m if m in QUICK else pytest.param(m, marks=pytest.mark.slow) for m in MUTANTS])
def test_broken_rtl_is_caught_and_the_input_shown(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, attribute, broken, stage, element = MUTANTS[mutant]
    monkeypatch.setattr(module, attribute, broken)
    failure = prove(DESIGN, by_name(DESIGN, stage, element)).failure
    assert failure is not None
    assert failure.input is not None
    assert failure.input.expected == model(failure.input) != failure.input.got
    assert f"expected {failure.input.expected:#x}, RTL gives {failure.input.got:#x}" in str(failure.input)


def model(shown: Input) -> int:
    """What `hw.mac` makes of an input that the prover shows."""
    spec = DESIGN.spec(shown.element)
    width, mask = lane_bits(spec.element), (1 << spec.element.bits) - 1
    a, b = ([[shown.ports[port] >> lane * width & mask for lane in range(spec.lanes)]] for port in "ab")
    xa, xb = (np.array([shown.ports[port]], np.uint8) for port in ("xa", "xb"))
    acc = np.array([shown.ports["acc"]], np.uint32)
    return int(model_step(spec, np.array(a, np.uint8), np.array(b, np.uint8), xa, xb, acc)[0])
