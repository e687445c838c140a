"""Executing a launch on the CPU: blocks in order, results in the caller's memory, a trace a block."""

import ctypes
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gpu_model.errors import ExecutionError, LaunchError, MemoryFault
from gpu_model.launch import Launch, check_grid, local_bytes
from gpu_model.machine.block import DEADLOCK, DONE, FAILED, run_block, start_block
from gpu_model.machine.context import GLOBAL_SPACE, LOCAL_SPACE, SHARED_SPACE, Context, Fault
from gpu_model.machine.families import function_table
from gpu_model.machine.lower import constant_area, lower
from gpu_model.machine.tensor import DOT_WORDS, SCRATCH_BYTES
from gpu_model.machine.warp import WARP_BYTES
from gpu_model.trace import BlockTrace

_SLICE = 4_000_000  # warp-instructions between returns to Python, where an interrupt is seen
_TEMP_ROWS = 16
_UNDO_WORDS = 1 << 16
_SPACES = {GLOBAL_SPACE: "global", SHARED_SPACE: "shared", LOCAL_SPACE: "local"}


@dataclass
class Dots:
    """Operands of the first tensor instructions of a launch.

    Attributes:
        words: uint32[n, 14, 32]: rows of A (4), B (2), accumulator before (4) and after (4), by lane.
        rows: how many were executed before the pages were full is not known; `full` says they were.
    """

    words: np.ndarray
    full: bool


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
            self.row, self.mask = np.resize(self.row, 2 * len(self.row)), np.resize(self.mask, 2 * len(self.mask))
            self.warp = np.resize(self.warp, 2 * len(self.warp))
            self.access = np.resize(self.access, 2 * len(self.access))
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


class Machine:
    """Everything one launch needs in memory; runs its blocks one at a time.

    Args:
        launch: what to run.
        dots: how many tensor instructions to keep the operands of.

    Raises:
        UnsupportedInstruction: before anything runs.
        LaunchError: an impossible grid or block.
    """

    def __init__(self, launch: Launch, *, dots: int = 0):
        check_grid(launch.program.name, launch.grid, launch.threads)
        self.launch = launch
        self.code = lower(launch.program)
        self.instructions = 0
        warps = launch.warps
        self._frames = np.zeros(warps * self.code.frame_bytes, np.uint8)
        self._states = np.zeros(warps * WARP_BYTES, np.uint8)
        self._consts = constant_area(self.code, launch.constant_banks(), launch.program.name)
        self._temp = np.zeros(_TEMP_ROWS * 128, np.uint8)
        self._shared = np.zeros(max(launch.shared_bytes, 16), np.uint8)
        self._local = np.zeros(max(warps * 32 * local_bytes(launch.program), 16), np.uint8)
        self._ranges = np.array([(s.address, s.address + s.size) for s in launch.segments] or [(0, 0)], np.int64)
        self._addresses = np.zeros(64, np.int64)
        self._undo = np.zeros((_UNDO_WORDS, 2), np.int64)
        self._dots = np.zeros((dots, DOT_WORDS), np.uint32)
        self._trace = _Trace()
        self._tensor = np.zeros(SCRATCH_BYTES, np.uint8)
        self._steps = function_table()
        self._ctx = self._context()

    def _context(self) -> np.ndarray:
        launch, ctx = self.launch, np.zeros(Context.COUNT, np.int64)
        for entry, array in (
            (Context.MICROOPS, self.code.microops), (Context.CONSTS, self._consts), (Context.FRAMES, self._frames),
            (Context.TEMP, self._temp), (Context.WARP_STATES, self._states), (Context.SHARED, self._shared),
            (Context.LOCAL, self._local), (Context.RANGES, self._ranges), (Context.ADDRESS, self._addresses),
            (Context.UNDO, self._undo), (Context.DOTS, self._dots), (Context.STEPS, self._steps),
            (Context.TENSOR, self._tensor),
        ):  # fmt: skip
            ctx[entry] = array.ctypes.data
        ctx[Context.FRAME_BYTES], ctx[Context.WARPS] = self.code.frame_bytes, launch.warps
        ctx[Context.SHARED_BYTES], ctx[Context.LOCAL_BYTES] = launch.shared_bytes, local_bytes(launch.program)
        ctx[Context.RANGE_COUNT] = len(launch.segments)
        ctx[Context.NTID_X], ctx[Context.NTID_Y], ctx[Context.NTID_Z] = launch.threads, 1, 1
        ctx[Context.UNDO_CAPACITY], ctx[Context.DOT_CAPACITY] = len(self._undo), len(self._dots)
        return ctx

    @property
    def dots(self) -> Dots:
        """Tensor-core operands kept so far."""
        count = int(self._ctx[Context.DOT_COUNT])
        return Dots(self._dots[:count].reshape(count, 14, 32), count == len(self._dots))

    def run_block(self, block: int, *, trace: bool = False) -> BlockTrace | None:
        """Execute one block; its trace if asked for.

        Raises:
            MemoryFault: an access outside the launch's memory, or misaligned; the block's stores are undone.
            ExecutionError: a trap, or a deadlock at barriers.
        """
        ctx, launch = self._ctx, self.launch
        x, y, z = launch.block_index(block)
        ctx[Context.CTAID_X], ctx[Context.CTAID_Y], ctx[Context.CTAID_Z] = x, y, z
        ctx[Context.TRACE], ctx[Context.TRACE_EVENTS], ctx[Context.TRACE_ACCESSES] = trace, 0, 0
        ctx[Context.UNDO_COUNT] = 0
        for memory in (self._frames, self._shared, self._local):
            memory.fill(0)
        if trace:
            self._trace.attach(ctx)
        before = int(ctx[Context.EXECUTED])
        start_block(ctx.ctypes.data, launch.threads)
        while True:
            ctx[Context.BUDGET] = _SLICE
            outcome = run_block(ctx.ctypes.data)
            if outcome == DONE:
                break
            if outcome == FAILED:
                raise self._fault(block)
            if outcome == DEADLOCK:
                raise self._deadlock(block)
            if trace:
                self._trace.grow(ctx)
        self.instructions += int(ctx[Context.EXECUTED]) - before
        return self._trace.take(ctx, block, launch.warps) if trace else None

    def _place(self, block: int, lane: int) -> str:
        warp = int(self._ctx[Context.WARP])
        return f"block {self.launch.block_index(block)}, warp {warp}, lane {lane} (thread {32 * warp + lane})"

    def _fault(self, block: int) -> Exception:
        ctx, program = self._ctx, self.launch.program
        kind, row, lane = (int(ctx[e]) for e in (Context.FAULT, Context.FAULT_ROW, Context.FAULT_LANE))
        address, size = int(ctx[Context.FAULT_ADDRESS]), int(ctx[Context.FAULT_BYTES])
        where = f"{program.where(row)}; {self._place(block, lane)}; {program.text[row]}"
        undone = self._undo_stores()
        if kind == Fault.TRAP:
            return ExecutionError(f"the kernel trapped (device_assert or unreachable code): {where}")
        if kind == Fault.CALL_TARGET:
            return ExecutionError(f"return to {address:#x}, which is no instruction of the kernel: {where}")
        space = _SPACES[int(ctx[Context.FAULT_SPACE])]
        what = "misaligned" if kind == Fault.MISALIGNED else "out-of-bounds"
        near = self._nearest(address) if space == "global" else self._limits(space)
        return MemoryFault(f"{what} {space} access of {size} bytes at {address:#x}: {where}; {near}; {undone}")

    def _limits(self, space: str) -> str:
        size = self.launch.shared_bytes if space == "shared" else local_bytes(self.launch.program)
        return f"{space} memory is 0x0 to {size:#x}"

    def _nearest(self, address: int) -> str:
        segments = self.launch.segments
        if not segments:
            return "the launch has no tensors"

        def distance(segment) -> int:  # noqa: ANN001 - a Segment
            return max(segment.address - address, address - (segment.address + segment.size) + 1, 0)

        best = min(segments, key=distance)
        about = f"{best.name} ({best.about})" if best.about else best.name
        if address < best.address:
            return f"nearest tensor: {about}, {best.address - address} bytes after it"
        past = address - best.address - best.size
        return f"nearest tensor: {about}, {past} bytes past its end" if past >= 0 else f"inside tensor {about}"

    def _undo_stores(self) -> str:
        count = int(self._ctx[Context.UNDO_COUNT])
        if count > len(self._undo):
            return "this block's earlier stores are too many to undo and stay"
        for address, packed in self._undo[:count][::-1].tolist():
            size = packed >> 32
            ctypes.memmove(address, struct.pack("<I", packed & 0xFFFFFFFF), size)
        return "this block's stores were undone"

    def _deadlock(self, block: int) -> ExecutionError:
        return ExecutionError(
            f"deadlock in kernel {self.launch.program.name}, block {self.launch.block_index(block)}: every warp that has "
            "not exited waits at a barrier that cannot complete"
        )


def execute(machine: Machine) -> None:
    """Run every block of a launch, without a trace."""
    for block in range(machine.launch.blocks):
        machine.run_block(block)


def execute_traced(machine: Machine) -> Iterator[BlockTrace]:
    """Run every block of a launch in order, yielding each block's trace; only one is held at a time."""
    for block in range(machine.launch.blocks):
        trace = machine.run_block(block, trace=True)
        if trace is None:
            raise LaunchError("a traced block returned no trace")
        yield trace
