"""FP32, FP16, BF16 and FP64 SASS against NumPy, torch and exact fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gpu_model.sass_runner import run

BITS = st.integers(0, 0xFFFFFFFF)
EDGES = np.array(
    [0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007FFFFF, 0x00800000, 0x3F800000, 0xBF800000, 0x3F7FFFFF,
     0x3F800001, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC00001, 0x40490FDB, 0x34000000,
     0x33FFFFFF, 0x4B000000, 0x4B000001, 0xCB000001, 0x4F000000, 0x4EFFFFFF, 0xCF000000, 0x477FE000, 0x477FF000,
     0x38800000, 0x387FC000, 0x33000000, 0x33000001, 0x5F000000],
    np.uint32,
)  # fmt: skip


def operands(seed: int, count: int = 3):
    """Edge values against each other and against random patterns."""
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(EDGES) for _ in range(count)]
    for row in rows:
        random = rng.integers(0, 1 << 32, 32, dtype=np.uint32)
        row[rng.random(32) < 0.4] = random[:1]
    return rows


def canonical(bits: np.ndarray) -> list[int]:
    values = bits.view(np.float32)
    return np.where(np.isnan(values), np.uint32(0x7FFFFFFF), bits).tolist()


def f32(bits) -> float:
    return float(np.uint32(bits).view(np.float32))


@pytest.mark.parametrize("seed", range(40))
def test_add_and_multiply_are_ieee(seed):
    a, b, _ = operands(seed)
    got = run("FADD R40, R10, R11\nFMUL R41, R10, -R11\nFADD R42, |R10|, -|R11|", a, b, outputs=3)
    x, y = a.view(np.float32), b.view(np.float32)
    with np.errstate(all="ignore"):
        assert got[0].tolist() == canonical((x + y).view(np.uint32))
        assert got[1].tolist() == canonical((x * -y).view(np.uint32))
        assert got[2].tolist() == canonical((np.abs(x) - np.abs(y)).view(np.uint32))


def round_fraction(exact: Fraction, mode: str) -> int:
    """Float32 pattern of an exact value in a rounding mode, from the definition."""
    if exact == 0:
        return 0
    magnitude = abs(exact)
    exponent = max(magnitude.numerator.bit_length() - magnitude.denominator.bit_length() - 1, -126)
    while exponent < 127 and magnitude >= Fraction(2) ** (exponent + 1):
        exponent += 1
    unit = Fraction(2) ** (exponent - 23)
    steps, rest = divmod(magnitude, unit)
    negative = exact < 0
    up = {"RZ": False, "RM": negative and rest > 0, "RP": not negative and rest > 0}.get(
        mode, rest * 2 > unit or (rest * 2 == unit and steps % 2 == 1)
    )
    value = (steps + up) * unit
    if value >= Fraction(2) ** 128:
        finite = mode == "RZ" or (mode == "RM" and not negative) or (mode == "RP" and negative)
        return (0x80000000 if negative else 0) | (0x7F7FFFFF if finite else 0x7F800000)
    return int(np.float32(-float(value) if negative else float(value)).view(np.uint32))


@pytest.mark.parametrize("mode", ["RN", "RZ", "RM", "RP"])
@pytest.mark.parametrize("seed", range(6))
def test_fma_and_add_round_once_in_every_mode(mode, seed):
    a, b, c = operands(100 + seed)
    suffix = "" if mode == "RN" else f".{mode}"
    got = run(
        f"FFMA{suffix} R40, R10, R11, R12\nFADD{suffix} R41, R10, R11\nFMUL{suffix} R42, R10, R11", a, b, c, outputs=3
    )
    for lane in range(32):
        x, y, z = f32(a[lane]), f32(b[lane]), f32(c[lane])
        if all(map(math.isfinite, (x, y, z))):
            x, y, z = Fraction(x), Fraction(y), Fraction(z)
            for index, exact in enumerate((x * y + z, x + y, x * y)):
                if exact != 0:  # signs of zeros have their own test
                    assert int(got[index][lane]) == round_fraction(exact, mode), (index, lane)


def test_signs_of_zero_sums():
    zero = np.array([0, 0x80000000, 0, 0x80000000, 0x3F800000, 0xBF800000], np.uint32)
    other = np.array([0, 0, 0x80000000, 0x80000000, 0xBF800000, 0x3F800000], np.uint32)
    got = run("FADD.RM R40, R10, R11\nFADD.RZ R41, R10, R11\nFADD R42, R10, R11", zero, other, outputs=3)[:, :6]
    assert got[0].tolist() == [0, 0x80000000, 0x80000000, 0x80000000, 0x80000000, 0x80000000]
    assert got[1].tolist() == got[2].tolist() == [0, 0, 0, 0x80000000, 0, 0]


def test_flush_and_saturate():
    a = np.array([0x00000001, 0x807FFFFF, 0x00800000, 0x40000000, 0xC0000000, 0x7FC00000, 0x3F000000], np.uint32)
    one = np.full(7, 0x3F800000, np.uint32)
    got = run("FMUL.FTZ R40, R10, R11\nFMUL.SAT R41, R10, R11", a, one, outputs=2)[:, :7]
    assert got[0].tolist() == [0, 0x80000000, 0x00800000, 0x40000000, 0xC0000000, 0x7FFFFFFF, 0x3F000000]
    assert got[1].tolist() == [1, 0, 0x00800000, 0x3F800000, 0, 0, 0x3F000000]


@pytest.mark.parametrize("seed", range(10))
def test_minimum_maximum_and_comparisons(seed):
    a, b, _ = operands(seed)
    x, y = a.view(np.float32), b.view(np.float32)
    names = ["LT", "EQU", "GE", "NEU", "NUM", "NAN"]
    body = "FMNMX R40, R10, R11, PT\nFMNMX R41, R10, R11, !PT\n"
    for i, name in enumerate(names):
        body += f"FSETP.{name}.AND P1, PT, R10, R11, PT\nSEL R{42 + i}, 0x1, RZ, P1\n"
    got = run(body, a, b, outputs=2 + len(names))
    with np.errstate(all="ignore"):
        nan = np.isnan(x) | np.isnan(y)
        low, high = np.fmin(x, y), np.fmax(x, y)
        want = [x < y, (x == y) | nan, x >= y, (x != y) | nan, ~nan, nan]
    for lane in range(32):
        if x[lane] == y[lane] == 0:  # -0 is below +0
            signs = a[lane] >> 31, b[lane] >> 31
            assert (got[0][lane] >> 31, got[1][lane] >> 31) == (max(signs), min(signs))
        else:
            assert got[0][lane] == canonical(low[lane : lane + 1].view(np.uint32))[0]
            assert got[1][lane] == canonical(high[lane : lane + 1].view(np.uint32))[0]
    for row, expected in zip(got[2:], want, strict=True):
        assert row.tolist() == expected.astype(int).tolist()


@pytest.mark.parametrize("seed", range(10))
def test_packed_half_arithmetic_is_ieee(seed):
    rng = np.random.default_rng(seed)
    a, b, c = (rng.integers(0, 1 << 32, 32, dtype=np.uint32) for _ in range(3))
    body = "HADD2 R40, R10, R11\nHMUL2 R41, R10, R11\nHFMA2 R42, R10, R11, R12\nHFMA2 R43, R10.H0_H0, R11, -R12.H1_H1"
    got = run(body, a, b, c, outputs=4)
    x, y, z = (row.view(np.float16) for row in (a, b, c))
    with np.errstate(all="ignore"):
        exact = x.astype(np.float64) * y + z  # the double sum is exact: 22 + 11 bits within 2^41
        low = np.repeat(x[0::2], 2).astype(np.float64) * y - np.repeat(z[1::2], 2)
        want = [x + y, x * y, exact.astype(np.float16), low.astype(np.float16)]
    for row, expected in zip(got, want, strict=True):
        halves = row.view(np.float16)
        nan = np.isnan(expected)
        assert (halves.view(np.uint16)[nan] == 0x7FFF).all()
        assert halves.view(np.uint16)[~nan].tolist() == expected.view(np.uint16)[~nan].tolist()


@pytest.mark.parametrize("seed", range(10))
def test_bfloat16_fma_rounds_once(seed):
    rng = np.random.default_rng(seed)
    a, b, c = (rng.integers(0, 1 << 32, 32, dtype=np.uint32) for _ in range(3))
    c[:8] &= 0x807F807F  # subnormal addends against any product
    got = run("HFMA2.BF16_V2 R40, R10, R11, R12", a, b, c)[0].view(np.uint16)
    for lane, (x, y, z) in enumerate(zip(*(row.view(np.uint16) for row in (a, b, c)), strict=True)):
        values = [f32(np.uint32(v) << 16) for v in (x, y, z)]
        if not all(map(math.isfinite, values)):
            continue
        exact = Fraction(values[0]) * Fraction(values[1]) + Fraction(values[2])
        if exact == 0:
            continue
        magnitude = abs(exact)
        exponent = max(magnitude.numerator.bit_length() - magnitude.denominator.bit_length() - 1, -126)
        while exponent < 127 and magnitude >= Fraction(2) ** (exponent + 1):
            exponent += 1
        steps, rest = divmod(magnitude, Fraction(2) ** (exponent - 7))
        unit = Fraction(2) ** (exponent - 7)
        steps += rest * 2 > unit or (rest * 2 == unit and steps % 2 == 1)
        value = steps * unit
        pattern = 0x7F80 if value >= Fraction(2) ** 128 else int(np.float32(float(value)).view(np.uint32)) >> 16
        assert int(got[lane]) == pattern | (0x8000 if exact < 0 else 0)


@pytest.mark.parametrize("seed", range(10))
def test_float_to_half_conversions_match_torch(seed):
    a, b, _ = operands(seed)
    got = run("F2FP.F16.PACK_AB R40, R10, R11\nF2FP.BF16.PACK_AB R41, R10, R11", a, b, outputs=2)
    for row, dtype in ((got[0], torch.float16), (got[1], torch.bfloat16)):
        for half, source in ((row >> 16, a), (row & 0xFFFF, b)):
            value = torch.from_numpy(source.view(np.int32).copy()).view(torch.float32)
            want = value.to(dtype).view(torch.int16).numpy().view(np.uint16).astype(np.uint32)
            nan = torch.isnan(value).numpy()
            assert half[~nan].tolist() == want[~nan].tolist()
            assert set(half[nan].tolist()) <= {0x7FFF}


@settings(max_examples=40, deadline=None)
@given(st.lists(BITS, min_size=32, max_size=32))
def test_integer_and_float_conversions(bits):
    a = np.array(bits, np.uint32)
    got = run(
        "I2F.U32 R40, R10\nI2FP.F32.S32 R41, R10\nF2I.TRUNC.NTZ R42, R10\nF2I.U32.TRUNC.NTZ R43, R10\n"
        "F2I.FLOOR.NTZ R44, R10\nFRND R45, R10\nFRND.FLOOR R46, R10\nHADD2.F32 R47, -RZ, R10.H1_H1",
        a, outputs=8,
    )  # fmt: skip
    x = a.view(np.float32).astype(np.float64)
    assert got[0].tolist() == a.astype(np.float64).astype(np.float32).view(np.uint32).tolist()
    assert got[1].tolist() == a.view(np.int32).astype(np.float64).astype(np.float32).view(np.uint32).tolist()
    with np.errstate(all="ignore"):
        for row, rounded, low, high in (
            (got[2], np.trunc(x), -(2**31), 2**31 - 1),
            (got[3], np.trunc(x), 0, 2**32 - 1),
            (got[4], np.floor(x), -(2**31), 2**31 - 1),
        ):
            want = np.where(np.isnan(x), 0, np.clip(rounded, low, high)).astype(np.int64) & 0xFFFFFFFF
            assert row.tolist() == want.tolist()
        assert got[5].tolist() == canonical(np.rint(a.view(np.float32)).view(np.uint32))
        assert got[6].tolist() == canonical(np.floor(a.view(np.float32)).view(np.uint32))
        widened = (a >> 16).astype(np.uint16).view(np.float16).astype(np.float32)
        assert got[7].tolist() == canonical(widened.view(np.uint32))


MUFU = {
    "EX2": np.exp2, "RCP": lambda x: 1 / x, "SQRT": np.sqrt, "RSQ": lambda x: 1 / np.sqrt(x), "LG2": np.log2,
    "TANH": np.tanh,
}  # fmt: skip


@pytest.mark.parametrize("name", MUFU)
def test_multifunction_unit_is_within_one_ulp(name):
    rng = np.random.default_rng(7)
    x = np.exp(rng.normal(0, 6, 32)).astype(np.float32)
    x = np.clip(x * rng.choice([-1, 1], 32), -120, 120).astype(np.float32) if name in ("EX2", "TANH") else x
    got = run(f"MUFU.{name} R40, R10", x)[0].view(np.float32)
    want = MUFU[name](x.astype(np.float64))
    assert (np.abs(got - want) <= np.spacing(np.abs(want).astype(np.float32))).all()


def test_multifunction_unit_specials():
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -1.0], np.float32)
    nan, inf = 0x7FFFFFFF, 0x7F800000
    got = run("\n".join(f"MUFU.{name} R{40 + i}, R10" for i, name in enumerate(MUFU)), x, outputs=6)[:, :6]
    want = {
        "EX2": [0x3F800000, 0x3F800000, inf, 0, nan, 0x3F000000],
        "RCP": [inf, 0xFF800000, 0, 0x80000000, nan, 0xBF800000],
        "SQRT": [0, 0x80000000, inf, nan, nan, nan],
        "RSQ": [inf, 0xFF800000, 0, nan, nan, nan],
        "LG2": [0xFF800000, 0xFF800000, inf, nan, nan, nan],
        "TANH": [0, 0x80000000, 0x3F800000, 0xBF800000, nan, 0xBF42F7D6],
    }
    for row, name in zip(got, MUFU, strict=True):
        assert row.tolist() == want[name], name


@pytest.mark.parametrize("seed", range(5))
def test_doubles(seed):
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 1 << 32, (4, 32), dtype=np.uint32)
    body = "DADD R40, R10, R12\nDMUL R42, R10, -R12\nDSETP.LT.AND P1, PT, R10, R12, PT\nSEL R44, 0x1, RZ, P1"
    got = run(body, *words, outputs=5)
    x, y = (np.ascontiguousarray(np.stack(words[i : i + 2], 1)).view(np.float64)[:, 0] for i in (0, 2))
    with np.errstate(all="ignore"):
        for pair, want in ((got[0:2], x + y), (got[2:4], x * -y)):
            value = np.ascontiguousarray(np.stack(pair, 1)).view(np.uint64)[:, 0]
            expected = np.where(np.isnan(want), np.uint64((1 << 63) - 1), want.view(np.uint64))
            assert value.tolist() == expected.tolist()
        assert got[4].tolist() == (x < y).astype(int).tolist()


@pytest.mark.parametrize(("select", "half"), [("", 0), (".H0_H0", 0), (".H1", 1), (".H1_H1", 1)])
def test_a_half_of_either_place_adds_to_a_float_in_one_rounding(select, half):
    rng = np.random.default_rng(21)
    pairs, floats = rng.normal(size=(32, 2)).astype(np.float16), rng.normal(size=32).astype(np.float32)
    (got,) = run(f"FHADD R40, R10{select}, -R11", pairs, floats)
    assert got.view(np.float32).tolist() == (pairs[:, half].astype(np.float32) - floats).tolist()
