"""FP32 instructions on edge values, by the PTX ISA's rules (version 8.8, chapter 9.7.3)."""

import itertools
import math

import numpy as np
import pytest

from tests.gpu_model.ptx import ieee
from tests.gpu_model.ptx.harness import ARCHES, Near, Op, check, cross, float_value, spread
from tests.gpu_model.ptx.ieee import F32, FORMATS, MODES

EDGES = [
    0x00000000, 0x80000000, 0x00000001, 0x807FFFFF, 0x00400000, 0x00800000, 0x80800001, 0x3F800000, 0xBF800000,
    0x3F800001, 0x3F7FFFFF, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFFA00001, 0x40490FDB,
    0x33800000, 0xB4000000, 0x4B000001, 0x1F800000, 0x20000001, 0x7E800001,
]  # fmt: skip
RANDOM = np.random.default_rng(1).integers(0, 1 << 32, 40).tolist()
ARITHMETIC = {
    "add": (2, ieee.add),
    "sub": (2, ieee.subtract),
    "mul": (2, ieee.multiply),
    "fma": (3, ieee.fma),
}


def modified(function, mode: str, ftz: bool, sat: bool):
    """A rule with flushed sources and result, and saturation."""

    def rule(*sources: int) -> int:
        bits = function(*(ieee.flush(x, F32) if ftz else x for x in sources), F32, mode)
        bits = ieee.flush(bits, F32) if ftz and not ieee.is_nan(bits, F32) else bits
        return ieee.saturate(bits, F32) if sat else bits

    return rule


def arithmetic_ops(count: int) -> list[Op]:
    return [
        Op(f"{name}.{mode}{'.ftz' * ftz}{'.sat' * sat}.f32", "f32", ("f32",) * sources, modified(f, mode, ftz, sat))
        for name, (sources, f) in ARITHMETIC.items()
        for mode, ftz, sat in itertools.product(MODES, (False, True), (False, True))
        if sources == count
    ]


@pytest.mark.parametrize("arch", ARCHES)
def test_add_and_multiply(arch):
    check(arithmetic_ops(2), cross(EDGES + RANDOM[:8], EDGES + RANDOM[:8], limit=768), arch)


@pytest.mark.parametrize("arch", ARCHES)
def test_fused_multiply_add(arch):
    check(arithmetic_ops(3), cross(EDGES + RANDOM[:4], EDGES, EDGES, limit=1024), arch)


def minmax_ops() -> list[Op]:
    def rule(largest, propagate, ftz):
        def apply(a, b):
            a, b = (ieee.flush(x, F32) if ftz else x for x in (a, b))
            return ieee.minimum(a, b, F32, largest, propagate)

        return apply

    return [
        Op(f"{name}{'.ftz' * ftz}{'.NaN' * nan}.f32", "f32", ("f32", "f32"), rule(name == "max", nan, ftz),
           since=80 if nan else 75)
        for name, nan, ftz in itertools.product(("min", "max"), (False, True), (False, True))
    ]  # fmt: skip


def xorsign(a: int, b: int, form: ieee.Format, largest: bool, propagate: bool) -> int:
    """min.xorsign.abs: the smaller magnitude with the exclusive-or of the signs."""
    bits = ieee.minimum(a & ~form.sign, b & ~form.sign, form, largest, propagate)
    return bits if ieee.is_nan(bits, form) else bits & ~form.sign | (a ^ b) & form.sign


def xorsign_ops() -> list[Op]:
    return [
        Op(f"{name}{'.NaN' * nan}.xorsign.abs.f32", "f32", ("f32", "f32"),
           lambda a, b, name=name, nan=nan: xorsign(a, b, F32, name == "max", nan), since=86)
        for name, nan in itertools.product(("min", "max"), (False, True))
    ]  # fmt: skip


def scaled_product_ops() -> list[Op]:
    """A product times a power of two, which ptxas may fuse (FMUL.D4): rounded once, or after both multiplications."""

    def rule(factor: int):
        def apply(a: int, b: int) -> tuple[int, ...]:
            twice = ieee.multiply(ieee.multiply(a, b, F32), factor, F32)
            small = any(ieee.is_nan(x, F32) or ieee.is_infinite(x, F32) for x in (a, b))
            if small:
                return (twice,)
            product = ieee.exact(a, F32) * ieee.exact(b, F32) * ieee.exact(factor, F32)
            return twice, ieee.rounded(product, F32, "rn", bool((a ^ b) & F32.sign))

        return apply

    return [
        Op(f"product times {factor:#x}", "f32", ("f32", "f32"), rule(factor),
           f"mul.f32 {{d}}, {{a}}, {{b}};\nmul.f32 {{d}}, {{d}}, 0f{factor:08x};")
        for factor in (0x3F000000, 0x3E800000, 0x3E000000, 0x40000000, 0x40800000, 0x41000000)
    ]  # fmt: skip


def sign_ops() -> list[Op]:
    """copysign(a, b) is b with the sign of a; testp counts zeros as normal."""
    return [
        Op("copysign.f32", "f32", ("f32", "f32"), lambda a, b: a & 0x80000000 | b & 0x7FFFFFFF),
        Op("testp.finite.f32", "pred", ("f32",), lambda a: int(a & 0x7F800000 != 0x7F800000)),
        Op("testp.infinite.f32", "pred", ("f32",), lambda a: int(a & 0x7FFFFFFF == 0x7F800000)),
        Op("testp.number.f32", "pred", ("f32",), lambda a: int(not ieee.is_nan(a, F32))),
        Op("testp.notanumber.f32", "pred", ("f32",), lambda a: int(ieee.is_nan(a, F32))),
        Op("testp.normal.f32", "pred", ("f32",), lambda a: int(0 < (a >> 23 & 255) < 255 or a & 0x7FFFFFFF == 0)),
        Op("testp.subnormal.f32", "pred", ("f32",), lambda a: int(a >> 23 & 255 == 0 and a & 0x7FFFFF != 0)),
    ]


def mixed_ops() -> list[Op]:
    """add, sub and fma of half sources in float32 (sm_100 and later)."""
    ops = []
    for kind, mode, sat in itertools.product(("f16", "bf16"), MODES, (False, True)):
        form = FORMATS[kind]

        def wide(bits: int, form=form) -> int:
            if ieee.is_nan(bits, form):
                return F32.nan
            sign = F32.sign if ieee.negative(bits, form) else 0
            if ieee.is_infinite(bits, form):
                return F32.infinity | sign
            return ieee.rounded(ieee.exact(bits, form), F32, "rn", bool(sign))

        def limited(bits: int, sat=sat) -> int:
            return ieee.saturate(bits, F32) if sat else bits

        def summed(a, b, wide=wide, limited=limited, mode=mode):
            return limited(ieee.add(wide(a), b, F32, mode))

        def fused(a, b, c, wide=wide, limited=limited, mode=mode):
            return limited(ieee.fma(wide(a), wide(b), c, F32, mode))

        suffix = f"{mode}{'.sat' * sat}.f32.{kind}"
        ops += [
            Op(f"add.{suffix}", "f32", (kind, "f32"), summed),
            Op(f"fma.{suffix}", "f32", (kind, kind, "f32"), fused),
        ]
    return ops


@pytest.mark.parametrize("arch", [120])
def test_mixed_precision(arch):
    halves = [0, 0x8000, 1, 0x83FF, 0x3C00, 0xBC00, 0x7BFF, 0x7C00, 0xFC00, 0x7E00, 0x3555, 0x4248, 0x3F80, 0x7F80]
    operands = cross(halves, EDGES + halves, EDGES, limit=768)
    check(mixed_ops(), operands, arch)


COMPARISONS = {
    "eq": {0}, "ne": {-1, 1}, "lt": {-1}, "le": {-1, 0}, "gt": {1}, "ge": {0, 1}, "num": {-1, 0, 1}, "nan": {None},
    "equ": {0, None}, "neu": {-1, 1, None}, "ltu": {-1, None}, "leu": {-1, 0, None}, "gtu": {1, None},
    "geu": {0, 1, None},
}  # fmt: skip


def compare(a: int, b: int, form: ieee.Format) -> int | None:
    """How two patterns compare; None for unordered."""
    return None if ieee.is_nan(a, form) or ieee.is_nan(b, form) else ieee.order(a, b, form)


def compare_ops() -> list[Op]:
    def rule(name, ftz):
        def apply(a, b):
            a, b = (ieee.flush(x, F32) if ftz else x for x in (a, b))
            return int(compare(a, b, F32) in COMPARISONS[name])

        return apply

    ops = [
        Op(f"setp.{name}{'.ftz' * ftz}.f32", "pred", ("f32", "f32"), rule(name, ftz))
        for name in COMPARISONS
        for ftz in (False, True)
    ]
    combined = {"and": lambda x, y: x & y, "or": lambda x, y: x | y, "xor": lambda x, y: x ^ y}
    for name, join in combined.items():
        # The second source predicate is "a is not +0", the comparison "less or unordered".
        text = f"setp.ne.u32 q, {{a}}, 0;\nsetp.ltu.{name}.f32 {{d}}, {{a}}, {{b}}, q;"
        ops.append(Op(f"setp.ltu.{name}", "pred", ("f32", "f32"),
                      lambda a, b, join=join: join(rule("ltu", False)(a, b), int(a != 0)), text))  # fmt: skip
    for name in ("lt", "neu", "num"):
        ops += [
            Op(f"set.{name}.u32.f32", "u32", ("f32", "f32"), lambda a, b, n=name: 0xFFFFFFFF * rule(n, False)(a, b)),
            Op(f"set.{name}.f32.f32", "f32", ("f32", "f32"), lambda a, b, n=name: 0x3F800000 * rule(n, False)(a, b)),
            Op(f"set.{name}.ftz.f32.f32", "f32", ("f32", "f32"), lambda a, b, n=name: 0x3F800000 * rule(n, True)(a, b)),
        ]
    ops.append(Op("slct.f32.f32", "f32", ("f32", "f32", "f32"), lambda a, b, c: a if _at_least_zero(c) else b))
    return ops


def _at_least_zero(bits: int) -> bool:
    return not ieee.is_nan(bits, F32) and (bits & 0x7FFFFFFF == 0 or not bits >> 31)


@pytest.mark.parametrize("arch", ARCHES)
def test_comparisons_minimum_and_sign(arch):
    ops = [*minmax_ops(), *xorsign_ops(), *scaled_product_ops(), *compare_ops(), *sign_ops()]
    check(ops, cross(EDGES, EDGES, [0, 1 << 31, 1, 0xBF800000], limit=640), arch)


def flushed(function, mode: str, ftz: bool):
    """Division and roots are sequences of instructions: .ftz may flush a result before it rounds up to 2^-126."""
    rule = modified(function, mode, ftz, False)

    def apply(*sources: int):
        bits = rule(*sources)
        return (bits, bits & 0x80000000) if ftz and bits & 0x7FFFFFFF == 0x00800000 else bits

    return apply


def reciprocal(a: int, form: ieee.Format, mode: str) -> int:
    return ieee.divide(form.bias << form.mantissa, a, form, mode)


def divide_ops() -> list[Op]:
    ops = []
    for mode, ftz in itertools.product(MODES, (False, True)):
        flush = ".ftz" * ftz
        ops += [
            Op(f"div.{mode}{flush}.f32", "f32", ("f32", "f32"), flushed(ieee.divide, mode, ftz)),
            Op(f"rcp.{mode}{flush}.f32", "f32", ("f32",), flushed(reciprocal, mode, ftz)),
            Op(f"sqrt.{mode}{flush}.f32", "f32", ("f32",), flushed(ieee.square_root, mode, ftz)),
        ]
    return ops


@pytest.mark.parametrize("arch", ARCHES)
def test_correctly_rounded_division_and_root(arch):
    check(divide_ops(), cross(EDGES + RANDOM[:10], EDGES + RANDOM[10:20], limit=512), arch)


def relative(function, bound: float, ftz: bool):
    """A rule for an approximate function with a relative error bound; `.ftz` flushes source and result."""

    def rule(*sources: int):
        values = [float_value(ieee.flush(x, F32) if ftz else x, "f32") for x in sources]
        exact = function(*values)
        if math.isfinite(exact) and abs(exact) > float_value(0x7F7FFFFF, "f32") * (1 + 2**-25):
            exact = math.copysign(math.inf, exact)
        if ftz and abs(exact) < 2**-126 * (1 - bound):
            return 0x80000000 if math.copysign(1, exact) < 0 else 0
        if ftz and abs(exact) < 2**-126 * (1 + bound):  # rounded first, it may or may not be subnormal
            return Near(exact, 1.01 * 2**-126)
        return Near(exact, abs(exact) * bound + (0 if ftz else 2**-149))

    return rule


def _power(x: float) -> float:
    return math.inf if x > 1000 else 2.0**x


def _reciprocal(x: float) -> float:
    return math.copysign(math.inf, x) if x == 0 else 1 / x


def _root(x: float) -> float:
    return x if x == 0 else math.sqrt(x) if x > 0 else math.nan


def _inverse_root(x: float) -> float:
    return math.copysign(math.inf, x) if x == 0 else 1 / math.sqrt(x) if x > 0 else math.nan


def absolute(function, bound, ftz: bool):
    """A rule for an approximate function whose absolute error is at most bound(x)."""

    def rule(bits: int):
        x = float_value(ieee.flush(bits, F32) if ftz else bits, "f32")
        return Near(function(x), bound(x))

    return rule


def _logarithm(x: float) -> float:
    return -math.inf if x == 0 else math.log2(x) if x > 0 else math.nan


def _logarithm_bound(x: float) -> float:
    return 2**-22 * (1 if not 0 < x < math.inf or 0.5 < x < 2 else abs(math.log2(x)))


def _trigonometric(function):
    return lambda x: math.nan if math.isinf(x) else function(x)


def _trigonometric_bound(x: float) -> float:
    return 2**-20.5 if abs(x) <= 2 * math.pi else 2**-14.7


# Error bounds of PTX ISA 9.1: rcp 1 ulp, sqrt relative 2^-23, rsqrt 2^-22.9, ex2 2 ulp, tanh 2^-11; lg2 absolute 2^-22
# in (0.5, 2) and relative 2^-22 elsewhere; sin and cos absolute 2^-20.5 in [-2 pi, 2 pi], 2^-14.7 in [-100 pi, 100 pi].
def approximate_ops() -> list[Op]:
    ops = []
    for ftz in (False, True):
        flush = ".ftz" * ftz
        for name, function, bound in (
            ("rcp", _reciprocal, 2**-23), ("sqrt", _root, 2**-23), ("rsqrt", _inverse_root, 2**-22.9),
            ("ex2", _power, 2**-22),
        ):  # fmt: skip
            ops.append(Op(f"{name}.approx{flush}.f32", "f32", ("f32",), relative(function, bound, ftz)))
    return [*ops, Op("tanh.approx.f32", "f32", ("f32",), relative(math.tanh, 2**-11, False))]


@pytest.mark.parametrize("arch", ARCHES)
def test_approximations_with_a_relative_bound(arch):
    exponents = np.float32(
        [-149.5, -149, -148.5, -140, -127, -126.5, -126, -1, 0.5, 1, 10.25, 127.5, 127.999, 128, 200]
    )
    check(approximate_ops(), spread(EDGES + RANDOM + exponents.view(np.uint32).tolist()), arch)


@pytest.mark.parametrize("arch", ARCHES)
def test_approximations_with_an_absolute_bound(arch):
    angles = np.linspace(-2 * math.pi, 2 * math.pi, 90), np.linspace(-100 * math.pi, 100 * math.pi, 90)
    angles = np.concatenate(angles).astype(np.float32).view(np.uint32).tolist()
    specials = [0, 1 << 31, 0x7F800000, 0xFF800000, 0x7FC00000, 1, 0x80000001]
    circular = [
        Op(f"{name}.approx{'.ftz' * ftz}.f32", "f32", ("f32",), absolute(_trigonometric(f), _trigonometric_bound, ftz))
        for name, f in (("sin", math.sin), ("cos", math.cos))
        for ftz in (False, True)
    ]
    check(circular, spread(angles + specials), arch)
    logarithm = [
        Op(f"lg2.approx{'.ftz' * ftz}.f32", "f32", ("f32",), absolute(_logarithm, _logarithm_bound, ftz))
        for ftz in (False, True)
    ]
    around_one = np.linspace(0.5, 2, 90).astype(np.float32).view(np.uint32).tolist()
    check(logarithm, spread(EDGES + RANDOM + around_one), arch)


@pytest.mark.parametrize("arch", ARCHES)
def test_approximate_division(arch):
    """div.approx and div.full: 2 ulp while the divisor lies between 2^-126 and 2^126."""

    def ulps(a: int, b: int):
        x, y = float_value(a, "f32"), float_value(b, "f32")
        exact = x / y
        return Near(exact, abs(exact) * 2**-22)

    rng = np.random.default_rng(5)
    values = (rng.normal(size=256) * 2.0 ** rng.integers(-30, 30, 256)).astype(np.float32).view(np.uint32).tolist()
    names = ("div.approx.f32", "div.approx.ftz.f32", "div.full.f32", "div.full.ftz.f32")
    check([Op(name, "f32", ("f32", "f32"), ulps) for name in names], spread(values, values[::-1]), arch)
