"""FP64 micro-ops on register pairs; IEEE, with the rounding modes of the PTX ISA."""

import math

import numpy as np
from numba import njit

from gpu_model.machine.directed import fma_directed
from gpu_model.machine.integer import blend
from gpu_model.machine.lanes import as_f64, as_u64, fma_f64, load_u32, store_u32
from gpu_model.machine.microop import (
    A_AND,
    A_XOR,
    B_AND,
    B_XOR,
    C_AND,
    C_XOR,
    M0,
    A,
    B,
    C,
    D,
    Op,
    field,
    source,
)
from gpu_model.machine.multifunction import RCP
from gpu_model.machine.rounding import NEAREST

_NAN64 = np.uint64(0x7FFFFFFFFFFFFFFF)


@njit
def read_f64(row, lane, keep, flip):
    """A register pair as a double; |x| and -x act on the high word."""
    high = np.uint64((load_u32(row + 128, lane) & keep) ^ flip)
    return as_f64(np.uint64(load_u32(row, lane)) | high << np.uint64(32))


@njit
def write_f64(row, lane, value):
    """Store a double in a register pair; NaN becomes the canonical one."""
    bits = _NAN64 if math.isnan(value) else as_u64(value)
    store_u32(row, lane, np.uint32(bits))
    store_u32(row + 128, lane, np.uint32(bits >> np.uint64(32)))


@njit
def compare_f64(a, b, aa, ax, ba, bx, code):
    """Lane mask of a double comparison."""
    result = np.uint32(0)
    for lane in range(32):
        x, y = read_f64(a, lane, aa, ax), read_f64(b, lane, ba, bx)
        nan = math.isnan(x) or math.isnan(y)
        holds = ((x < y) & (code & 1 != 0)) | ((x == y) & (code & 2 != 0)) | ((x > y) & (code & 4 != 0))
        holds = holds or (nan and code & 8 != 0)
        result |= np.uint32(np.uint32(holds) << lane)
    return result


@njit
def choose_f64(a, b, aa, ax, ba, bx, largest):
    """DSETP.MIN and .MAX: lanes that choose a, and lanes where both are NaN; -0 is below +0."""
    first, both = np.uint32(0), np.uint32(0)
    for lane in range(32):
        x, y = read_f64(a, lane, aa, ax), read_f64(b, lane, ba, bx)
        below = x < y or (x == y and math.copysign(1.0, x) < 0.0)
        chosen = math.isnan(y) if math.isnan(x) or math.isnan(y) else below != largest
        chosen = chosen and not math.isnan(x)
        first |= np.uint32(np.uint32(chosen) << lane)
        both |= np.uint32(np.uint32(math.isnan(x) and math.isnan(y)) << lane)
    return first, both


@njit
def _flush_high(high):
    """The high word of a double, zero if the double is subnormal."""
    return high if high & np.uint64(0x7FF00000) else high & np.uint64(0x80000000)


@njit
def _reciprocal_high(t, a, aa, ax, function):
    """MUFU.RCP64H and RSQ64H: the high word of an approximation of a double's (reciprocal) root.

    Subnormals are zeros and NaN is 0x7FFFFFFF, as the PTX ISA states for `.approx.ftz.f64`.
    """
    for lane in range(32):
        high = _flush_high(np.uint64((load_u32(a, lane) & aa) ^ ax))
        x = as_f64(high << np.uint64(32))
        if x == 0.0:
            y = math.copysign(math.inf, x)
        elif function == RCP:
            y = 1.0 / x
        else:
            y = math.nan if x < 0.0 else 1.0 / math.sqrt(x)
        result = _flush_high(as_u64(y) >> np.uint64(32))
        store_u32(t, lane, np.uint32(0x7FFFFFFF) if math.isnan(y) else np.uint32(result))


@njit
def _directed(op, x, y, z, mode):
    if op == Op.DADD:
        return fma_directed(x, 1.0, y, mode)
    # A product alone adds a zero of its own sign.
    zero = math.copysign(0.0, math.copysign(1.0, x) * math.copysign(1.0, y))
    return fma_directed(x, y, zero if op == Op.DMUL else z, mode)


@njit
def double_step(op, u, frame, consts, t, mask):
    """Execute one FP64 micro-op for the lanes of `mask`."""
    a, b, c = source(u, A, frame, consts), source(u, B, frame, consts), source(u, C, frame, consts)
    aa, ax = np.uint32(field(u, A_AND)), np.uint32(field(u, A_XOR))
    destination = frame + field(u, D)
    if op == Op.MUFU64H:
        _reciprocal_high(t, a, aa, ax, field(u, M0))
        blend(destination, t, mask)
        return
    ba, bx = np.uint32(field(u, B_AND)), np.uint32(field(u, B_XOR))
    ca, cx = np.uint32(field(u, C_AND)), np.uint32(field(u, C_XOR))
    mode = field(u, M0)
    for lane in range(32):
        x, y = read_f64(a, lane, aa, ax), read_f64(b, lane, ba, bx)
        if mode != NEAREST:
            value = _directed(op, x, y, read_f64(c, lane, ca, cx), mode)
        elif op == Op.DADD:
            value = x + y
        elif op == Op.DMUL:
            value = x * y
        else:
            value = fma_f64(x, y, read_f64(c, lane, ca, cx))
        write_f64(t, lane, value)
    blend(destination, t, mask)
    blend(destination + 128, t + 128, mask)
