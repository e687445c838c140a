"""The interpreter's function table: one compiled function a micro-op family.

Each is compiled and cached on its own, and called through its address. Linked into one function they would
be optimised again and again with it, which triples the first start for a few nanoseconds a call.
"""

import numpy as np
from numba import cfunc, types

from gpu_model.machine.bulk import bulk_step
from gpu_model.machine.bytes import byte_step
from gpu_model.machine.convert import convert_step
from gpu_model.machine.double import double_step
from gpu_model.machine.exchange import exchange_step
from gpu_model.machine.floating import float_step
from gpu_model.machine.half import half_step
from gpu_model.machine.integer import integer_step
from gpu_model.machine.memory import memory_step
from gpu_model.machine.microop import Family, Op
from gpu_model.machine.narrow import narrow_step
from gpu_model.machine.predicates import predicate_step
from gpu_model.machine.tensor import tensor_step
from gpu_model.machine.wgmma import wgmma_step
from gpu_model.machine.wide import wide_step

STEP = types.int64(*[types.int64] * 9)  # op, ctx, u, frame, consts, t, row, mask, into


@cfunc(STEP, cache=True)
def _integer(op, ctx, u, frame, consts, t, row, mask, into):
    integer_step(op, u, frame, consts, t, np.uint32(mask))
    return 1


@cfunc(STEP, cache=True)
def _float(op, ctx, u, frame, consts, t, row, mask, into):
    float_step(op, u, frame, consts, t, np.uint32(mask))
    return 1


@cfunc(STEP, cache=True)
def _half(op, ctx, u, frame, consts, t, row, mask, into):
    half_step(op, u, frame, consts, t, np.uint32(mask))
    return 1


@cfunc(STEP, cache=True)
def _predicate(op, ctx, u, frame, consts, t, row, mask, into):
    predicate_step(op, u, frame, consts, np.uint32(mask))
    return 1


@cfunc(STEP, cache=True)
def _convert(op, ctx, u, frame, consts, t, row, mask, into):
    convert_step(op, u, frame, consts, t, np.uint32(mask))
    return 1


@cfunc(STEP, cache=True)
def _double(op, ctx, u, frame, consts, t, row, mask, into):
    double_step(op, u, frame, consts, t, np.uint32(mask))
    return 1


@cfunc(STEP, cache=True)
def _exchange(op, ctx, u, frame, consts, t, row, mask, into):
    exchange_step(op, u, frame, consts, t, np.uint32(mask))
    return 1


@cfunc(STEP, cache=True)
def _memory(op, ctx, u, frame, consts, t, row, mask, into):
    return 1 if memory_step(op, ctx, u, frame, consts, row, np.uint32(mask), into) else 0


@cfunc(STEP, cache=True)
def _tensor(op, ctx, u, frame, consts, t, row, mask, into):
    tensor_step(op, ctx, u, frame, consts, t, np.uint32(mask))
    return 1


@cfunc(STEP, cache=True)
def _wide(op, ctx, u, frame, consts, t, row, mask, into):
    wide_step(op, u, frame, consts, t, np.uint32(mask))
    return 1


@cfunc(STEP, cache=True)
def _bulk(op, ctx, u, frame, consts, t, row, mask, into):
    return bulk_step(op, ctx, u, frame, consts, t, row, np.uint32(mask), into)


@cfunc(STEP, cache=True)
def _wgmma(op, ctx, u, frame, consts, t, row, mask, into):
    return wgmma_step(op, ctx, u, frame, consts, t, row, np.uint32(mask))


@cfunc(STEP, cache=True)
def _narrow(op, ctx, u, frame, consts, t, row, mask, into):
    if op == Op.PACK or op == Op.UNPACK:
        byte_step(op == Op.PACK, u, frame, consts, t, np.uint32(mask))
    else:
        narrow_step(op, ctx, u, frame, consts, t, np.uint32(mask))
    return 1


_STEPS = {
    Family.INTEGER: _integer, Family.FLOAT: _float, Family.HALF: _half, Family.PREDICATE: _predicate,
    Family.CONVERT: _convert, Family.DOUBLE: _double, Family.EXCHANGE: _exchange, Family.MEMORY: _memory,
    Family.TENSOR: _tensor, Family.WIDE: _wide, Family.BULK: _bulk, Family.WGMMA: _wgmma, Family.NARROW: _narrow,
}  # fmt: skip


def function_table(replaced: dict | None = None) -> np.ndarray:
    """Addresses of the family functions, some of them replaced, int64, indexed by `Family`."""
    table = np.zeros(len(Family), np.int64)
    for family, step in (_STEPS | (replaced or {})).items():
        table[family] = step.address
    return table
