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
    REGISTER_PORTS = 7  # Allocate waits for read ports and holds everything behind it
    UNIT_BUSY = 8  # its execution unit accepts the next instruction later
    ISSUE_PORT = 9  # the issue port is taken a second cycle
    MEMORY_QUEUE = 10  # the sub-core's memory queue is full
    BARRIER = 11  # other warps of the block have not arrived
    MEMORY_BARRIER = 12  # MEMBAR
    INSTRUCTION_FETCH = 13  # its instruction buffer is empty
    CONSTANT_MISS = 14  # a constant operand missed L0-FL, for this warp or for the one that holds the slot
    REGISTER = 15  # scoreboard: a register has yet to be computed at fixed latency, or to be read


REASONS = len(StallReason)
