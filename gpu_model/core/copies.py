"""The copy engine of an SM: bulk copies in order of acceptance, line by line, to and from L2.

A load completes on its mbarrier when its last line has arrived; a store's group is done with shared memory when
its last line is on the way. Transactions of a copy: (mbarrier, bytes), then its lines.
"""

from numba import njit

from gpu_model.core.counters import leave_group
from gpu_model.core.events import COPY_DONE, COPY_ENGINE, push
from gpu_model.core.mbarriers import update
from gpu_model.core.messages import send
from gpu_model.core.opcodes import Action
from gpu_model.core.state import (
    COPIES,
    ERROR_MESSAGES,
    MESSAGE_READ,
    MESSAGE_WRITE,
    REQUESTS,
    SHARED_READ,
    SHARED_WRITE,
)

HEADER = 1  # transactions before the lines
_SECTOR_BYTES = 32
_LOAD = int(Action.COPY_LOAD)


@njit(cache=True, nogil=True)
def enqueue_copy(sm, sub, index, entry, op, memory, cycle, config):
    """Put an accepted copy into the engine's queue; one whose guard failed is nothing."""
    access, group = sub.queue_access[entry], sub.queue_group[entry]
    if access < 0:
        if group >= 0:
            _leave_group(sub, sub.queue_local[entry], sub.queue_generation[entry], group, cycle)
        return
    copy = 0
    while sm.copy_used[copy]:
        copy += 1
    sm.copies += 1
    sm.copy_used[copy], sm.copy_row[copy], sm.copy_access[copy] = 1, sub.queue_row[entry], access
    sm.copy_sub[copy], sm.copy_local[copy] = index, sub.queue_local[entry]
    sm.copy_generation[copy], sm.copy_group[copy] = sub.queue_generation[entry], group
    slot = sub.queue_block[entry]
    sm.copy_slot[copy], sm.copy_slot_generation[copy] = slot, sm.block_generation[slot]
    sm.copy_ready[copy], sm.copy_next[copy], sm.copy_late[copy] = cycle + config.copy_start, 0, cycle
    size = memory.lines[memory.accesses[access].first].sectors
    sm.bytes[SHARED_WRITE if op.action == _LOAD else SHARED_READ] += size
    sm.engine_queue[(sm.engine_head + sm.engine_count) % COPIES] = copy
    sm.engine_count += 1
    if sm.engine_count == 1:
        push(sm, sm.copy_ready[copy], COPY_ENGINE, 0)


@njit(cache=True, nogil=True)
def run_engine(sm, table, memory, cycle, config):
    """Ask for the next line of the copy at the head of the queue, and come back when the next can follow."""
    copy = sm.engine_queue[sm.engine_head]
    record = memory.accesses[sm.copy_access[copy]]
    load = table[sm.copy_row[copy]].action == _LOAD
    count = record.lines - HEADER
    busy = 1
    if sm.copy_next[copy] < count:
        transaction = memory.lines[record.first + HEADER + sm.copy_next[copy]]
        busy = max(1, _sectors(transaction.sectors) * _SECTOR_BYTES // config.copy_bytes_per_cycle)
        if not config.perfect_l1:
            if sm.message_count == len(memory.messages):
                sm.error = ERROR_MESSAGES
                return
            kind, request = (MESSAGE_READ, REQUESTS + copy) if load else (MESSAGE_WRITE, -1)
            send(sm, memory.messages, cycle, transaction.line, transaction.sectors, request, -1, -1, kind)
        sm.copy_next[copy] += 1
    if sm.copy_next[copy] == count:
        _end_requests(sm, copy, load, count, memory, cycle + busy, config)
    if sm.engine_count:
        push(sm, max(cycle + busy, sm.copy_ready[sm.engine_queue[sm.engine_head]]), COPY_ENGINE, 0)


@njit(cache=True, nogil=True)
def _end_requests(sm, copy, load, count, memory, cycle, config):
    """The engine is done with a copy; a load is complete when L2 has answered."""
    sm.engine_head = (sm.engine_head + 1) % COPIES
    sm.engine_count -= 1
    if load and count and not config.perfect_l1:
        memory.messages[sm.message_count - 1].last = 1
    else:
        push(sm, cycle, COPY_DONE, copy)


@njit(cache=True, nogil=True)
def finish_copy(sm, subs, table, memory, copy, cycle, config):
    """A load has arrived, or a store is done with shared memory."""
    sm.copy_used[copy] = 0
    sm.copies -= 1
    if table[sm.copy_row[copy]].action == _LOAD:
        slot = sm.copy_slot[copy]
        if sm.block_generation[slot] == sm.copy_slot_generation[copy]:
            header = memory.lines[memory.accesses[sm.copy_access[copy]].first]
            update(sm, slot, header.line, 0, -header.sectors, 0, cycle, config)
    else:
        sub = subs[sm.copy_sub[copy]]
        _leave_group(sub, sm.copy_local[copy], sm.copy_generation[copy], sm.copy_group[copy], cycle)


@njit(cache=True, nogil=True)
def _leave_group(sub, local, generation, group, cycle):
    if sub.generation[local] == generation:
        leave_group(sub, local, group, cycle)


@njit(cache=True, nogil=True)
def _sectors(mask):
    return (mask & 1) + (mask >> 1 & 1) + (mask >> 2 & 1) + (mask >> 3 & 1)
