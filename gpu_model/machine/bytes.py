"""F2FP between floats of 8 bits or fewer and halves or singles (PTX ISA cvt: round to nearest even, saturate).

To a half every value is exact, so that it is a table. A NaN becomes 0x7FFF; in the other direction 0x7F.
"""

import math

import numpy as np
from numba import njit

from gpu_model.machine.half import FLOAT16, widen
from gpu_model.machine.integer import blend
from gpu_model.machine.lanes import as_f32, load_u32, store_u32
from gpu_model.machine.microop import M0, M1, M2, M3, A, B, C, D, field, source
from mx_formats.element import E2M1, E2M3, E3M2, E4M3, E5M2, decode_to_float
from mx_formats.scale import E8M0

FORMATS = {"E4M3": E4M3, "E5M2": E5M2, "E3M2": E3M2, "E2M3": E2M3, "E2M1": E2M1}
NAMES = (*FORMATS, "E8")
_FOUR_BITS = NAMES.index("E2M1")
FROM_F32, FROM_F16, FROM_BF16 = range(3)


def _values(name: str) -> np.ndarray:
    """Values of 256 bytes; shorter codes repeat."""
    codes = np.arange(256)
    if name == "E8":
        return np.where(codes == E8M0.nan, np.nan, np.ldexp(1.0, codes - E8M0.bias))
    element = FORMATS[name]
    return decode_to_float((codes & ((1 << element.bits) - 1)).astype(np.uint32), element)


def _halves() -> np.ndarray:
    """uint16[formats, 2, 256]: every byte as float16 and as bfloat16."""
    table = np.zeros((len(NAMES), 2, 256), np.uint16)
    for i, name in enumerate(NAMES):
        values = _values(name)
        with np.errstate(over="ignore", under="ignore"):
            table[i, 0] = np.where(np.isnan(values), 0x7FFF, values.astype(np.float16).view(np.uint16))
        table[i, 1] = np.where(np.isnan(values), 0x7FFF, values.astype(np.float32).view(np.uint32) >> 16)
    return table


_TABLE = _halves()
# Of each format: mantissa bits, exponent of the smallest normal number, code of the largest finite one.
_LIMITS = np.array(
    [(f.mantissa_bits, f.emin, ((f.emax - f.emin) << f.mantissa_bits) + f.max_significand) for f in FORMATS.values()]
)


@njit
def encode(value, form):
    """Code of a number, to nearest even and saturated; NaN is 0x7F, or the largest number where there is none."""
    mantissa, emin, most = _LIMITS[form, 0], _LIMITS[form, 1], _LIMITS[form, 2]
    negative = math.copysign(1.0, value) < 0
    top = 8 if form == _FOUR_BITS else 0x20 if form > 1 else 0x80
    sign = np.int64(top if negative else 0)
    if value != value:
        return np.int64(0x7F) if form < 2 else most
    if math.isinf(value):
        return sign | most
    exponent = max(math.frexp(value)[1] - 1, emin) if value != 0.0 else emin
    steps = np.int64(np.rint(math.ldexp(abs(value), mantissa - exponent)))
    return sign | min(steps + ((exponent - emin) << mantissa), most)


@njit
def _unpack(t, a, form, target, byte, relu):
    """Two elements to two halves: bytes `byte` and `byte` + 1, or both nibbles of E2M1's byte."""
    for lane in range(32):
        word = load_u32(a, lane) >> np.uint32(8 * byte)
        low, high = word & np.uint32(0xFF), (word >> np.uint32(8)) & np.uint32(0xFF)
        if form == _FOUR_BITS:
            low, high = word & np.uint32(15), (word >> np.uint32(4)) & np.uint32(15)
        low, high = np.uint32(_TABLE[form, target, low]), np.uint32(_TABLE[form, target, high])
        if relu:
            low = np.uint32(0) if low >> np.uint32(15) else low
            high = np.uint32(0) if high >> np.uint32(15) else high
        packed = low | high << np.uint32(16)
        store_u32(t, lane, np.uint32(packed))


@njit
def _input(row, lane, kind, high):
    word = load_u32(row, lane)
    if kind == FROM_F32:
        return np.float64(as_f32(word))
    bits = word >> np.uint32(16) if high else word & np.uint32(0xFFFF)
    return np.float64(widen(np.uint32(bits), FLOAT16 if kind == FROM_F16 else 1))


@njit
def _pack(t, a, b, c, form, kind, relu):
    """Two numbers to two elements, a high and b low, or both halves of b; the low bits of c move in above them."""
    width = 4 if form == _FOUR_BITS else 8
    for lane in range(32):
        packed = np.int64(0)
        for part in range(2):
            value = _input(a if part and kind == FROM_F32 else b, lane, kind, part)
            if relu and value < 0.0:
                value = 0.0
            packed |= encode(value, form) << (width * part)
        store_u32(t, lane, np.uint32(packed) | (load_u32(c, lane) << np.uint32(2 * width)))


@njit
def byte_step(packing, u, frame, consts, t, mask):
    """Convert between narrow floats and halves or singles."""
    a, b = source(u, A, frame, consts), source(u, B, frame, consts)
    if packing:
        _pack(t, a, b, source(u, C, frame, consts), field(u, M0), field(u, M1), field(u, M2))
    else:
        _unpack(t, a, field(u, M0), field(u, M1), field(u, M3), field(u, M2))
    blend(frame + field(u, D), t, mask)
