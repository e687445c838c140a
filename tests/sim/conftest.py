"""A small run for the tests of reports, tables and timelines: hand-made code on two launches, really timed."""

from collections.abc import Callable

import numpy as np
import pytest

from gpu_model.program import Program
from gpu_model.sass import assemble
from gpu_model.timing import Timing, time_launch
from gpu_model.trace import BlockTrace
from hw.gpu_spec import GpuSpec, load_gpu
from rtl.cosim import CosimResult
from sim.accuracy import FormatAccuracy
from sim.provenance import Number, Origin, configuration_hash
from sim.results import LaunchResult, RunResult

LISTING = """
[B------:R-:W-:-:S04] FADD R1, R2, R3 ;
[B------:R-:W-:-:S04] FFMA R4, R1, R1, R1 ;
[B------:R-:W-:-:S05] EXIT ;
"""
BLOCKS, WARPS = 8, 4


def straight_trace(program: Program, block: int) -> BlockTrace:
    """Every warp executes every row once, all lanes on, no memory."""
    n = WARPS * len(program)
    start = np.arange(WARPS + 1) * len(program)
    row = np.tile(np.arange(len(program), dtype=np.uint32), WARPS)
    none = np.full(n, -1, np.int32)
    return BlockTrace(block, start, row, np.full(n, 0xFFFFFFFF, np.uint32), none, np.zeros((0, 32), np.int64))


@pytest.fixture(scope="session")
def program() -> Program:
    return assemble(LISTING, name="hand<made>")


@pytest.fixture(scope="session")
def time_on(program: Program) -> Callable[[GpuSpec], Timing]:
    """Time the program on a GPU: `BLOCKS` blocks of `WARPS` warps."""

    def run(gpu: GpuSpec) -> Timing:
        traces = (straight_trace(program, block) for block in range(BLOCKS))
        shape = {"grid": (BLOCKS, 1, 1), "block_threads": 32 * WARPS, "shared_bytes": 0}
        return time_launch(program, traces, gpu, **shape, events=64)

    return run


@pytest.fixture(scope="session")
def timing(time_on: Callable[[GpuSpec], Timing]) -> Timing:
    return time_on(load_gpu("rtx_a6000"))


@pytest.fixture(scope="session")
def run_result(program: Program, timing: Timing) -> RunResult:
    gpu = load_gpu("rtx_a6000")
    accuracy = FormatAccuracy("MXINT8", "hybrid INT8 M=16", 128, 4096, 41.5, 41.6, 112.0, 0.01, 0.01, 1e-6)
    return RunResult(
        title="hand made & timed",
        command="warptree run <script>",
        gpu=gpu,
        launches=(LaunchResult(program, timing, 32 * WARPS),) * 2,
        accuracy=(accuracy,),
        cosim=CosimResult({"INT8": 4096, "E2M1": 4104}, {"INT8": 0, "E2M1": 0}, {}, 1.0, 2.0),
        numbers=(Number("largest error", 2.5e-4, "", Origin.SIMULATED, "against float64"),),
        configuration=configuration_hash(gpu),
    )
