"""Conversions between integers and floats; saturation, NaN and rounding follow the PTX ISA's cvt."""

import math

import numpy as np
from numba import njit

from gpu_model.machine.double import read_f64, write_f64
from gpu_model.machine.floating import FINITE, FTZ, RELU, integral
from gpu_model.machine.half import pick, widen
from gpu_model.machine.integer import blend
from gpu_model.machine.lanes import as_f32, load_u32, store_u32
from gpu_model.machine.microop import (
    A_AND,
    A_XOR,
    B_AND,
    B_XOR,
    M0,
    M1,
    M2,
    M3,
    A,
    B,
    D,
    Op,
    field,
    source,
)
from gpu_model.machine.rounding import (
    DOWN,
    NEAREST,
    ZERO,
    f32_to_bf16,
    f32_to_f16,
    f64_to_f32,
    flush_f32,
    is_nan_f32,
    read_f32,
    round_to_format,
)

F16, BF16, F32, F64 = 0, 1, 2, 3
INTEGRAL = 4  # added to a mode of `floating.integral`: FRND of formats other than float32


@njit
def _pack_one(bits, kind, mode, flags):
    if flags & FTZ:
        bits = flush_f32(bits)
    if flags & RELU and bits & np.uint32(0x80000000) and not bits > np.uint32(0xFF800000):
        bits = np.uint32(0)
    if mode != 0:
        value = np.float64(as_f32(bits))
        exponent, mantissa = (5, 10) if kind == F16 else (8, 7)
        packed = np.uint32(round_to_format(value, exponent, mantissa, mode))
    else:
        packed = f32_to_f16(bits) if kind == F16 else f32_to_bf16(bits)
    infinity = np.uint32(0x7C00) if kind == F16 else np.uint32(0x7F80)
    if flags & FINITE and packed & np.uint32(0x7FFF) == infinity:
        packed -= np.uint32(1)
    return packed


@njit
def _pack_nearest(t, a, b, aa, ax, ba, bx, kind):
    """The plain case, in loops without branches."""
    if kind == F16:
        for lane in range(32):
            high, low = f32_to_f16(read_f32(a, lane, aa, ax)), f32_to_f16(read_f32(b, lane, ba, bx))
            store_u32(t, lane, np.uint32(high << np.uint32(16) | low))
    else:
        for lane in range(32):
            high, low = f32_to_bf16(read_f32(a, lane, aa, ax)), f32_to_bf16(read_f32(b, lane, ba, bx))
            store_u32(t, lane, np.uint32(high << np.uint32(16) | low))


@njit
def _f2fp(t, a, b, aa, ax, ba, bx, kind, mode, flags):
    """F2FP.PACK_AB: two float32 to a pair of halves, a high and b low."""
    if mode == NEAREST and flags == 0:
        _pack_nearest(t, a, b, aa, ax, ba, bx, kind)
        return
    for lane in range(32):
        high = _pack_one(read_f32(a, lane, aa, ax), kind, mode, flags)
        low = _pack_one(read_f32(b, lane, ba, bx), kind, mode, flags)
        store_u32(t, lane, np.uint32(high << np.uint32(16) | low))


@njit
def _f2tf32(t, a, aa, ax, mode, flags):
    """F2FP.TF32: ten fraction bits, the bits below zero."""
    for lane in range(32):
        bits = read_f32(a, lane, aa, ax)
        if is_nan_f32(bits):
            store_u32(t, lane, np.uint32(0x7FFFFFFF))
            continue
        if flags & RELU and bits & np.uint32(0x80000000):
            bits = np.uint32(0)
        result = np.uint32(round_to_format(np.float64(as_f32(bits)), 8, 10, mode) << 13)
        if flags & FINITE and result & np.uint32(0x7FFFFFFF) == np.uint32(0x7F800000):
            result -= np.uint32(0x2000)
        store_u32(t, lane, result)


@njit
def read_integer(a, lane, width, signed, byte):
    """An 8, 16, 32 or 64-bit integer of a register (pair); returns value as float64-safe (high, low) parts."""
    low = np.uint64(load_u32(a, lane))
    if width == 64:
        low |= np.uint64(load_u32(a + 128, lane)) << np.uint64(32)
    else:
        low = (low >> np.uint64(8 * byte)) & ((np.uint64(1) << np.uint64(width)) - np.uint64(1))
        if signed and low >> np.uint64(width - 1):
            low |= ~((np.uint64(1) << np.uint64(width)) - np.uint64(1))
    return low


@njit
def _integer_to_odd(bits, signed):
    """A 64-bit integer as a double rounded to odd, and its sign."""
    negative = signed and np.int64(bits) < 0
    magnitude = ~bits + np.uint64(1) if negative else bits
    shift = np.uint64(0)
    while (magnitude >> shift) >> np.uint64(53):
        shift += np.uint64(1)
    kept = magnitude >> shift
    if kept << shift != magnitude:
        kept |= np.uint64(1)
    value = math.ldexp(np.float64(kept), int(shift))
    return -value if negative else value


@njit
def _integer_to_f64(bits, signed, mode):
    """A 64-bit integer as a double, rounded once."""
    negative = signed and np.int64(bits) < 0
    magnitude = ~bits + np.uint64(1) if negative else bits
    shift = np.uint64(0)
    while (magnitude >> shift) >> np.uint64(53):
        shift += np.uint64(1)
    kept = magnitude >> shift
    rest, half = magnitude - (kept << shift), (np.uint64(1) << shift) >> np.uint64(1)
    if mode == NEAREST:
        up = rest > half or (rest == half and rest != 0 and kept & np.uint64(1) != 0)
    else:
        up = rest != 0 and mode != ZERO and (mode == DOWN) == negative
    value = math.ldexp(np.float64(kept + np.uint64(up)), int(shift))
    return -value if negative else value


@njit
def _i2f(t, a, ax, width, signed, byte, target, mode):
    for lane in range(32):
        bits = read_integer(a, lane, width, signed, byte)
        if ax:
            bits = ~bits + np.uint64(1)
        if target == F64:
            write_f64(t, lane, _integer_to_f64(bits, signed, mode))
            continue
        exact = _integer_to_odd(bits, signed)
        if target == F32:
            store_u32(t, lane, f64_to_f32(exact, mode))
        else:
            exponent, mantissa = (5, 10) if target == F16 else (8, 7)
            store_u32(t, lane, np.uint32(round_to_format(exact, exponent, mantissa, mode)))


@njit
def _read_float(a, lane, aa, ax, kind, select, flags):
    if kind == F64:
        return read_f64(a, lane, aa, ax)
    bits = read_f32(a, lane, aa, ax)
    if kind == F32:
        return np.float64(as_f32(flush_f32(bits) if flags & FTZ else bits))
    return np.float64(widen(pick(bits, 0, select), kind))


@njit
def _f2i(t, a, aa, ax, kind, select, width, signed, mode, flags):
    """Float to integer, saturating; NaN gives 0, or 0x80000000 (64 bit: 2^63) as the PTX ISA states."""
    for lane in range(32):
        x = _read_float(a, lane, aa, ax, kind, select, flags)
        top = math.ldexp(1.0, width - 1 if signed else width)
        low = -top if signed else 0.0
        if math.isnan(x):
            wide_nan = kind == F64 or width == 64
            result = np.uint64(1) << np.uint64(width - 1) if wide_nan else np.uint64(0)
        else:
            rounded = integral(x, mode)
            if rounded >= top:
                bits = width - 1 if signed else width
                result = ~np.uint64(0) >> np.uint64(64 - bits)
            elif rounded <= low:
                result = np.uint64(1) << np.uint64(width - 1) if signed else np.uint64(0)
            elif rounded >= 9.223372036854775808e18:
                result = np.uint64(rounded - 9.223372036854775808e18) + (np.uint64(1) << np.uint64(63))
            else:
                result = np.uint64(np.int64(rounded))
        store_u32(t, lane, np.uint32(result))
        store_u32(t + 128, lane, np.uint32(result >> np.uint64(32)))


@njit
def _f2f(t, a, aa, ax, kind, select, target, mode, flags):
    """Float to float; modes from INTEGRAL on round to an integral value first."""
    integral_mode = mode - INTEGRAL
    mode = mode if mode < INTEGRAL else NEAREST
    for lane in range(32):
        x = _read_float(a, lane, aa, ax, kind, select, flags)
        if integral_mode >= 0 and math.isfinite(x):
            x = math.copysign(integral(x, integral_mode), x)
        if target == F64:
            write_f64(t, lane, x)
        elif target == F32:
            bits = f64_to_f32(x, mode)
            store_u32(t, lane, flush_f32(bits) if flags & FTZ else bits)
        else:
            exponent, mantissa = (5, 10) if target == F16 else (8, 7)
            store_u32(t, lane, np.uint32(round_to_format(x, exponent, mantissa, mode)))


@njit
def convert_step(op, u, frame, consts, t, mask):
    """Execute one conversion for the lanes of `mask`."""
    a = source(u, A, frame, consts)
    aa, ax = np.uint32(field(u, A_AND)), np.uint32(field(u, A_XOR))
    m0, m1, m2, m3 = field(u, M0), field(u, M1), field(u, M2), field(u, M3)
    destination = frame + field(u, D)
    wide = False
    if op == Op.F2FP:
        ba, bx = np.uint32(field(u, B_AND)), np.uint32(field(u, B_XOR))
        _f2fp(t, a, source(u, B, frame, consts), aa, ax, ba, bx, m0, m1, m2)
    elif op == Op.F2TF32:
        _f2tf32(t, a, aa, ax, m1, m2)
    elif op == Op.I2F:
        _i2f(t, a, ax, m0 >> 1, m0 & 1, m1, m2, m3)
        wide = m2 == F64
    elif op == Op.F2I:
        _f2i(t, a, aa, ax, m2 & 3, m2 >> 2, m0 >> 1, m0 & 1, m1, m3)
        wide = m0 >> 1 == 64
    else:
        _f2f(t, a, aa, ax, m0 & 3, m0 >> 2, m1, m2, m3)
        wide = m1 == F64
    blend(destination, t, mask)
    if wide:
        blend(destination + 128, t + 128, mask)
