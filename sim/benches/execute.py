"""How fast SASS executes, results and checks included, on one core."""

from collections.abc import Iterator

import torch

from gpu_model.execute import Machine, execute
from hw.gpu_spec import load_gpu
from sim.benches.launches import catch, half
from sim.measure import Measurement, best_seconds
from workloads.matmul import matmul
from workloads.softmax import softmax

SIZE = 256  # of the square matmul
HMMA_MACS = 16 * 8 * 16


def measure(budget_seconds: float) -> Iterator[Measurement]:
    """Yield warp-instructions a second on a fused softmax, HMMA a second on a matmul with all that is around them."""
    gpu = load_gpu("rtx_a6000")
    rows = torch.randn((256, 1000), generator=torch.Generator().manual_seed(0))
    launch = catch(lambda: softmax(rows), gpu)
    machine = Machine(launch)
    execute(machine)
    instructions = machine.instructions
    seconds = best_seconds(lambda: execute(Machine(launch)), budget_seconds)
    yield Measurement("execute", "fused softmax", instructions / seconds, "warp-instr/s")

    a, b = half(SIZE, SIZE), half(SIZE, SIZE)
    launch = catch(lambda: matmul(a, b), gpu)
    seconds = best_seconds(lambda: execute(Machine(launch)), budget_seconds)
    yield Measurement("execute", f"fp16 matmul of {SIZE}", SIZE**3 / HMMA_MACS / seconds, "HMMA/s")
