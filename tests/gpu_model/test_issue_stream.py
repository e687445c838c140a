"""The issue stages' inputs and outputs, as seen from outside the core model, beside what it reports itself."""

import numpy as np
import pytest

from gpu_model.issue_stream import ACCEPT, FETCH, ISSUE, RELEASE, START, WAKE, observe_paths
from gpu_model.sass import assemble
from gpu_model.timing import issue_cycles
from hw.gpu_spec import load_gpu

LISTING = """[B------:R1:W0:-:S02] LDG.E R8, [R2.64]
[B------:R-:W2:-:S02] MUFU.EX2 R12, R10
BAR.SYNC 0x0
[B012---:R-:W-:-:S01] FADD R10, R8, R12
[B------:R1:W-:-:S02] STG.E [R2.64], R10
[B-1----:R-:W-:-:S05] NOP
EXIT"""


@pytest.mark.parametrize("warps", [1, 7, 32])
def test_the_stream_is_that_of_an_unobserved_run(warps: int) -> None:
    spec, program = load_gpu("rtx_a6000"), assemble(LISTING)
    record, stream = issue_cycles(program, spec, warps=warps), observe_paths(program, spec, warps=warps)
    issued = stream.events[stream.events["kind"] == ISSUE]
    assert issued["cycle"].tolist() == record.order["cycle"].tolist()
    assert issued["control"].tolist() == record.order["control"].tolist()
    assert issued["item"].tolist() == record.order["row"].tolist()
    assert stream.cycles == record.order["cycle"].max() + 1
    counts = {kind: int((stream.events["kind"] == kind).sum()) for kind in range(6)}
    # Two of the seven reach memory, and four counters go up and down.
    assert counts == {
        FETCH: 7 * warps, ISSUE: 7 * warps, START: warps, WAKE: warps, ACCEPT: 2 * warps, RELEASE: 4 * warps,
    }  # fmt: skip
    assert int(stream.events["last"].sum()) == warps


def test_a_counter_goes_down_when_its_waiter_may_issue() -> None:
    stream = observe_paths(assemble(LISTING), load_gpu("rtx_a6000", {"core.icache.perfect": True}))
    events = stream.events
    waiter = events[(events["kind"] == ISSUE) & (events["item"] == 3)]["cycle"][0]
    down = events[(events["kind"] == RELEASE) & np.isin(events["item"], (0, 2))]["cycle"]
    assert waiter == down.max()
