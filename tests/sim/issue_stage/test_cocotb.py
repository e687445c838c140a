"""The issue stage in Verilator under cocotb, fed with the stream of a kernel."""

import dataclasses

import pytest

from gpu_model.issue_stream import IssueStream, observe_paths
from gpu_model.sass import assemble
from hw.gpu_spec import load_gpu
from rtl import tools
from rtl.issue_stage import IssueDesign, IssueStage
from sim.issue_checks import COCOTB_CYCLES, kernel_streams
from sim.issue_stage import compare_in_cocotb, slots_for

pytestmark = pytest.mark.skipif(bool(tools.missing("cocotb")), reason="a tool of the cocotb benches is missing")
SPEC = load_gpu("rtx_a6000")


@pytest.fixture(scope="module")
def stream() -> IssueStream:
    ((_, found),) = kernel_streams("matmul", SPEC)
    return found


def test_a_kernels_instructions_issue_in_the_models_cycles(stream: IssueStream) -> None:
    design = slots_for(stream, IssueDesign.from_spec(SPEC))
    compared = compare_in_cocotb(stream, design, 0, COCOTB_CYCLES)
    assert compared.divergence is None, str(compared.divergence)
    assert compared.cycles == COCOTB_CYCLES
    assert compared.instructions > 300


@pytest.mark.slow
def test_a_whole_sub_core_does_with_every_warp_slot(stream: IssueStream) -> None:
    compared = compare_in_cocotb(stream, IssueDesign.from_spec(SPEC), 1, stream.cycles)
    assert compared.divergence is None, str(compared.divergence)
    assert compared.instructions > 5000


def test_a_broken_one_is_told_with_cycle_warp_and_instruction() -> None:
    spec = load_gpu("rtx_a6000", {"core.icache.perfect": True})
    design = dataclasses.replace(IssueDesign.from_spec(spec), warps=1)
    stream = observe_paths(assemble("NOP\nMOV R4, c[0x0][0x160]\nEXIT"), spec)
    broken = dataclasses.replace(design, constant_miss=design.constant_miss + 1)
    divergence = compare_in_cocotb(stream, design, 0, stream.cycles, IssueStage(broken)).divergence
    # The MOV asks for its constant in cycle 3 and has it 79 cycles later.
    assert str(divergence) == (
        "sub-core 0, cycle 82, Issue: the model has warp slot 0 (program row 1), the RTL nothing"
    )
