"""Broken issue stages: a latency, a bank rule, a counter and others, each found on a few instructions."""

import dataclasses
from collections.abc import Callable

import pytest
from amaranth.hdl import Signal

from gpu_model.issue_stream import IssueStream, observe_paths
from gpu_model.sass import assemble
from hw.gpu_spec import load_gpu
from rtl.compiled import QUICK_BUILD, ClockedRtl
from rtl.issue_stage import IssueDesign, IssueStage, control_bits, operands, slot
from sim.issue_stage import compare

pytestmark = pytest.mark.usefixtures("compiled_rtl")
SPEC = load_gpu("rtx_a6000", {"core.icache.perfect": True})
DESIGN = dataclasses.replace(IssueDesign.from_spec(SPEC), warps=1)
LISTING = """MOV R4, c[0x0][0x160]
MOV R5, c[0x0][0x164]
FFMA R11, R10, R12, R14
FFMA R13, R16, R18, R20
FFMA R15, R2.reuse, R4, R6
FFMA R17, R2, R8, R10
FMUL R21, R2, R7
NOP
[B------:R-:W3:-:S02] LDG.E R8, [R2.64]
[B---3--:R-:W-:-:S01] MOV R10, R8
[B------:R-:W-:Y:S00] NOP
EXIT"""


@pytest.fixture(scope="module")
def stream() -> IssueStream:
    return observe_paths(assemble(LISTING), SPEC)


class CounterLost(control_bits.ControlBits):
    def _counts(self, m) -> list[Signal]:
        counts = super()._counts(m)
        return [*counts[:3], Signal(len(counts[3])), *counts[4:]]


def mutant(monkeypatch: pytest.MonkeyPatch, name: str) -> IssueDesign:
    """Break the RTL, or the design it is made from."""
    changes = {
        "constant latency": {"constant_miss": DESIGN.constant_miss - 1},
        "read window": {"read_cycles": DESIGN.read_cycles + 1},
        "reuse cache": {"reuse_cache": False},
    }
    patches: dict[str, Callable[[], None]] = {
        "stall latency": lambda: monkeypatch.setattr(control_bits, "EMPTY_STALL_CYCLES", 44),
        "bank rule": lambda: monkeypatch.setattr(operands, "bank_of", lambda register: register[1]),
        "counter": lambda: monkeypatch.setattr(slot, "ControlBits", CounterLost),
    }
    if name in patches:
        patches[name]()
    return dataclasses.replace(DESIGN, **changes.get(name, {}))


def test_the_right_one_passes(stream: IssueStream) -> None:
    assert compare(stream, DESIGN).divergence is None


@pytest.mark.parametrize(
    "name", ["constant latency", "read window", "bank rule", "reuse cache", "counter", "stall latency"]
)
def test_a_broken_one_is_caught(stream: IssueStream, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    broken = ClockedRtl(IssueStage(mutant(monkeypatch, name)), "issue_stage", QUICK_BUILD)
    assert compare(stream, DESIGN, broken).divergence is not None


def test_a_difference_is_told_with_cycle_warp_and_row(stream: IssueStream) -> None:
    # The first MOV asks for its constant in cycle 2 and has it 79 cycles later.
    broken = dataclasses.replace(DESIGN, constant_miss=DESIGN.constant_miss - 1)
    told = str(compare(stream, DESIGN, ClockedRtl(IssueStage(broken), "issue_stage", QUICK_BUILD)).divergence)
    assert told == "sub-core 0, cycle 80, Issue: the model has nothing, the RTL warp slot 0"
