"""The memory unit: a queue and address pipeline per sub-core, one acceptance point per SM, L1, return paths.

Rates, depths and latencies: Huerta et al., MICRO 2025, Tables 1 and 2. The address pipeline has four
stages whose occupancies come with the instruction; an entry leaves the queue when the SM accepts it.
"""

from numba import njit

from gpu_model.core.copies import enqueue_copy
from gpu_model.core.events import RELEASE, RETURN, push, warp_data
from gpu_model.core.mbarriers import perform_mbarrier
from gpu_model.core.memory_timing import WAR_FROM_ACCEPT, WAR_FROM_START
from gpu_model.core.messages import send
from gpu_model.core.opcodes import Action, Space
from gpu_model.core.registers import ports_taken, take_port
from gpu_model.core.scoreboard import read_at
from gpu_model.core.stalls import StallReason
from gpu_model.core.state import (
    CONSTANT_READ,
    COPIES,
    ERROR_MESSAGES,
    L1_HIT,
    L1_READ,
    L1_WRITE,
    LOCALS,
    MESSAGE_MERGE,
    MESSAGE_READ,
    MESSAGE_WRITE,
    NEVER,
    QUEUE,
    READ_RING,
    SHARED_READ,
    SHARED_WRITE,
)

_SECTOR_BYTES = 32
_LDGSTS = int(Action.LDGSTS)
_GLOBAL, _SHARED, _CONSTANT = int(Space.GLOBAL), int(Space.SHARED), int(Space.CONSTANT)
_MBARRIER, _COPY = int(Space.MBARRIER), int(Space.COPY)
_QUEUE_FULL = int(StallReason.MEMORY_QUEUE)


@njit(cache=True, nogil=True, forceinline=True)
def enqueue(sub, row, access, local, group, start):
    """Put an issued memory instruction into the sub-core's queue; `start` is its earliest operand read."""
    tail = (sub.queue_head + sub.queue_count) % QUEUE
    sub.queue_row[tail] = row
    sub.queue_access[tail] = access
    sub.queue_local[tail] = local
    sub.queue_generation[tail] = sub.generation[local]
    sub.queue_group[tail] = group
    sub.queue_block[tail] = sub.block[local]
    sub.queue_start[tail] = start
    sub.queue_ready[tail] = NEVER
    sub.queue_count += 1


@njit(cache=True, nogil=True, forceinline=True)
def next_start(sub):
    """Cycle of the next operand read, or NEVER."""
    if sub.queue_started == sub.queue_count:
        return NEVER
    entry = (sub.queue_head + sub.queue_started) % QUEUE
    return max(sub.queue_start[entry], sub.stage_free[0])


@njit(cache=True, nogil=True, forceinline=True)
def start_read(sm, sub, sub_index, table, cycle, config):
    """Read the next entry's operands and walk it through the address pipeline, if a port of each bank is free."""
    entry = (sub.queue_head + sub.queue_started) % QUEUE
    ring, ports = sub.read_ring, config.read_ports
    if ports_taken(ring, 0, cycle, READ_RING) >= ports or ports_taken(ring, 1, cycle, READ_RING) >= ports:
        sub.queue_start[entry] = cycle + 1
        return
    take_port(ring, 0, cycle, READ_RING)
    take_port(ring, 1, cycle, READ_RING)
    op = table[sub.queue_row[entry]]
    enter = cycle
    for stage in range(4):
        enter = max(enter, sub.stage_free[stage]) + op.stages[stage]
        sub.stage_free[stage] = enter
    sub.queue_ready[entry] = enter
    sub.queue_started += 1
    if op.war_from == WAR_FROM_START and op.read_counter >= 0:
        data = warp_data(sub_index, sub.queue_local[entry], sub.queue_generation[entry], op.read_counter)
        push(sm, cycle + op.war, RELEASE, data)
    if config.scoreboard and op.war_from == WAR_FROM_START:
        local, generation = sub.queue_local[entry], sub.queue_generation[entry]
        read_at(sm, sub, sub_index, local, generation, sub.queue_row[entry], cycle + op.war)


@njit(cache=True, nogil=True, forceinline=True)
def next_accept(sm, subs, config):
    """Earliest cycle at which the SM can accept an entry, or NEVER."""
    if sm.request_count >= config.pending_requests:
        return NEVER
    ready = NEVER
    for index in range(config.sub_cores):
        sub = subs[index]
        if sub.queue_count:
            ready = min(ready, sub.queue_ready[sub.queue_head])
    return max(ready, sm.accept_free)


@njit(cache=True, nogil=True, forceinline=True)
def accept(sm, subs, table, memory, cycle, config):
    """Accept the entry whose turn it is, round robin over sub-cores."""
    for turn in range(config.sub_cores):
        index = (sm.accept_turn + turn) % config.sub_cores
        sub = subs[index]
        if sub.queue_count and sub.queue_ready[sub.queue_head] <= cycle:
            entry = sub.queue_head
            if sm.copies == COPIES and table[sub.queue_row[entry]].space == _COPY:
                continue
            sub.queue_head = (entry + 1) % QUEUE
            sub.queue_count -= 1
            sub.queue_started -= 1
            sm.accept_turn = (index + 1) % config.sub_cores
            _wake_queue_waiters(sub, cycle)
            _perform(sm, sub, index, entry, table[sub.queue_row[entry]], memory, cycle, config)
            return


@njit(cache=True, nogil=True)
def _wake_queue_waiters(sub, cycle):
    sub.wake = min(sub.wake, cycle)
    for local in range(LOCALS):
        if sub.reason[local] == _QUEUE_FULL and sub.not_before[local] == NEVER and sub.warp[local] >= 0:
            sub.not_before[local] = cycle


@njit(cache=True, nogil=True, forceinline=True)
def _perform(sm, sub, index, entry, op, memory, cycle, config):
    """Look up L1 or shared memory, take the acceptance point, and schedule what comes back."""
    local, generation = sub.queue_local[entry], sub.queue_generation[entry]
    if op.war_from == WAR_FROM_ACCEPT:
        # Nothing comes back from a store, so a write counter, if it names one, goes with the read.
        for counter in (op.read_counter, op.write_counter):
            if counter >= 0:
                push(sm, cycle + op.war, RELEASE, warp_data(index, local, generation, counter))
        if config.scoreboard:
            read_at(sm, sub, index, local, generation, sub.queue_row[entry], cycle + op.war)
    request = _new_request(sm, sub, index, entry) if op.loads else -1
    occupancy, extra, late, first = config.accept_interval, 0, cycle, sm.message_count
    if sub.queue_access[entry] >= 0:
        record = memory.accesses[sub.queue_access[entry]]
        extra = _extra_cycles(op, record, config)
        occupancy = op.occupancy + extra
        if op.space == _GLOBAL:
            if op.action == _LDGSTS:
                sm.bytes[SHARED_WRITE] += record.lanes * op.width
            late = _look_up(sm, op, record, memory, request, cycle, config)
        else:
            _count_bytes(sm, op, record)
    sm.accept_free = cycle + occupancy
    if op.space == _COPY:
        enqueue_copy(sm, sub, index, entry, op, memory, cycle, config)
    elif op.space == _MBARRIER:
        perform_mbarrier(sm, sub, entry, op, request, memory, cycle)
    elif request >= 0:
        _schedule_return(sm, op, request, late, extra, first, memory)


@njit(cache=True, nogil=True)
def _extra_cycles(op, record, config):
    """Cycles beyond those of a coalesced, conflict-free access of the same width."""
    if op.space == _SHARED:
        return max(0, record.wavefronts - op.wavefronts)
    if op.space == _GLOBAL:
        cycles = (record.sectors * _SECTOR_BYTES + config.l1_bytes_per_cycle - 1) // config.l1_bytes_per_cycle
        conflicts = max(0, record.wavefronts - op.wavefronts) if op.action == _LDGSTS else 0
        return max(0, cycles - op.occupancy) + conflicts
    return 0


@njit(cache=True, nogil=True)
def _count_bytes(sm, op, record):
    if op.space == _SHARED:
        sm.bytes[SHARED_READ if op.loads else SHARED_WRITE] += record.lanes * op.width
    elif op.space == _CONSTANT:
        sm.bytes[CONSTANT_READ] += record.lanes * op.width


@njit(cache=True, nogil=True)
def _schedule_return(sm, op, request, late, extra, first, memory):
    """Return at once what hit; leave to the chip what waits for L2."""
    sm.request_after[request] = op.after + extra
    sm.request_late[request] = late
    if sm.message_count > first:
        memory.messages[sm.message_count - 1].last = 1
    else:
        push(sm, late + op.after + extra, RETURN, request)


@njit(cache=True, nogil=True)
def _new_request(sm, sub, index, entry):
    request = 0
    while sm.request_used[request]:
        request += 1
    sm.request_used[request] = 1
    sm.request_count += 1
    sm.request_sub[request] = index
    sm.request_local[request] = sub.queue_local[entry]
    sm.request_generation[request] = sub.queue_generation[entry]
    sm.request_row[request] = sub.queue_row[entry]
    sm.request_group[request] = sub.queue_group[entry]
    sm.request_mbarrier[request] = -1
    return request


@njit(cache=True, nogil=True)
def _look_up(sm, op, record, memory, request, cycle, config):
    """Look up every line of a global access; returns the latest known fill it waits for."""
    late = cycle
    sm.bytes[L1_READ if op.loads else L1_WRITE] += record.sectors * _SECTOR_BYTES
    if config.perfect_l1:
        return late
    if sm.message_count + 2 * record.lines > len(memory.messages):
        sm.error = ERROR_MESSAGES
        return late
    for i in range(record.first, record.first + record.lines):
        line, sectors = memory.lines[i].line, memory.lines[i].sectors
        if not op.loads:
            send(sm, memory.messages, cycle, line, sectors, -1, -1, -1, MESSAGE_WRITE)
        elif op.bypass:
            send(sm, memory.messages, cycle, line, sectors, request, -1, -1, MESSAGE_READ)
        else:
            late = max(late, _look_up_line(sm, line, sectors, memory, request, cycle, config))
    return late


@njit(cache=True, nogil=True)
def _find_way(ways, line, count):
    """Way that holds a line, or the least recently used one, emptied for it."""
    oldest = 0
    for way in range(count):
        if ways[way].tag == line + 1:
            return way
        if ways[way].used < ways[oldest].used:
            oldest = way
    ways[oldest].tag = line + 1
    for sector in range(4):
        ways[oldest].ready[sector] = -1
    return oldest


@njit(cache=True, nogil=True)
def _look_up_line(sm, line, sectors, memory, request, cycle, config):
    """Look up one line; missing sectors go to L2, sectors under way are waited for."""
    where = (line ^ (line >> 8)) % config.data_sets
    way = _find_way(memory.cache[where], line, config.data_ways)
    entry = memory.cache[where][way]
    entry.used = cycle + 1
    late, missing, merging = cycle, 0, 0
    for sector in range(4):
        if sectors >> sector & 1:
            ready = entry.ready[sector]
            if ready < 0:
                missing |= 1 << sector
                entry.ready[sector] = NEVER
            else:
                sm.bytes[L1_HIT] += _SECTOR_BYTES
                if ready == NEVER:
                    merging |= 1 << sector
                else:
                    late = max(late, ready)
    if missing:
        send(sm, memory.messages, cycle, line, missing, request, where, way, MESSAGE_READ)
    if merging:
        send(sm, memory.messages, cycle, line, merging, request, where, way, MESSAGE_MERGE)
    return late
