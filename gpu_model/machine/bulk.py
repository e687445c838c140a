"""Asynchronous block copies (UBLKCP, UBLKRED), STSM, the register pool, and the dispatch of their family."""

import numpy as np
from numba import njit

from gpu_model.machine import mbarrier
from gpu_model.machine.context import GLOBAL_SPACE, WARP, Context, Fault, get, put, remember, report_fault
from gpu_model.machine.integer import set_predicate
from gpu_model.machine.lanes import load_i64, load_u8, load_u16, load_u32, store_i64, store_u8
from gpu_model.machine.mbarrier import DONE, FAILED, WAITING, complete, lane_address
from gpu_model.machine.microop import M0, M1, M2, PD0, A, B, C, Op, field, source
from gpu_model.machine.reduce import reduce_element
from gpu_model.machine.splits import WARP_BYTES, Warp
from gpu_model.machine.tensor_copy import global_at, receiver, record_bytes, tensor_copy, word64
from gpu_model.machine.window import shared_at
from gpu_model.tensormap import ELEMENT_BYTES
from gpu_model.trace import CopyWord

# M0 of a block copy: where from and to.
TO_SHARED, TO_GLOBAL, BETWEEN_SHARED = range(3)
# M1: copy, or the reduction with its element type (of gpu_model.tensormap) from bit 4 on.
COPY = -1
_ELEMENT_BYTES = np.array(ELEMENT_BYTES, np.int64)


@njit
def _transfer(ctx, target, origin, size, how, undo):
    """Copy or combine bytes between two host addresses."""
    if undo:
        for i in range(size):
            remember(ctx, target + i, np.int64(load_u8(target, i)), 1)
    if how == COPY:
        for i in range(size):
            store_u8(target, i, load_u8(origin, i))
    else:
        element = how >> 4
        for i in range(0, size, _ELEMENT_BYTES[element]):
            reduce_element(origin + i, target + i, element, how & 15)


@njit
def _global_host(ctx, row, address, size):
    """Host address of the global bytes of a block copy, which lie at a multiple of 16; 0 after a fault."""
    if address & 15:
        report_fault(ctx, Fault.MISALIGNED, row, 0, address, size, GLOBAL_SPACE)
        return np.int64(0)
    return global_at(ctx, row, address, size)


@njit
def _block_copy(ctx, u, frame, consts, row, into):
    """UBLKCP, UBLKRED: contiguous bytes, a multiple of 16; to shared memory they complete on a barrier.

    M2: the upper half of C names the receiving blocks of the cluster.
    """
    target_row, origin_row = source(u, A, frame, consts), source(u, B, frame, consts)
    packed, direction, how = load_u32(source(u, C, frame, consts), 0), field(u, M0), field(u, M1)
    size = np.int64(packed & np.uint32(0xFFFF)) << 4
    if direction == TO_GLOBAL:
        origin = shared_at(ctx, row, 0, np.int64(load_u32(origin_row, 0)), size, 16)
        target = _global_host(ctx, row, word64(target_row), size)
        if origin == 0 or target == 0:
            return FAILED
        _transfer(ctx, target, origin, size, how, True)
        record_bytes(into, np.int64(load_u32(origin_row, 0)), word64(target_row), size)
        put(ctx, Context.CHANGED, get(ctx, Context.CHANGED) + 1)
        return DONE
    if direction == TO_SHARED:
        origin = _global_host(ctx, row, word64(origin_row), size)
    else:
        origin = shared_at(ctx, row, 0, np.int64(load_u32(origin_row, 0)), size, 16)
    if origin == 0:
        return FAILED
    address, barrier = np.int64(load_u32(target_row, 0)), np.int64(load_u32(target_row + 128, 0))
    blocks = np.int64(packed >> np.uint32(16)) if field(u, M2) else np.int64(-1)
    record_bytes(into, address, word64(origin_row) if direction == TO_SHARED else np.int64(-1), size)
    store_i64(into, CopyWord.BARRIER, barrier)
    store_i64(into, CopyWord.RECEIVERS, blocks)
    if direction == BETWEEN_SHARED:
        store_i64(into, CopyWord.SOURCE, np.int64(load_u32(origin_row, 0)))
    for turn in range(16):
        here = receiver(ctx, address, blocks, turn)
        if here < 0:
            continue
        target = shared_at(ctx, row, 0, here, size, 16)
        if target == 0:
            return FAILED
        _transfer(ctx, target, origin, size, how, False)
        if not complete(ctx, row, 0, receiver(ctx, barrier, blocks, turn), size):
            return FAILED
    return DONE


@njit
def _stsm(ctx, u, frame, consts, row, into):
    """STSM: LDSM backwards; lanes 8i..8i+7 give the rows of 8 x 8 matrix i of 16-bit elements."""
    data, matrices, transposed = source(u, B, frame, consts), field(u, M1), field(u, M2)
    for lane in range(8 * matrices):
        offset = lane_address(u, frame, consts, lane)
        address = shared_at(ctx, row, lane, offset, 16, 16)
        if address == 0:
            return FAILED
        store_i64(into, lane, offset)
        words = data + 128 * (lane >> 3)
        for i in range(8):
            # Element (r, c) of a matrix is half c % 2 of lane 4r + c / 2.
            r, c = (i, lane & 7) if transposed else (lane & 7, i)
            half = load_u16(words, 2 * (4 * r + (c >> 1)) + (c & 1))
            store_u8(address, 2 * i, np.uint8(half & np.uint16(0xFF)))
            store_u8(address, 2 * i + 1, np.uint8(half >> np.uint16(8)))
    return DONE


@njit
def _registers(ctx, u, frame, row, mask):
    """USETMAXREG: give registers of the warp back to the block's pool, or try to take some (M1)."""
    warp, wanted = get(ctx, Context.WARP_STATES) + WARP_BYTES * get(ctx, WARP), field(u, M0)
    more, free = wanted - load_i64(warp, Warp.REGISTERS), get(ctx, Context.POOL)
    fits = more <= free
    if fits or not field(u, M1):
        put(ctx, Context.POOL, free - more)
        put(ctx, Context.CHANGED, get(ctx, Context.CHANGED) + 1)
        store_i64(warp, Warp.REGISTERS, wanted)
    else:
        store_i64(warp, Warp.TESTED, -wanted)
        store_i64(warp, Warp.TESTED_ROW, row)
    set_predicate(u, PD0, frame, np.uint32(mask) if fits else np.uint32(0), np.uint32(mask))
    return DONE if fits else WAITING


@njit
def bulk_step(op, ctx, u, frame, consts, t, row, mask, into):
    """Execute one micro-op of this family, leaving its addresses at `into`; returns what those of `mbarrier` do."""
    if op == Op.BARRIER_ARRIVE:
        return mbarrier.arrive(ctx, u, frame, consts, t, row, mask, into)
    if op == Op.BARRIER_TEST:
        return mbarrier.test(ctx, u, frame, consts, row, mask, into)
    if op == Op.BARRIER_SET:
        return mbarrier.exchange(ctx, u, frame, consts, row, into)
    if op == Op.BARRIER_STORE:
        return mbarrier.store(ctx, u, frame, consts, row, mask, into)
    if op == Op.REGISTERS:
        return _registers(ctx, u, frame, row, mask)
    if op == Op.STSM:
        return _stsm(ctx, u, frame, consts, row, into)
    if op == Op.BLOCK_COPY:
        return _block_copy(ctx, u, frame, consts, row, into)
    return tensor_copy(ctx, u, frame, consts, row, op, into)
