"""Bit operations that LLVM has and Python does not; callable in Numba code only."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array


def _leading_zeros_ir(typing_context: Any, value: Any) -> Any:
    def codegen(context, builder, signature, arguments):
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), codegen


def _popcount_ir(typing_context: Any, value: Any) -> Any:
    def codegen(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), codegen


def bitcast(source: types.Type, target: types.Type) -> Any:
    """What turns a scalar of one type into another with the same bits."""

    def typing(typing_context: Any, value: Any) -> Any:
        def codegen(context, builder, signature, arguments):
            return builder.bitcast(arguments[0], context.get_value_type(target))

        return target(source), codegen

    return intrinsic(typing)


def fused(real: types.Type) -> Any:
    """a * b + c of a float type, rounded once."""

    def typing(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
        def codegen(context, builder, signature, arguments):
            return builder.fma(*arguments)

        return real(real, real, real), codegen

    return intrinsic(typing)


def _truncate_ir(typing_context: Any, value: Any) -> Any:
    def codegen(context, builder, signature, arguments):
        return builder.fptosi(arguments[0], ir.IntType(32))

    return types.int32(types.float64), codegen


def _largest_pattern_ir(typing_context: Any, values: Any, row: Any, size: Any) -> Any:
    if not isinstance(size, types.IntegerLiteral):
        return None
    lanes = size.literal_value

    def codegen(context, builder, signature, arguments):
        array = make_array(signature.args[0])(context, builder, arguments[0])
        vector = ir.VectorType(ir.IntType(32), lanes)
        first = builder.gep(array.data, [builder.mul(arguments[1], ir.Constant(arguments[1].type, lanes))])
        loaded = builder.load(builder.bitcast(first, vector.as_pointer()))
        loaded.align = 4
        magnitudes = builder.and_(loaded, ir.Constant(vector, [0x7FFFFFFF] * lanes))
        signature_ir = ir.FunctionType(ir.IntType(32), [vector])
        reduce = cgutils.get_or_insert_function(builder.module, signature_ir, f"llvm.vector.reduce.umax.v{lanes}i32")
        return builder.call(reduce, [magnitudes])

    return types.uint32(types.Array(types.float32, 2, "C"), types.intp, size), codegen


# Numba widens int32 arithmetic to int64, and LLVM then shifts half as many lanes; these stay in 32 bits.
def _shift_floor_ir(typing_context: Any, value: Any, shift: Any) -> Any:
    def codegen(context, builder, signature, arguments):
        value, shift = arguments
        return builder.ashr(value, _at_most_31(builder, shift))

    return types.int32(types.int32, types.int32), codegen


def _shift_left_ir(typing_context: Any, value: Any, shift: Any) -> Any:
    def codegen(context, builder, signature, arguments):
        return builder.shl(*arguments)

    return types.uint32(types.uint32, types.uint32), codegen


def _shift_right_ir(typing_context: Any, value: Any, shift: Any) -> Any:
    def codegen(context, builder, signature, arguments):
        return builder.lshr(*arguments)

    return types.uint32(types.uint32, types.uint32), codegen


def _shift_toward_zero_ir(typing_context: Any, value: Any, shift: Any) -> Any:
    def codegen(context, builder, signature, arguments):
        value, shift = arguments
        sign = builder.ashr(value, ir.Constant(value.type, 31))
        magnitude = builder.sub(builder.xor(value, sign), sign)
        kept = builder.lshr(magnitude, _at_most_31(builder, shift))
        return builder.sub(builder.xor(kept, sign), sign)

    return types.int32(types.int32, types.int32), codegen


def _at_most_31(builder: Any, shift: Any) -> Any:
    last = ir.Constant(shift.type, 31)
    return builder.select(builder.icmp_unsigned("<", shift, last), shift, last)


leading_zeros: Any = intrinsic(_leading_zeros_ir)
"""Zeros above the leading one of a uint64; 64 for zero."""

popcount: Any = intrinsic(_popcount_ir)
"""Ones in a uint64."""

float_bits: Any = bitcast(types.float32, types.uint32)
"""Bit pattern of a float32, as uint32."""

bits_float: Any = bitcast(types.uint32, types.float32)
"""The float32 of a bit pattern in uint32."""

shift_floor: Any = intrinsic(_shift_floor_ir)
"""floor(value * 2**-shift), both int32, shift >= 0."""

shift_toward_zero: Any = intrinsic(_shift_toward_zero_ir)
"""value * 2**-shift with the magnitude cut off, both int32, shift >= 0."""

shift_left: Any = intrinsic(_shift_left_ir)
"""value << shift, both uint32, shift < 32."""

shift_right: Any = intrinsic(_shift_right_ir)
"""value >> shift, both uint32, shift < 32."""

double_bits: Any = bitcast(types.float64, types.int64)
"""Bit pattern of a float64, as int64."""

bits_double: Any = bitcast(types.int64, types.float64)
"""The float64 of a bit pattern in int64."""

truncate: Any = intrinsic(_truncate_ir)
"""A float64 below 2**31 toward zero, as int32; undefined for a NaN."""

largest_pattern: Any = intrinsic(prefer_literal=True)(_largest_pattern_ir)
"""Largest pattern without its sign in values[row, :size] of float32[n, size], C order; `size` a constant.

Numba does not vectorise a maximum over so few; this is one vector load and a reduction.
"""

fused_multiply_add: Any = fused(types.float32)
"""a * b + c of float32, rounded once."""
