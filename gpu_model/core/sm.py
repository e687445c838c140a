"""One SM: the order of things in a cycle, the jump to the next cycle that matters, and the life of a block.

In a cycle: operand reads and acceptance in the memory unit, events that fall due, then for each sub-core
fetch and issue. Fetch sees the buffers as they were before this cycle's issue.

What runs every cycle is inlined by force: a call passes each array as eight words, and that took two thirds of the
time.
"""

from numba import njit

from gpu_model.core.copies import finish_copy, run_engine
from gpu_model.core.counters import complete_groups, leave_group, release
from gpu_model.core.events import (
    BARRIER_OPEN,
    COPY_DONE,
    COPY_ENGINE,
    MBARRIER_UPDATE,
    RELEASE,
    RETURN,
    WRITE_BACK,
    cycle_of,
    data_of,
    kind_of,
    pop,
    push,
)
from gpu_model.core.frontend import fetch
from gpu_model.core.issue import hold_all, issue, open_if_complete, select
from gpu_model.core.mbarriers import do_update
from gpu_model.core.memory_timing import WAR_FROM_RETURN
from gpu_model.core.memory_unit import accept, next_accept, next_start, start_read
from gpu_model.core.registers import write_port_busy
from gpu_model.core.scoreboard import clear, read_at, reads_done, results_written
from gpu_model.core.stalls import StallReason
from gpu_model.core.state import ALL_COUNTERS, GROUPS, LOCALS, NAMED_BARRIERS, NEVER

_FETCH = int(StallReason.INSTRUCTION_FETCH)
_CONSTANT = int(StallReason.CONSTANT_MISS)


@njit(cache=True, nogil=True)
def start_return(sm, subs, table, request, cycle):
    """Take the sub-core's return path."""
    index = sm.request_sub[request]
    sub = subs[index]
    begins = max(cycle, sub.return_free)
    ends = begins + table[sm.request_row[request]].transfer
    sub.return_free = ends
    push(sm, ends, WRITE_BACK, request)


@njit(cache=True, nogil=True)
def write_back(sm, subs, table, request, cycle, config, account_):
    """Write a result; a fixed-latency result at the same bank goes first (Huerta et al., MICRO 2025)."""
    index, local = sm.request_sub[request], sm.request_local[request]
    sub, op = subs[index], table[sm.request_row[request]]
    if write_port_busy(sub, op, cycle - 1, config):
        push(sm, cycle + 1, WRITE_BACK, request)
        return
    sm.request_used[request] = 0
    sm.request_count -= 1
    if sub.generation[local] != sm.request_generation[request]:
        return
    if config.check_hazards:
        for i in range(op.writes):
            account_.ready[index * LOCALS + local, op.write_register + i] = cycle - 1
    if op.write_counter >= 0:
        release(sub, local, op.write_counter, cycle)
    if op.war_from == WAR_FROM_RETURN and op.read_counter >= 0:
        release(sub, local, op.read_counter, cycle)
    if config.scoreboard:
        results_written(sub, local, op, cycle)
        if op.war_from == WAR_FROM_RETURN:
            read_at(sm, sub, index, local, sub.generation[local], sm.request_row[request], cycle)
    group = sm.request_group[request]
    if group >= 0:
        leave_group(sub, local, group, cycle)


@njit(cache=True, nogil=True)
def open_barrier(sm, subs, slot, barrier, cycle, config):
    """Let the warps that a complete named barrier held go on."""
    for index in range(config.sub_cores):
        sub = subs[index]
        for local in range(LOCALS):
            if sub.warp[local] >= 0 and sub.block[local] == slot and sub.barrier[local] == NAMED_BARRIERS + barrier:
                sub.barrier[local] = -1
                sub.not_before[local] = cycle
                sub.wake = min(sub.wake, cycle)


@njit(cache=True, nogil=True, forceinline=True)
def handle_event(sm, subs, table, memory, key, config, account_):
    """Do what an event says."""
    cycle, kind, data = cycle_of(key), kind_of(key), data_of(key)
    if kind == RETURN:
        start_return(sm, subs, table, data, cycle)
    elif kind == WRITE_BACK:
        write_back(sm, subs, table, data, cycle, config, account_)
    elif kind == BARRIER_OPEN:
        open_barrier(sm, subs, data >> 4, data & 15, cycle, config)
    elif kind == MBARRIER_UPDATE:
        do_update(sm, data, cycle, config)
    elif kind == COPY_ENGINE:
        run_engine(sm, table, memory, cycle, config)
    elif kind == COPY_DONE:
        finish_copy(sm, subs, table, memory, data, cycle, config)
    else:
        sub, local = subs[data >> 14], (data >> 10) & 15
        if (sub.generation[local] & 15) == (data >> 6) & 15:
            if kind == RELEASE and data & 63 >= ALL_COUNTERS:
                reads_done(sub, local, table, (data & 63) - ALL_COUNTERS, cycle)
            elif kind == RELEASE:
                release(sub, local, data & 63, cycle)
            else:
                complete_groups(sub, local, cycle)


@njit(cache=True, nogil=True, forceinline=True)
def step(sm, subs, index, table, entries, instructions, memory, pool_warps, cycle, config, account_):
    """One cycle of a sub-core: fetch, then issue; sets the cycle at which it wants to be looked at again."""
    sub = subs[index]
    wake = fetch(sm, sub, index, entries, instructions, cycle, config)
    if cycle < sub.issue_free:
        hold_all(sub, cycle, sub.issue_reason, sub.issue_free, account_.stalled)
    elif cycle < sub.hold_until:
        hold_all(sub, cycle, _CONSTANT, sub.hold_until, account_.stalled)
    else:
        local = select(sm, sub, table, cycle, config, account_.stalled)
        if local >= 0:
            issue(sm, subs, index, local, table, entries, memory, account_, cycle, config)
            if sub.position[local] == sub.end[local]:
                finish_warp(sm, subs, index, local, pool_warps, cycle, config)
            wake = cycle + 1
    sub.fetch_last = sub.last
    i = 0
    while wake > cycle + 1 and i < sub.warps:
        wake = min(wake, sub.not_before[sub.order[i]])
        i += 1
    sub.wake = max(wake, cycle + 1)


@njit(cache=True, nogil=True)
def finish_warp(sm, subs, index, local, pool_warps, cycle, config):
    """A warp issued its last instruction: free its slot, and the block's if it was the last."""
    sub = subs[index]
    record = pool_warps[sub.warp[local]]
    record.end_cycle = cycle + 1
    kept = 0
    for i in range(sub.warps):
        if sub.order[i] != local:
            sub.order[kept] = sub.order[i]
            kept += 1
    sub.warps = kept
    sub.warp[local] = -1
    sub.last = -1
    sub.not_before[local] = NEVER
    slot = sub.block[local]
    sm.block_live[slot] -= 1
    sm.last_cycle = max(sm.last_cycle, cycle + 1)
    if sm.block_live[slot] == 0:
        sm.block_free_at[slot] = cycle + 1 + config.block_launch_cycles
    for barrier in range(NAMED_BARRIERS):
        if sm.block_arrived[slot, barrier] > 0:
            open_if_complete(sm, subs, slot, barrier, cycle, config)


@njit(cache=True, nogil=True, forceinline=True)
def run_sm(sm, subs, table, entries, instructions, memory, pool_warps, until, config, account_):
    """Advance an SM to `until`, or leave it asleep with `sm.next` set to the next cycle that matters."""
    cycle = max(sm.clock, sm.next)
    while cycle < until and sm.error == 0:
        queued = 0
        for index in range(config.sub_cores):
            sub = subs[index]
            if sub.queue_count:
                queued = 1
                if next_start(sub) <= cycle:
                    start_read(sm, sub, index, table, cycle, config)
        if queued and next_accept(sm, subs, config) <= cycle:
            accept(sm, subs, table, memory, cycle, config)
        while sm.heap_count and cycle_of(sm.heap[0]) <= cycle:
            handle_event(sm, subs, table, memory, pop(sm), config, account_)
        following = NEVER
        queued = 0
        for index in range(config.sub_cores):
            sub = subs[index]
            if sub.wake <= cycle:
                step(sm, subs, index, table, entries, instructions, memory, pool_warps, cycle, config, account_)
            following = min(following, sub.wake)
            if sub.queue_count:
                queued = 1
                if following > cycle + 1:
                    following = min(following, next_start(sub))
        if following > cycle + 1:
            if queued:
                following = min(following, next_accept(sm, subs, config))
            if sm.heap_count:
                following = min(following, cycle_of(sm.heap[0]))
        cycle = max(cycle + 1, following)
    sm.clock = until
    sm.next = cycle


@njit(cache=True, nogil=True)
def launch_block(sm, subs, slot, block, pool_blocks, pool_warps, entries, sm_index, cycle, config):
    """Put a block's warps into free slots, lowest first; their first fetch is at `cycle`."""
    sm.block[slot] = block
    sm.blocks += 1
    first, warps = pool_blocks[block].first_warp, pool_blocks[block].warps
    sm.block_live[slot] = warps
    sm.block_arrived[slot], sm.block_wanted[slot], sm.mbarriers[slot] = 0, 0, 0
    sm.block_generation[slot] += 1
    if sm.first_cycle < 0:
        sm.first_cycle = cycle
    identity = 0
    for warp in range(first, first + warps):
        while subs[identity % config.sub_cores].warp[identity // config.sub_cores] >= 0:
            identity += 1
        index, local = identity % config.sub_cores, identity // config.sub_cores
        record = pool_warps[warp]
        record.sm, record.sub_core, record.slot = sm_index, index, identity
        record.start_cycle = cycle
        _launch_warp(sm, subs[index], local, warp, slot, record, entries, cycle, config)
    sm.next = min(sm.next, cycle)


@njit(cache=True, nogil=True)
def _launch_warp(sm, sub, local, warp, slot, record, entries, cycle, config):
    sm.age += 1
    sub.warp[local], sub.block[local], sub.age[local] = warp, slot, sm.age
    sub.generation[local] += 1
    sub.position[local], sub.end[local], sub.fetched[local] = record.start, record.end, record.start
    sub.row[local] = entries[record.start].row
    sub.not_before[local], sub.reason[local], sub.since[local] = NEVER, _FETCH, cycle
    sub.fetch_at[local], sub.wrong_path[local], sub.line[local] = cycle, -1, -1
    sub.visible_at[local], sub.barrier[local] = 0, -1
    sub.group[local], sub.group_head[local] = 0, 0
    for counter in range(ALL_COUNTERS):
        sub.count[local, counter] = 0
    if config.scoreboard:
        clear(sub, local)
    for group in range(GROUPS):
        sub.group_open[local, group] = 0
    for i in range(sub.warps, 0, -1):
        sub.order[i] = sub.order[i - 1]
    sub.order[0] = local
    sub.warps += 1
    sub.wake = min(sub.wake, cycle)
