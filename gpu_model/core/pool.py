"""The blocks at hand: their traces, coalesced and joined into one set of arrays that is renewed as blocks finish."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from gpu_model.core.asynchronous import add_asynchronous, most_transactions
from gpu_model.core.chip import Chip, Pool
from gpu_model.core.coalesce import Regions, coalesce
from gpu_model.core.polls import row_kinds, without_retries
from gpu_model.core.row_counts import ROW_COUNTS, count_rows
from gpu_model.core.state import ACCESS, BUFFER, ENTRY, POOL_BLOCK, POOL_WARP, QUEUE, TRANSACTION
from gpu_model.errors import GpuError
from gpu_model.program import Program
from gpu_model.trace import BlockTrace

POOL_ENTRIES = 1 << 20  # blocks are read ahead until they have about so many trace entries
POOL_BLOCKS = 1 << 14
_REGION_ALIGN = 1 << 21


class TraceError(GpuError):
    """A trace that does not belong to its program or launch."""


@dataclass
class _Part:
    """One block's arrays, offsets relative to themselves."""

    entries: np.ndarray
    accesses: np.ndarray
    lines: np.ndarray
    warps: np.ndarray


def place_regions(regions: Iterable[tuple[int, int]]) -> Regions:
    """Give each (address, bytes) region of global memory a fixed base, in the order of the regions.

    Host addresses differ between runs, and cache sets with them; bases are multiples of 2 MiB instead.
    """
    placed, base = [], _REGION_ALIGN
    for start, size in regions:
        placed.append((start, start + size, base))
        base += -(-size // _REGION_ALIGN) * _REGION_ALIGN + _REGION_ALIGN
    table = np.array(sorted(placed), np.int64).reshape(-1, 3)
    return Regions(*(np.ascontiguousarray(column) for column in table.T))


class TracePool:
    """Turns an iterator of `BlockTrace` into a `Pool` and replaces finished blocks by new ones.

    `counts` holds the `ROW_COUNTS` of all blocks read so far.

    Args:
        program: the kernel.
        table: its `LOWERED` rows.
        traces: blocks in launch order; consumed as room appears.
        regions: see `place_regions`.
        warps_per_block: warps that each block must have.
    """

    def __init__(
        self, program: Program, table: np.ndarray, traces: Iterable[BlockTrace], regions: Regions, warps_per_block: int
    ):
        self._program, self._table, self._regions, self._warps = program, table, regions, warps_per_block
        self._kinds = row_kinds(program, table)
        self._matrix = np.isin(program.rows["opcode"], ("LDSM", "STSM"))
        self._traces: Iterator[BlockTrace] = iter(traces)
        self._next: BlockTrace | None = next(self._traces, None)
        self._parts: list[_Part] = []
        self.counts = np.zeros(len(program), ROW_COUNTS)
        self.pool = self._join([])

    @property
    def more(self) -> bool:
        """Whether blocks remain outside the pool."""
        return self._next is not None

    def refill(self, chip: Chip, launched: int) -> tuple[np.ndarray, int]:
        """Drop finished blocks, read new ones, and move the chip's references.

        Returns:
            `POOL_WARP` records of the warps dropped, and how many blocks of the new pool are launched.
        """
        kept = self._in_use(chip)
        old = self.pool
        dropped = np.ones(len(old.warps), bool)
        dropped[launched * self._warps :] = False
        waiting = list(range(launched, len(self._parts)))
        for block in kept:
            dropped[block * self._warps : (block + 1) * self._warps] = False
        records = old.warps[dropped].copy()
        offsets = self._offsets(self._parts)
        order = kept + waiting
        warps = [old.warps[b * self._warps : (b + 1) * self._warps].copy() for b in order]
        parts = [self._parts[b] for b in order]
        for part, warp, block in zip(parts, warps, order, strict=True):
            warp["start"] -= offsets[0][block]
            warp["end"] -= offsets[0][block]
            part.warps = warp
        self.pool = self._join(parts + self._read(sum(len(part.entries) for part in parts[len(kept) :])))
        self._move(chip, kept, offsets, self._offsets(self._parts))
        return records, len(kept)

    def _in_use(self, chip: Chip) -> list[int]:
        """Blocks that run, or whose last accesses wait in a memory queue or for the copy engine."""
        live = (chip.sms["block"] >= 0) & (chip.sms["block_live"] > 0)
        blocks = set(chip.sms["block"][live].tolist())
        starts = self._offsets(self._parts)[1]
        queued = chip.subs["queue_access"][_queued(chip)]
        blocks.update((np.searchsorted(starts, queued[queued >= 0], side="right") - 1).tolist())
        copied = chip.sms["copy_access"][chip.sms["copy_used"] > 0]
        blocks.update((np.searchsorted(starts, copied, side="right") - 1).tolist())
        return sorted(blocks)

    def _offsets(self, parts: list[_Part]) -> tuple[np.ndarray, np.ndarray]:
        """First entry and first access of each part in the joined arrays; at least one access each, so all differ."""
        entries = np.cumsum([0, *(len(part.entries) for part in parts)])
        accesses = np.cumsum([0, *(len(part.accesses) for part in parts)])
        return entries, accesses

    def _move(self, chip: Chip, kept: list[int], old: tuple, new: tuple) -> None:
        renumber = {block: index for index, block in enumerate(kept)}
        sms, subs = chip.sms, chip.subs
        queued = _queued(chip) & (subs["queue_access"] >= 0)
        owner = np.searchsorted(old[1], subs["queue_access"], side="right") - 1
        copying = sms["copy_used"] > 0
        copied = np.searchsorted(old[1], sms["copy_access"], side="right") - 1
        for block, index in renumber.items():
            subs["queue_access"][queued & (owner == block)] += new[1][index] - old[1][block]
            sms["copy_access"][copying & (copied == block)] += new[1][index] - old[1][block]
        for sm, slot in zip(*np.nonzero(sms["block"] >= 0), strict=True):
            block = int(sms["block"][sm, slot])
            if sms["block_live"][sm, slot] == 0:
                sms["block"][sm, slot] = -1
                continue
            index = renumber[block]
            sms["block"][sm, slot] = index
            mine = (subs["warp"][sm] >= 0) & (subs["block"][sm] == slot)
            for field in ("position", "end", "fetched"):
                subs[field][sm][mine] += new[0][index] - old[0][block]
            subs["warp"][sm][mine] += (index - block) * self._warps

    def _read(self, entries: int) -> list[_Part]:
        """Read blocks until about POOL_ENTRIES wait, those of `entries` included."""
        parts = []
        while self._next is not None and entries < POOL_ENTRIES and len(parts) < POOL_BLOCKS:
            parts.append(self._part(self._next))
            entries += len(parts[-1].entries)
            self._next = next(self._traces, None)
        return parts

    def _part(self, trace: BlockTrace) -> _Part:
        self._check(trace)
        try:
            trace = without_retries(trace, self._kinds)
        except ValueError as error:
            raise TraceError(f"kernel {self._program.name}, block {trace.block}: {error}") from error
        count = len(trace.row)
        rows = np.ascontiguousarray(trace.row, np.int64)
        access = np.where(trace.mask != 0, trace.access, -1).astype(np.int64)
        lengths = np.diff(trace.start)
        warp = np.repeat(np.arange(trace.warps), lengths) + (trace.block % 1024) * trace.warps
        entries = np.zeros(-(-count // BUFFER) * BUFFER, ENTRY)  # whole buffers, so that buffer slots keep their place
        entries["row"][:count], entries["access"][:count] = rows, access
        entries["active"][:count] = trace.mask != 0
        entries["taken"][: count - 1] = rows[1:] != rows[:-1] + 1
        entries["taken"][trace.start[1:] - 1] = 0
        accesses = np.zeros(max(1, len(trace.address)), ACCESS)
        local = bool(self._table["local"].any())
        address = np.array(trace.address, np.int64).reshape(-1, 32)
        more = most_transactions(rows, access, address, self._table)
        lines = np.zeros(len(trace.address) * (128 if local else 32) + more, TRANSACTION)
        written, outside = coalesce(
            rows, access, warp, address, self._table, self._matrix, self._regions, accesses, lines
        )
        if outside < 0:
            written, outside = add_asynchronous(
                rows, access, address, self._table, self._regions, accesses, lines, written
            )
        count_rows(rows, np.bitwise_count(trace.mask), access, self._table, accesses, self.counts)
        if outside >= 0:
            raise TraceError(f"block {trace.block} reaches address {outside:#x}, outside every region of the launch")
        warps = np.zeros(trace.warps, POOL_WARP)
        warps["block"], warps["warp"] = trace.block, np.arange(trace.warps)
        warps["start"], warps["end"] = trace.start[:-1], trace.start[1:]
        return _Part(entries, accesses, lines[:written].copy(), warps)

    def _check(self, trace: BlockTrace) -> None:
        if trace.warps != self._warps:
            raise TraceError(f"block {trace.block} has {trace.warps} warps, the launch has {self._warps} per block")
        if len(trace.row) and int(trace.row.max()) >= len(self._program):
            raise TraceError(
                f"block {trace.block} executes row {int(trace.row.max())}, "
                f"kernel {self._program.name} has rows 0..{len(self._program) - 1}"
            )
        if (np.diff(trace.start) < 1).any():
            raise TraceError(f"block {trace.block} has a warp without instructions; each must at least EXIT")

    def _join(self, parts: list[_Part]) -> Pool:
        self._parts = parts
        entry_offsets, access_offsets = self._offsets(parts)
        line_offsets = np.cumsum([0, *(len(part.lines) for part in parts)])
        blocks = np.zeros(len(parts), POOL_BLOCK)
        blocks["first_warp"] = np.arange(len(parts)) * self._warps
        blocks["warps"] = self._warps
        warps = _concatenate([part.warps for part in parts], POOL_WARP)
        entries = _concatenate([part.entries for part in parts], ENTRY)
        accesses = _concatenate([part.accesses for part in parts], ACCESS)
        for i in range(len(parts)):
            warps["start"][i * self._warps : (i + 1) * self._warps] += entry_offsets[i]
            warps["end"][i * self._warps : (i + 1) * self._warps] += entry_offsets[i]
            mine = entries["access"][entry_offsets[i] : entry_offsets[i + 1]]
            mine[mine >= 0] += access_offsets[i]
            accesses["first"][access_offsets[i] : access_offsets[i + 1]] += line_offsets[i]
        return Pool(blocks, warps, entries, accesses, _concatenate([part.lines for part in parts], TRANSACTION))


def _queued(chip: Chip) -> np.ndarray:
    """Which places of the memory queues are filled."""
    offset = (np.arange(QUEUE) - chip.subs["queue_head"][..., None]) % QUEUE
    return offset < chip.subs["queue_count"][..., None]


def _concatenate(arrays: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype)
