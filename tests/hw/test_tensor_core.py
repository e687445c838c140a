"""Tensor-core kernels against the rule written out a second time, operand by operand, in Fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw import tensor_core
from hw.presets import NVIDIA_F16, NVIDIA_F32, TENSOR_CORES
from hw.presets import tensor_core as preset
from hw.reference import reference
from mx_formats.element import BF16, E4M3, FP16, TF32

SPLIT = {FP16: tensor_core.split_f16, BF16: tensor_core.split_bf16, TF32: tensor_core.split_tf32}
# Exponent of a zero term, by F and FP16 sums: the tables of MMA-Sim 2.1.1.
LOWEST = {(24, False): -132, (24, True): -20, (25, False): -133}
FP16_SUMS = {"float": (8, 23), "half": (5, 10)}


def oracle(a, b, c, emin, fraction_bits, half):
    """The published rule on Python floats: every operand is a double, exactly, so frexp finds its exponent."""
    special = [x * y for x, y in zip(a, b, strict=True) if not math.isfinite(x * y)] + ([] if math.isfinite(c) else [c])
    if special:
        total = math.fsum(special) if len({math.copysign(1, s) for s in special}) == 1 else math.nan
        return {True: 0x7FFF, False: 0x7FFFFFFF}[half] if math.isnan(total) else infinity(total < 0, half)
    terms = [(exponent(x, emin) + exponent(y, emin), Fraction(x) * Fraction(y)) for x, y in zip(a, b, strict=True)]
    terms.append((exponent(c, -14 if half else -126), Fraction(c)))
    terms = [term for term in terms if term[1]]
    if not terms:
        return 0
    unit = Fraction(2) ** (max(LOWEST[fraction_bits, half], *(e for e, _ in terms)) - fraction_bits)
    total = sum(int(value / unit) for _, value in terms) * unit
    return to_half(total) if half else to_single(total)


def exponent(x, emin):
    return max(math.frexp(x)[1] - 1, emin)


def infinity(negative, half):
    return (0xFC00 if negative else 0x7C00) if half else (0xFF800000 if negative else 0x7F800000)


def to_half(total):
    # Not by way of a double, which would round a second time.
    if total == 0:
        return 0
    unit = Fraction(2) ** (max(floor_log2(total), -14) - 10)
    with np.errstate(over="ignore"):
        magnitude = np.float16(float(round(abs(total) / unit) * unit))
    return int(magnitude.view(np.uint16)) | (0x8000 if total < 0 and magnitude else 0)


def to_single(total):
    if total == 0:
        return 0
    if abs(total) >= Fraction(2) ** 128:
        return infinity(total < 0, False)
    unit = Fraction(2) ** (max(floor_log2(total), -126) - 23)
    magnitude = np.float32(float(int(abs(total) / unit) * unit))
    return int(magnitude.view(np.uint32)) | (0x80000000 if total < 0 and magnitude else 0)


def floor_log2(total):
    e = abs(total.numerator).bit_length() - abs(total.denominator).bit_length()
    return e if abs(total) >= Fraction(2) ** e else e - 1


def to_float(codes, element):
    codes = np.asarray(codes, np.uint32)
    with np.errstate(invalid="ignore"):  # signalling NaNs
        if element is FP16:
            return codes.astype(np.uint16).view(np.float16).astype(np.float64)
        shift = {BF16: 16, TF32: 13}[element]
        return (codes << np.uint32(shift)).view(np.float32).astype(np.float64)


def run(element, a, b, acc, core, half=False):
    """a uint32[16, k], b uint32[k, 8], acc uint32[16, 8] through the kernel, a fused step at a time."""
    a_sig, a_exp = split_all(element, a.T)
    b_sig, b_exp = split_all(element, b)
    out = np.ascontiguousarray(acc.T).astype(np.uint32)
    left = np.int32(core.fraction_bits - 2 * element.mantissa_bits)
    mma = tensor_core.mma_f16 if half else tensor_core.mma_f32
    scratch = tensor_core.new_scratch()
    for k in range(0, a.shape[1], core.products):
        mma(a_sig, a_exp, b_sig, b_exp, out, k, k + core.products, left, np.int32(core.fraction_bits), *scratch)
    return out.T


def split_all(element, codes):
    register = codes << 13 if element is TF32 else codes
    split = np.array([[SPLIT[element](int(bits)) for bits in row] for row in register], np.int32)
    return np.ascontiguousarray(split[..., 0]), np.ascontiguousarray(split[..., 1])


def expect(element, a, b, acc, core, half=False):
    fa, fb = to_float(a, element), to_float(b, element)
    dtype = np.uint16 if half else np.uint32
    out = acc.astype(dtype).copy()
    for k in range(0, a.shape[1], core.products):
        with np.errstate(invalid="ignore"):  # signalling NaNs
            fc = out.view(np.float16 if half else np.float32).astype(np.float64)
        for m in range(16):
            for n in range(8):
                span = slice(k, k + core.products)
                row, column = fa[m, span].tolist(), fb[span, n].tolist()
                out[m, n] = oracle(row, column, float(fc[m, n]), element.emin, core.fraction_bits, half)
    return out.astype(np.uint32)


def draw(rng, element, shape, kind):
    """Codes: all patterns, a narrow band of exponents, mostly subnormal, mostly zero, or with specials."""
    m, width = element.mantissa_bits, element.exponent_bits
    sign = rng.integers(0, 2, shape) << (element.bits - 1)
    mantissa = rng.integers(0, 1 << m, shape)
    top = (1 << width) - 1
    field = {
        "wide": rng.integers(0, top, shape),
        "narrow": rng.integers(element.bias - 3, element.bias + 4, shape),
        "subnormal": rng.integers(0, 3, shape),
        "sparse": rng.integers(element.bias - 2, element.bias + 3, shape),
        "special": np.where(rng.random(shape) < 0.02, top, rng.integers(0, top, shape)),
        "huge": rng.integers(top - 3, top, shape),
        "underflow": rng.integers(max(element.bias - 80, 0), max(element.bias - 55, 3), shape),
    }[kind]
    codes = sign | field << m | mantissa
    if kind == "sparse":
        codes = np.where(rng.random(shape) < 0.8, sign, codes)
    if kind == "special":
        codes = np.where(field == top, sign | top << m | (rng.random(shape) < 0.2), codes)
    return codes.astype(np.uint32)


def draw_accumulator(rng, kind, half):
    width, m = FP16_SUMS["half" if half else "float"]
    top, bias = (1 << width) - 1, (1 << (width - 1)) - 1
    ranges = {"wide": (0, top), "subnormal": (0, 3), "underflow": (0, 2), "huge": (top - 3, top)}
    low, high = ranges.get(kind, (bias - 4, bias + 5))
    field = rng.integers(low, high, (16, 8))
    zero = rng.random((16, 8)) < (0.8 if kind == "underflow" else 0.2)
    pattern = rng.integers(0, 2, (16, 8)) << (width + m) | field << m | rng.integers(0, 1 << m, (16, 8))
    if kind == "special":
        pattern = np.where(rng.random((16, 8)) < 0.1, top << m | (rng.random((16, 8)) < 0.5), pattern)
    return np.where(zero, 0, pattern).astype(np.uint32)


KINDS = ("wide", "narrow", "subnormal", "sparse", "special", "huge", "underflow")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("generation", "element"), [key for key in TENSOR_CORES if key[0] in ("ampere", "hopper") and key[1] in SPLIT]
)
def test_f32_sums_follow_the_rule(generation, element, kind):
    rng = np.random.default_rng(KINDS.index(kind))
    core = TENSOR_CORES[generation, element]
    k = 2 * core.products
    a, b = draw(rng, element, (16, k), kind), draw(rng, element, (k, 8), kind)
    acc = draw_accumulator(rng, kind, half=False)
    np.testing.assert_array_equal(run(element, a, b, acc, core), expect(element, a, b, acc, core))


@pytest.mark.parametrize("kind", KINDS)
def test_f16_sums_follow_the_rule(kind):
    rng = np.random.default_rng(KINDS.index(kind))
    core = TENSOR_CORES["ampere", FP16]
    a, b = draw(rng, FP16, (16, 16), kind), draw(rng, FP16, (16, 8), kind)
    acc = draw_accumulator(rng, kind, half=True)
    np.testing.assert_array_equal(run(FP16, a, b, acc, core, half=True), expect(FP16, a, b, acc, core, half=True))


@pytest.mark.parametrize("k0", [0, 8])
def test_cancellation_leaves_what_was_truncated(k0):
    """x*y - x*y + tiny: the tiny product keeps only the bits above 2**-24 of the largest exponent."""
    core = TENSOR_CORES["ampere", FP16]
    a, b = np.zeros((16, 16), np.uint32), np.zeros((16, 8), np.uint32)
    for column, (x, y) in enumerate([(1.5, 2.0), (-1.5, 2.0), (2.0**-12, 1.0 + 2.0**-10)]):
        a[:, k0 + column] = np.float16(x).view(np.uint16)
        b[k0 + column, :] = np.float16(y).view(np.uint16)
    out = run(FP16, a, b, np.zeros((16, 8), np.uint32), core)
    # The largest exponent is 0 + 1, so the last bit kept is 2**-23 and 2**-12 + 2**-22 loses nothing.
    assert out[0, 0] == np.float32(2.0**-12 + 2.0**-22).view(np.uint32)
    a[:, k0 + 2] = np.float16(2.0**-14).view(np.uint16)
    out = run(FP16, a, b, np.zeros((16, 8), np.uint32), core)
    # Now 2**-14 + 2**-24: the second bit lies below 2**-23 and is cut off.
    assert out[0, 0] == np.float32(2.0**-14).view(np.uint32)


def test_exact_where_nothing_needs_truncation():
    """Small integers: every sum is exact, so it equals float64's."""
    rng = np.random.default_rng(3)
    a, b = rng.integers(-32, 33, (16, 16)), rng.integers(-32, 33, (16, 8))
    c = rng.integers(-1000, 1001, (16, 8))
    as_f16 = [x.astype(np.float16).view(np.uint16).astype(np.uint32) for x in (a, b)]
    out = run(FP16, *as_f16, c.astype(np.float32).view(np.uint32), TENSOR_CORES["ampere", FP16])
    np.testing.assert_array_equal(np.ascontiguousarray(out).view(np.float32), (a @ b + c).astype(np.float64))


def test_largest_sum_does_not_overflow_the_adder():
    """Sixteen products of the largest significand, all of one sign, on Hopper's 25 bits."""
    core = TENSOR_CORES["hopper", FP16]
    a, b = np.full((16, 16), 0x3FFF, np.uint32), np.full((16, 8), 0x3FFF, np.uint32)
    acc = np.full((16, 8), 0x40FFFFFF, np.uint32)
    np.testing.assert_array_equal(run(FP16, a, b, acc, core), expect(FP16, a, b, acc, core))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_kernel_equals_reference(data):
    """One row of operands: the kernel equals the definition of `hw.reference`, specials and all."""
    element = data.draw(st.sampled_from([FP16, BF16, TF32]))
    half = data.draw(st.booleans()) if element is FP16 else False
    core = TENSOR_CORES["ampere", element]
    code = st.integers(0, (1 << element.bits) - 1)
    a = data.draw(st.lists(code, min_size=core.products, max_size=core.products))
    b = data.draw(st.lists(code, min_size=core.products, max_size=core.products))
    c = data.draw(st.integers(0, (1 << (16 if half else 32)) - 1))
    tree = preset("ampere", element, NVIDIA_F16 if half else NVIDIA_F32)
    wide_a = np.tile(np.array(a, np.uint32), (16, 1))
    wide_b = np.tile(np.array(b, np.uint32)[:, None], (1, 8))
    out = run(element, wide_a, wide_b, np.full((16, 8), c, np.uint32), core, half)
    assert (out == reference(tree, element, a, element, b, c)).all()


def test_every_f16_pattern_splits_exactly():
    sig, exp = tensor_core.operand_table(FP16)
    split = np.array([tensor_core.split_f16(code) for code in range(1 << 16)])
    # Specials carry only a sign in their significand.
    np.testing.assert_array_equal(split[:, 1], exp)
    np.testing.assert_array_equal(np.sign(split[:, 0]), np.sign(sig))
    finite = np.abs(exp) < 100
    value = np.ldexp(split[:, 0].astype(np.float64), np.where(finite, split[:, 1] - 10, 0))
    np.testing.assert_array_equal(value[finite], to_float(np.arange(1 << 16), FP16)[finite])


def test_missing_combinations_are_named():
    with pytest.raises(ValueError, match="no E4M3 with 32-bit sums on 'ampere'"):
        preset("ampere", E4M3)
    with pytest.raises(ValueError, match="no BF16 with 16-bit sums"):
        preset("ampere", BF16, NVIDIA_F16)
