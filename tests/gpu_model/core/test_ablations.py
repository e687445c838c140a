"""Switches of the core on real kernels: signs and order as published (Huerta et al., MICRO 2025, A6000, 128 programs).

Published speed-ups: no prefetch 1, 1 line 1.08, 8 lines 1.37, 32 lines 1.40; scoreboards 0.95 to 0.98 of control bits;
one read port without the reuse cache 0.69 of that with it on an SGEMM, a second port without the cache 1.02.
"""

from typing import Any

import pytest
import torch

from gpu_model.execute import Machine, execute_traced
from gpu_model.timing import time_launch
from hw.gpu_spec import load_gpu
from sim.benches.launches import catch, half
from workloads.matmul import matmul
from workloads.matmul_float32 import matmul_float32
from workloads.softmax import softmax

FEW = {"sm_count": 8}
SCOREBOARD = {"core.dependence.mechanism": "scoreboard"}


def _softmax() -> None:
    softmax(torch.ones((512, 1000)))


def _matmul() -> None:
    matmul(half(256, 512), half(512, 512))


def _sgemm() -> None:
    matmul_float32(torch.ones((256, 256)), torch.ones((256, 256)))


@pytest.fixture(scope="module")
def cycles_of():
    """Cycles of a kernel, executed once, on the A6000 with some fields changed."""
    executed: dict[Any, Any] = {}

    def run(work, **changes) -> int:
        if work not in executed:
            launch = catch(work, load_gpu("rtx_a6000"))
            executed[work] = launch, list(execute_traced(Machine(launch, trace=True)))
        launch, traces = executed[work]
        spec = load_gpu("rtx_a6000", FEW | changes.pop("fields", {}))
        shape = {"grid": launch.grid, "block_threads": launch.threads, "shared_bytes": launch.shared_bytes}
        return time_launch(launch.program, traces, spec, **shape).cycles

    return run


@pytest.mark.parametrize("work", [_softmax, _matmul])
def test_prefetching_code_pays_and_eight_lines_are_enough(cycles_of, work):
    cycles = {lines: cycles_of(work, fields={"core.icache.prefetch_lines": lines}) for lines in (0, 1, 8, 32)}
    assert cycles[0] > cycles[1] > cycles[8]
    assert 0.60 < cycles[8] / cycles[0] < 0.80  # about a quarter
    assert cycles[32] == pytest.approx(cycles[8], rel=0.02)


@pytest.mark.parametrize("consumers", [1, 3, 63, "unlimited"])
@pytest.mark.parametrize("work", [_softmax, _matmul])
def test_a_scoreboard_is_within_a_few_per_cent_of_control_bits(cycles_of, work, consumers):
    fields = SCOREBOARD | ({"core.dependence.consumers": consumers} if consumers != 63 else {})
    assert cycles_of(work, fields=fields) == pytest.approx(cycles_of(work), rel=0.05)


def test_without_the_reuse_cache_single_precision_products_wait_for_ports(cycles_of):
    cached = cycles_of(_sgemm)
    ratio = cached / cycles_of(_sgemm, fields={"core.rf.reuse_cache": False})
    two_ports = cached / cycles_of(_sgemm, fields={"core.rf.reuse_cache": False, "core.rf.read_ports": 2})
    assert 0.66 < ratio < 0.97
    assert two_ports >= 1
