"""Typed loads and stores at raw addresses, and bit casts: what a warp-wide loop is made of.

A register row is 32 consecutive 32-bit words, one a lane, so that LLVM turns `for lane in range(32)`
into a few vector instructions. The base pointer and the index stay apart for that reason: an address
made from one sum would hide the stride from the vectoriser.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from mx_formats.bits import bitcast, bits_float, float_bits, fused, fused_multiply_add


def _loader(ir_type: ir.Type, numba_type: types.Type):
    @intrinsic
    def load(typingctx, base, index):
        def codegen(context, builder, signature, args):
            pointer = builder.inttoptr(args[0], ir_type.as_pointer())
            value = builder.load(builder.gep(pointer, [args[1]]))
            value.align = 1
            return value

        return numba_type(types.int64, types.int64), codegen

    return load


def _storer(ir_type: ir.Type, numba_type: types.Type):
    @intrinsic
    def store(typingctx, base, index, value):
        def codegen(context, builder, signature, args):
            pointer = builder.inttoptr(args[0], ir_type.as_pointer())
            builder.store(args[2], builder.gep(pointer, [args[1]]), align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, numba_type), codegen

    return store


load_u8 = _loader(ir.IntType(8), types.uint8)
load_u16 = _loader(ir.IntType(16), types.uint16)
load_u32 = _loader(ir.IntType(32), types.uint32)
load_i32 = _loader(ir.IntType(32), types.int32)
load_u64 = _loader(ir.IntType(64), types.uint64)
load_i64 = _loader(ir.IntType(64), types.int64)
load_f32 = _loader(ir.FloatType(), types.float32)
store_u8 = _storer(ir.IntType(8), types.uint8)
store_u16 = _storer(ir.IntType(16), types.uint16)
store_u32 = _storer(ir.IntType(32), types.uint32)
store_u64 = _storer(ir.IntType(64), types.uint64)
store_i64 = _storer(ir.IntType(64), types.int64)
store_f32 = _storer(ir.FloatType(), types.float32)


as_f32, as_u32 = bits_float, float_bits
as_f64, as_u64 = bitcast(types.uint64, types.float64), bitcast(types.float64, types.uint64)
fma_f32, fma_f64 = fused_multiply_add, fused(types.float64)

ROW_BYTES = 128  # 32 lanes of 32 bits

_STEP_ARGUMENTS = 9  # of a family function, all int64, as its result


@intrinsic
def call_step(typingctx, address, op, ctx, u, frame, consts, t, row, mask, into):
    """Call a family function (see `gpu_model.machine.families`) by its address."""

    def codegen(context, builder, signature, args):
        word = ir.IntType(64)
        function = ir.FunctionType(word, [word] * _STEP_ARGUMENTS)
        return builder.call(builder.inttoptr(args[0], function.as_pointer()), args[1:])

    return types.int64(*[types.int64] * (_STEP_ARGUMENTS + 1)), codegen


@intrinsic
def as_pointer(typingctx, address):
    """An address as a pointer that `numba.carray` accepts."""

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), codegen
