"""The chip: SMs in quanta of cycles, L2 and DRAM behind them, blocks handed out as slots free up.

No reply from L2 and no new block can reach an SM within the quantum in which it was asked for, so SMs are
independent inside a quantum, and requests of all SMs are served in order of (cycle, SM): the result does
not depend on the order in which SMs are simulated, nor on how many threads do it.
"""

from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np
from numba import njit

from gpu_model.core.borrow import borrowed
from gpu_model.core.events import COPY_DONE, RETURN, push
from gpu_model.core.sm import launch_block, run_sm
from gpu_model.core.state import (
    DRAM_READ,
    DRAM_WRITE,
    L2_HIT,
    L2_READ,
    L2_WRITE,
    MESSAGE_MERGE,
    MESSAGE_WRITE,
    NEVER,
    REQUESTS,
    TICKS,
    Account,
    Instructions,
    Memory,
)

FINISHED, NEEDS_BLOCKS, PAUSED, FAILED, RUNNING = range(5)
_SECTOR_BYTES = 32


class Chip(NamedTuple):
    """State of a whole GPU during a launch."""

    sms: np.ndarray  # SM[n]
    subs: np.ndarray  # SUB[n, 4]
    l1: np.ndarray  # LINE[n, sets, ways]
    messages: np.ndarray  # MESSAGE[n, bound]
    l2: np.ndarray  # L2_LINE[slices, sets, ways]
    slice_free: np.ndarray  # int64[slices], ticks
    channel_free: np.ndarray  # int64[channels], ticks
    channel_writes: np.ndarray  # int64[channels], 1 if the last transfer was a write
    l0_ready: np.ndarray  # int64[n, 4, lines]
    l0_used: np.ndarray
    l1i_ready: np.ndarray  # int64[n, lines]
    l1i_used: np.ndarray
    issued: np.ndarray  # int64[parts, rows], by the thread that simulates an SM
    stalled: np.ndarray  # int64[parts, rows, reasons]
    log: np.ndarray  # LOG[n, bound]
    hazards: np.ndarray  # HAZARD[n, 1]
    ready: np.ndarray  # int64[n, 64, 256] or [n, 0, 0]


class Pool(NamedTuple):
    """Traces of the blocks at hand."""

    blocks: np.ndarray  # POOL_BLOCK
    warps: np.ndarray  # POOL_WARP
    entries: np.ndarray  # ENTRY
    accesses: np.ndarray  # ACCESS
    lines: np.ndarray  # TRANSACTION


@njit(cache=True, nogil=True)
def _find_l2(ways, line, count):
    oldest = 0
    for way in range(count):
        if ways[way].tag == line + 1:
            return way, True
        if ways[way].used < ways[oldest].used:
            oldest = way
    return oldest, False


@njit(cache=True, nogil=True)
def _count_sectors(mask):
    return (mask & 1) + (mask >> 1 & 1) + (mask >> 2 & 1) + (mask >> 3 & 1)


@njit(cache=True, nogil=True)
def _dram(chip, channel, sectors, writes, ticks, config):
    """Move sectors on a DRAM channel; returns the ticks it makes the request wait."""
    begins = max(ticks, chip.channel_free[channel])
    if chip.channel_writes[channel] != writes:
        chip.channel_writes[channel] = writes
        begins += config.dram_turnaround_ticks
    chip.channel_free[channel] = begins + sectors * config.dram_sector_ticks
    return begins - ticks


@njit(cache=True, nogil=True)
def serve(chip, sm, message, config):
    """Serve one message at L2; returns the cycle at which its data is in L1."""
    hashed = message.line ^ (message.line >> 6) ^ (message.line >> 13) ^ (message.line >> 21)
    index = hashed % config.l2_slices
    channel = index * config.dram_channels // config.l2_slices
    sectors = _count_sectors(message.sectors)
    arrival = message.time * TICKS
    begins = max(arrival, chip.slice_free[index])
    chip.slice_free[index] = begins + sectors * config.l2_sector_ticks
    ways = chip.l2[index, (message.line // config.l2_slices) % config.l2_sets]
    way, found = _find_l2(ways, message.line, config.l2_ways)
    entry = ways[way]
    if not found:
        dirty = _count_sectors(entry.dirty)
        if dirty:
            sm.bytes[DRAM_WRITE] += dirty * _SECTOR_BYTES
            _dram(chip, channel, dirty, 1, begins, config)
        entry.tag, entry.valid, entry.dirty = message.line + 1, 0, 0
    entry.used = message.time + 1
    missing = 0 if message.kind == MESSAGE_WRITE else message.sectors & ~entry.valid
    entry.valid |= message.sectors
    latency, waits = config.l2_cycles, begins - arrival
    if message.kind == MESSAGE_WRITE:
        entry.dirty |= message.sectors
        sm.bytes[L2_WRITE] += sectors * _SECTOR_BYTES
    else:
        fetched = _count_sectors(missing)
        sm.bytes[L2_READ] += sectors * _SECTOR_BYTES
        sm.bytes[L2_HIT] += (sectors - fetched) * _SECTOR_BYTES
        if fetched:
            sm.bytes[DRAM_READ] += fetched * _SECTOR_BYTES
            waits += _dram(chip, channel, fetched, 0, begins, config)
            latency += config.dram_cycles
    return message.time + latency + (waits + TICKS - 1) // TICKS


@njit(cache=True, nogil=True)
def _deliver(chip, index, message, config):
    """Serve a message and tell the L1 line and the request that wait for it."""
    sm = chip.sms[index]
    if message.kind == MESSAGE_MERGE and chip.l1[index, message.set, message.way].tag == message.line + 1:
        filled = message.time
        for sector in range(4):
            if message.sectors >> sector & 1:
                filled = max(filled, chip.l1[index, message.set, message.way].ready[sector])
    else:
        filled = serve(chip, sm, message, config)
        if message.set >= 0:
            entry = chip.l1[index, message.set, message.way]
            for sector in range(4):
                if message.sectors >> sector & 1 and entry.tag == message.line + 1:
                    entry.ready[sector] = filled
    request = message.request
    if request >= REQUESTS:
        copy = request - REQUESTS
        sm.copy_late[copy] = max(sm.copy_late[copy], filled)
        if message.last:
            push(sm, sm.copy_late[copy], COPY_DONE, copy)
            sm.next = min(sm.next, sm.copy_late[copy])
    elif request >= 0:
        sm.request_late[request] = max(sm.request_late[request], filled)
        if message.last:
            cycle = sm.request_late[request] + sm.request_after[request]
            push(sm, cycle, RETURN, request)
            sm.next = min(sm.next, cycle)


@njit(cache=True, nogil=True)
def serve_messages(chip, begin, end, config):
    """Serve the messages of a quantum, in order of (cycle, SM)."""
    count = len(chip.sms)
    cursor = np.zeros(count, np.int64)
    pending = 0
    for index in range(count):
        pending += chip.sms[index].message_count
    cycle = begin
    while pending > 0 and cycle < end:
        for index in range(count):
            sent = chip.sms[index].message_count
            while cursor[index] < sent and chip.messages[index, cursor[index]].time == cycle:
                _deliver(chip, index, chip.messages[index, cursor[index]], config)
                cursor[index] += 1
                pending -= 1
        cycle += 1
    for index in range(count):
        chip.sms[index].message_count = 0


@njit(cache=True, nogil=True)
def next_free_slot(chip, slots):
    """SM and slot that may take a block first, by (cycle, slot, SM); (-1, -1) if all are taken."""
    best, best_sm, best_slot = NEVER, -1, -1
    for slot in range(slots):
        for index in range(len(chip.sms)):
            sm = chip.sms[index]
            if (sm.block[slot] < 0 or sm.block_live[slot] == 0) and sm.block_free_at[slot] < best:
                best, best_sm, best_slot = sm.block_free_at[slot], index, slot
    return best_sm, best_slot


@njit(cache=True, nogil=True)
def dispatch(chip, pool, launched, slots, now, config):
    """Hand blocks of the pool to free slots; returns how many of the pool are launched."""
    while launched < len(pool.blocks):
        index, slot = next_free_slot(chip, slots)
        if index < 0:
            break
        sm = chip.sms[index]
        launch_block(
            sm, chip.subs[index], slot, launched, pool.blocks, pool.warps, pool.entries, index,
            max(now, sm.block_free_at[slot]), config,
        )  # fmt: skip
        launched += 1
    return launched


@njit(cache=True, nogil=True)
def _borrow_chip(chip):
    return Chip(
        borrowed(chip.sms),
        borrowed(chip.subs),
        borrowed(chip.l1),
        borrowed(chip.messages),
        borrowed(chip.l2),
        borrowed(chip.slice_free),
        borrowed(chip.channel_free),
        borrowed(chip.channel_writes),
        borrowed(chip.l0_ready),
        borrowed(chip.l0_used),
        borrowed(chip.l1i_ready),
        borrowed(chip.l1i_used),
        borrowed(chip.issued),
        borrowed(chip.stalled),
        borrowed(chip.log),
        borrowed(chip.hazards),
        borrowed(chip.ready),
    )


@njit(cache=True, nogil=True)
def _borrow_pool(pool):
    return Pool(
        borrowed(pool.blocks),
        borrowed(pool.warps),
        borrowed(pool.entries),
        borrowed(pool.accesses),
        borrowed(pool.lines),
    )


@njit(cache=True, nogil=True)
def _begin_quantum(chip, pool, launched, more, slots, configs):
    """Hand out blocks; returns RUNNING, NEEDS_BLOCKS or FINISHED, the pool's blocks launched, and the next cycle."""
    chip, pool, config = _borrow_chip(chip), _borrow_pool(pool), borrowed(configs)[0]
    now, begin = 0, NEVER
    for index in range(len(chip.sms)):
        now = max(now, chip.sms[index].clock)
    launched = dispatch(chip, pool, launched, slots, now, config)
    if more and launched == len(pool.blocks) and next_free_slot(chip, slots)[0] >= 0:
        return NEEDS_BLOCKS, launched, now
    for index in range(len(chip.sms)):
        begin = min(begin, chip.sms[index].next)
    return (FINISHED if begin == NEVER else RUNNING), launched, max(begin, now)


@njit(cache=True, nogil=True)
def _run_sms(chip, table, pool, part, parts, until, configs):
    """Advance every `parts`-th SM to `until`."""
    chip, pool, table, config = _borrow_chip(chip), _borrow_pool(pool), borrowed(table), borrowed(configs)[0]
    for index in range(part, len(chip.sms), parts):
        sm = chip.sms[index]
        if sm.next < until:
            instructions = Instructions(
                chip.l0_ready[index], chip.l0_used[index], chip.l1i_ready[index], chip.l1i_used[index]
            )
            memory = Memory(pool.accesses, pool.lines, chip.l1[index], chip.messages[index])
            account = Account(
                chip.issued[part], chip.stalled[part], chip.log[index], chip.hazards[index], chip.ready[index]
            )
            run_sm(sm, chip.subs[index], table, pool.entries, instructions, memory, pool.warps, until, config, account)


@njit(cache=True, nogil=True)
def _end_quantum(chip, begin, until, configs):
    """Serve what the SMs asked for; True if one of them failed."""
    chip, config = _borrow_chip(chip), borrowed(configs)[0]
    serve_messages(chip, begin, until, config)
    failed = False
    for index in range(len(chip.sms)):
        failed |= chip.sms[index].error != 0
    return failed


def run(
    chip: Chip,
    table: np.ndarray,
    pool: Pool,
    launched: int,
    more: bool,
    slots: int,
    quanta: int,
    configs: np.ndarray,
    workers: Executor | None = None,
) -> tuple[int, int]:
    """Run until the pool's blocks are all done, or until a slot is free and the pool is empty but not the launch.

    Args:
        chip: state, advanced in place.
        table: `LOWERED` rows.
        pool: traces at hand.
        launched: blocks of the pool that have been launched before.
        more: whether further blocks will follow those of the pool.
        slots: blocks an SM holds.
        quanta: pause after so many, so that the caller can show progress or stop.
        configs: `CONFIG[1]`.
        workers: simulate all parts of `chip.issued` but one; None if there is but one.

    Returns:
        FINISHED, NEEDS_BLOCKS, PAUSED or FAILED, and the blocks of the pool launched.
    """
    parts, quantum = len(chip.issued), int(configs["quantum"][0])
    for _ in range(quanta):
        status, launched, begin = _begin_quantum(chip, pool, launched, more, slots, configs)
        if status != RUNNING:
            return status, launched
        until = begin + quantum
        others = [
            workers.submit(_run_sms, chip, table, pool, part, parts, until, configs)
            for part in range(1, parts)
            if workers is not None
        ]
        _run_sms(chip, table, pool, 0, parts, until, configs)
        for other in others:
            other.result()
        if _end_quantum(chip, begin, until, configs):
            return FAILED, launched
    return PAUSED, launched
