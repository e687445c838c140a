"""Random kernels against NumPy: straight-line code, branches and divergent loops, then a reduction over the warp.

A program is a list of steps; each step is PTX text and, beside it, the same rule in NumPy.
"""

import importlib.util

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_model import VirtualGPU
from tests.gpu_model.ptx.harness import Op, run

LANES = 64


def wrapping(function):
    """NumPy on uint32 words read as int32."""

    def apply(*words: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return function(*(w.view(np.int32) for w in words)).astype(np.int32).view(np.uint32)

    return apply


def floating(function):
    """NumPy on words read as float32."""

    def apply(*words: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            result = np.asarray(function(*(w.view(np.float32) for w in words)), np.float32)
        return np.where(np.isnan(result), np.uint32(0x7FFFFFFF), result.view(np.uint32))

    return apply


def smaller(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """PTX min: numbers win over NaN, -0 is below +0."""
    first = (x < y) | ((x == y) & np.signbit(x)) | np.isnan(y)
    return np.where(first & ~np.isnan(x), x, y)


def to_signed(x: np.ndarray) -> np.ndarray:
    """cvt.rzi.s32.f32: saturating, NaN gives 0."""
    limited = np.clip(np.trunc(x.astype(np.float64)), -(2.0**31), 2.0**31 - 1)
    return np.where(np.isnan(x), 0, limited).astype(np.int64).astype(np.int32)


def repeated(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x = 5 x + y, as often as the low three bits of y say."""
    result = x.copy()
    for turn in range(7):
        result = np.where((y & 7) > turn, result * np.int32(5) + y, result)
    return result


LOOP = """
.reg .b32 turns;
and.b32 turns, {b}, 7;
mov.b32 {d}, {a};
again{n}:
setp.eq.u32 p, turns, 0;
@p bra done{n};
mad.lo.s32 {d}, {d}, 5, {b};
sub.u32 turns, turns, 1;
bra again{n};
done{n}:
"""
BRANCH = """
setp.lt.f32 p, {a}, {b};
@p bra less{n};
mul.rn.f32 {d}, {a}, 0f3F400000;
bra met{n};
less{n}:
sub.rn.f32 {d}, {b}, {a};
met{n}:
"""
# Steps: PTX, kinds of the sources, kind of the result (i: int32, f: float32), rule.
STEPS = [
    ("add.s32 {d}, {a}, {b};", "ii", "i", wrapping(lambda x, y: x + y)),
    ("sub.s32 {d}, {a}, {b};", "ii", "i", wrapping(lambda x, y: x - y)),
    ("mul.lo.s32 {d}, {a}, {b};", "ii", "i", wrapping(lambda x, y: x * y)),
    ("mul.hi.s32 {d}, {a}, {b};", "ii", "i", wrapping(lambda x, y: x.astype(np.int64) * y >> 32)),
    ("and.b32 {d}, {a}, {b};", "ii", "i", wrapping(lambda x, y: x & y)),
    ("xor.b32 {d}, {a}, {b};", "ii", "i", wrapping(lambda x, y: x ^ y)),
    ("shl.b32 {d}, {a}, 3;", "i", "i", wrapping(lambda x: x << 3)),
    ("shr.s32 {d}, {a}, 5;", "i", "i", wrapping(lambda x: x >> 5)),
    ("min.s32 {d}, {a}, {b};", "ii", "i", wrapping(np.minimum)),
    ("max.s32 {d}, {a}, {b};", "ii", "i", wrapping(np.maximum)),
    ("popc.b32 {d}, {a};", "i", "i", wrapping(lambda x: np.bitwise_count(x.view(np.uint32)))),
    ("setp.lt.s32 p, {a}, {b};\nselp.b32 {d}, {b}, {c}, p;", "iii", "i",
     wrapping(lambda x, y, z: np.where(x < y, y, z))),
    ("cvt.rzi.s32.f32 {d}, {a};", "f", "i", lambda x: to_signed(x.view(np.float32)).view(np.uint32)),
    (LOOP, "ii", "i", wrapping(repeated)),
    ("add.rn.f32 {d}, {a}, {b};", "ff", "f", floating(lambda x, y: x + y)),
    ("sub.rn.f32 {d}, {a}, {b};", "ff", "f", floating(lambda x, y: x - y)),
    ("mul.rn.f32 {d}, {a}, {b};", "ff", "f", floating(lambda x, y: x * y)),
    ("div.rn.f32 {d}, {a}, {b};", "ff", "f", floating(lambda x, y: x / y)),
    ("sqrt.rn.f32 {d}, {a};", "f", "f", floating(np.sqrt)),
    ("min.f32 {d}, {a}, {b};", "ff", "f", floating(smaller)),
    ("cvt.rmi.f32.f32 {d}, {a};", "f", "f", floating(np.floor)),
    ("cvt.rn.f32.s32 {d}, {a};", "i", "f", lambda x: x.view(np.int32).astype(np.float32).view(np.uint32)),
    (BRANCH, "ff", "f", floating(lambda x, y: np.where(x < y, y - x, x * np.float32(0.75)))),
]  # fmt: skip


@st.composite
def programs(draw) -> list[tuple[int, tuple[int, ...]]]:
    """Steps and, for each source, how far back among the values of its kind to look."""
    count = draw(st.integers(1, 14))
    return [
        (step, tuple(draw(st.integers(0, 3)) for _ in STEPS[step][1]))
        for step in (draw(st.integers(0, len(STEPS) - 1)) for _ in range(count))
    ]


def build(program, inputs: np.ndarray) -> tuple[str, np.ndarray]:
    """PTX that leaves a sum over the warp of every integer value, exclusive-or'ed with all floats, and its value."""
    names = {"i": ["{a}", "{b}"], "f": ["{c}"]}
    values = {"i": [inputs[0], inputs[1]], "f": [inputs[2]]}
    lines = []
    for number, (step, picks) in enumerate(program):
        text, kinds, kind, rule = STEPS[step]
        at = [-1 - pick % len(names[k]) for k, pick in zip(kinds, picks, strict=True)]
        sources = dict(zip("abc", (names[k][i] for k, i in zip(kinds, at, strict=True)), strict=False))
        result = rule(*(values[k][i] for k, i in zip(kinds, at, strict=True)))
        lines.append(f".reg .b32 v{number};\n{{{{\n{text.format(d=f'v{number}', n=number, **sources)}\n}}}}")
        names[kind].append(f"v{number}")
        values[kind].append(result)
    total = values["i"][-1].reshape(-1, 32).sum(1, dtype=np.uint32)
    lines.append(f"mov.b32 {{d}}, {names['i'][-1]};")
    for offset in (16, 8, 4, 2, 1):
        lines.append(f"shfl.sync.bfly.b32 t, {{d}}, {offset}, 31, -1;\nadd.u32 {{d}}, {{d}}, t;")
    lines.append(f"xor.b32 {{d}}, {{d}}, {names['f'][-1]};")
    return "\n".join(lines), np.repeat(total, 32) ^ values["f"][-1]


def inputs_of(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 1 << 32, (3, LANES), dtype=np.uint32)
    words[0, ::3] = rng.integers(0, 50, len(words[0, ::3]))
    floats = (rng.normal(size=LANES) * 2.0 ** rng.integers(-20, 20, LANES)).astype(np.float32)
    floats[rng.choice(LANES, 8)] = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-41, 3e38, -1.0]
    words[2] = np.where(np.isnan(floats), np.uint32(0x7FFFFFFF), floats.view(np.uint32))
    return words


def compare(program, seed: int, arch: int) -> None:
    inputs = inputs_of(seed)
    text, want = build(program, inputs)
    got = run([Op("random", "b32", ("b32",) * 3, np.array, text)], inputs.astype(np.uint64), arch)[0]
    assert got.tolist() == want.tolist()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(programs(), st.integers(0, 1 << 16))
def test_random_ptx(program, seed):
    compare(program, seed, 86)


@pytest.mark.slow
@pytest.mark.parametrize("arch", [80, 89, 90, 120])
@settings(max_examples=200, deadline=None, derandomize=True)
@given(program=programs(), seed=st.integers(0, 1 << 16))
def test_many_random_ptx(arch, program, seed):
    compare(program, seed, arch)


# Steps of a Triton kernel over int32 x, y and float32 u, v; NumPy evaluates the same text.
INTEGER_STEPS = ("{a} + {b}", "{a} - 3 * {b}", "{a} ^ ({b} >> 3)", "{a} & ({b} | 255)",
                 "where({a} < {b}, {b}, {a} - 7)", "minimum({a}, {b}) * 5", "maximum({a}, -{b}) << 2")  # fmt: skip
FLOAT_STEPS = ("{a} - {b}", "{a} * 0.5", "where({a} > {b}, {a}, {b} + 1.0)", "minimum({a}, {b})", "-{a} + 0.25",
               "maximum({a} - 2.0, {b})")  # fmt: skip
SOURCE = """
import triton
import triton.language as tl
from triton.language import maximum, minimum, where


@triton.jit
def kernel(x_ptr, y_ptr, u_ptr, v_ptr, out_ptr, sums_ptr, M: tl.constexpr, N: tl.constexpr):
    at = tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :]
    i0, i1 = tl.load(x_ptr + at), tl.load(y_ptr + at)
    f0, f1 = tl.load(u_ptr + at), tl.load(v_ptr + at)
{steps}
    tl.store(out_ptr + at, {last_float})
    tl.store(sums_ptr + tl.arange(0, N), tl.sum({last_int}, 0))
    tl.store(sums_ptr + N + tl.arange(0, N), tl.max({last_int}, 0))
"""


@pytest.mark.parametrize("seed", range(6))
def test_random_triton(seed, tmp_path):
    rng = np.random.default_rng(seed)
    lines, names = [], {"i": ["i0", "i1"], "f": ["f0", "f1"]}
    for _ in range(12):
        kind, steps = ("i", INTEGER_STEPS) if rng.random() < 0.5 else ("f", FLOAT_STEPS)
        a, b = rng.choice(names[kind][-4:], 2)
        names[kind].append(f"{kind}{len(names[kind])}")
        lines.append(f"    {names[kind][-1]} = {rng.choice(steps).format(a=a, b=b)}")
    text = SOURCE.format(steps="\n".join(lines), last_float=names["f"][-1], last_int=names["i"][-1])
    path = tmp_path / "random_kernel.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(f"random_kernel_{seed}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    m, n = ((32, 16), (8, 64), (64, 32))[seed % 3]
    x, y = (rng.integers(-(1 << 31), 1 << 31, (m, n)).astype(np.int32) for _ in range(2))
    u, v = (rng.normal(size=(m, n)).astype(np.float32) for _ in range(2))
    out, sums = np.zeros((m, n), np.float32), np.zeros((2, n), np.int32)
    tensors = [torch.from_numpy(array) for array in (x, y, u, v, out, sums)]
    with VirtualGPU("rtx_a6000"):
        module.kernel[(1,)](*tensors, M=m, N=n, num_warps=(1, 2, 4, 8)[seed % 4])
    values = {"i0": x, "i1": y, "f0": u, "f1": v, "where": np.where, "minimum": np.minimum, "maximum": np.maximum}
    with np.errstate(over="ignore"):
        for line in lines:
            name, _, expression = line.strip().partition(" = ")
            values[name] = eval(expression, {"__builtins__": {}}, values)
    last = values[names["i"][-1]]
    assert out.tolist() == values[names["f"][-1]].tolist()
    assert sums.tolist() == [last.sum(0, dtype=np.int32).tolist(), last.max(0).tolist()]
