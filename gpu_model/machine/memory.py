"""Loads, stores, LDSM, LDGSTS and atomics: addresses first, then checks, then the transfer.

Every access is checked against its memory before any lane of the instruction reads or writes, and the check
says where each lane's bytes lie on the host.
"""

import numpy as np
from numba import njit

from gpu_model.machine.atomics import CAST, KIND_MASK, atomic
from gpu_model.machine.context import (
    CLUSTER_RANK_SHIFT,
    CONSTANT_SPACE,
    GENERIC_SPACE,
    GLOBAL_SPACE,
    HOST_ADDRESS,
    LOCAL,
    LOCAL_BYTES,
    RANK,
    SHARED,
    SHARED_END,
    SHARED_SPACE,
    WARP,
    Context,
    Fault,
    get,
    put,
    remember,
    report_fault,
)
from gpu_model.machine.integer import predicate
from gpu_model.machine.lanes import (
    load_i64,
    load_u8,
    load_u16,
    load_u32,
    store_i64,
    store_u8,
    store_u16,
    store_u32,
)
from gpu_model.machine.microop import M0, M1, M2, M3, PD0, PREDICATE_SINK, PS0, TARGET, A, B, C, D, Op, field, source
from gpu_model.machine.ranges import find_range
from gpu_model.machine.window import is_in_space, locate_generic

# M2: space and addressing of a memory operand
SPACE_MASK, WIDE_BASE, WIDE_UNIFORM, SCALE_SHIFT = 7, 8, 16, 5
# M1: bytes a lane, and how a loaded value is extended
SIZE_MASK, SIGNED_LOAD, ZERO_FILL = 63, 64, 128


@njit
def _addresses(u, column, uniform_column, offset, how, frame, consts, into):
    """Fill 32 lane addresses: base register (scaled) + uniform register + offset."""
    base, uniform = source(u, column, frame, consts), source(u, uniform_column, frame, consts)
    shift = how >> SCALE_SHIFT
    constant = np.int64(load_u32(uniform, 0))
    if how & WIDE_UNIFORM:
        constant |= np.int64(load_u32(uniform + 128, 0)) << 32
    constant += offset
    if how & WIDE_BASE:
        for lane in range(32):
            low, high = np.int64(load_u32(base, lane)), np.int64(load_u32(base + 128, lane))
            store_i64(into, lane, (low | high << 32) + constant)
    elif how & SPACE_MASK in (GLOBAL_SPACE, GENERIC_SPACE):
        for lane in range(32):
            store_i64(into, lane, (np.int64(load_u32(base, lane)) << shift) + constant)
    else:
        for lane in range(32):  # shared and local addresses are 32 bits wide and wrap
            store_i64(into, lane, ((np.int64(load_u32(base, lane)) << shift) + constant) & 0xFFFFFFFF)


@njit
def _hide_inactive(into, mask):
    for lane in range(32):
        if not (mask >> lane) & 1:
            store_i64(into, lane, -1)


@njit
def _extent(ctx, space):
    """Low and high address of a memory (of the last range, if global), and a lane's host address: base, stride."""
    if space == GLOBAL_SPACE:
        return get(ctx, Context.LAST_LOW), get(ctx, Context.LAST_HIGH), get(ctx, Context.LAST_SHIFT), np.int64(0)
    if space == SHARED_SPACE:
        return get(ctx, RANK) << CLUSTER_RANK_SHIFT, get(ctx, SHARED_END), get(ctx, SHARED), np.int64(0)
    stride = get(ctx, LOCAL_BYTES)
    return np.int64(0), stride, get(ctx, LOCAL) + get(ctx, WARP) * 32 * stride, stride


@njit
def _locate(ctx, row, into, host, size, space, mask):
    """Host addresses of the active lanes' bytes; False, and a fault, if one is outside its memory or misaligned."""
    align = np.int64(size - 1)
    low, high, base, stride = _extent(ctx, space)
    last, bad = high - size, False
    for lane in range(32):
        address = load_i64(into, lane)
        wrong = (address < low) | (address > last) | (address & align != 0)
        bad |= wrong & ((mask >> lane) & 1 != 0)
        store_i64(host, lane, address + base + stride * lane)
    if not bad:
        return True
    for lane in range(32):
        if not (mask >> lane) & 1:
            continue
        address = load_i64(into, lane)
        inside = find_range(ctx, address, size) if space == GLOBAL_SPACE else low <= address <= last
        if not inside:
            report_fault(ctx, Fault.OUT_OF_BOUNDS, row, lane, address, size, space)
            return False
        if address & align:
            report_fault(ctx, Fault.MISALIGNED, row, lane, address, size, space)
            return False
        if space == GLOBAL_SPACE:
            store_i64(host, lane, address + get(ctx, Context.LAST_SHIFT))
    return True


@njit
def _load_lane(address, destination, lane, size, extend):
    if size >= 4:
        for word in range(size >> 2):
            store_u32(destination + 128 * word, lane, load_u32(address, word))
    elif size == 2:
        value = np.uint32(load_u16(address, 0))
        store_u32(destination, lane, np.uint32(value | 0xFFFF0000) if extend and value >> 15 else value)
    else:
        value = np.uint32(load_u8(address, 0))
        store_u32(destination, lane, np.uint32(value | 0xFFFFFF00) if extend and value >> 7 else value)


@njit
def _load(u, frame, host, mask):
    size, destination = field(u, M1) & SIZE_MASK, frame + field(u, D)
    extend = field(u, M1) & SIGNED_LOAD
    if size == 32:
        _load_halves(u, frame, host, mask)
        return
    if size == 4:  # most loads: a loop of its own
        for lane in range(32):
            if (mask >> lane) & 1:
                store_u32(destination, lane, load_u32(load_i64(host, lane), 0))
        return
    for lane in range(32):
        if (mask >> lane) & 1:
            _load_lane(load_i64(host, lane), destination, lane, size, extend)


@njit
def _load_halves(u, frame, host, mask):
    """256 bits: the upper half to the registers at B, the lower to those at D; only words of M3 are kept, packed."""
    for half in range(2):
        destination, kept = frame + field(u, B if half else D), (field(u, M3) >> (4 * half)) & 15
        for lane in range(32):
            if (mask >> lane) & 1:
                position = 0
                for word in range(4):
                    if (kept >> word) & 1:
                        store_u32(destination + 128 * position, lane, load_u32(load_i64(host, lane), 4 * half + word))
                        position += 1


@njit
def _remember_old(ctx, address, size):
    if size >= 4:
        for word in range(size >> 2):
            remember(ctx, address + 4 * word, np.int64(load_u32(address, word)), 4)
    elif size == 2:
        remember(ctx, address, np.int64(load_u16(address, 0)), 2)
    else:
        remember(ctx, address, np.int64(load_u8(address, 0)), 1)


@njit
def _store_lane(address, data, lane, size):
    """Store a lane's value; whether memory changed."""
    changed = False
    if size >= 4:
        for word in range(size >> 2):
            value = load_u32(data + 128 * word, lane)
            changed |= load_u32(address, word) != value
            store_u32(address, word, value)
    elif size == 2:
        half = np.uint16(load_u32(data, lane))
        changed = load_u16(address, 0) != half
        store_u16(address, 0, half)
    else:
        byte = np.uint8(load_u32(data, lane))
        changed = load_u8(address, 0) != byte
        store_u8(address, 0, byte)
    return changed


@njit
def _store(ctx, u, frame, consts, host, space, mask):
    size, data, changed = field(u, M1) & SIZE_MASK, source(u, B, frame, consts), 0
    for lane in range(32):
        if not (mask >> lane) & 1:
            continue
        address = load_i64(host, lane)
        if space in (GLOBAL_SPACE, GENERIC_SPACE):
            _remember_old(ctx, address, size)
        if size == 32:
            upper = _store_lane(address + 16, source(u, TARGET, frame, consts), lane, 16)
            changed += _store_lane(address, data, lane, 16) or upper
        else:
            changed += _store_lane(address, data, lane, size)
    if space in (GLOBAL_SPACE, GENERIC_SPACE):
        put(ctx, Context.CHANGED, get(ctx, Context.CHANGED) + changed)


@njit
def _atomic(ctx, u, frame, consts, into, host, space, mask):
    done = np.uint32(mask)
    if space == GENERIC_SPACE and field(u, PD0) != 4 * PREDICATE_SINK and field(u, M3) & KIND_MASK != CAST:
        # A predicate result says where the memory did it: a program that asks does the rest outside global memory.
        for lane in range(32):
            if not is_in_space(ctx, load_i64(into, lane), GLOBAL_SPACE):
                done &= ~np.uint32(np.uint32(1) << np.uint32(lane))
    if space != SHARED_SPACE:
        for lane in range(32):
            if (done >> lane) & 1:
                _remember_old(ctx, load_i64(host, lane), field(u, M1) & SIZE_MASK)
    changed = atomic(u, frame, consts, host, done, mask)
    if space != SHARED_SPACE:
        put(ctx, Context.CHANGED, get(ctx, Context.CHANGED) + changed)


@njit
def _load_constant(ctx, u, frame, consts, row, into, mask):
    """LDC with a register index: a constant bank read as memory."""
    size, bank, destination = field(u, M1) & SIZE_MASK, field(u, M3), frame + field(u, D)
    base, limit = load_i64(get(ctx, Context.BANKS), 2 * bank), load_i64(get(ctx, Context.BANKS), 2 * bank + 1)
    _addresses(u, A, C, field(u, M0), SHARED_SPACE, frame, consts, into)
    for lane in range(32):
        if not (mask >> lane) & 1:
            continue
        offset = load_i64(into, lane)
        if offset + size > limit:
            report_fault(ctx, Fault.OUT_OF_BOUNDS, row, lane, offset, size, CONSTANT_SPACE)
            return False
        if offset & (size - 1):
            report_fault(ctx, Fault.MISALIGNED, row, lane, offset, size, CONSTANT_SPACE)
            return False
    extend = field(u, M1) & SIGNED_LOAD
    for lane in range(32):
        if (mask >> lane) & 1:
            _load_lane(base + load_i64(into, lane), destination, lane, size, extend)
    return True


@njit
def _ldsm(u, frame, host, matrices, transposed):
    """LDSM: lanes 8i..8i+7 give the row addresses of 8 x 8 matrix i; each lane gets two 16-bit elements of each."""
    destination = frame + field(u, D)
    for matrix in range(matrices):
        for lane in range(32):
            if transposed:
                column, row = lane >> 2, 2 * (lane & 3)
                low = load_u16(load_i64(host, 8 * matrix + row), column)
                high = load_u16(load_i64(host, 8 * matrix + row + 1), column)
                word = np.uint32(low) | np.uint32(np.uint32(high) << np.uint32(16))
            else:
                word = load_u32(load_i64(host, 8 * matrix + (lane >> 2)), lane & 3)
            store_u32(destination + 128 * matrix, lane, np.uint32(word))


@njit
def _locate_part(ctx, row, into, host, size, mask):
    """Host addresses of the aligned sources of .ZFILL, whose bytes before the zeros must be inside memory."""
    for lane in range(32):
        address = load_i64(into, lane) & ~np.int64(size - 1)
        used = size - (load_i64(into, lane) - address)
        if (mask >> lane) & 1 and not find_range(ctx, address, used):
            report_fault(ctx, Fault.OUT_OF_BOUNDS, row, lane, address, used, GLOBAL_SPACE)
            return False
        store_i64(host, lane, address + get(ctx, Context.LAST_SHIFT))
    return True


@njit
def _copy_part(source_address, target, zeros, size):
    """.ZFILL: the first bytes of a source, then zeros."""
    for byte in range(size):
        store_u8(target, byte, load_u8(source_address, byte) if byte < size - zeros else np.uint8(0))


@njit
def _ldgsts(ctx, u, frame, consts, row, into, mask):
    """LDGSTS: copy global to shared; lanes whose predicate is false write zeros and read nothing."""
    size = field(u, M1) & SIZE_MASK
    reading = np.uint32(mask & predicate(u, PS0, frame))
    shared, host = into + 256, get(ctx, HOST_ADDRESS)
    _addresses(u, A, B, field(u, M0), field(u, M2), frame, consts, into)
    _addresses(u, C, D, field(u, M3), SHARED_SPACE | (field(u, PS0 + 2) << SCALE_SHIFT), frame, consts, shared)
    filling = field(u, M1) & ZERO_FILL
    if filling:
        if not _locate_part(ctx, row, into, host, size, reading):
            return reading, False
    elif not _locate(ctx, row, into, host, size, GLOBAL_SPACE, reading):
        return reading, False
    if not _locate(ctx, row, shared, host + 256, size, SHARED_SPACE, mask):
        return reading, False
    for lane in range(32):
        if (mask >> lane) & 1:
            target = load_i64(host + 256, lane)
            if filling and (reading >> lane) & 1:
                _copy_part(load_i64(host, lane), target, load_i64(into, lane) & (size - 1), size)
                continue
            for word in range(size >> 2):
                value = load_u32(load_i64(host, lane), word) if (reading >> lane) & 1 else np.uint32(0)
                store_u32(target, word, value)
    return reading, True


@njit
def memory_step(op, ctx, u, frame, consts, row, mask, into):
    """Execute one memory micro-op; lane addresses are left at `into` (LDGSTS: global, then shared 256 bytes on).

    Returns:
        Whether it completed; on False the context holds the fault.
    """
    if op == Op.LDGSTS:
        reading, done = _ldgsts(ctx, u, frame, consts, row, into, mask)
        _hide_inactive(into, reading)
        _hide_inactive(into + 256, mask)
        return done
    if op == Op.LDC:
        return _load_constant(ctx, u, frame, consts, row, into, mask)
    how, size = field(u, M2), field(u, M1) & SIZE_MASK
    space = how & SPACE_MASK
    _addresses(u, A, C, field(u, M0), how, frame, consts, into)
    checked = mask
    if op == Op.LDSM:
        rows = field(u, M3) & 7
        checked = np.uint32((np.uint64(1) << np.uint64(8 * rows)) - np.uint64(1))
        size = 16
    host = get(ctx, HOST_ADDRESS)
    if space == GENERIC_SPACE:
        if not locate_generic(ctx, row, into, host, size, mask):
            return False
    elif not _locate(ctx, row, into, host, size, space, checked):
        return False
    if op == Op.LOAD:
        _load(u, frame, host, mask)
    elif op == Op.ATOM:
        _atomic(ctx, u, frame, consts, into, host, space, mask)
    elif op == Op.STORE:
        _store(ctx, u, frame, consts, host, space, mask)
    else:
        _ldsm(u, frame, host, field(u, M3) & 7, field(u, M3) & 8)
    _hide_inactive(into, checked)
    return True
