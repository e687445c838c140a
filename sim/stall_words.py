"""What each reason for which a warp waits means to someone who writes kernels."""

MEANINGS = {
    "ISSUED": "the warp issued an instruction: the share that did work",
    "NOT_SELECTED": "ready, but another warp of the sub-core issued: there are warps enough",
    "STALL_COUNT": "waits as many cycles as the compiler wrote into the instruction before, for its result or its unit",
    "YIELD": "the instruction before gave the issue slot to another warp",
    "GLOBAL_MEMORY": "waits for a value or a place of global or local memory: caches, L2, DRAM",
    "SHARED_MEMORY": "waits for shared memory or a shuffle; bank conflicts make it longer",
    "CONSTANT_LOAD": "waits for a constant that is loaded by address",
    "VARIABLE_UNIT": "waits for a unit of variable latency: MUFU (exp2, rcp, ...), conversions, 64-bit arithmetic",
    "MBARRIER": "waits at an mbarrier, mostly for an asynchronous copy",
    "MATRIX_PRODUCT": "waits for warpgroup products under way",
    "REGISTER_PORTS": "an operand waits for a read port of the register file",
    "UNIT_BUSY": "its execution unit, often the tensor core, takes the next instruction later",
    "ISSUE_PORT": "the instruction before occupies the issue port for a second cycle",
    "MEMORY_QUEUE": "the sub-core's queue of memory instructions is full",
    "BARRIER": "waits for other warps of the block or cluster (tl.debug_barrier, reductions, layout changes)",
    "MEMORY_BARRIER": "waits until its earlier accesses are visible to others",
    "INSTRUCTION_FETCH": "its next instruction has not arrived: cold code at first, jumps, code past the caches",
    "CONSTANT_MISS": "a kernel argument or constant is not in the constant cache yet, mostly at the start",
    "REGISTER": "a scoreboard waits for a register to be computed or read",
}  # fmt: skip
