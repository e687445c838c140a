"""FP32 micro-ops: IEEE arithmetic with rounding, flush and saturation modifiers, and comparisons.

NaN results are the canonical 0x7FFFFFFF of the PTX ISA.
"""

import math

import numpy as np
from numba import njit

from gpu_model.machine.integer import blend, predicate, set_predicate
from gpu_model.machine.lanes import as_f32, as_u32, fma_f32, load_u32, store_u32
from gpu_model.machine.microop import (
    A_AND,
    A_XOR,
    B_AND,
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
    A,
    B,
    C,
    D,
    Op,
    field,
    source,
)
from gpu_model.machine.multifunction import mufu
from gpu_model.machine.rounding import f64_to_f32, flush_f32, is_nan_f32, odd_sum, read_f32

FTZ, SATURATE, RELU, FINITE = 1, 2, 4, 8
_NAN = np.uint32(0x7FFFFFFF)

# Comparison codes: bits say for which outcomes (less, equal, greater, unordered) it holds.
LESS, EQUAL, GREATER, UNORDERED = 1, 2, 4, 8

AND, OR, XOR = range(3)


@njit
def _canonical(bits):
    return _NAN if is_nan_f32(bits) else bits


@njit
def _fadd(t, a, b, aa, ax, ba, bx):
    for lane in range(32):
        total = as_f32(read_f32(a, lane, aa, ax)) + as_f32(read_f32(b, lane, ba, bx))
        store_u32(t, lane, _canonical(as_u32(np.float32(total))))


@njit
def _fmul(t, a, b, aa, ax, ba, bx):
    for lane in range(32):
        product = as_f32(read_f32(a, lane, aa, ax)) * as_f32(read_f32(b, lane, ba, bx))
        store_u32(t, lane, _canonical(as_u32(np.float32(product))))


@njit
def _ffma(t, a, b, c, aa, ax, ba, bx, ca, cx):
    for lane in range(32):
        x, y = as_f32(read_f32(a, lane, aa, ax)), as_f32(read_f32(b, lane, ba, bx))
        store_u32(t, lane, _canonical(as_u32(fma_f32(x, y, as_f32(read_f32(c, lane, ca, cx))))))


@njit
def _finish(bits, flags):
    if flags & FTZ:
        bits = flush_f32(bits)
    return saturate_f32(bits) if flags & SATURATE else bits


@njit
def saturate_f32(bits):
    """Clamp a float32 pattern to [0, 1] (.SAT); NaN gives +0 as well."""
    value = as_f32(bits)
    if not value > np.float32(0.0):
        return np.uint32(0)
    return np.uint32(0x3F800000) if value > np.float32(1.0) else bits


@njit
def fma_with_mode(x, y, z, mode):
    """x * y + z of doubles that hold float32 values, rounded once to a float32 pattern."""
    exact = odd_sum(x * y, z)
    return _signed_zero(Op.FFMA_MODE, x, y, z, mode) if exact == 0.0 else f64_to_f32(exact, mode)


@njit
def _with_mode(op, t, a, b, c, aa, ax, ba, bx, ca, cx, mode, flags, scale):
    """FADD, FMUL (times 2^scale) and FFMA with a rounding mode, FTZ or SAT, by way of an odd-rounded double."""
    for lane in range(32):
        x, y = read_f32(a, lane, aa, ax), read_f32(b, lane, ba, bx)
        z = read_f32(c, lane, ca, cx)
        if flags & FTZ:
            x, y, z = flush_f32(x), flush_f32(y), flush_f32(z)
        fx, fy, fz = np.float64(as_f32(x)), np.float64(as_f32(y)), np.float64(as_f32(z))
        if op == Op.FADD_MODE:
            exact = odd_sum(fx, fy)
        elif op == Op.FMUL_MODE:
            exact = math.ldexp(fx * fy, int(scale))
        else:
            exact = odd_sum(fx * fy, fz)
        bits = f64_to_f32(exact, mode)
        if exact == 0.0 and op != Op.FMUL_MODE:
            bits = _signed_zero(op, fx, fy, fz, mode)
        store_u32(t, lane, _finish(bits, flags))


@njit
def _signed_zero(op, x, y, z, mode):
    """Sign of an exact zero sum: kept if both terms have it, else + (and - when rounding down)."""
    first = math.copysign(1.0, x * y) if op == Op.FFMA_MODE else math.copysign(1.0, x)
    second = math.copysign(1.0, z) if op == Op.FFMA_MODE else math.copysign(1.0, y)
    negative = first < 0.0 if first == second else mode == 2
    return np.uint32(0x80000000) if negative else np.uint32(0)


@njit
def _fmnmx(t, a, b, aa, ax, ba, bx, minimum, flags, propagate_nan, exclusive):
    """Minimum or maximum; a NaN loses against a number unless .NAN propagates it; -0 is below +0.

    With .XORSIGN a result that is no NaN takes the exclusive-or of both registers' signs.
    """
    for lane in range(32):
        x, y = read_f32(a, lane, aa, ax), read_f32(b, lane, ba, bx)
        if flags & FTZ:
            x, y = flush_f32(x), flush_f32(y)
        # Order-preserving integer keys put -0 below +0.
        key_x = np.int32(x) ^ np.int32(np.uint32(np.int32(x) >> 31) >> np.uint32(1))
        key_y = np.int32(y) ^ np.int32(np.uint32(np.int32(y) >> 31) >> np.uint32(1))
        pick_x = (key_x < key_y) == ((minimum >> lane) & 1 != 0)
        best = x if pick_x else y
        best = y if is_nan_f32(x) else best
        best = x if is_nan_f32(y) else best
        both = is_nan_f32(x) and is_nan_f32(y)
        either = is_nan_f32(x) or is_nan_f32(y)
        if exclusive:
            signs = (load_u32(a, lane) ^ load_u32(b, lane)) & np.uint32(0x80000000)
            best = np.uint32(best & np.uint32(0x7FFFFFFF) | signs)
        store_u32(t, lane, _NAN if both or (propagate_nan and either) else best)


@njit
def outcome_f32(x, y):
    """How two float32 patterns compare, as one of the comparison bits."""
    if is_nan_f32(x) or is_nan_f32(y):
        return UNORDERED
    fx, fy = as_f32(x), as_f32(y)
    return LESS if fx < fy else (EQUAL if fx == fy else GREATER)


@njit
def compare_f32(a, b, aa, ax, ba, bx, code, flags):
    """Lane mask of a float comparison."""
    result = np.uint32(0)
    for lane in range(32):
        x, y = read_f32(a, lane, aa, ax), read_f32(b, lane, ba, bx)
        if flags & FTZ:
            x, y = flush_f32(x), flush_f32(y)
        nan = is_nan_f32(x) | is_nan_f32(y)
        fx, fy = as_f32(x), as_f32(y)
        less = np.uint32((fx < fy) & (code & 1 != 0))
        equal = np.uint32((fx == fy) & (code & 2 != 0))
        greater = np.uint32((fx > fy) & (code & 4 != 0))
        unordered = np.uint32(nan & (code & 8 != 0))
        result |= np.uint32((less | equal | greater | unordered) << lane)
    return result


@njit
def combine(first, second, boolean):
    """AND, OR or XOR of two lane masks."""
    if boolean == AND:
        return np.uint32(first & second)
    if boolean == OR:
        return np.uint32(first | second)
    return np.uint32(first ^ second)


@njit
def set_pair(u, frame, compared, boolean, mask):
    """Write the two results of a SETP: the comparison and its complement, each combined with PS0."""
    other = predicate(u, PS0, frame)
    set_predicate(u, PD0, frame, combine(compared, other, boolean), mask)
    set_predicate(u, PD1, frame, combine(np.uint32(~compared), other, boolean), mask)


@njit
def _fset(t, result, as_float):
    """FSET: 1.0 or all ones where the comparison holds."""
    one = np.uint32(0x3F800000) if as_float else np.uint32(0xFFFFFFFF)
    for lane in range(32):
        store_u32(t, lane, one if (result >> lane) & 1 else np.uint32(0))


@njit
def _frnd(t, a, aa, ax, mode, flags):
    """Round to an integral float: 0 nearest even, 1 toward zero, 2 down, 3 up."""
    for lane in range(32):
        bits = read_f32(a, lane, aa, ax)
        if flags & FTZ:
            bits = flush_f32(bits)
        x = np.float64(as_f32(bits))
        if is_nan_f32(bits):
            store_u32(t, lane, _NAN)
        elif math.isinf(x):
            store_u32(t, lane, bits)
        else:
            store_u32(t, lane, as_u32(np.float32(math.copysign(integral(x, mode), x))))


@njit
def integral(x, mode):
    """Round a double to an integral double in the given mode."""
    if mode == 0:
        return np.rint(x)
    if mode == 1:
        return np.trunc(x)
    return np.floor(x) if mode == 2 else np.ceil(x)


@njit
def _fchk(a, b, aa, ax, ba, bx):
    """Lanes whose division a / b needs the slow path: an operand or the quotient may leave the normal range."""
    result = np.uint32(0)
    for lane in range(32):
        x, y = read_f32(a, lane, aa, ax), read_f32(b, lane, ba, bx)
        ex = np.int64((x >> np.uint32(23)) & np.uint32(0xFF))
        ey = np.int64((y >> np.uint32(23)) & np.uint32(0xFF))
        hard = ex == 255 or ey == 255 or ex == 0 or ey == 0 or ex - ey > 125 or ey - ex > 125 or ey > 252 or ex < 24
        result |= np.uint32(np.uint32(hard) << lane)
    return result


@njit
def float_step(op, u, frame, consts, t, mask):
    """Execute one FP32 micro-op for the lanes of `mask`."""
    a, b, c = source(u, A, frame, consts), source(u, B, frame, consts), source(u, C, frame, consts)
    aa, ax = np.uint32(field(u, A_AND)), np.uint32(field(u, A_XOR))
    ba, bx = np.uint32(field(u, B_AND)), np.uint32(field(u, B_XOR))
    ca, cx = np.uint32(field(u, C_AND)), np.uint32(field(u, C_XOR))
    m0, m1, m2 = field(u, M0), field(u, M1), field(u, M2)
    if op == Op.FADD:
        _fadd(t, a, b, aa, ax, ba, bx)
    elif op == Op.FMUL:
        _fmul(t, a, b, aa, ax, ba, bx)
    elif op == Op.FFMA:
        _ffma(t, a, b, c, aa, ax, ba, bx, ca, cx)
    elif op == Op.FMNMX:
        _fmnmx(t, a, b, aa, ax, ba, bx, predicate(u, PS0, frame), m0, m1, m2)
    elif op == Op.MUFU:
        mufu(t, a, aa, ax, m0, m1, m2)
    elif op == Op.FSET:
        compared = combine(compare_f32(a, b, aa, ax, ba, bx, m0, m1), predicate(u, PS0, frame), m2)
        _fset(t, compared, field(u, M3))
    elif op == Op.FRND:
        _frnd(t, a, aa, ax, m0, m1)
    elif op == Op.FCHK:
        set_predicate(u, PD0, frame, _fchk(a, b, aa, ax, ba, bx), mask)
        return
    else:
        _with_mode(op, t, a, b, c, aa, ax, ba, bx, ca, cx, m0, m1, m2)
    blend(frame + field(u, D), t, mask)
