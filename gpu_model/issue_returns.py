"""What comes back to a scoreboard from memory and variable-latency units: results, and ends of reads.

Both are known before they happen: from the issue of an instruction for a unit, from the start of its reads or its
acceptance by the memory unit. What depends on other SMs is seen when the request ends.
"""

import numpy as np
from numba import njit

from gpu_model.core.memory_timing import WAR_FROM_ACCEPT, WAR_FROM_RETURN, WAR_FROM_START
from gpu_model.core.opcodes import Path
from gpu_model.core.state import LOCALS, QUEUE, REQUESTS
from gpu_model.issue_events import READ, RESULT, START, note

_VARIABLE, _MEMORY = int(Path.VARIABLE), int(Path.MEMORY)
_READ_TO_RESULT = 3  # of a variable-latency unit


@njit(cache=True, nogil=True)
def note_returns(old, new, index, table, cycle, events, count):
    """Those of one sub-core that became known in this cycle."""
    queued = old.queue_count
    for local in range(LOCALS):
        if old.warp[local] < 0 or new.position[local] == old.position[local]:
            continue
        row = old.row[local]
        op = table[row]
        queued += op.path == _MEMORY
        if op.path == _VARIABLE:
            at = new.result_at[local, op.make_first[0]]
            count = note(events, count, cycle, at, RESULT, index, local, row)
            count = _note_read(events, count, cycle, at - _READ_TO_RESULT, index, local, row, op)
    accepted = queued - new.queue_count
    if accepted:
        count = _note_queued(old, new, index, old.queue_head, table, WAR_FROM_ACCEPT, cycle, events, count)
    if new.queue_started + accepted > old.queue_started:
        entry = (old.queue_head + old.queue_started) % QUEUE
        count = _note_queued(old, new, index, entry, table, WAR_FROM_START, cycle, events, count)
    return count


@njit(cache=True, nogil=True)
def _note_queued(old, new, index, entry, table, war_from, cycle, events, count):
    row, local = old.queue_row[entry], old.queue_local[entry]
    op = table[row]
    if op.war_from != war_from or new.generation[local] != old.queue_generation[entry]:
        return count
    return _note_read(events, count, cycle, cycle + op.war, index, local, row, op)


@njit(cache=True, nogil=True)
def _note_read(events, count, seen, cycle, index, local, row, op):
    return note(events, count, seen, cycle, READ, index, local, row) if op.uses else count


@njit(cache=True, nogil=True)
def note_write_backs(sm, before, subs, table, cycle, events, count):
    """Those of requests that were in use `before` and have ended in this cycle."""
    for request in range(REQUESTS):
        if not before[request] or sm.request_used[request]:
            continue
        index, local, row = sm.request_sub[request], sm.request_local[request], sm.request_row[request]
        if subs[index].generation[local] != sm.request_generation[request]:
            continue
        op = table[row]
        if op.makes:
            count = note(events, count, cycle, cycle, RESULT, index, local, row)
        if op.war_from == WAR_FROM_RETURN:
            count = _note_read(events, count, cycle, cycle, index, local, row, op)
    return count


def without_the_gone(events: np.ndarray) -> np.ndarray:
    """Events without returns whose warp's slot has got another warp by then."""
    starts = events[events["kind"] == START]
    returns = np.isin(events["kind"], (RESULT, READ))
    span = int(events["cycle"].max(initial=0)) + 1

    def place(some: np.ndarray, cycle: np.ndarray) -> np.ndarray:
        return (some["sub_core"].astype(np.int64) * LOCALS + some["local"]) * span + cycle

    begins = np.sort(place(starts, starts["cycle"]))
    known = np.searchsorted(begins, place(events, events["seen"]), "right")
    due = np.searchsorted(begins, place(events, events["cycle"]), "left")
    return events[~(returns & (due > known))]
