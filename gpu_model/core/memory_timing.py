"""How a memory class's latencies divide over the stages that an instruction passes."""

import numpy as np

from hw.gpu_spec import MemoryClassSpec

QUEUE_DELAY = 2  # issue to the first memory-unit stage: Control and the queue
WAR_FROM_START, WAR_FROM_ACCEPT, WAR_FROM_RETURN = range(3)


def acceptance(kind: MemoryClassSpec) -> int:
    """Issue to acceptance by the SM in cycles, of an instruction without store data, uncontended."""
    return QUEUE_DELAY + sum(kind.stages)


def lower_memory_timing(out: np.void, kind: MemoryClassSpec, size: int, store_bytes_per_cycle: int) -> None:
    """Split Table 2's issue-to-issue latencies at the point where the SM accepts the instruction."""
    data_cycles = (32 * (4 << size)) // store_bytes_per_cycle if kind.stores else 0
    narrow_cycles = (32 * 4) // store_bytes_per_cycle if kind.stores else 0
    stages = list(kind.stages)
    stages[3] += data_cycles
    out["stages"] = stages
    leave = acceptance(kind) + narrow_cycles  # issue to acceptance, 32 bit, uncontended
    if kind.stores:
        out["war"], out["war_from"] = kind.war - leave, WAR_FROM_ACCEPT
    elif kind.raw and kind.war == kind.raw:
        out["war"], out["war_from"] = 0, WAR_FROM_RETURN
    else:
        out["war"], out["war_from"] = kind.war - QUEUE_DELAY, WAR_FROM_START
    out["transfer"] = kind.transfer[size]
    out["after"] = kind.raw - leave - kind.transfer[0] if kind.raw else 0
