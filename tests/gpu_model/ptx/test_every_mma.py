"""Every dense mma.sync of the PTX ISA on adversarial operands: floats against MMA-Sim, integers against NumPy."""

import numpy as np
import pytest
from mmasim.nv_ptx.isa_mma import mma_shape_and_type
from mmasim.nv_ptx.sim import MMA

from gpu_model.errors import UnsupportedInstruction
from hw.presets import NVIDIA_F16, NVIDIA_F32
from mx_formats.element import BF16, E2M1, E2M3, E3M2, E4M3, E5M2, FP16, TF32
from tests.gpu_model.ptx.harness import ARCHES
from tests.gpu_model.ptx.warp_matrix import names, run_mma, run_words
from tests.hw.mma_sim import KINDS, draw, draw_sums, sums_from_torch, sums_to_torch, to_torch

RNG = np.random.default_rng(11)
ELEMENTS = {"f16": FP16, "bf16": BF16, "tf32": TF32, "e4m3": E4M3, "e5m2": E5M2, "e3m2": E3M2, "e2m3": E2M3,
            "e2m1": E2M1}  # fmt: skip
GENERATIONS = {75: "Turing", 80: "Ampere", 86: "Ampere", 89: "Ada Lovelace", 90: "Hopper", 120: "RTX Blackwell"}


def registers_of(codes: np.ndarray, name: str) -> tuple[np.ndarray, int]:
    """Elements as registers hold them, and their width there (PTX ISA, 6- and 4-bit elements of kind::f8f6f4)."""
    if name == "tf32":  # the last 13 bits are ignored
        return codes << np.uint32(13) | RNG.integers(0, 1 << 13, codes.shape, np.uint32), 32
    if name == "e2m1":
        return codes << np.uint32(2), 8
    return codes, max(8, ELEMENTS[name].bits)


def float_forms(arch: int) -> list[str]:
    """MMA-Sim's list, but for float64 (see test_matrix) and Volta's m8n8k4 (below)."""
    return [form for form in mma_shape_and_type[GENERATIONS[arch]] if "f64" not in form and "m8n8k4" not in form]


def draw_matrices(a: str, b: str, depth: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """A [16, depth] and B [8, depth]; neighbours in k cancel in the kind of that name."""
    left, right = draw(RNG, ELEMENTS[a], (16, depth), kind), draw(RNG, ELEMENTS[b], (8, depth), kind)
    if kind == "cancel":
        left[:, 1::2] = left[:, ::2] ^ (1 << (ELEMENTS[a].bits - 1))
        right[:, 1::2] = right[:, ::2]
    return left, right


def check_floats(form: str, arch: int) -> None:
    shape, *kind, d, a, b, _ = form.split(".")
    accumulator, depth = (NVIDIA_F16 if d == "f16" else NVIDIA_F32), int(shape.split("k")[1])
    pairs = [draw_matrices(a, b, depth, kind) for kind in KINDS for _ in range(4)]
    start = np.stack([draw_sums(RNG, accumulator, (16, 8), kind) for kind in KINDS for _ in range(4)])
    (left, bits), (right, _) = (
        registers_of(np.stack(part), name) for part, name in zip(zip(*pairs, strict=True), (a, b), strict=True)
    )
    types = ".".join(form.split(".")[1:])
    got = run_mma(f"mma.sync.aligned.{shape}.row.col.{types}", left, right, start, arch, bits=bits,
                  sum_bits=accumulator.bits)  # fmt: skip
    theirs = MMA(GENERATIONS[arch], form)
    for (x, y), before, after in zip(pairs, start, got, strict=True):
        want = theirs(to_torch(x, ELEMENTS[a]), to_torch(y, ELEMENTS[b]).T, sums_to_torch(before, accumulator))
        np.testing.assert_array_equal(after, sums_from_torch(want, accumulator), err_msg=f"{form} on sm_{arch}")


@pytest.mark.parametrize(
    ("arch", "form"), [pytest.param(arch, form, id=f"{arch}-{form}") for arch in ARCHES for form in float_forms(arch)]
)
def test_float_products(arch, form):
    check_floats(form, arch)


@pytest.mark.parametrize(
    ("target", "form"),
    [(80, "m16n8k8.f32.bf16.bf16.f32"), (89, "m16n8k32.f32.e4m3.e5m2.f32"), (89, "m16n8k16.f16.e5m2.e5m2.f16"),
     (90, "m16n8k8.f32.tf32.tf32.f32"), (120, "m16n8k32.kind::f8f6f4.f32.e2m1.e3m2.f32"),
     (120, "m16n8k32.kind::f8f6f4.f16.e2m3.e4m3.f16")],
)  # fmt: skip
def test_a_sample_of_the_other_architectures(target, form):
    check_floats(form, target)


# rows, k, types of A and B, first architecture
INTEGERS = [
    *[(8, 16, a, b, 75) for a in ("s8", "u8") for b in ("s8", "u8")],
    *[(16, k, a, b, 80) for k in (16, 32) for a in ("s8", "u8") for b in ("s8", "u8")],
    *[(8, 32, a, b, 75) for a in ("s4", "u4") for b in ("s4", "u4")],
    *[(16, k, a, b, 80) for k in (32, 64) for a in ("s4", "u4") for b in ("s4", "u4")],
]  # fmt: skip


def signed(codes: np.ndarray, kind: str) -> np.ndarray:
    bits = int(kind[1:])
    values = codes.astype(np.int64)
    return values - (values >> (bits - 1) << bits) if kind[0] == "s" else values


def check_integers(rows: int, depth: int, kind_a: str, kind_b: str, arch: int) -> None:
    """Full-range operands, sums beside both ends of the range; wrapping and .satfinite."""
    bits, count = int(kind_a[1:]), 6
    a, b = (RNG.integers(0, 1 << bits, (count, lines, depth), np.uint32) for lines in (rows, 8))
    a[0], b[0] = 1 << (bits - 1), 1 << (bits - 1)
    edges = np.array([0, 0x7FFFFFFF, 0x80000000, 0x7FFFFF00, 0x80000100], np.uint32)
    c = np.where(RNG.random((count, rows, 8)) < 0.6, RNG.choice(edges, (count, rows, 8)),
                 RNG.integers(0, 1 << 32, (count, rows, 8), np.uint32)).astype(np.uint32)  # fmt: skip
    total = signed(a, kind_a) @ signed(b, kind_b).transpose(0, 2, 1) + c.view(np.int32)
    for saturate in (False, True):
        text = f"mma.sync.aligned.m{rows}n8k{depth}.row.col{'.satfinite' * saturate}.s32.{kind_a}.{kind_b}.s32"
        want = np.clip(total, -(1 << 31), (1 << 31) - 1) if saturate else total
        got = run_mma(text, a, b, c, arch, bits=bits)
        np.testing.assert_array_equal(got, (want & 0xFFFFFFFF).astype(np.uint32), err_msg=f"{text} on sm_{arch}")


@pytest.mark.parametrize(("rows", "depth", "kind_a", "kind_b", "since"), INTEGERS)
@pytest.mark.parametrize("arch", ARCHES)
def test_integer_products(arch, rows, depth, kind_a, kind_b, since):
    if arch >= since:
        check_integers(rows, depth, kind_a, kind_b, arch)


@pytest.mark.parametrize("depth", [16, 32])
def test_fp8_products_that_hopper_makes_of_fp16(depth):
    """ptxas unpacks both sides and adds C in FP32: whole numbers, which every order of sums leaves exact."""
    values = np.array([-8, -4, -3, -2, -1, 0, 1, 2, 3, 4, 8])
    a, b = RNG.choice(values, (4, 16, depth)), RNG.choice(values, (4, 8, depth))
    c = RNG.integers(-1000, 1000, (4, 16, 8))
    codes = {value: int(np.float16(value).view(np.uint16)) >> 8 for value in values.tolist()}  # E5M2 halves FP16
    left, right = (np.vectorize(codes.get)(part).astype(np.uint32) for part in (a, b))
    text = f"mma.sync.aligned.m16n8k{depth}.row.col.f32.e5m2.e5m2.f32"
    got = run_mma(text, left, right, c.astype(np.float32).view(np.uint32), 90, bits=8)
    assert got.view(np.float32).tolist() == (a @ b.transpose(0, 2, 1) + c).tolist()


@pytest.mark.parametrize("single", [True, False], ids=["f32", "f16"])
@pytest.mark.parametrize("layout", ["row.row", "row.col", "col.row", "col.col"])
@pytest.mark.parametrize("arch", [arch for arch in ARCHES if arch >= 80])
def test_volta_products(arch, layout, single):
    """m8n8k4: four products of 8 x 4 by 4 x 8 a warp, each by a quad of the lower and one of the upper lanes."""
    a, b, c = (RNG.integers(-9, 9, shape) for shape in ((4, 8, 4), (4, 4, 8), (4, 8, 8)))
    lane, i = np.arange(32), np.arange(4)[:, None]
    unit, upper, along = lane % 16 // 4, 4 * (lane // 16), lane % 4
    across = i + upper  # the four elements of a lane run along its row (column), or are that of its own k
    at_a = (unit, along + upper, i) if layout.startswith("row") else (unit, across, along)
    at_b = (unit, i, along + upper) if layout.endswith("col") else (unit, along, across)
    j = np.arange(8)[:, None]
    at_c = (unit, (lane & 1) + (j & 2) + upper, (j & 4) + (lane & 2) + (j & 1)) if single else (unit, along + upper, j)
    half_words = [m[at].astype(np.float16).view(np.uint16) for m, at in ((a, at_a), (b, at_b))]
    c_words = c[at_c].astype(np.float32).view(np.uint32) if single else c[at_c].astype(np.float16).view(np.uint16)
    words: list[np.ndarray] = [part[0::2].astype(np.uint32) | part[1::2].astype(np.uint32) << 16 for part in half_words]
    words.append(c_words if single else c_words[0::2].astype(np.uint32) | c_words[1::2].astype(np.uint32) << 16)
    count, sums = (8, "f32") if single else (4, "f16")
    registers = ", ".join([names("d", count), names("w", 2), names("w", 2, 2), names("w", count, 4)])
    text = f"mma.sync.aligned.m8n8k4.{layout}.{sums}.f16.f16.{sums} {registers};"
    got = run_words(text, np.concatenate(words)[None], count, arch)[0]
    want = (a @ b + c)[at_c]
    if single:
        assert got.view(np.float32).tolist() == want.tolist()
    else:
        pairs = want.astype(np.float16).view(np.uint16).astype(np.uint32)
        assert got.tolist() == (pairs[0::2] | pairs[1::2] << 16).tolist()


SPARSE = [
    ("m16n8k16", "f32.f16.f16.f32", 2, 2, 4, 80), ("m16n8k32", "f16.f16.f16.f16", 4, 4, 2, 80),
    ("m16n8k16", "f32.tf32.tf32.f32", 4, 4, 4, 80), ("m16n8k64", "s32.s8.u8.s32", 4, 4, 4, 80),
    ("m16n8k64", "f32.e4m3.e5m2.f32", 4, 4, 4, 89),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "types", "a", "b", "c", "since"), SPARSE)
@pytest.mark.parametrize("arch", [arch for arch in ARCHES if arch >= 80])
def test_sparse_products_are_refused_by_name(arch, shape, types, a, b, c, since):
    if arch < since:
        return
    registers = ", ".join([names("d", c), names("w", a), names("w", b, a), names("w", c, a + b)])
    metadata = a + b + c
    text = f"mma.sp::ordered_metadata.sync.aligned.{shape}.row.col.{types} {registers}, w{metadata}, 0x0;"
    with pytest.raises(UnsupportedInstruction, match=r"MMA\.SP.* is not supported"):
        run_words(text, np.zeros((1, metadata + 1, 32)), c, arch)
