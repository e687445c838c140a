"""mbarriers of the blocks on an SM: their words count at simulated times what the machine counted at its own.

A test that finds its phase incomplete is a load whose data comes when the phase ends; what retried it in the
machine is not in the trace (`gpu_model.core.polls`).
"""

import numpy as np
from numba import njit

from gpu_model.core.events import MBARRIER_UPDATE, RETURN, push
from gpu_model.core.opcodes import Action
from gpu_model.core.state import ERROR_MBARRIERS, ERROR_UNKNOWN_MBARRIER, ERROR_UPDATES, MBARRIERS, REQUESTS, UPDATES
from gpu_model.machine.mbarrier import DROP, update_barrier

_SET, _TEST = int(Action.MBARRIER_SET), int(Action.MBARRIER_TEST)
_LOW = 0xFFFFFFFF


@njit(cache=True, nogil=True)
def pack_update(arrivals, announced):
    """Arrivals and announced bytes (negative: completed) as one integer."""
    return announced << 32 | arrivals


@njit(cache=True, nogil=True)
def _find(sm, slot, address):
    for index in range(sm.mbarriers[slot]):
        if sm.mbarrier_address[slot, index] == address:
            return index
    return -1


@njit(cache=True, nogil=True)
def _set(sm, slot, address, word):
    index = _find(sm, slot, address)
    if index < 0:
        index = sm.mbarriers[slot]
        if index == MBARRIERS:
            sm.error = ERROR_MBARRIERS
            return
        sm.mbarriers[slot] += 1
        sm.mbarrier_address[slot, index] = address
    sm.mbarrier_word[slot, index] = np.uint64(word)


@njit(cache=True, nogil=True)
def update(sm, slot, address, arrivals, announced, drop, cycle, config):
    """Count at an mbarrier; if that ends a phase, what waited for it returns."""
    index = _find(sm, slot, address)
    if index < 0:
        sm.error = ERROR_UNKNOWN_MBARRIER
        return
    before = sm.mbarrier_word[slot, index]
    after = update_barrier(before, arrivals, announced, drop)
    sm.mbarrier_word[slot, index] = after
    if (before ^ after) >> np.uint64(63):
        for request in range(REQUESTS):
            if sm.request_used[request] and sm.request_mbarrier[request] == slot * MBARRIERS + index:
                sm.request_mbarrier[request] = -1
                push(sm, cycle + config.mbarrier_wake + sm.request_after[request], RETURN, request)


@njit(cache=True, nogil=True)
def update_later(sm, slot, address, packed, drop, cycle):
    """Count at an mbarrier in a later cycle."""
    for _ in range(UPDATES):
        sm.update_next = (sm.update_next + 1) % UPDATES
        if not sm.update_used[sm.update_next]:
            break
    place = sm.update_next
    if sm.update_used[place]:
        sm.error = ERROR_UPDATES
        return
    sm.update_used[place] = 1
    sm.update_slot[place], sm.update_generation[place] = slot, sm.block_generation[slot]
    sm.update_address[place], sm.update_drop[place] = address, drop
    sm.update_arrivals[place], sm.update_bytes[place] = packed & _LOW, packed >> 32
    push(sm, cycle, MBARRIER_UPDATE, place)


@njit(cache=True, nogil=True)
def do_update(sm, place, cycle, config):
    """An update that falls due; one for a block that has ended has nobody to wait for it."""
    sm.update_used[place] = 0
    slot = sm.update_slot[place]
    if sm.block_generation[slot] == sm.update_generation[place]:
        update(
            sm, slot, sm.update_address[place], sm.update_arrivals[place], sm.update_bytes[place],
            sm.update_drop[place], cycle, config,
        )  # fmt: skip


@njit(cache=True, nogil=True)
def _must_wait(sm, slot, asked, request):
    """Whether a test that succeeds must wait for it; then it is noted where the phase's end will look."""
    if not asked.sectors >> 1:
        return False
    index = _find(sm, slot, asked.line)
    if index < 0:
        sm.error = ERROR_UNKNOWN_MBARRIER
        return False
    if np.int64(sm.mbarrier_word[slot, index] >> np.uint64(63)) != asked.sectors & 1:
        return False
    sm.request_mbarrier[request] = slot * MBARRIERS + index
    return True


@njit(cache=True, nogil=True)
def perform_mbarrier(sm, sub, entry, op, request, memory, cycle):
    """An accepted mbarrier instruction; its transactions are (address, word), (address, update) or (address, test)."""
    slot, access = sub.queue_block[entry], sub.queue_access[entry]
    if request >= 0:
        sm.request_after[request], sm.request_late[request] = op.after, cycle
    if access >= 0:
        record = memory.accesses[access]
        first = memory.lines[record.first]
        if op.action == _SET:
            _set(sm, slot, first.line, first.sectors)
        elif op.action == _TEST:
            if _must_wait(sm, slot, first, request):
                return
        else:
            for i in range(record.first, record.first + record.lines):
                counted = memory.lines[i]
                update_later(sm, slot, counted.line, counted.sectors, op.how & DROP, cycle + op.tail)
    if request >= 0:
        push(sm, cycle + op.after, RETURN, request)
