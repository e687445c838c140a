"""How fast the core model runs on recorded traces, on one core."""

from collections.abc import Callable, Iterator

import torch

from gpu_model.execute import Machine, execute_traced
from gpu_model.timing import time_launch
from hw.gpu_spec import GpuSpec, load_gpu
from sim.benches.launches import catch, half
from sim.measure import Measurement, best_seconds
from workloads.matmul import matmul
from workloads.softmax import softmax

PEER = "Accel-Sim"  # its authors' and users' logs: 50 to 66 k SM-cycles/s, 110 to 145 k warp-instr/s; the faster end
PEER_SM_CYCLES, PEER_WARP_INSTRUCTIONS = 66e3, 145e3


def measure(budget_seconds: float) -> Iterator[Measurement]:
    """Yield SM-cycles and warp-instructions timed a second, for a memory-bound and a compute-bound kernel."""
    gpu = load_gpu("rtx_a6000")
    rows = torch.randn((512, 1000), generator=torch.Generator().manual_seed(0))
    yield from _measure("fused softmax", lambda: softmax(rows), gpu, budget_seconds)
    a, b = half(512, 512), half(512, 512)
    yield from _measure("fp16 matmul of 512", lambda: matmul(a, b), gpu, budget_seconds)


def _measure(name: str, work: Callable[[], object], gpu: GpuSpec, budget_seconds: float) -> Iterator[Measurement]:
    launch = catch(work, gpu)
    traces = list(execute_traced(Machine(launch, trace=True)))
    shape = {
        "grid": launch.grid,
        "block_threads": launch.threads,
        "shared_bytes": launch.own_shared_bytes,
        "threads": 1,
    }
    timing = time_launch(launch.program, traces, gpu, **shape)
    seconds = best_seconds(lambda: time_launch(launch.program, traces, gpu, **shape), budget_seconds)
    yield Measurement("timing", name, timing.sm_cycles / seconds, "SM-cycles/s", PEER, PEER_SM_CYCLES)
    rate = timing.warp_instructions / seconds
    yield Measurement("timing", name, rate, "warp-instr/s", PEER, PEER_WARP_INSTRUCTIONS)
