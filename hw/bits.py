"""Bit operations that LLVM has and Python does not."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def _leading_zeros_ir(typing_context: Any, value: Any) -> Any:
    def codegen(context, builder, signature, arguments):
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), codegen


leading_zeros: Any = intrinsic(_leading_zeros_ir)
"""Zeros above the leading one of a uint64, 64 for zero; callable in Numba code only."""
