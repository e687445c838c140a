"""One thread block in flight: its registers, memories, control state and trace."""

import ctypes
import struct

import numpy as np

from gpu_model import host_calls
from gpu_model.check.findings import Finding
from gpu_model.errors import ExecutionError, MemoryFault
from gpu_model.launch import HOST_FUNCTIONS, Launch, Segment, local_bytes
from gpu_model.machine.barriers import CLUSTER_BARRIER, arrivals
from gpu_model.machine.block import BLOCKED, CALLED, DONE, FAILED, PAUSED, WAITING, run_block, start_block
from gpu_model.machine.capture import RECORD_ROWS, RECORD_WORDS
from gpu_model.machine.context import (
    CLUSTER_RANK_SHIFT,
    CONSTANT_SPACE,
    GENERIC_SPACE,
    GLOBAL_SPACE,
    LOCAL_SPACE,
    SHARED_SPACE,
    Context,
    Fault,
)
from gpu_model.machine.families import function_table
from gpu_model.machine.lower import Code
from gpu_model.machine.splits import AT_BARRIER, AT_BLOCK_BARRIER, EXITED, READY, WARP_BYTES, Warp
from gpu_model.machine.tensor import SCRATCH_BYTES
from gpu_model.machine.tensor_rules import REFUSALS
from gpu_model.trace import BlockTrace

_TEMP_ROWS = 16
_REGISTER_UNIT = 8  # registers of a thread are allocated in eights
_UNDO_WORDS = 1 << 16
_SPACES = {GLOBAL_SPACE: "global", SHARED_SPACE: "shared", LOCAL_SPACE: "local", GENERIC_SPACE: "generic",
           CONSTANT_SPACE: "constant"}  # fmt: skip


class _Trace:
    """Growing trace columns of one block."""

    def __init__(self) -> None:
        self.row = np.empty(1 << 14, np.uint32)
        self.mask = np.empty(1 << 14, np.uint32)
        self.warp = np.empty(1 << 14, np.uint8)
        self.access = np.empty(1 << 14, np.int32)
        self.address = np.empty((1 << 12, 32), np.int64)

    def attach(self, ctx: np.ndarray) -> None:
        """Write the columns' addresses and capacities into a context."""
        ctx[Context.TRACE_EVENT_CAPACITY] = len(self.row)
        ctx[Context.TRACE_ACCESS_CAPACITY] = len(self.address)
        ctx[Context.EVENT_ROW] = self.row.ctypes.data
        ctx[Context.EVENT_MASK] = self.mask.ctypes.data
        ctx[Context.EVENT_WARP] = self.warp.ctypes.data
        ctx[Context.EVENT_ACCESS] = self.access.ctypes.data
        ctx[Context.ACCESS_ADDRESS] = self.address.ctypes.data

    def grow(self, ctx: np.ndarray) -> None:
        """Double whatever is nearly full."""
        if ctx[Context.TRACE_EVENTS] >= len(self.row):
            for name in ("row", "mask", "warp", "access"):
                column = getattr(self, name)
                setattr(self, name, np.resize(column, 2 * len(column)))
        if ctx[Context.TRACE_ACCESSES] + 2 > len(self.address):
            self.address = np.resize(self.address, (2 * len(self.address), 32))
        self.attach(ctx)

    def take(self, ctx: np.ndarray, block: int, warps: int) -> BlockTrace:
        """Copy out the recorded block, its events sorted by warp."""
        events, accesses = int(ctx[Context.TRACE_EVENTS]), int(ctx[Context.TRACE_ACCESSES])
        warp = self.warp[:events]
        order = np.argsort(warp, kind="stable")
        start = np.zeros(warps + 1, np.int64)
        np.cumsum(np.bincount(warp, minlength=warps), out=start[1:])
        return BlockTrace(
            block, start, self.row[:events][order], self.mask[:events][order], self.access[:events][order],
            self.address[:accesses].copy(),
        )  # fmt: skip


class ResidentBlock:
    """Memory and state of one block; reused for one block after another.

    Args:
        launch: what the block belongs to.
        code: its micro-ops; for checks, with what they watch marked (`gpu_model.check.watch`).
        consts: the launch's constant area.
        trace: record a trace.
        dots: 16 x 8 tiles of tensor instructions to keep the operands of.
        check: look for races, uninitialised reads and missing convergence (`gpu_model.check`).
    """

    def __init__(self, launch: Launch, code: Code, consts: np.ndarray, *, trace: bool, dots: int, check: bool = False):
        self.launch, self.block = launch, -1
        self._checks = None
        self._trace = _Trace() if trace else None
        warps = launch.warps
        self._frames = np.zeros(warps * code.frame_bytes, np.uint8)
        self._states = np.zeros((warps, WARP_BYTES // 8), np.int64)
        self._temp = np.zeros(_TEMP_ROWS * 128, np.uint8)
        self._shared = np.zeros(max(launch.shared_bytes, 16), np.uint8)
        self._local = np.zeros(max(warps * 32 * local_bytes(launch.program), 16), np.uint8)
        self._ranges = launch.reachable
        self._addresses, self._host_addresses = np.zeros(64, np.int64), np.zeros(64, np.int64)
        self._undo = np.zeros((_UNDO_WORDS, 2), np.int64)
        self._dots = np.zeros((dots, RECORD_WORDS), np.uint32)
        self._tensor = np.zeros(SCRATCH_BYTES, np.uint8)
        self._steps = function_table()
        if check:
            self._begin_checks()
        self._bank_bytes = {bank: np.frombuffer(data, np.uint8) for bank, data in launch.constant_banks().items()}
        self._banks = np.zeros((max(self._bank_bytes) + 1, 2), np.int64)
        for bank, data in self._bank_bytes.items():
            self._banks[bank] = data.ctypes.data, len(data)
        self._ctx = self._context(code, consts)

    def _begin_checks(self) -> None:
        from gpu_model.check.state import BlockChecks
        from gpu_model.check.steps import checked_steps

        self._checks = BlockChecks(self.launch, self._steps)
        self._steps = function_table(checked_steps(self._checks.row_flags))

    def _context(self, code: Code, consts: np.ndarray) -> np.ndarray:
        launch, ctx = self.launch, np.zeros(Context.COUNT, np.int64)
        for entry, array in (
            (Context.MICROOPS, code.microops), (Context.CONSTS, consts), (Context.FRAMES, self._frames),
            (Context.TEMP, self._temp), (Context.WARP_STATES, self._states), (Context.LOCAL, self._local),
            (Context.RANGES, self._ranges), (Context.ADDRESS, self._addresses), (Context.UNDO, self._undo),
            (Context.HOST_ADDRESS, self._host_addresses), (Context.DOTS, self._dots), (Context.STEPS, self._steps),
            (Context.TENSOR, self._tensor), (Context.BANKS, self._banks),
        ):  # fmt: skip
            ctx[entry] = array.ctypes.data
        ctx[Context.FRAME_BYTES], ctx[Context.WARPS] = code.frame_bytes, launch.warps
        ctx[Context.LOCAL_BYTES] = local_bytes(launch.program)
        ctx[Context.REGISTERS] = -(-launch.program.registers // _REGISTER_UNIT) * _REGISTER_UNIT
        ctx[Context.RANGE_COUNT] = len(launch.segments)
        ctx[Context.NTID_X], ctx[Context.NTID_Y], ctx[Context.NTID_Z] = launch.threads, 1, 1
        ctx[Context.CHECK] = self._checks.words.ctypes.data if self._checks else 0
        ctx[Context.UNDO_CAPACITY], ctx[Context.DOT_CAPACITY] = len(self._undo), len(self._dots)
        return ctx

    def join(self, contexts: np.ndarray, rank: int) -> None:
        """Become a block of a cluster.

        Args:
            contexts: int64[blocks], where the cluster's blocks put the addresses of their contexts.
            rank: of this block.
        """
        ctx, first = self._ctx, rank << CLUSTER_RANK_SHIFT
        contexts[rank] = ctx.ctypes.data
        ctx[Context.RANK], ctx[Context.CLUSTER_BLOCKS], ctx[Context.CLUSTER] = rank, len(contexts), contexts.ctypes.data
        ctx[Context.SHARED] = self._shared.ctypes.data - first
        ctx[Context.SHARED_END] = first + self.launch.shared_bytes

    @property
    def instructions(self) -> int:
        """Warp-instructions of the current block so far."""
        return int(self._ctx[Context.EXECUTED])

    @property
    def changes(self) -> int:
        """Lanes whose store or atomic changed global memory, in the current block so far: a sign of progress."""
        return int(self._ctx[Context.CHANGED])

    def start(self, block: int) -> None:
        """Put a block at its first instruction, with cleared registers and memories."""
        ctx, self.block = self._ctx, block
        ctx[Context.CTAID_X], ctx[Context.CTAID_Y], ctx[Context.CTAID_Z] = self.launch.block_index(block)
        ctx[Context.SM] = block % self.launch.sm_count  # blocks are dealt out in turn, as they first are on a GPU
        for entry in (Context.TRACE_EVENTS, Context.TRACE_ACCESSES, Context.UNDO_COUNT, Context.DOT_COUNT,
                      Context.EXECUTED, Context.CHANGED, Context.FAULT, Context.NEXT_WARP, Context.IDLE):  # fmt: skip
            ctx[entry] = 0
        ctx[Context.NAMED_BARRIERS : Context.COUNT] = 0
        for memory in (self._frames, self._shared, self._local):
            memory.fill(0)
        ctx[Context.TRACE] = self._trace is not None
        if self._trace:
            self._trace.attach(ctx)
        start_block(ctx.ctypes.data, self.launch.threads)
        if self._checks:
            self._states[:, Warp.GROUPS] = self._checks.start()

    def run(self, budget: int) -> int:
        """Run for at most `budget` warp-instructions.

        Returns:
            `DONE`, `PAUSED` when the budget is used up, and `BLOCKED` or `WAITING` (see `gpu_model.machine.block`)
            when the block cannot go on by itself.

        Raises:
            MemoryFault: an access outside the launch's memory, or misaligned; the block's stores are undone.
            ExecutionError: a trap.
        """
        ctx = self._ctx
        ctx[Context.BUDGET] = budget
        while True:
            outcome = run_block(ctx.ctypes.data)
            if outcome in (DONE, BLOCKED, WAITING):
                return outcome
            if outcome == FAILED:
                raise self._fault()
            if outcome == CALLED:
                self._call_host()
            elif self._trace and ctx[Context.BUDGET] > 0:
                self._trace.grow(ctx)
            else:
                return PAUSED

    def _call_host(self) -> None:
        """Serve a call of vprintf or __assertfail: PTX passes arguments in R4 and up."""
        ctx, warp = self._ctx, int(self._ctx[Context.WARP])
        frame = self._frames.view(np.uint32).reshape(self.launch.warps, -1, 32)[warp]
        local = self._local[: self.launch.warps * 32 * local_bytes(self.launch.program)]
        local = local.reshape(self.launch.warps, 32, -1)[warp]
        for lane in range(32):
            if int(ctx[Context.CALL_MASK]) >> lane & 1:
                registers = frame[1:, lane]
                if ctx[Context.CALL_ADDRESS] == HOST_FUNCTIONS["vprintf"]:
                    print(host_calls.printf(self.launch, registers, local[lane]), end="")
                elif ctx[Context.CALL_ADDRESS] == HOST_FUNCTIONS["__assertfail"]:
                    thread = f"block {self.launch.block_index(self.block)}, thread {32 * warp + lane}"
                    raise ExecutionError(host_calls.assertion(self.launch, registers, thread))
                else:
                    raise ExecutionError(f"kernel {self.launch.program.name} calls {int(ctx[Context.CALL_ADDRESS]):#x}")

    def take_trace(self) -> BlockTrace | None:
        """The finished block's trace, if one was recorded."""
        return self._trace.take(self._ctx, self.block, self.launch.warps) if self._trace else None

    def take_dots(self) -> np.ndarray:
        """Operands of the block's tensor instructions, uint32[n, RECORD_ROWS, 32] (`gpu_model.machine.capture`)."""
        count = int(self._ctx[Context.DOT_COUNT])
        return self._dots[:count].reshape(count, RECORD_ROWS, 32).copy()

    def take_findings(self) -> list[Finding]:
        """What the checks found in the finished block; empty without them."""
        return self._checks.take(self.block) if self._checks else []

    def _fault(self) -> Exception:
        ctx, program = self._ctx, self.launch.program
        kind, row, lane = (int(ctx[e]) for e in (Context.FAULT, Context.FAULT_ROW, Context.FAULT_LANE))
        address, size = int(ctx[Context.FAULT_ADDRESS]), int(ctx[Context.FAULT_BYTES])
        warp = int(ctx[Context.WARP])
        place = f"block {self.launch.block_index(self.block)}, warp {warp}, lane {lane} (thread {32 * warp + lane})"
        where = f"{program.where(row)}; {place}; {program.text[row]}"
        undone, space = self._undo_stores(), _SPACES.get(int(ctx[Context.FAULT_SPACE]), "")
        if kind == Fault.TRAP:
            return ExecutionError(f"the kernel trapped (device_assert or unreachable code): {where}")
        if kind == Fault.DESCRIPTOR:
            what = "matrix in shared memory" if space == "shared" else "tensor map"
            return ExecutionError(f"{what} at {address:#x} is not supported: {REFUSALS[size]}: {where}; {undone}")
        if kind == Fault.CALL_TARGET:
            return ExecutionError(f"return to {address:#x}, which is no instruction of the kernel: {where}")
        what = "misaligned" if kind == Fault.MISALIGNED else "out-of-bounds"
        near = self._nearest(address) if space in ("global", "generic") else self._limits(space)
        return MemoryFault(f"{what} {space} access of {size} bytes at {address:#x}: {where}; {near}; {undone}")

    def _limits(self, space: str) -> str:
        if space == "constant":
            return "the constant bank ends before it"
        if space == "local":
            return f"local memory is 0x0 to {local_bytes(self.launch.program):#x}"
        first = int(self._ctx[Context.RANK]) << CLUSTER_RANK_SHIFT
        return f"shared memory is {first:#x} to {first + self.launch.shared_bytes:#x}"

    def _nearest(self, address: int) -> str:
        segments = self.launch.segments
        if not segments:
            return "the launch has no tensors"

        def distance(segment: Segment) -> int:
            return max(segment.address - address, address - (segment.address + segment.size) + 1, 0)

        best = min(segments, key=distance)
        about = f"{best.name} ({best.about})" if best.about else best.name
        if address < best.address:
            return f"nearest tensor: {about}, which starts {best.address - address} bytes later"
        past = address - best.address - best.size
        return f"nearest tensor: {about}, {past} bytes past its end" if past >= 0 else f"inside tensor {about}"

    def _undo_stores(self) -> str:
        count = int(self._ctx[Context.UNDO_COUNT])
        if count > len(self._undo):
            return "this block's earlier stores are too many to undo and stay"
        for address, packed in self._undo[:count][::-1].tolist():
            ctypes.memmove(address, struct.pack("<I", packed & 0xFFFFFFFF), packed >> 32)
        return "this block's stores were undone"

    def place(self) -> str:
        """Where the block's first unfinished warp stands, for messages."""
        for warp, state in enumerate(self._states):
            if state[Warp.STATUS] != EXITED:
                row = min(int(state[Warp.PC]), len(self.launch.program) - 1)
                return f"block {self.launch.block_index(self.block)}, warp {warp}, {self.launch.program.where(row)}"
        return f"block {self.launch.block_index(self.block)}"

    def waits(self) -> list[str]:
        """What each warp that has not exited waits for, for messages."""
        waits = []
        for warp, state in enumerate(self._states):
            if state[Warp.STATUS] == AT_BARRIER:
                waits.append((warp, self._barrier_wait(state)))
            elif state[Warp.STATUS] == READY and state[Warp.TESTED_ROW]:
                waits.append((warp, self._mbarrier_wait(state)))
        return [f"block {self.launch.block_index(self.block)}, warp {warp} waits {wait}" for warp, wait in waits]

    def _barrier_wait(self, state: np.ndarray) -> str:
        barrier = int(state[Warp.BARRIER])
        splits = state[Warp.SPLIT :].reshape(-1, 3)[: state[Warp.SPLITS]]
        at = [int(pc) - 1 for pc, _, waiting in splits if waiting == AT_BLOCK_BARRIER]
        if not at:
            return f"for lanes to converge, {self.launch.program.where(int(splits[0][0]))}"
        where = self.launch.program.where(at[0])
        if barrier == CLUSTER_BARRIER:
            return f"at the cluster's barrier, {where}"
        here, _, needed = arrivals(self._ctx.ctypes.data, barrier)
        return f"at barrier {barrier}, which {here} of {needed} warps have reached, {where}"

    def _mbarrier_wait(self, state: np.ndarray) -> str:
        address, asked = int(state[Warp.TESTED]), int(state[Warp.TESTED_PHASE])
        where = self.launch.program.where(int(state[Warp.TESTED_ROW]))
        if address < 0:
            free, now = int(self._ctx[Context.POOL]), int(state[Warp.REGISTERS])
            return f"for {-address} registers a thread, it has {now} and the block's pool {free} more, {where}"
        offset = address - (int(self._ctx[Context.RANK]) << CLUSTER_RANK_SHIFT)
        word = int(self._shared[offset : offset + 8].view(np.uint64)[0])
        pending, expected, missing = -(word >> 43) & 0xFFFFF, -(word >> 1) & 0xFFFFF, word >> 21 & 0x3FFFFF
        return (
            f"for phase {asked} of the mbarrier at {address:#x}, {pending} of {expected} arrivals and {missing} bytes "
            f"short, {where}"
        )
