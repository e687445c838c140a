"""cvt between all integer and float types, by the PTX ISA (chapter 9.7.9.21)."""

import itertools
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from tests.gpu_model.ptx import ieee
from tests.gpu_model.ptx.harness import ANY_NAN, ARCHES, Op, bits_of, check, cross, spread
from tests.gpu_model.ptx.ieee import BF16, F16, F32, F64, FORMATS, MODES
from tests.gpu_model.ptx.test_float32 import EDGES as EDGES32
from tests.gpu_model.ptx.test_float32 import RANDOM as RANDOM32
from tests.gpu_model.ptx.test_float64 import EDGES as EDGES64
from tests.gpu_model.ptx.test_integers import clamp, read, wrap

INTEGERS = ("u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64")
FLOATS = ("f16", "f32", "f64")
INTEGER_MODES = {"rni": "rn", "rzi": "rz", "rmi": "rm", "rpi": "rp"}


def slot(kind: str) -> str:
    """Type of the register that carries an 8-bit value."""
    return {"u8": "u16", "s8": "s16"}.get(kind, kind)


def near_integers(form: ieee.Format) -> list[int]:
    """Patterns at and beside the ends of every integer type, halves, and specials."""
    ends = [sign * 2**bits for bits in (7, 8, 15, 16, 31, 32, 63, 64) for sign in (1, -1)]
    exact = [ieee.rounded(Fraction(end), form) for end in ends]
    around = [bits + step for bits in exact if not ieee.is_infinite(bits, form) for step in (-1, 0, 1)]
    halves = [ieee.rounded(Fraction(n, 2), form) for n in range(-7, 8)]
    specials = [form.sign, 1, form.sign | 1, form.infinity, form.infinity | form.sign, form.nan, form.infinity - 1]
    return [*around, *halves, *specials, ieee.rounded(Fraction(12345678), form)]


def to_integer(bits: int, form: ieee.Format, kind: str, mode: str, ftz: bool = False) -> int:
    """Out of range saturates; NaN is zero, except from f64 or to 64 bits, where only the top bit is set."""
    width = int(kind[1:])
    if ieee.is_nan(bits, form):
        return 1 << width - 1 if form is F64 or width == 64 else 0
    if ieee.is_infinite(bits, form):
        return wrap(clamp(-(1 << 80) if ieee.negative(bits, form) else 1 << 80, kind), width)
    bits = ieee.flush(bits, form) if ftz else bits
    return wrap(clamp(ieee.to_integer(ieee.exact(bits, form), mode), kind), width)


def to_integer_ops(source: str) -> list[Op]:
    form = FORMATS[source]
    return [
        Op(f"cvt.{name}{'.ftz' * ftz}.{kind}.{source}", slot(kind), (source,),
           lambda a, k=kind, m=mode, z=ftz: wrap(read(to_integer(a, form, k, m, z), k), bits_of(slot(k))))
        for kind in INTEGERS
        for name, mode in INTEGER_MODES.items()
        for ftz in ((False, True) if source == "f32" else (False,))
    ]  # fmt: skip


@pytest.mark.parametrize("source", FLOATS)
@pytest.mark.parametrize("arch", ARCHES)
def test_float_to_integer(arch, source):
    check(to_integer_ops(source), spread(near_integers(FORMATS[source])), arch)


INTEGER_EDGES = [
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FF0,
    0xFFF0,
    2049,
    2051,
    65519,
    65520,
    0x00FFFFFF,
    0x01000001,
    0x01000003,
    0x7FFFFFFF,
    0x7FFFFFBF,
    0x7FFFFFC0,
    0x80000000,
    0xFFFFFFFF,
    0xFFFFFF7F,
    0xFFFFFF80,
    1 << 53,
    (1 << 53) + 1,
    (1 << 54) + 2,
    (1 << 54) + 3,
    (1 << 63) - 1,
    1 << 63,
    (1 << 63) + 1024,
    (1 << 63) + 1025,
    (1 << 64) - 1,
    (1 << 40) + (1 << 16),
    (1 << 40) + (1 << 16) + 1,
]


def to_float_ops(target: str) -> list[Op]:
    form = FORMATS[target]
    return [
        Op(f"cvt.{mode}.{target}.{kind}", target, (slot(kind),),
           lambda a, k=kind, m=mode: ieee.rounded(Fraction(read(a, k)), form, m))
        for kind in INTEGERS
        for mode in MODES
    ]  # fmt: skip


@pytest.mark.parametrize("target", FLOATS)
@pytest.mark.parametrize("arch", ARCHES)
def test_integer_to_float(arch, target):
    check(to_float_ops(target), spread(INTEGER_EDGES), arch)


def fits(source: str, target: str) -> bool:
    """Whether every value of one integer type is a value of another."""
    width = int(source[1:])
    ends = (-(1 << width - 1), (1 << width - 1) - 1) if source[0] == "s" else (0, (1 << width) - 1)
    return all(clamp(end, target) == end for end in ends)


def between_integers() -> list[Op]:
    ops = []
    for source, target in itertools.permutations(INTEGERS, 2):
        out = slot(target)

        def plain(a: int, s=source, t=target, o=out) -> int:
            return wrap(read(read(a, s), t), bits_of(o))

        def saturated(a: int, s=source, t=target, o=out) -> int:
            return wrap(clamp(read(a, s), t), bits_of(o))

        ops.append(Op(f"cvt.{target}.{source}", out, (slot(source),), plain))
        if not fits(source, target):  # else PTX has no .sat
            ops.append(Op(f"cvt.sat.{target}.{source}", out, (slot(source),), saturated))
    return ops


@pytest.mark.parametrize("arch", ARCHES)
def test_between_integers(arch):
    check(between_integers(), spread(INTEGER_EDGES), arch)


def narrowed(bits: int, source: ieee.Format, target: ieee.Format, mode: str):
    """A float in another format; a NaN result of f64 may carry any payload."""
    if ieee.is_nan(bits, source):
        return ANY_NAN if target is F64 else target.nan
    if ieee.is_infinite(bits, source):
        return target.infinity | (target.sign if ieee.negative(bits, source) else 0)
    return ieee.rounded(ieee.exact(bits, source), target, mode, ieee.negative(bits, source))


def float_ops(source: str) -> list[Op]:
    form, ops = FORMATS[source], []
    for target in FLOATS:
        if bits_of(target) < bits_of(source):
            modes = MODES
        elif target == source:
            continue
        else:
            modes = ("",)
        for mode in modes:
            name = f"cvt{'.' * bool(mode)}{mode}.{target}.{source}"
            rule = lambda a, t=FORMATS[target], m=mode or "rn": narrowed(a, form, t, m)  # noqa: E731
            ops.append(Op(name, target, (source,), rule))
            if target != "f64" and source != "f64":
                ops.append(Op(name.replace(f".{target}.", f".sat.{target}."), target, (source,),
                              lambda a, r=rule, t=FORMATS[target]: ieee.saturate(r(a), t)))  # fmt: skip
    return ops


HALF_EDGES = [0, 0x8000, 1, 0x83FF, 0x0400, 0x3C00, 0xBC00, 0x3C01, 0x3BFF, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00,
              0xFD01, 0x4248, 0x1400, 0x6400, 0x6401, 0x7800, 0x0C00, 0x8400]  # fmt: skip
TIES = [
    0x38800000,
    0x387FE000,
    0x387FF000,
    0x33000000,
    0x33000001,
    0x32FFFFFF,
    0x477FEFFF,
    0x477FF000,
    0x477FE000,
    0x3F801000,
    0x3F803000,
    0x3F808000,
    0x3F818000,
    0x7F7F8000,
    0x7F7F7FFF,
    0x00008000,
    0x00018000,
    0x007F8000,
]
TIES64 = [
    0x3FF0000010000000,
    0x3FF0000030000000,
    0x380FFFFFF0000000,
    0x36A0000000000000,
    0x3690000000000000,
    0x3690000000000001,
    0x47EFFFFFF0000000,
    0x47EFFFFFEFFFFFFF,
    0x3F10000000000000,
    0x3E60000000000000,
    0x40EFFE0000000000,
    0x40EFFDFFFFFFFFFF,
    0x3FF0020000000000,
    0x3FF0020000000001,
    0x3FF001FFFFFFFFFF,
]


@pytest.mark.parametrize("source", FLOATS)
@pytest.mark.parametrize("arch", ARCHES)
def test_between_floats(arch, source):
    values = {"f16": HALF_EDGES, "f32": EDGES32 + RANDOM32 + TIES, "f64": EDGES64 + TIES64}[source]
    check(float_ops(source), spread(values), arch)


def integral_ops() -> list[Op]:
    """cvt.rni.f32.f32 and its like: round to an integral value of the same format, keeping the sign of zero."""

    def rule(kind: str, mode: str, ftz: bool, sat: bool):
        form = FORMATS[kind]

        def apply(bits: int):
            if ieee.is_nan(bits, form):
                return 0 if sat else ANY_NAN if form is F64 else form.nan
            if not ieee.is_infinite(bits, form):
                value = ieee.exact(ieee.flush(bits, form) if ftz else bits, form)
                bits = ieee.rounded(Fraction(ieee.to_integer(value, mode)), form, "rn", ieee.negative(bits, form))
            return ieee.saturate(bits, form) if sat else bits

        return apply

    return [
        Op(f"cvt.{name}{'.ftz' * ftz}{'.sat' * sat}.{kind}.{kind}", kind, (kind,), rule(kind, mode, ftz, sat))
        for kind, (name, mode), ftz, sat in itertools.product(
            FLOATS, INTEGER_MODES.items(), (False, True), (False, True)
        )
        if (kind == "f32" or not ftz) and (kind != "f64" or not sat)
    ]


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("arch", ARCHES)
def test_integral_values(arch, kind):
    ops = [op for op in integral_ops() if op.out == kind]
    check(ops, spread(near_integers(FORMATS[kind])), arch)


def relu(bits: int, form: ieee.Format) -> int:
    """Negative numbers become +0; NaN stays."""
    return 0 if not ieee.is_nan(bits, form) and ieee.negative(bits, form) else bits


def packed(kind: str, mode: str, with_relu: bool):
    """cvt.rn.f16x2.f32 d, a, b: a in the upper half."""
    form = FORMATS[kind]

    def rule(a: int, b: int) -> int:
        high, low = (narrowed(x, F32, form, mode) for x in (a, b))
        return relu(high, form) << 16 | relu(low, form) if with_relu else high << 16 | low

    return rule


def brain_ops() -> list[Op]:
    ops = []
    for mode, with_relu in itertools.product(("rn", "rz"), (False, True)):
        name = f"{mode}{'.relu' * with_relu}"

        def one(a: int, f: ieee.Format, m=mode, r=with_relu) -> int:
            bits = narrowed(a, F32, f, m)
            return relu(bits, f) if r else bits

        ops += [
            Op(f"cvt.{name}.bf16.f32", "bf16", ("f32",), lambda a, one=one: one(a, BF16), since=80),
            Op(f"cvt.{name}.bf16x2.f32", "b32", ("f32", "f32"), packed("bf16", mode, with_relu), since=80),
            Op(f"cvt.{name}.f16x2.f32", "b32", ("f32", "f32"), packed("f16", mode, with_relu), since=80),
        ]
    ops += [
        Op("cvt.f32.bf16", "f32", ("bf16",), lambda a: ANY_NAN if ieee.is_nan(a, BF16) else a << 16, since=90),
        Op("cvt.rn.bf16.f16", "bf16", ("f16",), lambda a: narrowed(a, F16, BF16, "rn"), since=90),
        Op("cvt.rn.f16.bf16", "f16", ("bf16",), lambda a: narrowed(a, BF16, F16, "rn"), since=90),
    ]
    return ops


@pytest.mark.parametrize("arch", [arch for arch in ARCHES if arch >= 80])
def test_brain_floats_and_pairs(arch):
    values = EDGES32 + TIES + RANDOM32
    check(brain_ops(), cross(values, [*values[:6], *HALF_EDGES[:6]], limit=512), arch)


def finite_ops() -> list[Op]:
    """.satfinite: what would become infinite is the largest number; .relu: what is negative is +0; NaN stays."""
    ops = []
    for mode, with_relu, kind in itertools.product(("rn", "rz"), (False, True), ("f16", "bf16")):
        form = FORMATS[kind]

        def one(a: int, form=form, mode=mode, with_relu=with_relu) -> int:
            bits = narrowed(a, F32, form, mode)
            bits = bits - 1 if ieee.is_infinite(bits, form) else bits
            return relu(bits, form) if with_relu else bits

        name = f"cvt.{mode}{'.relu' * with_relu}.satfinite.{kind}"
        ops.append(Op(f"{name}.f32", kind, ("f32",), one, since=86))
        ops.append(Op(f"{name}x2.f32", "b32", ("f32", "f32"), lambda a, b, one=one: one(a) << 16 | one(b), since=86))
    return ops


@pytest.mark.parametrize("arch", [arch for arch in ARCHES if arch >= 86])
def test_finite_saturation(arch):
    values = EDGES32 + TIES + RANDOM32
    check(finite_ops(), cross(values, [*values[:8], 0x477FF000, 0xC77FF000], limit=512), arch)


def eight_bits(kind: str, with_relu: bool):
    """A pair of 8-bit floats as halves, by ml_dtypes."""
    floats = {"e4m3": ml_dtypes.float8_e4m3fn, "e5m2": ml_dtypes.float8_e5m2}[kind]

    def rule(a: int) -> int:
        halves = np.array([a & 0xFF, a >> 8 & 0xFF], np.uint8).view(floats).astype(np.float16).view(np.uint16)
        low, high = (F16.nan if ieee.is_nan(int(h), F16) else int(h) for h in halves)
        return relu(high, F16) << 16 | relu(low, F16) if with_relu else high << 16 | low

    return rule


@pytest.mark.parametrize("arch", [89, 90, 120])
def test_eight_bits_to_halves(arch):
    ops = [
        Op(f"cvt.rn{'.relu' * with_relu}.f16x2.{kind}x2", "b32", ("b16",), eight_bits(kind, with_relu))
        for kind, with_relu in itertools.product(("e4m3", "e5m2"), (False, True))
    ]
    check(ops, spread([code | (code * 37 & 0xFF) << 8 for code in range(256)]), arch)


TF32 = ieee.Format(8, 10, 0x3FFFF)


def tf32_ops(arch: int) -> list[Op]:
    """cvt.rn and cvt.rz to tf32, whose low 13 bits are zero here; .satfinite from sm_100 on."""

    def rule(mode: str, with_relu: bool, finite: bool):
        def apply(a: int) -> int:
            if ieee.is_nan(a, F32):
                return F32.nan & ~0x1FFF
            bits = narrowed(a, F32, TF32, mode)
            bits = bits - 1 if finite and ieee.is_infinite(bits, TF32) else bits
            return (relu(bits, TF32) if with_relu else bits) << 13

        return apply

    ops = []
    for mode, with_relu, finite in itertools.product(("rn", "rz"), (False, True), (False, True)):
        name = f"cvt.{mode}{'.satfinite' * finite}{'.relu' * with_relu}.tf32.f32"
        if arch >= 100 or not finite:
            ops.append(Op(name, "b32", ("f32",), rule(mode, with_relu, finite),
                          f"{name} {{d}}, {{a}};\nand.b32 {{d}}, {{d}}, 0xffffe000;"))  # fmt: skip
    return ops


@pytest.mark.parametrize("arch", [90, 120])
def test_tf32_roundings(arch):
    values = EDGES32 + TIES + RANDOM32 + [0x3F801000, 0x3F800FFF, 0x3F803000, 0xBF801000, 0x7F7FF000]
    check(tf32_ops(arch), spread(values), arch)


def tf32(bits: int) -> int:
    """cvt.rna.tf32.f32: ten fraction bits, ties away from zero; the bits below are the machine's choice."""
    if ieee.is_nan(bits, F32):
        return 0x7FFFFFFF
    if ieee.is_infinite(bits, F32):
        return bits
    return bits + 0x1000 & ~0x1FFF


@pytest.mark.parametrize("arch", [arch for arch in ARCHES if arch >= 80])
def test_tf32(arch):
    op = Op("cvt.rna.tf32.f32", "b32", ("f32",), tf32, since=80)
    values = [v for v in EDGES32 + TIES + RANDOM32 + [0x3F801000, 0x3F800FFF, 0x3F801001, 0xBF801000]
              if not ieee.is_nan(v, F32)]  # fmt: skip
    ops = [Op(op.name, op.out, op.ins, op.rule, "cvt.rna.tf32.f32 {d}, {a};\nand.b32 {d}, {d}, 0xffffe000;", 80)]
    check(ops, spread(values), arch)


def test_rounding_of_the_oracle_matches_numpy():
    """The oracle itself, on formats NumPy knows."""
    rng = np.random.default_rng(7)
    values = rng.integers(0, 1 << 64, 400, dtype=np.uint64).view(np.float64)
    values = np.concatenate([values, rng.normal(size=200) * 10.0 ** rng.integers(-8, 6, 200)])
    with np.errstate(all="ignore"):
        single, half = values.astype(np.float32), values.astype(np.float16)
    for value, f32, f16 in zip(values.view(np.uint64).tolist(), single, half, strict=True):
        if not ieee.is_nan(value, F64):
            assert narrowed(value, F64, F32, "rn") == f32.view(np.uint32)
            assert narrowed(value, F64, F16, "rn") == f16.view(np.uint16)
