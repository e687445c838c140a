"""Micro-ops that newer cores add: 64-bit integers, one-instruction minima, mixed-precision sums, leader election.

Rules are those of the PTX instructions that compile to them (PTX ISA: add.s64, setp.s64, min, max, elect.sync,
add.f32.f16); VIADDMNMX is CUDA's __viaddmin and __viaddmax, whose sum wraps.
"""

import numpy as np
from numba import njit

from gpu_model.machine.floating import fma_with_mode, saturate_f32, set_pair
from gpu_model.machine.half import widen
from gpu_model.machine.integer import blend, predicate, set_predicate
from gpu_model.machine.lanes import as_f32, as_u32, fma_f32, load_u32, store_u32
from gpu_model.machine.microop import (
    A_XOR,
    B_XOR,
    C_AND,
    C_XOR,
    M0,
    M1,
    M2,
    M3,
    PD0,
    PD1,
    PS0,
    PS1,
    A,
    B,
    C,
    D,
    Op,
    field,
    source,
)
from gpu_model.machine.rounding import NEAREST, is_nan_f32

_ALL = 0xFFFFFFFF
_NAN = np.uint32(0x7FFFFFFF)


@njit
def _read64(row, lane, flip):
    value = np.uint64(load_u32(row, lane)) | np.uint64(load_u32(row + 128, lane)) << np.uint64(32)
    return ~value if flip else value


@njit
def _iadd64(t, a, b, c, ax, bx, cx, ones):
    """64-bit sum; a negated term is its complement, and `ones` counts those."""
    for lane in range(32):
        total = _read64(a, lane, ax) + _read64(b, lane, bx) + _read64(c, lane, cx) + np.uint64(ones)
        store_u32(t, lane, np.uint32(total & np.uint64(_ALL)))
        store_u32(t + 128, lane, np.uint32(total >> np.uint64(32)))


@njit
def _iadd64_carry(u, frame, t, a, b, c, ax, bx, cx, ones, mask):
    """64-bit sum with carries in and out, as IADD3 has them: two carries out count those of three terms."""
    carry0, carry1 = predicate(u, PS0, frame), predicate(u, PS1, frame)
    first, second = np.uint32(0), np.uint32(0)
    for lane in range(32):
        total = np.uint64(ones) + np.uint64((carry0 >> lane) & 1) + np.uint64((carry1 >> lane) & 1)
        for word in range(2):
            total += np.uint64(load_u32(a + 128 * word, lane) ^ ax) + np.uint64(load_u32(b + 128 * word, lane) ^ bx)
            total += np.uint64(load_u32(c + 128 * word, lane) ^ cx)
            store_u32(t + 128 * word, lane, np.uint32(total & np.uint64(_ALL)))
            total >>= np.uint64(32)
        first |= np.uint32(np.uint32(total >= 1) << lane)
        second |= np.uint32(np.uint32(total >= 2) << lane)
    set_predicate(u, PD0, frame, first, mask)
    set_predicate(u, PD1, frame, second, mask)


@njit
def _isetp64(u, frame, a, b, mask):
    code, signed = field(u, M0), field(u, M1)
    result = np.uint32(0)
    for lane in range(32):
        x, y = _read64(a, lane, 0), _read64(b, lane, 0)
        less = np.int64(x) < np.int64(y) if signed else x < y
        outcome = 2 if x == y else 1 if less else 4
        if outcome & code:
            result |= np.uint32(np.uint32(1) << np.uint32(lane))
    set_pair(u, frame, result, field(u, M2), mask)


@njit
def _smaller(x, y, signed):
    return np.int64(x) < np.int64(y) if signed else x < y


@njit
def _minmax(u, frame, t, a, b, c, bx):
    """min (where the predicate holds) or max of a + b and c, 32 or 64 bits; RELU clamps at zero."""
    signed, relu, wide = field(u, M0), field(u, M1), field(u, M2)
    least, ones = predicate(u, PS0, frame), np.uint64(field(u, M3))
    for lane in range(32):
        if wide:
            x, y = _read64(a, lane, 0), _read64(c, lane, 0)
        else:
            total = np.uint32(load_u32(a, lane) + (load_u32(b, lane) ^ bx) + np.uint32(ones))
            x, y = np.uint64(total), np.uint64(load_u32(c, lane))
            if signed:
                x, y = np.uint64(np.int64(np.int32(total))), np.uint64(np.int64(np.int32(load_u32(c, lane))))
        take_x = _smaller(x, y, signed) == ((least >> lane) & 1 != 0)
        value = x if take_x else y
        if relu and np.int64(value) < 0:
            value = np.uint64(0)
        store_u32(t, lane, np.uint32(value & np.uint64(_ALL)))
        store_u32(t + 128, lane, np.uint32(value >> np.uint64(32)))


@njit
def _part(word, first, bits, signed):
    """An integer of `bits` bits of a word, from bit `first` on."""
    value = (np.int64(word) >> first) & ((np.int64(1) << bits) - 1)
    return value - (np.int64(1) << bits) if signed and value >> (bits - 1) else value


@njit
def _minmax_lanes(u, frame, t, a, b, c, bx):
    """min or max of each part of a word: of a and c, of a + b (wrapping) and c, or of all three."""
    signed, bits = field(u, M0) & 1, field(u, M0) >> 1
    relu, how, ones, least = field(u, M1), field(u, M2), field(u, M3), predicate(u, PS0, frame)
    for lane in range(32):
        x, y, z = load_u32(a, lane), np.uint32(load_u32(b, lane) ^ bx), load_u32(c, lane)
        packed, smallest = np.int64(0), (least >> lane) & 1
        for first in range(0, 32, bits):
            value, other, last = (
                _part(x, first, bits, signed),
                _part(y, first, bits, signed),
                _part(z, first, bits, signed),
            )
            if how == 1:
                value = _part(np.uint32((value + other + ones) & _ALL), 0, bits, signed)
            elif how == 2:
                value = min(value, other) if smallest else max(value, other)
            value = min(value, last) if smallest else max(value, last)
            value = max(value, 0) if relu else value
            packed |= (value & ((np.int64(1) << bits) - 1)) << first
        store_u32(t, lane, np.uint32(packed))


@njit
def _add_lanes(t, a, b, bx, bits, ones, saturate):
    """a + b of each part of a word; -b is ~b and one more."""
    for lane in range(32):
        x, y, packed = load_u32(a, lane), np.uint32(load_u32(b, lane) ^ bx), np.int64(0)
        for first in range(0, 32, bits):
            total = _part(x, first, bits, True) + _part(y, first, bits, True) + ones
            if saturate:
                total = min(max(total, -(np.int64(1) << (bits - 1))), (np.int64(1) << (bits - 1)) - 1)
            packed |= (total & ((np.int64(1) << bits) - 1)) << first
        store_u32(t, lane, np.uint32(packed))


@njit
def _select64(u, frame, t, a, b):
    """a where the predicate holds, else b."""
    chosen = predicate(u, PS0, frame)
    for lane in range(32):
        row = a if (chosen >> lane) & 1 else b
        store_u32(t, lane, load_u32(row, lane))
        store_u32(t + 128, lane, load_u32(row + 128, lane))


@njit
def _elect(u, frame, mask):
    """ELECT: true in the lowest lane that takes part; the uniform result is its number."""
    taking = np.uint32(mask & predicate(u, PS0, frame))
    leader = 0
    while leader < 31 and not (taking >> leader) & 1:
        leader += 1
    chosen = np.uint32(taking & np.uint32(1 << leader))
    set_predicate(u, PD0, frame, chosen, mask)
    for lane in range(32):
        store_u32(frame + field(u, D), lane, np.uint32(leader))


@njit
def _half_value(row, lane, select, kind):
    """A 16-bit float in bits 0..15, or 16..31 (select 1), with sign flip in bit 1 of select."""
    word = load_u32(row, lane)
    bits = word >> np.uint32(16) if select & 1 else word & np.uint32(0xFFFF)
    return widen(np.uint32(bits ^ np.uint32(0x8000 if select & 2 else 0)), kind)


@njit
def _mixed(u, t, a, b, c):
    """FHADD and FHFMA: half a (times half b) plus float c, rounded once."""
    kind, saturate, selects, product, mode = (
        field(u, M0) & 1,
        field(u, M0) & 2,
        field(u, M1),
        field(u, M2),
        field(u, M3),
    )
    for lane in range(32):
        z = as_f32(np.uint32((load_u32(c, lane) & np.uint32(field(u, C_AND))) ^ np.uint32(field(u, C_XOR))))
        x = _half_value(a, lane, selects & 3, kind)
        y = _half_value(b, lane, selects >> 2, kind) if product else np.float32(1.0)
        if mode == NEAREST:
            bits = as_u32(fma_f32(x, y, z))
        else:
            bits = fma_with_mode(np.float64(x), np.float64(y), np.float64(z), mode)
        if is_nan_f32(bits):
            bits = _NAN
        if saturate:
            bits = saturate_f32(bits)
        store_u32(t, lane, bits)


@njit
def wide_step(op, u, frame, consts, t, mask):
    """Execute one micro-op of this family for the lanes of `mask`."""
    a, b, c = source(u, A, frame, consts), source(u, B, frame, consts), source(u, C, frame, consts)
    if op == Op.ISETP64:
        _isetp64(u, frame, a, b, mask)
        return
    if op == Op.ELECT:
        _elect(u, frame, mask)
        return
    words = 1
    if op == Op.IADD64:
        _iadd64(t, a, b, c, field(u, A_XOR), field(u, B_XOR), field(u, C_XOR), field(u, M0))
        words = 2
    elif op == Op.SEL64:
        _select64(u, frame, t, a, b)
        words = 2
    elif op == Op.MINMAX:
        _minmax(u, frame, t, a, b, c, np.uint32(field(u, B_XOR)))
        words = 2 if field(u, M2) else 1
    elif op == Op.IADD64_CARRY:
        ax, bx, cx = np.uint32(field(u, A_XOR)), np.uint32(field(u, B_XOR)), np.uint32(field(u, C_XOR))
        _iadd64_carry(u, frame, t, a, b, c, ax, bx, cx, field(u, M0), mask)
        words = 2
    elif op == Op.MINMAX_LANES:
        _minmax_lanes(u, frame, t, a, b, c, np.uint32(field(u, B_XOR)))
    elif op == Op.ADD_LANES:
        _add_lanes(t, a, b, np.uint32(field(u, B_XOR)), field(u, M0), field(u, M1), field(u, M2))
    else:
        _mixed(u, t, a, b, c)
    for word in range(words):
        blend(frame + field(u, D) + 128 * word, t + 128 * word, mask)
