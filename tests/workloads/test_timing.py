"""Every workload on the GPUs with asynchronous hardware has cycles, every one of which is accounted for."""

import runpy

import pytest
import triton

from gpu_model import VirtualGPU
from tests.workloads.test_scripts import SCRIPTS


@pytest.mark.slow
@pytest.mark.parametrize("name", ["h100_sxm", "h200", "rtx_5090"])
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_has_timing(name, script, monkeypatch):
    monkeypatch.setattr("sys.argv", [str(script)])
    with VirtualGPU(name, timing=True) as gpu:
        runpy.run_path(str(script), run_name="__main__")
    for record in gpu.launches:
        timing = record.timing
        assert timing.warp_instructions == timing.issued.sum() <= record.instructions
        waited = timing.warps["end_cycle"] - timing.warps["start_cycle"]
        assert timing.issued.sum() + timing.stalled.sum() == waited.sum()
        assert triton.cdiv(timing.warp_instructions, 4 * timing.cycles) <= gpu.spec.sm_count
