"""Future events of an SM: a binary heap of packed integers, so that order is total and runs repeat exactly.

A key holds the cycle above bit 30, then the kind (4 bits) and its data (26 bits).
"""

from numba import njit

from gpu_model.core.state import ERROR_HEAP, HEAP

RELEASE, RETURN, WRITE_BACK, BARRIER_OPEN, GROUP_DONE, MBARRIER_UPDATE, COPY_ENGINE, COPY_DONE = range(8)
_KIND_SHIFT = 26
_TIME_SHIFT = 30
_DATA = (1 << _KIND_SHIFT) - 1


@njit(cache=True, nogil=True)
def push(sm, cycle, kind, data):
    """Add an event."""
    if sm.heap_count >= HEAP:
        sm.error = ERROR_HEAP
        return
    key = (cycle << _TIME_SHIFT) | (kind << _KIND_SHIFT) | data
    heap = sm.heap
    hole = sm.heap_count
    sm.heap_count += 1
    while hole > 0:
        parent = (hole - 1) >> 1
        if heap[parent] <= key:
            break
        heap[hole] = heap[parent]
        hole = parent
    heap[hole] = key


@njit(cache=True, nogil=True)
def pop(sm):
    """Remove and return the earliest key."""
    heap = sm.heap
    top = heap[0]
    sm.heap_count -= 1
    count = sm.heap_count
    key = heap[count]
    hole = 0
    child = 1
    while child < count:
        if child + 1 < count and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= key:
            break
        heap[hole] = heap[child]
        hole = child
        child = 2 * hole + 1
    heap[hole] = key
    return top


@njit(cache=True, nogil=True)
def cycle_of(key):
    """Cycle of an event key."""
    return key >> _TIME_SHIFT


@njit(cache=True, nogil=True)
def kind_of(key):
    """Kind of an event key."""
    return (key >> _KIND_SHIFT) & 15


@njit(cache=True, nogil=True)
def data_of(key):
    """Data of an event key."""
    return key & _DATA


@njit(cache=True, nogil=True)
def warp_data(sub_core, local, generation, item):
    """Pack a warp slot, its generation (so that a successor in the slot is not mistaken for it) and 6 bits."""
    return (sub_core << 14) | (local << 10) | ((generation & 15) << 6) | item
