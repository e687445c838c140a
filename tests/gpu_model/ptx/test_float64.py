"""FP64 instructions on edge values; a NaN result may carry any payload (PTX ISA, chapter 9.7.3)."""

import math

import numpy as np
import pytest

from tests.gpu_model.ptx import ieee
from tests.gpu_model.ptx.harness import ANY_NAN, ARCHES, Near, Op, check, cross, float_value, spread
from tests.gpu_model.ptx.ieee import F64, MODES
from tests.gpu_model.ptx.test_float32 import COMPARISONS, compare

EDGES = [
    0, 1 << 63, 1, 0x800FFFFFFFFFFFFF, 0x0010000000000000, 0x3FF0000000000000, 0xBFF0000000000000, 0x3FF0000000000001,
    0x3FEFFFFFFFFFFFFF, 0x7FEFFFFFFFFFFFFF, 0xFFEFFFFFFFFFFFFF, 0x7FF0000000000000, 0xFFF0000000000000,
    0x7FF8000000000000, 0xFFF4000000000001, 0x400921FB54442D18, 0x3CA0000000000000, 0xBCB0000000000000,
    0x4340000000000001, 0x1FF0000000000000, 0x5FE0000000000000, 0x00000000FFFFFFFF, 0x7FE0000000000001,
]  # fmt: skip
RANDOM = np.random.default_rng(3).integers(0, 1 << 63, 12, dtype=np.uint64).tolist()


def numbers(function, *extra):
    """A rule that leaves a NaN's payload open."""

    def rule(*sources: int):
        bits = function(*sources, *extra)
        return ANY_NAN if ieee.is_nan(bits, F64) else bits

    return rule


def arithmetic_ops() -> list[Op]:
    return [
        Op(f"{name}.{mode}.f64", "f64", ("f64",) * sources, numbers(function, F64, mode))
        for name, sources, function in (
            ("add", 2, ieee.add), ("sub", 2, ieee.subtract), ("mul", 2, ieee.multiply), ("fma", 3, ieee.fma),
        )
        for mode in MODES
    ]  # fmt: skip


@pytest.mark.parametrize("arch", ARCHES)
def test_arithmetic(arch):
    check(arithmetic_ops(), cross(EDGES + RANDOM, EDGES, EDGES, limit=512), arch)


def minmax_and_compare_ops() -> list[Op]:
    def compared(name):
        return lambda a, b: int(compare(a, b, F64) in COMPARISONS[name])

    return [
        *(Op(f"{name}.f64", "f64", ("f64", "f64"), numbers(lambda a, b, m=name == "max": ieee.minimum(a, b, F64, m)))
          for name in ("min", "max")),
        *(Op(f"setp.{name}.f64", "pred", ("f64", "f64"), compared(name)) for name in COMPARISONS),
        Op("abs.f64", "f64", ("f64",), numbers(lambda a: a & ~F64.sign)),
        Op("neg.f64", "f64", ("f64",), numbers(lambda a: a ^ F64.sign)),
        Op("copysign.f64", "f64", ("f64", "f64"), lambda a, b: a & F64.sign | b & ~F64.sign),
    ]  # fmt: skip


@pytest.mark.parametrize("arch", ARCHES)
def test_comparisons_and_minimum(arch):
    check(minmax_and_compare_ops(), cross(EDGES, EDGES, limit=384), arch)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("arch", ARCHES)
def test_division_and_root(arch, mode):
    one = F64.bias << 52
    ops = [
        Op(f"div.{mode}.f64", "f64", ("f64", "f64"), numbers(ieee.divide, F64, mode)),
        Op(f"rcp.{mode}.f64", "f64", ("f64",), numbers(lambda a: ieee.divide(one, a, F64, mode))),
        Op(f"sqrt.{mode}.f64", "f64", ("f64",), numbers(ieee.square_root, F64, mode)),
    ]
    check(ops, cross(EDGES + RANDOM, EDGES + RANDOM, limit=512), arch)


@pytest.mark.parametrize("arch", ARCHES)
def test_approximations(arch):
    """rcp and rsqrt.approx.ftz.f64: 20 significant bits; subnormals are flushed."""

    def relative(function):
        def rule(a: int):
            if ieee.is_nan(a >> 32 << 32, F64):
                return 0x7FFFFFFF00000000
            x = float_value(ieee.flush(a, F64) >> 32 << 32, "f64")  # the low word is ignored
            exact = math.copysign(math.inf, x) if x == 0 else function(x)
            if 0 < abs(exact) < 2**-1022:
                return 0x8000000000000000 if exact < 0 else 0
            return Near(exact, abs(exact) * 2**-20)

        return rule

    def inverse_root(x: float) -> float:
        return 1 / math.sqrt(x) if x > 0 else math.nan

    ops = [
        Op("rcp.approx.ftz.f64", "f64", ("f64",), relative(lambda x: 1 / x)),
        Op("rsqrt.approx.ftz.f64", "f64", ("f64",), relative(inverse_root)),
    ]
    check(ops, spread([x for x in EDGES + RANDOM if x != 0x7FE0000000000001]), arch)
