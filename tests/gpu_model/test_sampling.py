"""A part of a launch stands for the whole: against whole simulations, with the error said beforehand."""

import dataclasses

import numpy as np
import pytest
import torch

from gpu_model import VirtualGPU
from gpu_model.execute import Machine, execute_traced
from gpu_model.sampling import FIRST_WAVES, Sampling, time_sampled
from gpu_model.sass import assemble
from gpu_model.timing import time_launch
from gpu_model.trace import BlockTrace
from hw.gpu_spec import load_gpu
from sim.benches.launches import catch, half
from workloads.flash_attention import flash_attention
from workloads.layer_norm import layer_norm
from workloads.matmul import matmul
from workloads.vector_add import add

GPU = load_gpu("rtx_a6000", {"sm_count": 2})


def causal_attention() -> None:
    heads = [torch.randn((1, 8, 384, 64), generator=torch.Generator().manual_seed(i)).half() for i in range(3)]
    flash_attention(*heads)


WORK = {
    "matmul": lambda: matmul(half(1024, 128), half(128, 1024)),
    "layer norm": lambda: layer_norm(torch.ones((600, 512)), torch.ones(512), torch.ones(512)),
    "vector add": lambda: add(torch.ones(500_000), torch.ones(500_000)),
    "causal attention": causal_attention,
}


@pytest.fixture(scope="module", params=WORK)
def launch(request):
    """Program, traces and shape of a launch."""
    caught = catch(WORK[request.param], GPU)
    traces = list(execute_traced(Machine(caught, trace=True)))
    shape = {"grid": caught.grid, "block_threads": caught.threads, "shared_bytes": caught.own_shared_bytes}
    return caught.program, traces, shape | {"regions": caught.regions}


def test_a_sample_tells_the_cycles_of_the_whole(launch):
    program, traces, shape = launch
    whole, sample = (time(program, iter(traces), GPU, **shape) for time in (time_launch, time_sampled))
    wave = whole.occupancy.blocks * GPU.sm_count
    sampling = sample.sampling
    assert sampling.blocks == len(traces)
    assert sampling.simulated == (FIRST_WAVES + 1) * wave + len(traces) % wave < len(traces)
    error = 100 * (sample.cycles / whole.cycles - 1)
    assert abs(error) < 4
    assert 0 < sampling.error_percent < 15
    assert abs(error) < sampling.error_percent + 0.5
    # What is counted rather than estimated is that of the whole.
    assert (sample.issued == whole.issued).all()
    assert sample.warp_instructions == whole.warp_instructions
    assert sample.counts["lanes"].sum() == pytest.approx(whole.counts["lanes"].sum(), rel=0.02)
    assert sample.traffic_bytes["l1_read"] == pytest.approx(whole.traffic_bytes["l1_read"], rel=0.1)
    assert sample.stalled.sum() == pytest.approx(whole.stalled.sum(), rel=0.1)
    assert whole.sampling is None


def test_a_sample_is_the_same_each_time(launch):
    program, traces, shape = launch
    first, second = (time_sampled(program, iter(traces), GPU, **shape) for _ in range(2))
    assert (first.cycles, first.sampling) == (second.cycles, second.sampling)


def test_a_short_launch_is_simulated_whole():
    with VirtualGPU("rtx_a6000", timing=True, fidelity="sampled") as sampled:
        add(torch.ones(5000), torch.ones(5000))
    with VirtualGPU("rtx_a6000", timing=True) as full:
        add(torch.ones(5000), torch.ones(5000))
    timing = sampled.launches[0].timing
    assert timing.sampling == Sampling(5, 5, 0.0)
    assert str(timing.sampling) == "all 5 blocks simulated"
    assert timing.cycles == full.launches[0].timing.cycles


def test_an_unknown_fidelity_is_refused():
    with pytest.raises(ValueError, match="fidelity is 'exact', legal: full, sampled"):
        VirtualGPU("rtx_a6000", fidelity="exact")


def test_equal_waves_leave_no_error():
    """Blocks of nothing but arithmetic: every wave takes the same time, so the estimate is exact."""
    warm = {"core.icache.perfect": True, "core.constant.perfect": True}
    spec = load_gpu("rtx_a6000", {"sm_count": 2, "limits.blocks": 1} | warm)
    program = assemble("FADD R1, R2, R3\n" * 200 + "EXIT")
    rows, none = np.arange(201, dtype=np.uint32), np.full(201, -1, np.int32)
    one = BlockTrace(0, np.array([0, 201]), rows, np.full(201, 2**32 - 1, np.uint32), none, np.zeros((0, 32), np.int64))
    traces = [dataclasses.replace(one, block=index) for index in range(41)]
    shape = {"grid": (41, 1, 1), "block_threads": 32, "shared_bytes": 0}
    whole, sample = (time(program, iter(traces), spec, **shape) for time in (time_launch, time_sampled))
    assert sample.sampling == Sampling(41, 2 * (FIRST_WAVES + 1) + 1, 0.0)
    assert sample.cycles == whole.cycles
