"""Exact sums wider than a machine word: a register of 32-bit limbs that terms of any exponent are added into."""

from typing import Any

import numpy as np
from numba import njit

from mx_formats.bits import leading_zeros

LIMBS = 144
CAPACITY = 32 * (LIMBS - 4)  # bits between the last bit of the smallest term and the first of the largest
WIDTH = 62  # bits kept of a sum that is wider; the last one is then also set if anything nonzero lies below
_LOW = np.int64(0xFFFFFFFF)
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(**_OPTIONS)
def new_register() -> np.ndarray:
    """A register, all zero, as `add` and `take` need it and leave it: int64[LIMBS]."""
    return np.zeros(LIMBS, np.int64)


@njit(**_OPTIONS)
def add(register, significand, position):
    """Add significand * 2**position; |significand| < 2**62, position in 0..CAPACITY."""
    limb, offset = position >> 5, position & 31
    magnitude = abs(significand)
    low, high = (magnitude & _LOW) << offset, (magnitude >> 32) << offset
    sign = -1 if significand < 0 else 1
    register[limb] += sign * (low & _LOW)
    register[limb + 1] += sign * ((low >> 32) + (high & _LOW))
    register[limb + 2] += sign * (high >> 32)


@njit(**_OPTIONS)
def take(register):
    """The register's value, leaving it zero.

    Returns:
        significand: int64 of up to 62 bits, signed.
        position: of its last bit. Where the value is wider, its magnitude is cut there, and an odd last bit stands
            for anything that was cut off: a later rounding above it comes out as that of the whole value.
    """
    carry = np.int64(0)
    for limb in range(LIMBS):
        value = register[limb] + carry
        carry = value >> 32
        register[limb] = value & _LOW
    negative = carry < 0
    if negative:
        _negate(register)
    top = LIMBS - 1
    while top > 0 and register[top] == 0:
        top -= 1
    significand, position = _leading_bits(register, top)
    register[:] = 0
    return -significand if negative else significand, position


@njit(**_OPTIONS)
def _negate(register):
    carry = np.int64(1)
    for limb in range(LIMBS):
        value = (register[limb] ^ _LOW) + carry
        carry = value >> 32
        register[limb] = value & _LOW


@njit(**_OPTIONS)
def _leading_bits(register, top):
    if top < 2:
        value = register[1] << 32 | register[0]
        if top == 0 or register[1] < (1 << (WIDTH - 32)):
            return value, np.int64(0)
    below = register[top - 2] if top >= 2 else np.int64(0)
    words = np.uint64(register[top]) << np.uint64(32) | np.uint64(register[top - 1])
    zeros = leading_zeros(words)
    wide = words << np.uint64(zeros) | np.uint64(below) >> np.uint64(32 - zeros)
    rest = np.uint64(below) << np.uint64(zeros) & np.uint64(_LOW) | wide & np.uint64(3)
    for limb in range(top - 2):
        rest |= np.uint64(register[limb])
    significand = np.int64(wide >> np.uint64(2)) | (1 if rest != 0 else 0)
    return significand, np.int64(32 * (top - 1) - zeros + 2)
