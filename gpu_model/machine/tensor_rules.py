"""Which tensor maps and matrix descriptors the machine can follow, and what it says of the others."""

import numpy as np
from numba import njit

from gpu_model.machine.lanes import load_u32
from gpu_model.machine.reduce import allowed
from gpu_model.tensormap import (
    BF16,
    BOX0_WORD,
    ELEMENT_BYTES,
    F16,
    F32,
    F32_FTZ,
    F64,
    FILL_SHIFT,
    FLAGS_WORD,
    INTERLEAVE_SHIFT,
    LATER_SWIZZLES,
    RANK_SHIFT,
    SWIZZLE_SHIFT,
    TF32_SHIFT,
    TYPE_SHIFT,
)

_ELEMENT_BYTES = np.array(ELEMENT_BYTES, np.int64)
NO_REDUCTION = -1
# What is wrong, by the number that `refusal` returns; the last one is of matrix descriptors.
REFUSALS = (
    "",
    "its rank is not the instruction's; expected the rank it was made with",
    "its element type is packed, rounded or flushed; expected a plain integer or float of 1 to 8 bytes",
    "it is interleaved; expected interleave NONE",
    "its swizzle has atoms of 32 or 64 bytes; expected atoms of 16 bytes",
    "its box row is not as long as its swizzle, for which no source says how rows lie; expected 32, 64 or 128 bytes",
    "its box row is not a multiple of 16 bytes",
    "it fills with NaN outside a tensor of integers; expected zeros",
    "its element type does not have this reduction",
    "its base offset is not zero, for which no source says how it joins the swizzle; expected a pattern that starts "
    "at a multiple of 1024, 512 or 256 bytes",
)
(RANK, ELEMENT, INTERLEAVED, ATOMS, SHORT_ROW, ODD_ROW, INTEGER_NAN, REDUCTION, BASE_OFFSET) = range(1, len(REFUSALS))


@njit
def refusal(tensor, rank, kind):
    """Why a copy of `rank` dimensions cannot follow the tensor map at a host address; 0 if it can.

    `kind` is the reduction, or `NO_REDUCTION`.
    """
    flags = load_u32(tensor, FLAGS_WORD)
    element = np.int64((flags >> np.uint32(TYPE_SHIFT)) & np.uint32(15))
    swizzle = np.int64((flags >> np.uint32(SWIZZLE_SHIFT)) & np.uint32(3))
    if (flags >> np.uint32(RANK_SHIFT)) & np.uint32(7) != rank - 1:
        return RANK
    if element >= len(_ELEMENT_BYTES) or element == F32_FTZ or (flags >> np.uint32(TF32_SHIFT)) & np.uint32(1):
        return ELEMENT
    if (flags >> np.uint32(INTERLEAVE_SHIFT)) & np.uint32(3):
        return INTERLEAVED
    if flags & np.uint32(LATER_SWIZZLES):
        return ATOMS
    row = (np.int64(load_u32(tensor, BOX0_WORD) >> np.uint32(24)) + 1) * _ELEMENT_BYTES[element]
    if swizzle and row != 16 << swizzle:
        return SHORT_ROW
    if row & 15:
        return ODD_ROW
    if (flags >> np.uint32(FILL_SHIFT)) & np.uint32(1) and element not in (F16, BF16, F32, F64):
        return INTEGER_NAN
    return REDUCTION if kind != NO_REDUCTION and not allowed(element, kind) else 0
