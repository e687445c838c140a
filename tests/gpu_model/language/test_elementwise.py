"""Arithmetic, comparison, bitwise and shift operators, `where`, casts and promotion, against NumPy and torch."""

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float16", "bfloat16", "float32", "float64")
COUNT = 256


def random_integers(name: str, seed: int, count: int = COUNT) -> np.ndarray:
    """Values of every magnitude, with the ends of the type among them."""
    info, rng = np.iinfo(name), np.random.default_rng(seed)
    values = rng.integers(info.min, info.max, count, dtype=name, endpoint=True)
    values >>= rng.integers(0, info.bits, count).astype(name)
    edges = np.array([info.min, info.max, 0, 1, info.max - 1], name)
    values[rng.choice(count, 40)] = rng.choice(edges, 40)
    return values


def random_floats(name: str, seed: int, count: int = COUNT) -> torch.Tensor:
    """Normal numbers of many magnitudes, zeros of both signs, infinities and NaN."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=count) * 2.0 ** rng.integers(-12, 12, count)
    values[rng.choice(count, 24)] = rng.choice([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0], 24)
    return torch.from_numpy(values).to(getattr(torch, name))


def same_bits(got: torch.Tensor, want: torch.Tensor) -> None:
    """Equal patterns; any NaN equals any other."""
    assert got.dtype == want.dtype
    both_nan = torch.isnan(got) & torch.isnan(want) if got.is_floating_point() else torch.zeros_like(got, dtype=bool)
    width = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[got.element_size()]
    wrong = (got.view(width) != want.view(width)) & ~both_nan
    assert not wrong.any(), f"{int(wrong.sum())} differ; got {got[wrong][:4]}, expected {want[wrong][:4]}"


@triton.jit
def integer_binary(x_ptr, y_ptr, s_ptr, out_ptr, flag_ptr, N: tl.constexpr):
    i = tl.arange(0, N)
    x, y, s = tl.load(x_ptr + i), tl.load(y_ptr + i), tl.load(s_ptr + i)
    divisor = tl.where(y == 0, 1, y).to(y.dtype)
    tl.store(out_ptr + i, x + y)
    tl.store(out_ptr + N + i, x - y)
    tl.store(out_ptr + 2 * N + i, x * y)
    tl.store(out_ptr + 3 * N + i, x // divisor)
    tl.store(out_ptr + 4 * N + i, x % divisor)
    tl.store(out_ptr + 5 * N + i, x & y)
    tl.store(out_ptr + 6 * N + i, x | y)
    tl.store(out_ptr + 7 * N + i, x ^ y)
    tl.store(out_ptr + 8 * N + i, x << s)
    tl.store(out_ptr + 9 * N + i, x >> s)
    tl.store(out_ptr + 10 * N + i, tl.minimum(x, y))
    tl.store(out_ptr + 11 * N + i, tl.maximum(x, y))
    tl.store(out_ptr + 12 * N + i, ~x)
    tl.store(out_ptr + 13 * N + i, tl.where(x > y, x, y + 1))
    tl.store(out_ptr + 14 * N + i, tl.abs(x))
    tl.store(flag_ptr + i, x == y)
    tl.store(flag_ptr + N + i, x != y)
    tl.store(flag_ptr + 2 * N + i, x < y)
    tl.store(flag_ptr + 3 * N + i, x <= y)
    tl.store(flag_ptr + 4 * N + i, x > y)
    tl.store(flag_ptr + 5 * N + i, x >= y)


def truncating_division(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quotient toward zero and the remainder with the sign of x, in wrapping arithmetic."""
    pairs = [(int(a), int(b) or 1) for a, b in zip(x, y, strict=True)]
    quotients = [abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) for a, b in pairs]
    remainders = [a - q * b for (a, b), q in zip(pairs, quotients, strict=True)]
    bits = x.dtype.itemsize * 8
    wrapped = [np.array([v % (1 << bits) for v in values], f"u{bits // 8}") for values in (quotients, remainders)]
    return wrapped[0].view(x.dtype), wrapped[1].view(x.dtype)


@pytest.mark.parametrize("name", INTEGERS)
def test_integer_operators(gpu, name):
    x, y = random_integers(name, 1), random_integers(name, 2)
    x[:8] = y[:8]
    # The least value by -1 overflows, which the language leaves open.
    if np.iinfo(name).min < 0:
        y[(y == -1) & (x == np.iinfo(name).min)] = 3
    shifts = np.random.default_rng(3).integers(0, np.iinfo(name).bits, COUNT).astype(name)
    out, flags = np.zeros((15, COUNT), name), np.zeros((6, COUNT), bool)
    integer_binary[(1,)](*map(torch.from_numpy, (x, y, shifts, out, flags)), N=COUNT)
    quotient, remainder = truncating_division(x, y)
    with np.errstate(over="ignore"):
        want = np.stack([x + y, x - y, x * y, quotient, remainder, x & y, x | y, x ^ y, x << shifts, x >> shifts,
                         np.minimum(x, y), np.maximum(x, y), ~x, np.where(x > y, x, y + np.array(1, name)),
                         np.abs(x)])  # fmt: skip
    for row, (got, expected) in enumerate(zip(out, want, strict=True)):
        assert got.tolist() == expected.tolist(), f"operation {row}"
    compared = [x == y, x != y, x < y, x <= y, x > y, x >= y]
    assert flags.tolist() == np.stack(compared).tolist()


@triton.jit
def float_binary(x_ptr, y_ptr, out_ptr, flag_ptr, N: tl.constexpr):
    i = tl.arange(0, N)
    x, y = tl.load(x_ptr + i), tl.load(y_ptr + i)
    tl.store(out_ptr + i, x + y)
    tl.store(out_ptr + N + i, x - y)
    tl.store(out_ptr + 2 * N + i, x * y)
    tl.store(out_ptr + 3 * N + i, -x)
    tl.store(out_ptr + 4 * N + i, tl.abs(x))
    tl.store(out_ptr + 5 * N + i, tl.where(x > y, x, y))
    tl.store(out_ptr + 6 * N + i, tl.maximum(x, y))
    tl.store(out_ptr + 7 * N + i, tl.minimum(x, y))
    tl.store(out_ptr + 8 * N + i, tl.maximum(x, y, propagate_nan=tl.PropagateNan.ALL))
    tl.store(out_ptr + 9 * N + i, tl.minimum(x, y, propagate_nan=tl.PropagateNan.ALL))
    tl.store(out_ptr + 10 * N + i, tl.clamp(x, y, y + 1))
    tl.store(flag_ptr + i, x == y)
    tl.store(flag_ptr + N + i, x != y)
    tl.store(flag_ptr + 2 * N + i, x < y)
    tl.store(flag_ptr + 3 * N + i, x <= y)
    tl.store(flag_ptr + 4 * N + i, x > y)
    tl.store(flag_ptr + 5 * N + i, x >= y)


@pytest.mark.parametrize("name", FLOATS)
def test_float_operators(gpu, name):
    x, y = random_floats(name, 4), random_floats(name, 5)
    x[:8] = y[:8]
    out, flags = torch.zeros(11, COUNT, dtype=x.dtype), torch.zeros(6, COUNT, dtype=torch.bool)
    float_binary[(1,)](x, y, out, flags, N=COUNT)
    want = [x + y, x - y, x * y, -x, x.abs(), torch.where(x > y, x, y), torch.fmax(x, y), torch.fmin(x, y),
            torch.maximum(x, y), torch.minimum(x, y)]  # fmt: skip
    signed_zeros = (x == 0) & (y == 0)  # torch's minimum of zeros of both signs may be either
    for row, (got, expected) in enumerate(zip(out, want, strict=False)):
        compared = ~signed_zeros if row in (6, 7, 8, 9) else slice(None)
        same_bits(got[compared], expected[compared])
    numbers = ~(x.isnan() | y.isnan() | signed_zeros | (x == y))
    same_bits(out[10][numbers], torch.minimum(torch.maximum(x, y), y + 1)[numbers])
    assert torch.equal(flags, torch.stack([x == y, x != y, x < y, x <= y, x > y, x >= y]))


@triton.jit
def division(x_ptr, y_ptr, out_ptr, N: tl.constexpr):
    i = tl.arange(0, N)
    x, y = tl.load(x_ptr + i), tl.load(y_ptr + i)
    tl.store(out_ptr + i, tl.div_rn(x, y))
    tl.store(out_ptr + N + i, tl.sqrt_rn(tl.abs(x)))
    tl.store(out_ptr + 2 * N + i, tl.fma(x, y, x))
    tl.store(out_ptr + 3 * N + i, x / y)
    tl.store(out_ptr + 4 * N + i, tl.floor(x))
    tl.store(out_ptr + 5 * N + i, tl.ceil(x))
    tl.store(out_ptr + 6 * N + i, x % y)


def test_correctly_rounded_float32(gpu):
    x, y = random_floats("float32", 6), random_floats("float32", 7)
    out = torch.zeros(7, COUNT)
    division[(1,)](x, y, out, N=COUNT)
    same_bits(out[0], x / y)
    same_bits(out[1], torch.from_numpy(np.sqrt(np.abs(x.numpy()))))
    fused = torch.addcmul(x.double(), x.double(), y.double())  # exact product, one rounding to double, one to float
    assert torch.allclose(out[2].double(), fused, rtol=2**-24, atol=0, equal_nan=True)
    numbers = torch.isfinite(x / y) & (y != 0)
    assert torch.allclose(out[3][numbers], (x / y)[numbers], rtol=2**-22, atol=0)  # div.full: 2 ulp
    same_bits(out[4], x.floor())
    same_bits(out[5], x.ceil())
    # The remainder is x - y * trunc(x / y), exact where the quotient is small.
    small = numbers & ((x / y).abs() < 2**10) & torch.isfinite(y)
    assert torch.allclose(out[6][small], torch.fmod(x, y)[small], rtol=0, atol=1e-6, equal_nan=True)


TYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32",
         "float64", "bool")  # fmt: skip


@triton.jit
def cast_to_all(x_ptr, o0, o1, o2, o3, o4, o5, o6, o7, o8, o9, o10, o11, N: tl.constexpr):
    i = tl.arange(0, N)
    x = tl.load(x_ptr + i)
    tl.store(o0 + i, x.to(tl.int8))
    tl.store(o1 + i, x.to(tl.int16))
    tl.store(o2 + i, x.to(tl.int32))
    tl.store(o3 + i, x.to(tl.int64))
    tl.store(o4 + i, x.to(tl.uint8))
    tl.store(o5 + i, x.to(tl.uint16))
    tl.store(o6 + i, x.to(tl.uint32))
    tl.store(o7 + i, x.to(tl.uint64))
    tl.store(o8 + i, x.to(tl.float16))
    tl.store(o9 + i, x.to(tl.bfloat16))
    tl.store(o10 + i, x.to(tl.float32))
    tl.store(o11 + i, x.to(tl.float64))


def cast_sources(name: str) -> torch.Tensor:
    if name == "bool":
        return torch.arange(COUNT) % 3 == 0
    if name in INTEGERS:
        return torch.from_numpy(random_integers(name, 8))
    # Within every integer type's range: conversions out of range are left open by the language.
    values = np.random.default_rng(9).normal(size=COUNT) * 2.0 ** np.random.default_rng(10).integers(-6, 5, COUNT)
    return torch.from_numpy(np.abs(values)).clamp(0, 127).to(getattr(torch, name))


def _by_numpy(x: torch.Tensor, name: str) -> torch.Tensor:
    with np.errstate(over="ignore"):
        return torch.from_numpy(x.numpy().astype(name))


def _to_brain(x: torch.Tensor) -> torch.Tensor:
    """Round exact Python numbers to bfloat16 once."""
    from fractions import Fraction

    from tests.gpu_model.ptx import ieee

    bits = [ieee.rounded(Fraction(value), ieee.BF16) for value in x.tolist()]
    return torch.tensor(bits, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)


@pytest.mark.parametrize("name", TYPES)
def test_casts(gpu, name):
    x = cast_sources(name)
    outs = [torch.zeros(COUNT, dtype=getattr(torch, target)) for target in TYPES[:-1]]
    cast_to_all[(1,)](x, *outs, N=COUNT)
    for target, got in zip(TYPES[:-1], outs, strict=True):
        if target == "bfloat16" and x.dtype != torch.bfloat16:
            want = _to_brain(x)
        elif target == name:
            want = x
        else:
            want = _by_numpy(x.float() if name == "bfloat16" else x, target)
        # Triton goes through float32 on the way from wide types to the 16-bit floats; both roundings are to nearest.
        if target in ("float16", "bfloat16") and name in ("int32", "int64", "uint32", "uint64", "float64"):
            ulp = 2**-10 if target == "float16" else 2**-7
            assert torch.allclose(got.double(), want.double(), rtol=ulp, atol=0), target
        else:
            same_bits(got, want)


@triton.jit
def to_float8(x_ptr, out_ptr, back_ptr, kind: tl.constexpr, N: tl.constexpr):
    i = tl.arange(0, N)
    small = tl.load(x_ptr + i).to(kind)
    tl.store(out_ptr + i, small.to(tl.uint8, bitcast=True))
    tl.store(back_ptr + i, small.to(tl.float32))


@pytest.mark.parametrize("source", ["float16", "bfloat16", "float32"])
def test_float8_e5m2(gpu, source):
    """sm_86 converts e5m2 by instructions on halves; torch rounds to nearest even as well."""
    x = random_floats(source, 11, 512).clamp(-50000, 50000)
    x = torch.where(x.isnan(), torch.zeros_like(x), x)
    out, back = torch.zeros(512, dtype=torch.uint8), torch.zeros(512)
    to_float8[(1,)](x, out, back, kind=tl.float8e5, N=512)
    want = x.float().to(torch.float8_e5m2)
    assert out.tolist() == want.view(torch.uint8).tolist()
    same_bits(back, want.float())


@triton.jit
def bitcasts(x_ptr, out_ptr, N: tl.constexpr):
    i = tl.arange(0, N)
    bits = tl.load(x_ptr + i).to(tl.int32, bitcast=True)
    tl.store(out_ptr + i, (bits ^ -2147483648).to(tl.float32, bitcast=True))


def test_bitcast(gpu):
    x, out = random_floats("float32", 12), torch.zeros(COUNT)
    bitcasts[(1,)](x, out, N=COUNT)
    same_bits(out, -x)


@triton.jit
def promotions(a_ptr, b_ptr, out_ptr, N: tl.constexpr):
    i = tl.arange(0, N)
    result = tl.load(a_ptr + i) + tl.load(b_ptr + i)
    tl.store(out_ptr + i, result.to(tl.float64))
    tl.static_assert(result.dtype.primitive_bitwidth >= 8)


# Triton's rule: the wider integer, unsigned if as wide; a float beats an integer; half with bfloat16 gives float32.
@pytest.mark.parametrize(
    ("a", "b", "result"),
    [("int8", "int32", "int32"), ("uint8", "int16", "int16"), ("int32", "uint32", "uint32"),
     ("int64", "float16", "float16"), ("int8", "float32", "float32"), ("float16", "float32", "float32"),
     ("float16", "bfloat16", "float32"), ("float32", "float64", "float64")],
)  # fmt: skip
def test_promotion(gpu, a, b, result):
    x = torch.arange(COUNT).remainder(100).to(getattr(torch, a))
    y = (3 * torch.arange(COUNT) % 50).to(getattr(torch, b))
    if a == "int32":
        x = x - 60
    out = torch.zeros(COUNT, dtype=torch.float64)
    promotions[(1,)](x, y, out, N=COUNT)
    want = x.double() + y.double()
    if result == "uint32":
        want = want % 2**32
    assert torch.equal(out, want)


@triton.jit
def scalars(out_ptr, a, b, c: tl.constexpr, flag):
    tl.store(out_ptr, a + b)
    tl.store(out_ptr + 1, a * c)
    tl.store(out_ptr + 2, b if flag else -b)
    tl.store(out_ptr + 3, tl.where(a > c, 1, 0))


@pytest.mark.parametrize("a", [0, 1, 16, -5, 1 << 33, -(1 << 40), (1 << 63) - 1])
def test_scalar_arguments_and_specialisation(gpu, a):
    """0, 1 and multiples of 16 become constants of the compilation; wide integers are 64-bit arguments."""
    out = torch.zeros(4, dtype=torch.float64)
    scalars[(1,)](out, a, 0.5, 3, a % 2 == 0)
    assert out.tolist() == [np.float32(a) + np.float32(0.5), float(_wrap64(3 * a)) if abs(a) >= 1 << 31 else 3 * a,
                            0.5 if a % 2 == 0 else -0.5, float(a > 3)]  # fmt: skip


def _wrap64(value: int) -> int:
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
