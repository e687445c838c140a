"""MUFU, the multi-function unit: reciprocals, roots, exp2, log2, sine, cosine, tanh on 32 lanes.

NVIDIA's tables are not public. Values here are the function in double precision rounded to nearest, which
differs from silicon by no more than the bounds the PTX ISA states for its .approx forms plus half an ulp (see
docs/exactness.md). Every function but TANH takes and gives zeros for subnormals: `.approx.ftz` is the bare
instruction, and ptxas scales around it where subnormals count.
"""

import math

import numpy as np
from numba import njit

from gpu_model.machine.lanes import as_f32, as_f64, as_u32, store_u32
from gpu_model.machine.rounding import f16_to_f32, f32_to_bf16, f32_to_f16, f64_to_f32, flush_f32, is_nan_f32, read_f32

EX2, RCP, RSQ, LG2, SQRT, SIN, COS, TANH = range(8)
FLOAT32, FLOAT16, BFLOAT16 = range(3)
_NAN = np.uint32(0x7FFFFFFF)
# Taylor coefficients of 2^f, ln(2)^i / i!: on [-0.5, 0.5] the first one left out is below 2^-53.
_EXP2 = tuple(math.log(2) ** i / math.factorial(i) for i in range(14))


@njit
def exp2(x):
    """2^x in double precision for x in [-1000, 1000], without branches so that lanes vectorise."""
    whole = np.rint(x)
    rest = x - whole
    value = _EXP2[13]
    value = value * rest + _EXP2[12]
    value = value * rest + _EXP2[11]
    value = value * rest + _EXP2[10]
    value = value * rest + _EXP2[9]
    value = value * rest + _EXP2[8]
    value = value * rest + _EXP2[7]
    value = value * rest + _EXP2[6]
    value = value * rest + _EXP2[5]
    value = value * rest + _EXP2[4]
    value = value * rest + _EXP2[3]
    value = value * rest + _EXP2[2]
    value = value * rest + _EXP2[1]
    value = value * rest + _EXP2[0]
    return value * as_f64(np.uint64(np.int64(whole) + 1023) << np.uint64(52))


@njit
def _exp2_lanes(t, a, aa, ax):
    for lane in range(32):
        bits = read_f32(a, lane, aa, ax)
        x = np.float64(as_f32(flush_f32(bits)))
        x = min(max(x, -1000.0), 1000.0)
        result = flush_f32(as_u32(np.float32(exp2(x))))
        store_u32(t, lane, _NAN if is_nan_f32(bits) else result)


@njit
def _evaluate(x, function):
    """One function of a double; sine and cosine take revolutions, not radians."""
    negative = x < 0.0
    if function == EX2:
        return exp2(min(max(x, -1000.0), 1000.0))
    if function == RCP:
        return math.copysign(np.inf, x) if x == 0.0 else 1.0 / x
    if function == SQRT:
        return np.nan if negative else math.sqrt(x)
    if function == RSQ:
        return math.copysign(np.inf, x) if x == 0.0 else np.nan if negative else 1.0 / math.sqrt(x)
    if function == LG2:
        return -np.inf if x == 0.0 else np.nan if negative else math.log2(x)
    if function == TANH:
        return math.tanh(x)
    if math.isinf(x):
        return np.nan
    turn = (x - math.floor(x)) * 2.0 * math.pi
    return math.sin(turn) if function == SIN else math.cos(turn)


@njit
def multifunction(bits, function):
    """One function of a float32 pattern."""
    if is_nan_f32(bits):
        return _NAN
    result = f64_to_f32(_evaluate(np.float64(as_f32(bits if function == TANH else flush_f32(bits))), function), 0)
    return result if function == TANH else flush_f32(result)


@njit
def mufu(t, a, aa, ax, function, kind, upper):
    """A function of 32 float32 lanes, or of one half of each as float16 or bfloat16."""
    if function == EX2 and kind == FLOAT32:
        _exp2_lanes(t, a, aa, ax)
        return
    for lane in range(32):
        bits = read_f32(a, lane, aa, ax)
        half = np.uint32(bits >> np.uint32(16) if upper else bits & np.uint32(0xFFFF))
        if kind == FLOAT16:
            store_u32(t, lane, f32_to_f16(multifunction(as_u32(f16_to_f32(half)), function)))
        elif kind == BFLOAT16:
            store_u32(t, lane, f32_to_bf16(multifunction(np.uint32(half << np.uint32(16)), function)))
        else:
            store_u32(t, lane, multifunction(bits, function))
