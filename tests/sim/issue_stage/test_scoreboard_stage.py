"""The issue stage with a scoreboard: code without control bits in the model's cycles, and broken RTL that is not."""

import dataclasses

import numpy as np
import pytest

from gpu_model.core.lower import lower
from gpu_model.issue_events import ISSUE, RESULT
from gpu_model.issue_stream import IssueStream, observe_paths
from gpu_model.sass import assemble
from hw.gpu_spec import load_gpu
from rtl.compiled import QUICK_BUILD, ClockedRtl
from rtl.issue_stage import IssueDesign, IssueStage, registers, results
from sim.issue_returns import register_columns, returns
from sim.issue_stage import compare

SCOREBOARD = {"core.dependence.mechanism": "scoreboard", "core.dependence.consumers": 3}
SPEC = load_gpu("rtx_a6000", {"core.icache.perfect": True, "core.constant.perfect": True} | SCOREBOARD)
DESIGN = dataclasses.replace(IssueDesign.from_spec(SPEC), warps=1)
LISTING = """FFMA R11, R10, R12, R14
FFMA R13, R11, R18, R20
STG.E [R4.64], R13
HMMA.16816.F32 R32, R8, R12, R32
IMAD.WIDE R36, R14, R3, R22
FADD R7, R33, R37
ISETP.GT.AND P0, PT, R13, R2, PT
@P0 FFMA R15, R2, R4, R6
MUFU.EX2 R30, R15
FMUL R16, R30, R7
LDG.E R40, [R2.64]
LDG.E R41, [R2.64]
LDG.E R42, [R2.64]
LDG.E R43, [R2.64]
IADD3 R2, R40, R43, RZ
EXIT"""
compiled = pytest.mark.usefixtures("compiled_rtl")


@pytest.fixture(scope="module")
def stream() -> IssueStream:
    return observe_paths(assemble(LISTING), SPEC)


@compiled
def test_code_without_control_bits_issues_in_the_models_cycles(stream: IssueStream) -> None:
    compared = compare(stream, DESIGN)
    assert compared.divergence is None, str(compared.divergence)
    assert compared.instructions == len(LISTING.splitlines())


@compiled
@pytest.mark.parametrize(
    ("name", "row"), [("a consumer fewer", 12), ("a result a cycle early", 1), ("results forwarded to memory", 2)]
)
def test_a_broken_one_is_caught(stream: IssueStream, monkeypatch: pytest.MonkeyPatch, name: str, row: int) -> None:
    design = DESIGN
    if name == "a consumer fewer":
        design = dataclasses.replace(design, consumers=DESIGN.consumers - 1)
    elif name == "a result a cycle early":
        monkeypatch.setattr(results, "SHORTEST_RESULT", 4)
    else:
        monkeypatch.setattr(registers, "MEMORY", 3)
    divergence = compare(stream, DESIGN, ClockedRtl(IssueStage(design), "issue_stage", QUICK_BUILD)).divergence
    assert divergence is not None
    issued = stream.events[stream.events["kind"] == ISSUE]
    due = int(issued["cycle"][issued["item"] == row][0])
    # Fewer consumers hold the instruction back; the others let it go a cycle early.
    assert divergence.cycle == (due if name == "a consumer fewer" else due - 1)


def test_a_program_beyond_the_rtl_is_refused_by_row() -> None:
    table = lower(assemble(LISTING), SPEC).copy()
    table["latency"][1] = 40
    with pytest.raises(ValueError, match="program row 1 has a result of fixed latency after .* more than 34 cycles"):
        register_columns(table)
    table = lower(assemble(LISTING), SPEC).copy()
    table["use_first"][0, 0] = 255 + 63
    with pytest.raises(ValueError, match="program row 0 names uniform registers beyond the first 63"):
        register_columns(table)


def test_more_results_in_a_cycle_than_there_are_ports_are_refused(stream: IssueStream) -> None:
    events = stream.events[stream.events["kind"] == RESULT]
    crowded = np.repeat(events[:1], 4)
    with pytest.raises(ValueError, match=rf"cycle {events['cycle'][0]}: 4 results, the RTL takes 3"):
        returns(stream.table, crowded, stream.cycles)
