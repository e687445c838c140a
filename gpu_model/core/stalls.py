"""Why a warp did not issue: one closed list for simulator, tables, report and timeline."""

from enum import IntEnum


class StallReason(IntEnum):
    """What a warp waited for in a cycle in which it did not issue; each warp-cycle has exactly one."""

    NOT_SELECTED = 0  # another warp had the issue slot
    STALL_COUNT = 1  # stall count of its previous instruction
    YIELD = 2  # its previous instruction gave the slot away
    GLOBAL_MEMORY = 3  # dependence counter of a global or local access
    SHARED_MEMORY = 4  # dependence counter of a shared-memory access or shuffle
    CONSTANT_LOAD = 5  # dependence counter of LDC
    VARIABLE_UNIT = 6  # dependence counter of another variable-latency unit
    MBARRIER = 7  # dependence counter of an mbarrier instruction: mostly a phase that is not complete
    MATRIX_PRODUCT = 8  # groups of warpgroup products under way
    REGISTER_PORTS = 9  # Allocate waits for read ports and holds everything behind it
    UNIT_BUSY = 10  # its execution unit accepts the next instruction later
    ISSUE_PORT = 11  # the issue port is taken a second cycle
    MEMORY_QUEUE = 12  # the sub-core's memory queue is full
    BARRIER = 13  # other warps of the block, or of the cluster, have not arrived
    MEMORY_BARRIER = 14  # MEMBAR, and the fences before asynchronous work
    INSTRUCTION_FETCH = 15  # its instruction buffer is empty
    CONSTANT_MISS = 16  # a constant operand missed L0-FL, for this warp or for the one that holds the slot
    REGISTER = 17  # scoreboard: a register has yet to be computed at fixed latency, or to be read


REASONS = len(StallReason)
