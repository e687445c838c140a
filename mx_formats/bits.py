"""Bit operations that LLVM has and Python does not; callable in Numba code only."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def _leading_zeros_ir(typing_context: Any, value: Any) -> Any:
    def codegen(context, builder, signature, arguments):
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), codegen


def _float_bits_ir(typing_context: Any, value: Any) -> Any:
    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), codegen


def _bits_float_ir(typing_context: Any, value: Any) -> Any:
    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), codegen


leading_zeros: Any = intrinsic(_leading_zeros_ir)
"""Zeros above the leading one of a uint64; 64 for zero."""

float_bits: Any = intrinsic(_float_bits_ir)
"""Bit pattern of a float32, as uint32."""

bits_float: Any = intrinsic(_bits_float_ir)
"""The float32 of a bit pattern in uint32."""
