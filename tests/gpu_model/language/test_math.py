"""Math functions within their error bounds, integer high products, libdevice, random numbers, inline assembly."""

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from triton.language.extra.cuda import libdevice

COUNT = 512


def ulps(got: torch.Tensor, want: np.ndarray, floor: float = 0.0) -> float:
    """Largest distance from a wide result, in units in the last place of the result's type."""
    eps = torch.finfo(got.dtype).eps
    tiny = torch.finfo(got.dtype).tiny
    distance = np.abs(got.double().numpy() - want) / (np.maximum(np.abs(want), max(tiny, floor)) * eps)
    return float(np.nanmax(distance))


@triton.jit
def functions(x_ptr, out_ptr, N: tl.constexpr):
    i = tl.arange(0, N)
    x = tl.load(x_ptr + i)
    positive = tl.abs(x) + 0.0009765625
    tl.store(out_ptr + i, tl.exp(x))
    tl.store(out_ptr + N + i, tl.exp2(x))
    tl.store(out_ptr + 2 * N + i, tl.log(positive))
    tl.store(out_ptr + 3 * N + i, tl.log2(positive))
    tl.store(out_ptr + 4 * N + i, tl.sqrt(positive))
    tl.store(out_ptr + 5 * N + i, tl.rsqrt(positive))
    tl.store(out_ptr + 6 * N + i, tl.sin(x))
    tl.store(out_ptr + 7 * N + i, tl.cos(x))
    tl.store(out_ptr + 8 * N + i, tl.erf(x))
    tl.store(out_ptr + 9 * N + i, tl.sigmoid(x))


# Bounds in ulp of float32 (sine and cosine relative to 1): libdevice's documented 2 ulp, MUFU's 2^-22 and what
# scaling by log2(e) adds for |x| <= 16.
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_functions(gpu, name):
    x = torch.from_numpy(np.random.default_rng(1).normal(size=COUNT) * 4).clamp(-16, 16).to(getattr(torch, name))
    out = torch.zeros(10, COUNT, dtype=x.dtype)
    functions[(1,)](x, out, N=COUNT)
    wide = x.double().numpy()
    positive = (x.abs() + 2**-10).double().numpy()
    erf = torch.erf(x.double()).numpy()
    want = [np.exp(wide), np.exp2(wide), np.log(positive), np.log2(positive), np.sqrt(positive), 1 / np.sqrt(positive),
            np.sin(wide), np.cos(wide), erf, 1 / (1 + np.exp(-wide))]  # fmt: skip
    bounds = [20, 4, 4, 4, 2, 4, 2, 2, 2, 20] if name == "float32" else [2, 2, 2, 2, 1, 2, 2, 2, 4, 4]
    floors = [0, 0, 1, 1, 0, 0, 1, 1, 0, 0]
    found = [ulps(got, expected, floor) for got, expected, floor in zip(out, want, floors, strict=True)]
    assert all(a <= b for a, b in zip(found, bounds, strict=True)), found


@triton.jit
def library(x_ptr, unit_ptr, out_ptr, N: tl.constexpr):
    i = tl.arange(0, N)
    x, unit = tl.load(x_ptr + i), tl.load(unit_ptr + i)
    tl.store(out_ptr + i, libdevice.asin(unit))
    tl.store(out_ptr + N + i, libdevice.atan2(x, unit + 2))
    tl.store(out_ptr + 2 * N + i, libdevice.pow(tl.abs(x) + 0.5, unit))
    tl.store(out_ptr + 3 * N + i, libdevice.tanh(x))
    tl.store(out_ptr + 4 * N + i, libdevice.log1p(tl.abs(x)))
    tl.store(out_ptr + 5 * N + i, libdevice.expm1(unit))
    tl.store(out_ptr + 6 * N + i, libdevice.cbrt(x))
    tl.store(out_ptr + 7 * N + i, libdevice.tgamma(unit + 3))
    tl.store(out_ptr + 8 * N + i, libdevice.rint(x))
    tl.store(out_ptr + 9 * N + i, libdevice.fmod(x, unit + 2))
    tl.store(out_ptr + 10 * N + i, libdevice.hypot(x, unit))
    tl.store(out_ptr + 11 * N + i, libdevice.copysign(unit, x))
    tl.store(out_ptr + 12 * N + i, libdevice.sin(x * 1000))
    tl.store(out_ptr + 13 * N + i, libdevice.erfinv(unit * 0.9))
    tl.store(out_ptr + 14 * N + i, libdevice.nextafter(x, unit))


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_libdevice(gpu, name):
    """NVIDIA documents at most a few ulp for each (CUDA C++ Programming Guide, mathematical functions)."""
    x = torch.from_numpy(np.random.default_rng(2).normal(size=COUNT) * 3).to(getattr(torch, name))
    out = torch.zeros(15, COUNT, dtype=x.dtype)
    unit = x / (1 + x.abs())
    library[(1,)](x, unit, out, N=COUNT)
    wide, u = x.double(), unit.double()
    want = [u.asin(), torch.atan2(wide, (unit + 2).double()), (x.abs() + 0.5).double() ** u, wide.tanh(),
            wide.abs().log1p(), u.expm1(), torch.sign(wide) * wide.abs() ** (1 / 3),
            torch.lgamma((unit + 3).double()).exp(), wide.round(), torch.fmod(wide, (unit + 2).double()),
            torch.hypot(wide, u), torch.copysign(u, wide), (x * 1000).double().sin(),
            torch.erfinv((unit * 0.9).double())]  # fmt: skip
    for row, (got, expected) in enumerate(zip(out, want, strict=False)):
        distance = ulps(got, expected.numpy(), 2**-4)
        assert distance <= 16, (row, distance)
    assert torch.equal(out[14], torch.nextafter(x, unit))


@triton.jit
def integer_functions(x_ptr, y_ptr, out_ptr, bits_ptr, N: tl.constexpr):
    i = tl.arange(0, N)
    x, y = tl.load(x_ptr + i), tl.load(y_ptr + i)
    tl.store(out_ptr + i, tl.umulhi(x, y))
    tl.store(bits_ptr + i, libdevice.popc(x.to(tl.int32)))
    tl.store(bits_ptr + N + i, libdevice.clz(x.to(tl.int32)))
    tl.store(bits_ptr + 2 * N + i, libdevice.brev(x.to(tl.int32)))
    tl.store(bits_ptr + 3 * N + i, libdevice.ffs(x.to(tl.int32)))
    tl.store(bits_ptr + 4 * N + i, libdevice.mulhi(x.to(tl.int32), y.to(tl.int32)))


@pytest.mark.parametrize("bits", [32, 64])
def test_integer_functions(gpu, bits):
    rng = np.random.default_rng(3)
    x, y = (rng.integers(0, 1 << bits, COUNT, dtype=f"u{bits // 8}") for _ in range(2))
    x[:4] = [0, 1, (1 << bits) - 1, 1 << bits - 1]
    out, found = np.zeros(COUNT, x.dtype), np.zeros((5, COUNT), np.int32)
    integer_functions[(1,)](*(torch.from_numpy(array) for array in (x, y, out, found)), N=COUNT)
    assert out.tolist() == [int(a) * int(b) >> bits for a, b in zip(x, y, strict=True)]
    low, other = [int(a) & 0xFFFFFFFF for a in x], [int(b) & 0xFFFFFFFF for b in y]
    assert found[0].tolist() == [a.bit_count() for a in low]
    assert found[1].tolist() == [32 - a.bit_length() for a in low]
    assert found[2].view(np.uint32).tolist() == [int(f"{a:032b}"[::-1], 2) for a in low]
    assert found[3].tolist() == [(a & -a).bit_length() for a in low]
    signed = [np.array([a, b], np.uint32).view(np.int32).astype(object) for a, b in zip(low, other, strict=True)]
    assert found[4].tolist() == [int(a) * int(b) >> 32 for a, b in signed]


def philox(seed: int, offsets: np.ndarray, rounds: int = 10) -> list[np.ndarray]:
    """Philox4x32 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) at (offset, 0, 0, 0)."""
    mask = np.uint64(0xFFFFFFFF)
    c = [offsets.astype(np.uint64) & mask, *(np.zeros(len(offsets), np.uint64) for _ in range(3))]
    key = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF]
    for _ in range(rounds):
        first, second = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [second >> np.uint64(32) ^ c[1] ^ np.uint64(key[0]), second & mask,
             first >> np.uint64(32) ^ c[3] ^ np.uint64(key[1]), first & mask]  # fmt: skip
        key = [key[0] + 0x9E3779B9 & 0xFFFFFFFF, key[1] + 0xBB67AE85 & 0xFFFFFFFF]
    return [word.astype(np.uint32) for word in c]


@triton.jit
def random_numbers(int_ptr, float_ptr, seed, N: tl.constexpr):
    i = tl.arange(0, N)
    a, b, c, d = tl.randint4x(seed, i)
    tl.store(int_ptr + i, a)
    tl.store(int_ptr + N + i, b)
    tl.store(int_ptr + 2 * N + i, c)
    tl.store(int_ptr + 3 * N + i, d)
    tl.store(int_ptr + 4 * N + i, tl.randint(seed, i + 7, n_rounds=6))
    tl.store(float_ptr + i, tl.rand(seed, i))
    tl.store(float_ptr + N + i, tl.randn(seed, i))


@pytest.mark.parametrize("seed", [0, 42, 0xDEADBEEF, 0x123456789ABCDEF])
def test_random_numbers(gpu, seed):
    integers, floats = torch.zeros(5, 1024, dtype=torch.uint32), torch.zeros(2, 1024)
    random_numbers[(1,)](integers, floats, seed, N=1024)
    words = philox(seed, np.arange(1024))
    assert integers[:4].tolist() == [word.tolist() for word in words]
    assert integers[4].tolist() == philox(seed, np.arange(1024) + 7, 6)[0].tolist()
    assert ((floats[0] >= 0) & (floats[0] < 1)).all()
    # Uniform: the word read as a signed number, folded to non-negative, times the largest scale below 2^-31.
    folded = [w.view(np.int32).astype(np.int64) for w in words[:2]]
    uniform = [np.where(w < 0, -w - 1, w).astype(np.float32) * np.float32(4.6566127342e-10) for w in folded]
    assert floats[0].tolist() == uniform[0].tolist()
    # Normal by Box and Muller, in float32 with approximate functions.
    radius = np.sqrt(-2 * np.log(np.maximum(uniform[0], 1e-7).astype(np.float64)))
    normal = radius * np.cos(2 * np.pi * uniform[1].astype(np.float64))
    assert np.allclose(floats[1].numpy(), normal, rtol=1e-5, atol=2e-6)


@triton.jit
def assembly(x_ptr, y_ptr, out_ptr, N: tl.constexpr):
    i = tl.arange(0, N)
    x, y = tl.load(x_ptr + i), tl.load(y_ptr + i)
    shifted = tl.inline_asm_elementwise("shf.l.wrap.b32 $0, $1, $2, $3;", "=r,r,r,r", [x, y, 7], dtype=tl.int32,
                                        is_pure=True, pack=1)  # fmt: skip
    tl.store(out_ptr + i, shifted)
    low, high = tl.inline_asm_elementwise("{ .reg .b64 w; mul.wide.u32 w, $2, $3; mov.b64 {$0, $1}, w; }",
                                          "=r,=r,r,r", [x, y], dtype=(tl.int32, tl.int32), is_pure=True,
                                          pack=1)  # fmt: skip
    tl.store(out_ptr + N + i, low)
    tl.store(out_ptr + 2 * N + i, high)


@triton.jit
def packed_assembly(x_ptr, out_ptr, N: tl.constexpr):
    i = tl.arange(0, N)
    x = tl.load(x_ptr + i)
    # Four bytes a register: exchange the nibbles of each.
    code: tl.constexpr = """
    { .reg .b32 a, b; and.b32 a, $1, 0x0f0f0f0f; shl.b32 a, a, 4;
      shr.u32 b, $1, 4; and.b32 b, b, 0x0f0f0f0f; or.b32 $0, a, b; }
    """
    tl.store(out_ptr + i, tl.inline_asm_elementwise(code, "=r,r", [x], dtype=tl.uint8, is_pure=True, pack=4))


def test_inline_assembly(gpu):
    rng = np.random.default_rng(4)
    x, y = (rng.integers(0, 1 << 32, COUNT, dtype=np.uint32) for _ in range(2))
    out = np.zeros((3, COUNT), np.uint32)
    assembly[(1,)](*(torch.from_numpy(array.view(np.int32)) for array in (x, y, out)), N=COUNT)
    assert out[0].tolist() == (y << np.uint32(7) | x >> np.uint32(25)).tolist()
    product = x.astype(np.uint64) * y
    assert out[1].tolist() == (product & np.uint64(0xFFFFFFFF)).tolist()
    assert out[2].tolist() == (product >> np.uint64(32)).tolist()


def test_packed_inline_assembly(gpu):
    x = np.random.default_rng(5).integers(0, 256, COUNT, dtype=np.uint8)
    out = np.zeros(COUNT, np.uint8)
    packed_assembly[(1,)](torch.from_numpy(x), torch.from_numpy(out), N=COUNT)
    assert out.tolist() == (x << 4 | x >> 4).tolist()


@triton.jit
def _split_sign(value):
    return tl.abs(value), tl.where(value < 0, 1, 0)


@triton.jit
def mapped(x_ptr, out_ptr, N: tl.constexpr):
    i = tl.arange(0, N)
    size, sign = tl.map_elementwise(_split_sign, tl.load(x_ptr + i))
    tl.store(out_ptr + i, size)
    tl.store(out_ptr + N + i, sign)


def test_map_elementwise(gpu):
    x = torch.from_numpy(np.random.default_rng(6).integers(-99, 99, COUNT, dtype=np.int32))
    out = torch.zeros(2, COUNT, dtype=torch.int32)
    mapped[(1,)](x, out, N=COUNT)
    assert out.tolist() == [x.abs().tolist(), (x < 0).int().tolist()]
