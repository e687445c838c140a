"""FP16 and BF16 instructions, alone and in pairs, by the PTX ISA (chapter 9.7.4): every result rounded once."""

import itertools
import math

import numpy as np
import pytest

from tests.gpu_model.ptx import ieee
from tests.gpu_model.ptx.harness import ARCHES, Near, Op, check, cross, float_value, spread
from tests.gpu_model.ptx.ieee import BF16, F16, FORMATS
from tests.gpu_model.ptx.test_float32 import COMPARISONS, compare, xorsign

EDGES = [0, 0x8000, 1, 0x83FF, 0x0400, 0x3C00, 0xBC00, 0x3C01, 0x3BFF, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0xFD01,
         0x4248, 0x1400, 0x6401, 0x0C00, 0x1000]  # fmt: skip
BRAIN = [0, 0x8000, 1, 0x807F, 0x0080, 0x3F80, 0xBF80, 0x3F81, 0x3F7F, 0x7F7F, 0xFF7F, 0x7F80, 0xFF80, 0x7FC0, 0xFFA1,
         0x4049, 0x3B80, 0x4301, 0x1F80, 0x3400]  # fmt: skip
VALUES = {"f16": EDGES, "bf16": BRAIN}
RANDOM = np.random.default_rng(4).integers(0, 1 << 16, 24).tolist()
PAIRS = {
    kind: [*edges, *(high << 16 | low for high, low in zip(edges + RANDOM, RANDOM + edges, strict=True))]
    for kind, edges in VALUES.items()
}


def limited(function, form: ieee.Format, ftz: bool, sat: bool, relu: bool):
    """A rule with flushed sources and result, saturation, or negative results clamped to +0."""

    def rule(*sources: int) -> int:
        bits = function(*(ieee.flush(x, form) if ftz else x for x in sources), form, "rn")
        if ftz and not ieee.is_nan(bits, form):
            bits = ieee.flush(bits, form)
        if relu and not ieee.is_nan(bits, form) and ieee.negative(bits, form):
            bits = 0
        return ieee.saturate(bits, form) if sat else bits

    return rule


def pairwise(rule):
    """The same rule on both halves of a word."""
    return lambda *words: rule(*(w >> 16 for w in words)) << 16 | rule(*(w & 0xFFFF for w in words))


def both(name: str, kind: str, count: int, rule, since: int) -> list[Op]:
    """An instruction on one half and on a pair."""
    pair = f"{kind}x2"
    return [
        Op(f"{name}.{kind}", kind, (kind,) * count, rule, since=since),
        Op(f"{name}.{pair}", "b32", ("b32",) * count, pairwise(rule), since=since),
    ]


ARITHMETIC = (("add", 2, ieee.add), ("sub", 2, ieee.subtract), ("mul", 2, ieee.multiply), ("fma.rn", 3, ieee.fma))


def half_arithmetic(count: int) -> list[Op]:
    ops = []
    for (name, sources, function), ftz, sat in itertools.product(ARITHMETIC, (False, True), (False, True)):
        if sources == count:
            rule = limited(function, F16, ftz, sat, False)
            ops += both(f"{name}{'.ftz' * ftz}{'.sat' * sat}", "f16", sources, rule, 75)
    if count == 3:
        for kind, ftz in (("f16", False), ("f16", True), ("bf16", False)):
            rule = limited(ieee.fma, FORMATS[kind], ftz, False, True)
            ops += both(f"fma.rn{'.ftz' * ftz}.relu", kind, 3, rule, 80)
    return ops


def brain_arithmetic(count: int) -> list[Op]:
    return [
        op
        for name, sources, function in ARITHMETIC
        for op in both(name, "bf16", sources, limited(function, BF16, False, False, False), 80 if sources == 3 else 90)
        if sources == count
    ]


@pytest.mark.parametrize("arch", ARCHES)
def test_add_and_multiply(arch):
    check(half_arithmetic(2), cross(PAIRS["f16"], PAIRS["f16"], limit=768), arch)
    if arch >= 90:
        check(brain_arithmetic(2), cross(PAIRS["bf16"], PAIRS["bf16"], limit=768), arch)


@pytest.mark.parametrize("arch", ARCHES)
def test_fused_multiply_add(arch):
    check(half_arithmetic(3), cross(*[PAIRS["f16"]] * 3, limit=1024), arch)
    if arch >= 80:
        check(brain_arithmetic(3), cross(*[PAIRS["bf16"]] * 3, limit=1024), arch)


def sign_ops(kind: str) -> list[Op]:
    form = FORMATS[kind]

    def number(rule):
        """NaN results are unspecified; the payload of the source is what a sign operation keeps."""
        return lambda a: (rule(a), form.nan) if ieee.is_nan(a, form) else rule(a)

    since = 75 if kind == "f16" else 80
    return [
        Op(f"abs.{kind}", kind, (kind,), number(lambda a: a & 0x7FFF), since=since),
        Op(f"neg.{kind}", kind, (kind,), number(lambda a: a ^ 0x8000), since=since),
    ]


def minmax_ops(kind: str) -> list[Op]:
    form = FORMATS[kind]

    def rule(largest: bool, nan: bool, ftz: bool):
        return lambda a, b: ieee.minimum(*(ieee.flush(x, form) if ftz else x for x in (a, b)), form, largest, nan)

    return [
        op
        for name, nan, ftz in itertools.product(("min", "max"), (False, True), (False, True))
        for op in both(f"{name}{'.ftz' * ftz}{'.NaN' * nan}", kind, 2, rule(name == "max", nan, ftz), 80)
        if kind == "f16" or not ftz
    ]


def xorsign_ops(kind: str) -> list[Op]:
    form = FORMATS[kind]
    return [
        op
        for name, nan in itertools.product(("min", "max"), (False, True))
        for op in both(f"{name}{'.NaN' * nan}.xorsign.abs", kind, 2,
                       lambda a, b, name=name, nan=nan: xorsign(a, b, form, name == "max", nan), 86)
    ]  # fmt: skip


def compare_ops(kind: str) -> list[Op]:
    form, since = FORMATS[kind], 75 if kind == "f16" else 90

    def holds(name):
        return lambda a, b: int(compare(a, b, form) in COMPARISONS[name])

    def lower(name):
        return lambda a, b: holds(name)(a & 0xFFFF, b & 0xFFFF)

    def upper(name):
        return lambda a, b: holds(name)(a >> 16, b >> 16)

    one = form.bias << form.mantissa
    ops = [Op(f"setp.{name}.{kind}", "pred", (kind, kind), holds(name), since=since) for name in COMPARISONS]
    if kind == "f16":
        ops += [
            Op(f"setp.{name}.ftz.f16", "pred", ("f16", "f16"),
               lambda a, b, n=name: holds(n)(ieee.flush(a, form), ieee.flush(b, form)))
            for name in ("lt", "eq", "geu")
        ]  # fmt: skip
    for name in ("lt", "neu", "ge", "nan"):
        pair = f"setp.{name}.{kind}x2"
        ops += [
            Op(f"{pair} lower", "pred", ("b32", "b32"), lower(name), f"{pair} {{d}}|q, {{a}}, {{b}};", since),
            Op(f"{pair} upper", "pred", ("b32", "b32"), upper(name), f"{pair} q|{{d}}, {{a}}, {{b}};", since),
            Op(f"set.{name}.{kind}x2.{kind}x2", "b32", ("b32", "b32"),
               pairwise(lambda a, b, n=name: one * holds(n)(a, b)), since=since),
        ]  # fmt: skip
    return ops


@pytest.mark.parametrize("kind", ["f16", "bf16"])
@pytest.mark.parametrize("arch", ARCHES)
def test_comparisons_minimum_and_sign(arch, kind):
    ops = [op for op in sign_ops(kind) + minmax_ops(kind) + xorsign_ops(kind) + compare_ops(kind) if op.since <= arch]
    if ops:
        check(ops, cross(PAIRS[kind], PAIRS[kind], limit=640), arch)


def approximate(function, bound: float):
    """ex2 and tanh: a bound relative to the result, besides its rounding; subnormals count."""

    def rule(bits: int, kind: str):
        exact = function(float_value(bits, kind))
        if math.isfinite(exact) and exact > 65520 and kind == "f16":
            exact = math.inf
        return Near(exact, abs(exact) * bound + 2**-24)

    return rule


@pytest.mark.parametrize("arch", ARCHES)
def test_approximations(arch):
    """PTX ISA: ex2.approx.f16 is within 2^-9.9 relative, tanh.approx.f16 within 2^-10.987 absolute."""
    power = approximate(lambda x: math.inf if x > 1000 else 2.0**x, 2**-9.9)
    tangent = approximate(math.tanh, 2**-10)
    ops = [
        Op("ex2.approx.f16", "f16", ("f16",), lambda a: power(a, "f16")),
        Op("tanh.approx.f16", "f16", ("f16",), lambda a: tangent(a, "f16")),
        # The upper halves of a pair.
        Op("ex2.approx.f16x2", "f16", ("b32",), lambda a: power(a >> 16, "f16"), UPPER_HALF.format("ex2.approx.f16x2")),
        Op("tanh.approx.f16x2", "f16", ("b32",), lambda a: tangent(a >> 16, "f16"),
           UPPER_HALF.format("tanh.approx.f16x2")),
    ]  # fmt: skip
    check(ops, spread([bits | (bits ^ 0x55) << 16 for bits in EDGES + RANDOM]), arch)


UPPER_HALF = "{} t, {{a}};\nshr.u32 t, t, 16;\ncvt.u16.u32 {{d}}, t;"


@pytest.mark.parametrize("arch", [90, 120])
def test_brain_approximations(arch):
    """PTX ISA: ex2.approx.ftz.bf16 is within 2^-7 relative, tanh.approx.bf16 within 2^-8."""

    def rule(function, bound):
        def apply(bits):
            exact = function(float_value(ieee.flush(bits, BF16), "bf16"))
            return Near(exact, abs(exact) * bound + 2.0**-126)

        return apply

    power = rule(lambda x: math.inf if x >= 128 else 2.0**x, 2**-7)
    tangent = rule(math.tanh, 2**-8)
    ops = [
        Op("ex2.approx.ftz.bf16", "bf16", ("bf16",), power),
        Op("tanh.approx.bf16", "bf16", ("bf16",), tangent),
        Op(
            "ex2.approx.ftz.bf16x2",
            "bf16",
            ("b32",),
            lambda a: power(a >> 16),
            UPPER_HALF.format("ex2.approx.ftz.bf16x2"),
        ),
        Op("tanh.approx.bf16x2", "bf16", ("b32",), lambda a: tangent(a >> 16), UPPER_HALF.format("tanh.approx.bf16x2")),
    ]
    values = [0, 0x8000, 0x3F80, 0xBF80, 0x4000, 0x42FE, 0xC2FC, 0x7F80, 0xFF80, 0x7FC0, 0x3E00, 0xBDCC, 0x0080, 0x4300]
    check(ops, spread([bits << 16 | bits for bits in values]), arch)
