"""The state a running block shares with the interpreter: one int64 array, addressed by name."""

from enum import IntEnum

from numba import njit

from gpu_model.machine.lanes import load_i64, store_i64


class Context(IntEnum):
    """Entries of a block's context."""

    MICROOPS = 0  # address of the micro-op table
    CONSTS = 1  # address of the constant area
    FRAMES = 2  # address of the first warp's frame
    FRAME_BYTES = 3
    TEMP = 4  # address of scratch rows
    WARP_STATES = 5  # address of the first warp's control state
    WARPS = 6
    SHARED = 7  # what to add to a shared address of this block to reach host memory
    SHARED_END = 8  # one past the block's last shared address
    LOCAL = 9  # address of local memory, and bytes a thread
    LOCAL_BYTES = 10
    RANGES = 11  # address of (low, high, host address less low) of each piece of global memory, sorted
    RANGE_COUNT = 12
    LAST_LOW = 13  # the range that the last access fell in
    LAST_HIGH = 14
    CTAID_X = 15
    CTAID_Y = 16
    CTAID_Z = 17
    NTID_X = 18
    NTID_Y = 19
    NTID_Z = 20
    WARP = 21  # index of the running warp
    ADDRESS = 22  # address of scratch for 32 lane addresses
    FAULT = 23  # Fault code
    FAULT_ROW = 24
    FAULT_LANE = 25
    FAULT_ADDRESS = 26
    FAULT_BYTES = 27
    FAULT_SPACE = 28
    EXECUTED = 29  # warp-instructions executed
    BUDGET = 30  # warp-instructions left before control returns to Python
    TRACE = 31  # 1: record a trace
    TRACE_EVENTS = 32  # events recorded and their capacity
    TRACE_EVENT_CAPACITY = 33
    TRACE_ACCESSES = 34
    TRACE_ACCESS_CAPACITY = 35
    EVENT_ROW = 36  # addresses of the trace columns
    EVENT_MASK = 37
    EVENT_WARP = 38
    EVENT_ACCESS = 39
    ACCESS_ADDRESS = 40
    DOT_COUNT = 41  # captured tensor operations, their capacity and address
    DOT_CAPACITY = 42
    DOTS = 43
    UNDO_COUNT = 44  # words of global memory this block overwrote: (address, old value | bytes << 32)
    UNDO_CAPACITY = 45
    UNDO = 46
    STEPS = 47  # address of the function table
    TENSOR = 48  # address of the tensor step's scratch matrices
    BANKS = 49  # (address, bytes) of each constant bank, for LDC with a register index
    CHANGED = 50  # lanes whose store or atomic changed global memory: a sign of progress
    CALL_ADDRESS = 51  # host function that a warp called, and its lanes
    CALL_MASK = 52
    LAST_SHIFT = 53  # from an address in the range of the last access to its host address
    HOST_ADDRESS = 54  # address of scratch for host addresses: 32 lanes, and 32 more for a copy's other side
    RANK = 55  # of the block in its cluster: bits 24 and up of its shared addresses
    CLUSTER_BLOCKS = 56
    CLUSTER = 57  # address of the contexts' addresses of the cluster's blocks, by rank
    NEXT_WARP = 58  # whose turn it is
    IDLE = 59  # rounds in a row in which the warps did nothing but test barriers
    REGISTERS = 60  # of a thread at the start, and how many of all warps' together are in the block's pool
    POOL = 61
    CHECK = 62  # address of the check state (gpu_model.check), 0 without checks
    SM = 63  # that the block runs on
    NAMED_BARRIERS = 64  # 16 named barriers, four entries each: see `gpu_model.machine.barriers`
    COUNT = 64 + 16 * 4


class Fault(IntEnum):
    """Why a block stopped."""

    NONE = 0
    OUT_OF_BOUNDS = 1
    MISALIGNED = 2
    TRAP = 3
    CALL_TARGET = 4
    DESCRIPTOR = 5  # a tensor map or matrix descriptor that is refused; the bytes are the number of the reason


# As plain integers, which Numba folds.
SHARED, SHARED_END, RANK = int(Context.SHARED), int(Context.SHARED_END), int(Context.RANK)
LOCAL, LOCAL_BYTES = int(Context.LOCAL), int(Context.LOCAL_BYTES)
WARP, ADDRESS, HOST_ADDRESS = int(Context.WARP), int(Context.ADDRESS), int(Context.HOST_ADDRESS)

GLOBAL_SPACE, SHARED_SPACE, LOCAL_SPACE, GENERIC_SPACE, CONSTANT_SPACE = range(5)

CLUSTER_RANK_SHIFT = 24  # of the block's rank in a shared address


@njit
def get(ctx, entry):
    """Read a context entry."""
    return load_i64(ctx, entry)


@njit
def put(ctx, entry, value):
    """Write a context entry."""
    store_i64(ctx, entry, value)


@njit
def remember(ctx, address, value, size):
    """Note the old value of global memory, so that a faulting block can be undone; past the capacity, only count."""
    count = get(ctx, Context.UNDO_COUNT)
    if count < get(ctx, Context.UNDO_CAPACITY):
        store_i64(get(ctx, Context.UNDO), 2 * count, address)
        store_i64(get(ctx, Context.UNDO), 2 * count + 1, value | (size << 32))
    put(ctx, Context.UNDO_COUNT, count + 1)


@njit
def report_fault(ctx, fault, row, lane, address, size, space):
    """Record the first fault of a block."""
    if get(ctx, Context.FAULT) == 0:
        put(ctx, Context.FAULT, fault)
        put(ctx, Context.FAULT_ROW, row)
        put(ctx, Context.FAULT_LANE, lane)
        put(ctx, Context.FAULT_ADDRESS, address)
        put(ctx, Context.FAULT_BYTES, size)
        put(ctx, Context.FAULT_SPACE, space)
