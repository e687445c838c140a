"""Exact float rounding on bit patterns: directed modes, and narrower formats from a wide exact value.

Every narrowing starts from a double that was rounded to odd, which keeps one later rounding to a
narrower format correct in every mode (Boldo and Melquiond, "Emulation of FMA and correctly rounded
sums", IEEE TC 2008).
"""

import numpy as np
from numba import njit

from gpu_model.machine.lanes import as_f32, as_f64, as_u32, as_u64, load_u32

NEAREST, ZERO, DOWN, UP = 0, 1, 2, 3  # .RN .RZ .RM .RP

_F32_NAN = np.uint32(0x7FFFFFFF)  # the canonical NaN of the PTX ISA


@njit
def odd_sum(a, b):
    """a + b as a double rounded to odd: exact if representable, else the neighbour with an odd last bit."""
    total = a + b
    if not np.isfinite(total):
        return total
    virtual_b = total - a
    error = (a - (total - virtual_b)) + (b - virtual_b)
    bits = as_u64(total)
    if error != 0.0 and bits & np.uint64(1) == 0:
        toward_larger = (error > 0.0) == (total > 0.0)
        bits = bits + np.uint64(1) if toward_larger else bits - np.uint64(1)
    return as_f64(bits)


@njit
def is_nan_f32(bits):
    """Whether a float32 pattern is a NaN."""
    return bits & np.uint32(0x7FFFFFFF) > np.uint32(0x7F800000)


@njit
def flush_f32(bits):
    """Replace a subnormal float32 pattern by a zero of its sign (.FTZ)."""
    return bits if bits & np.uint32(0x7F800000) else np.uint32(bits & np.uint32(0x80000000))


@njit
def f64_to_f32(value, mode):
    """Round a double to a float32 pattern in the given mode; NaN becomes the canonical one."""
    if np.isnan(value):
        return _F32_NAN
    nearest = np.float32(value)
    bits = as_u32(nearest)
    if mode == NEAREST or np.float64(nearest) == value:
        return bits
    above = np.float64(nearest) > value  # nearest lies above the exact value
    if mode == ZERO:
        step_back = above == (value > 0.0)
    elif mode == DOWN:
        step_back = above
    else:
        step_back = not above
    if not step_back:
        return bits
    toward_larger = (mode == UP) == (value > 0.0) and mode != ZERO
    return np.uint32(bits + np.uint32(1)) if toward_larger else np.uint32(bits - np.uint32(1))


@njit
def round_to_format(value, exponent_bits, mantissa_bits, mode):
    """Round a double (exact, or rounded to odd) to a narrower IEEE-like format.

    Returns the pattern `sign | exponent | mantissa` with subnormals and infinity; NaN is all ones below
    the sign.
    """
    bits = as_u64(value)
    sign = np.uint64(bits >> np.uint64(63)) << np.uint64(exponent_bits + mantissa_bits)
    top = (np.uint64(1) << np.uint64(exponent_bits)) - np.uint64(1)
    infinity = top << np.uint64(mantissa_bits)
    if np.isnan(value):
        return infinity | ((np.uint64(1) << np.uint64(mantissa_bits)) - np.uint64(1))
    if np.isinf(value):
        return sign | infinity
    bias = (np.int64(1) << (exponent_bits - 1)) - 1
    exponent = np.int64((bits >> np.uint64(52)) & np.uint64(0x7FF)) - 1023
    if exponent == -1023:
        exponent = np.int64(-1074 - 1)  # far below every narrower format: only the sign of it matters
        significand = np.uint64(0) if bits << np.uint64(1) == 0 else np.uint64(1) << np.uint64(52)
    else:
        significand = (bits & np.uint64((1 << 52) - 1)) | np.uint64(1 << 52)
    drop = 52 - mantissa_bits + max(1 - bias - exponent, 0)
    drop = min(drop, 54)
    kept = significand >> np.uint64(drop)
    rest = significand - (kept << np.uint64(drop))
    half = np.uint64(1) << np.uint64(drop - 1)
    if mode == NEAREST:
        round_up = rest > half or (rest == half and kept & np.uint64(1) != 0)
    elif mode == ZERO:
        round_up = False
    else:
        round_up = rest != 0 and (sign != 0) == (mode == DOWN)
    # For normal numbers `kept` holds the hidden bit, which adds the 1 the biased exponent needs.
    magnitude = kept + (np.uint64(max(exponent + bias - 1, 0)) << np.uint64(mantissa_bits)) + np.uint64(round_up)
    if magnitude >= infinity:
        largest = infinity - np.uint64(1)
        finite = mode == ZERO or (mode == DOWN and sign == 0) or (mode == UP and sign != 0)
        magnitude = largest if finite else infinity
    return sign | magnitude


@njit
def f16_to_f32(half):
    """A float16 pattern (in a uint32) as a float32 value; exact, NaN payload kept in the top bits."""
    sign = np.uint32((half & np.uint32(0x8000)) << np.uint32(16))
    magnitude = np.uint32(half & np.uint32(0x7FFF))
    # Scaling by 2^112 rebiases normals and subnormals alike, exactly.
    value = as_f32(np.uint32(magnitude << np.uint32(13))) * np.float32(5.192296858534828e33)
    bits = as_u32(value)
    if magnitude >= np.uint32(0x7C00):
        bits = np.uint32((magnitude << np.uint32(13)) | np.uint32(0x7F800000))
    return as_f32(np.uint32(bits | sign))


@njit
def f32_to_f16(bits):
    """Round a float32 pattern to a float16 pattern, nearest even; NaN becomes 0x7FFF."""
    sign = np.uint32((bits >> np.uint32(16)) & np.uint32(0x8000))
    magnitude = np.uint32(bits & np.uint32(0x7FFFFFFF))
    # Subnormal results: adding 0.5 lets the hardware align and round to nearest even.
    tiny = np.uint32(as_u32(np.float32(as_f32(magnitude) + np.float32(0.5))) - np.uint32(0x3F000000))
    odd = (magnitude >> np.uint32(13)) & np.uint32(1)
    normal = np.uint32(magnitude + np.uint32(0xC8000FFF) + odd) >> np.uint32(13)  # rebias, wrapping
    result = tiny if magnitude < np.uint32(0x38800000) else np.uint32(normal)
    result = np.uint32(0x7C00) if magnitude >= np.uint32(0x477FF000) else result
    result = np.uint32(0x7FFF) if magnitude > np.uint32(0x7F800000) else result
    return np.uint32(result | (sign if magnitude <= np.uint32(0x7F800000) else np.uint32(0)))


@njit
def f32_to_bf16(bits):
    """Round a float32 pattern to a bfloat16 pattern, nearest even; NaN becomes 0x7FFF."""
    rounded = np.uint32(bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.uint32(0x7FFF) if bits & np.uint32(0x7FFFFFFF) > np.uint32(0x7F800000) else np.uint32(rounded)


@njit
def read_f32(row, lane, keep, flip):
    """A float source with |x| and -x applied, as a pattern."""
    return np.uint32((load_u32(row, lane) & keep) ^ flip)
