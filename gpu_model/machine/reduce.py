"""Element-wise reduction of shared into global memory (UTMAREDG), by the rules of PTX cp.reduce.async.bulk.tensor.

Floating-point addition rounds to nearest even; 16-bit minima and maxima ignore a NaN beside a number.
"""

import numpy as np
from numba import njit

from gpu_model.machine.half import BFLOAT16, FLOAT16, widen
from gpu_model.machine.lanes import (
    as_f32,
    as_f64,
    as_u32,
    as_u64,
    load_u16,
    load_u32,
    load_u64,
    store_u16,
    store_u32,
    store_u64,
)
from gpu_model.machine.rounding import f32_to_bf16, f32_to_f16
from gpu_model.tensormap import BF16, F16, F32, F64, S32, S64, U32, U64

ADD, MIN, MAX, INC, DEC, AND, OR, XOR = range(8)
# What each element type allows (PTX ISA).
_ALLOWED = {
    U32: (ADD, MIN, MAX, INC, DEC, AND, OR, XOR), S32: (ADD, MIN, MAX, AND, OR, XOR),
    U64: (ADD, MIN, MAX, AND, OR, XOR), S64: (MIN, MAX, AND, OR, XOR),
    F16: (ADD, MIN, MAX), BF16: (ADD, MIN, MAX), F32: (ADD,), F64: (ADD,),
}  # fmt: skip
_TABLE = np.array([[kind in _ALLOWED.get(element, ()) for kind in range(8)] for element in range(16)])


@njit
def allowed(element, kind):
    """Whether elements of this type have this reduction."""
    return _TABLE[element, kind]


@njit
def _integer(x, y, kind, signed):
    """Combine 64-bit (or extended 32-bit) integers: x from shared memory, y the old global value."""
    result = y
    if kind == ADD:
        result = x + y
    elif kind == AND:
        result = x & y
    elif kind == OR:
        result = x | y
    elif kind == XOR:
        result = x ^ y
    elif kind == INC:
        result = np.uint64(0) if y >= x else y + np.uint64(1)
    elif kind == DEC:
        result = x if y == 0 or y > x else y - np.uint64(1)
    else:
        less = np.int64(x) < np.int64(y) if signed else x < y
        result = x if less == (kind == MIN) else y
    return result


@njit
def _half(x, y, kind, form):
    a, b = widen(np.uint32(x), form), widen(np.uint32(y), form)
    if kind == ADD:
        bits = as_u32(np.float32(a + b))
        return f32_to_f16(bits) if form == FLOAT16 else f32_to_bf16(bits)
    if a != a or b != b:
        return np.uint32(y if a != a else x)
    less = a < b or (a == b and x > y)  # -0 is less than +0
    return np.uint32(x if less == (kind == MIN) else y)


@njit
def reduce_element(shared, remote, element, kind):
    """Combine the element at host address `shared` into the one at `remote`."""
    if element in (F16, BF16):
        form = FLOAT16 if element == F16 else BFLOAT16
        store_u16(remote, 0, np.uint16(_half(load_u16(shared, 0), load_u16(remote, 0), kind, form)))
    elif element == F32:
        total = as_f32(load_u32(shared, 0)) + as_f32(load_u32(remote, 0))
        store_u32(remote, 0, as_u32(np.float32(total)))
    elif element == F64:
        store_u64(remote, 0, as_u64(as_f64(load_u64(shared, 0)) + as_f64(load_u64(remote, 0))))
    elif element in (U64, S64):
        store_u64(remote, 0, _integer(load_u64(shared, 0), load_u64(remote, 0), kind, element == S64))
    else:
        x, y = np.uint64(load_u32(shared, 0)), np.uint64(load_u32(remote, 0))
        if element == S32:
            x, y = np.uint64(np.int64(np.int32(x))), np.uint64(np.int64(np.int32(y)))
        store_u32(remote, 0, np.uint32(_integer(x, y, kind, element == S32) & np.uint64(0xFFFFFFFF)))
