"""Micro-ops that newer cores add: 64-bit integers, one-instruction minima, mixed-precision sums, leader election.

Rules are those of the PTX instructions that compile to them (PTX ISA: add.s64, setp.s64, min, max, elect.sync,
add.f32.f16); VIADDMNMX is CUDA's __viaddmin and __viaddmax, whose sum wraps.
"""

import numpy as np
from numba import njit

from gpu_model.machine.floating import set_pair
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
    PS0,
    A,
    B,
    C,
    D,
    Op,
    field,
    source,
)
from gpu_model.machine.rounding import is_nan_f32

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
def _half_of(word, half, signed):
    value = np.int64((word >> np.uint32(16 * half)) & np.uint32(0xFFFF))
    return value - 65536 if signed and value >= 32768 else value


@njit
def _minmax16(u, frame, t, a, c):
    """min or max of both 16-bit halves."""
    signed, least = field(u, M0), predicate(u, PS0, frame)
    for lane in range(32):
        x, y, packed = load_u32(a, lane), load_u32(c, lane), np.uint32(0)
        for half in range(2):
            p, q = _half_of(x, half, signed), _half_of(y, half, signed)
            value = min(p, q) if (least >> lane) & 1 else max(p, q)
            packed |= np.uint32((value & 0xFFFF) << (16 * half))
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
    kind, selects, product = field(u, M0), field(u, M1), field(u, M2)
    for lane in range(32):
        z = as_f32(np.uint32((load_u32(c, lane) & np.uint32(field(u, C_AND))) ^ np.uint32(field(u, C_XOR))))
        x = _half_value(a, lane, selects & 3, kind)
        y = _half_value(b, lane, selects >> 2, kind) if product else np.float32(1.0)
        bits = as_u32(fma_f32(x, y, z))
        store_u32(t, lane, _NAN if is_nan_f32(bits) else bits)


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
    elif op == Op.MINMAX16:
        _minmax16(u, frame, t, a, c)
    else:
        _mixed(u, t, a, b, c)
    for word in range(words):
        blend(frame + field(u, D) + 128 * word, t + 128 * word, mask)
