"""Shared memory of a whole cluster, and generic addresses.

A shared address is 32 bits: the rank of a block in its cluster from bit 24 on, and an offset in that block's
shared memory below (PTX ISA, shared::cluster window). A generic address is a global one unless it lies in the
window of shared or of local memory.
"""

import numpy as np
from numba import njit

from gpu_model.machine.context import (
    CLUSTER_RANK_SHIFT,
    GENERIC_SPACE,
    GLOBAL_SPACE,
    LOCAL,
    LOCAL_BYTES,
    LOCAL_SPACE,
    SHARED,
    SHARED_END,
    SHARED_SPACE,
    WARP,
    Context,
    Fault,
    get,
    report_fault,
)
from gpu_model.machine.lanes import load_i64, store_i64
from gpu_model.machine.ranges import find_range

LOCAL_WINDOW = 1 << 56  # generic address of a thread's local memory
SHARED_WINDOW = 3 << 56  # generic address of the cluster's shared memory, 2**32 bytes
CLUSTER = 8  # shared memory of any block of the cluster, besides the memories' numbers
_OFFSET_MASK = (1 << CLUSTER_RANK_SHIFT) - 1


@njit
def is_in_space(ctx, address, space):
    """Whether a generic address is in a memory; shared memory is this block's, with `CLUSTER` any of the cluster's."""
    window = address & ~np.int64(0xFFFFFFFF)
    if space == GLOBAL_SPACE:
        return window not in (LOCAL_WINDOW, SHARED_WINDOW)
    if space == LOCAL_SPACE:
        return window == LOCAL_WINDOW
    own = (address & 0xFFFFFFFF) >> CLUSTER_RANK_SHIFT == get(ctx, Context.RANK)
    return window == SHARED_WINDOW and (own or space == CLUSTER)


@njit
def cluster_context(ctx, rank):
    """Context of the block of a rank of this cluster, 0 where there is none."""
    if rank >= get(ctx, Context.CLUSTER_BLOCKS):
        return np.int64(0)
    return load_i64(get(ctx, Context.CLUSTER), rank)


@njit
def shared_host(ctx, address, size):
    """Host address of shared bytes of any block of the cluster, 0 where there are none."""
    owner = cluster_context(ctx, address >> CLUSTER_RANK_SHIFT)
    if owner == 0 or address + size > get(owner, SHARED_END):
        return np.int64(0)
    return get(owner, SHARED) + address


@njit
def shared_at(ctx, row, lane, address, size, align):
    """As `shared_host`, for an aligned access; reports the fault."""
    host = shared_host(ctx, address, size)
    if host == 0:
        report_fault(ctx, Fault.OUT_OF_BOUNDS, row, lane, address, size, SHARED_SPACE)
        return np.int64(0)
    if address % align:
        report_fault(ctx, Fault.MISALIGNED, row, lane, address, size, SHARED_SPACE)
        return np.int64(0)
    return host


@njit
def space_of(address):
    """The space that a generic address lies in."""
    if address >> 32 == SHARED_WINDOW >> 32:
        return SHARED_SPACE
    if address >> 32 == LOCAL_WINDOW >> 32:
        return LOCAL_SPACE
    return GLOBAL_SPACE


@njit
def _generic_host(ctx, lane, address, size):
    space = space_of(address)
    if space == SHARED_SPACE:
        return shared_host(ctx, address & 0xFFFFFFFF, size)
    if space == LOCAL_SPACE:
        offset, limit = address - LOCAL_WINDOW, get(ctx, LOCAL_BYTES)
        inside = offset + size <= limit
        return get(ctx, LOCAL) + (get(ctx, WARP) * 32 + lane) * limit + offset if inside else np.int64(0)
    return address + get(ctx, Context.LAST_SHIFT) if find_range(ctx, address, size) else np.int64(0)


@njit
def locate_generic(ctx, row, into, host, size, mask):
    """Host addresses of the generic addresses at `into`, lane by lane; False after a fault."""
    for lane in range(32):
        if not (mask >> lane) & 1:
            continue
        address = load_i64(into, lane)
        found = _generic_host(ctx, lane, address, size)
        if found == 0 or address & (size - 1):
            fault = Fault.MISALIGNED if found else Fault.OUT_OF_BOUNDS
            report_fault(ctx, fault, row, lane, address, size, GENERIC_SPACE)
            return False
        store_i64(host, lane, found)
    return True
