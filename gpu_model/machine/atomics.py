"""Atomic operations on global and shared memory (ATOMG, ATOM, RED, ATOMS), lane after lane.

Lanes of one instruction take effect in lane order, which fixes the result of a float sum. Semantics are
those of the PTX ISA's atom: inc and dec wrap at their operand, float add rounds to nearest even.
"""

import math

import numpy as np
from numba import njit

from gpu_model.machine.half import BFLOAT16, FLOAT16, narrow, widen
from gpu_model.machine.integer import set_predicate
from gpu_model.machine.lanes import as_f32, as_f64, as_u32, as_u64, load_i64, load_u32, load_u64, store_u32, store_u64
from gpu_model.machine.microop import M1, M3, PD0, TARGET, B, D, field, source
from gpu_model.machine.rounding import flush_f32, is_nan_f32, odd_sum

ADD, MIN, MAX, INC, DEC, AND, OR, XOR, EXCH, CAS, COUNT_LANE, CAST = range(12)
UNSIGNED, SIGNED, FLOAT, PAIR_F16, PAIR_BF16, FLOATS = range(6)  # pairs and FLOATS: word after word
KIND_MASK, TYPE_SHIFT, TYPE_MASK, FLUSH, NO_RESULT = 15, 4, 7, 128, 256  # how M3 is packed


@njit
def _float_add(old, value, size, flush):
    if size == 8:
        total = as_f64(old) + as_f64(value)
        return np.uint64(0x7FFFFFFFFFFFFFFF) if math.isnan(total) else as_u64(total)
    x, y = np.uint32(old), np.uint32(value)
    if flush:
        x, y = flush_f32(x), flush_f32(y)
    bits = as_u32(np.float32(as_f32(x) + as_f32(y)))
    if is_nan_f32(bits):
        return np.uint64(0x7FFFFFFF)
    return np.uint64(flush_f32(bits) if flush else bits)


@njit
def _pair_add(old, value, kind):
    result = np.uint64(0)
    for half in range(2):
        x = widen(np.uint32((old >> np.uint64(16 * half)) & np.uint64(0xFFFF)), kind)
        y = widen(np.uint32((value >> np.uint64(16 * half)) & np.uint64(0xFFFF)), kind)
        bits = np.uint64(narrow(odd_sum(np.float64(x), np.float64(y)), kind))
        result |= bits << np.uint64(16 * half)
    return result


@njit
def _pair_choose(old, value, kind, least):
    """Minimum or maximum of both halves: a NaN loses against a number, -0 is below +0."""
    result = np.uint64(0)
    for half in range(2):
        p = np.uint32((old >> np.uint64(16 * half)) & np.uint64(0xFFFF))
        q = np.uint32((value >> np.uint64(16 * half)) & np.uint64(0xFFFF))
        x, y = widen(p, kind), widen(q, kind)
        if math.isnan(x) or math.isnan(y):
            both = math.isnan(x) and math.isnan(y)
            best = np.uint32(0x7FFF) if both else (q if math.isnan(x) else p)
        else:
            less = x < y or (x == y and math.copysign(1.0, x) < math.copysign(1.0, y))
            best = p if less == least else q
        result |= np.uint64(best) << np.uint64(16 * half)
    return result


@njit
def _less(old, value, kind, size):
    if kind == UNSIGNED:
        return old < value
    if size == 8:
        return np.int64(old) < np.int64(value)
    return np.int32(old) < np.int32(value)


@njit
def combine(old, value, swap, kind, type_, size, flush):
    """The new memory word: `old` and the operands as uint64 (the low half counts for 4 bytes)."""
    result = value  # EXCH
    if kind == ADD:
        if type_ in (FLOAT, FLOATS):
            result = _float_add(old, value, size, flush)
        elif type_ in (PAIR_F16, PAIR_BF16):
            result = _pair_add(old, value, FLOAT16 if type_ == PAIR_F16 else BFLOAT16)
        else:
            result = old + value
    elif kind in (MIN, MAX) and type_ in (PAIR_F16, PAIR_BF16):
        result = _pair_choose(old, value, FLOAT16 if type_ == PAIR_F16 else BFLOAT16, kind == MIN)
    elif kind == MIN:
        result = old if _less(old, value, type_, size) else value
    elif kind == MAX:
        result = value if _less(old, value, type_, size) else old
    elif kind == INC:
        result = np.uint64(0) if old >= value else old + np.uint64(1)
    elif kind == DEC:
        result = value if old == 0 or old > value else old - np.uint64(1)
    elif kind == AND:
        result = old & value
    elif kind == OR:
        result = old | value
    elif kind == XOR:
        result = old ^ value
    elif kind in (CAS, CAST):
        result = swap if old == value else old
    elif kind == COUNT_LANE:
        result = old + np.uint64(1)
    return result if size == 8 else result & np.uint64(0xFFFFFFFF)


@njit
def _operand(row, lane, size):
    value = np.uint64(load_u32(row, lane))
    if size == 8:
        value |= np.uint64(load_u32(row + 128, lane)) << np.uint64(32)
    return value


@njit
def _atomic_words(address, lane, size, value_row, swap_row, destination, kind, type_, flush, writes):
    """An atomic on pairs or several floats, word after word, or a 128-bit exchange; whether memory changed."""
    held, changed = True, False
    for word in range(size >> 2):
        held = held and load_u32(address, word) == load_u32(value_row + 128 * word, lane)
    for word in range(size >> 2):
        old, value = np.uint64(load_u32(address, word)), np.uint64(load_u32(value_row + 128 * word, lane))
        if kind == CAS:
            new = np.uint64(load_u32(swap_row + 128 * word, lane)) if held else old
        else:
            new = combine(old, value, value, kind, type_, 4, flush)
        changed = changed or new != old
        store_u32(address, word, np.uint32(new))
        if writes:
            store_u32(destination + 128 * word, lane, np.uint32(old))
    return changed


@njit
def atomic(u, frame, consts, host, done, mask):
    """Run one atomic instruction on host addresses of the lanes `done`; the predicate of `mask` says which those are.

    Returns:
        The number of lanes whose memory changed.
    """
    size, how = field(u, M1), field(u, M3)
    kind, type_, flush = how & KIND_MASK, (how >> TYPE_SHIFT) & TYPE_MASK, how & FLUSH != 0
    value_row, swap_row = source(u, B, frame, consts), source(u, TARGET, frame, consts)
    destination = frame + field(u, D)
    changed, held = 0, np.uint32(0)
    for lane in range(32):
        if not (done >> lane) & 1:
            continue
        address = load_i64(host, lane)
        if size == 16 or type_ >= PAIR_F16:
            changed += _atomic_words(
                address, lane, size, value_row, swap_row, destination, kind, type_, flush, how & NO_RESULT == 0
            )
            continue
        old = load_u64(address, 0) if size == 8 else np.uint64(load_u32(address, 0))
        value, swap = _operand(value_row, lane, size), _operand(swap_row, lane, size)
        new = combine(old, value, swap, kind, type_, size, flush)
        changed += new != old
        if size == 8:
            store_u64(address, 0, new)
        else:
            store_u32(address, 0, np.uint32(new))
        if kind == CAST:  # compare, swap and test: whether memory held the compared value
            held |= np.uint32(np.uint32(old == value) << lane)
            old = np.uint64(old == value)
        if not how & NO_RESULT:
            store_u32(destination, lane, np.uint32(old))
            if size == 8:
                store_u32(destination + 128, lane, np.uint32(old >> np.uint64(32)))
    set_predicate(u, PD0, frame, held if kind == CAST else done, mask)
    return changed
