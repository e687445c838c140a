"""Every shape, type, source, orientation and sign of wgmma that ptxas accepts for sm_90a, in every kind of layout.

Floats are compared with MMA-Sim's whole instructions, integers with NumPy, bit for bit.
"""

from typing import NamedTuple

import numpy as np
import pytest
from mmasim.nv_ptx.sim import WGMMA

from gpu_model.errors import ExecutionError
from hw.presets import NVIDIA_F16, NVIDIA_F32
from mx_formats.element import BF16, E4M3, E5M2, FP16, TF32
from tests.gpu_model.ptx.warpgroup import ROWS, Case, Layout, run, variants
from tests.hw.mma_sim import KINDS, draw, draw_sums, sums_from_torch, sums_to_torch, to_torch

ELEMENTS = {"f16": FP16, "bf16": BF16, "tf32": TF32, "e4m3": E4M3, "e5m2": E5M2}
FLOATS = ["f32.f16.f16", "f16.f16.f16", "f32.bf16.bf16", "f32.tf32.tf32"] + [
    f"{d}.{a}.{b}" for d in ("f32", "f16") for a in ("e4m3", "e5m2") for b in ("e4m3", "e5m2")
]
INTEGERS = [f"s32.{a}.{b}" for a in ("s8", "u8") for b in ("s8", "u8")]
# PTX ISA: every multiple of 8 for floats; integers leave some out.
COLUMNS = list(range(8, 257, 8))
INTEGER_COLUMNS = [8, 16, 24, 32, *range(48, 257, 16)]
DISTINCT = 24  # columns of B and C that differ, at most: MMA-Sim is slow


class FloatCase(NamedTuple):
    """Operands as elements, TF32 without its ignored bits; column i of B and C is column `order[i]` of these."""

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    order: np.ndarray
    accumulate: bool

    def spread(self, types: str) -> Case:
        """As registers and memory hold it, with the 13 bits of TF32 that products ignore at random."""
        a, b = self.a, self.b
        if "tf32" in types:
            rng = np.random.default_rng(7)
            a, b = (codes << np.uint32(13) | rng.integers(0, 1 << 13, codes.shape, np.uint32) for codes in (a, b))
        return Case(a, b[self.order], self.c[:, self.order], self.accumulate)


def float_cases(types: str, columns: int, kinds: tuple[str, ...]) -> list[FloatCase]:
    d, a, b = types.split(".")
    accumulator, cases, distinct = (NVIDIA_F16 if d == "f16" else NVIDIA_F32), [], min(columns, DISTINCT)
    for index, kind in enumerate(kinds):
        rng = np.random.default_rng(1000 * columns + index)
        depth = 8 if a == "tf32" else 256 // ELEMENTS[a].bits
        left, right = draw(rng, ELEMENTS[a], (ROWS, depth), kind), draw(rng, ELEMENTS[b], (distinct, depth), kind)
        if kind == "cancel":
            left[:, 1::2] = left[:, ::2] ^ (1 << (ELEMENTS[a].bits - 1))
            right[:, 1::2] = right[:, ::2]
        order = np.concatenate([np.arange(distinct), rng.integers(0, distinct, columns - distinct)])
        start = draw_sums(rng, accumulator, (ROWS, distinct), kind)
        cases.append(FloatCase(left, right, start, rng.permutation(order), index % 3 != 1))
    return cases


def float_rule(types: str, case: FloatCase, negated: bool) -> np.ndarray:
    d, a, b = types.split(".")
    accumulator = NVIDIA_F16 if d == "f16" else NVIDIA_F32
    sign = np.uint32(negated << (ELEMENTS[a].bits - 1))
    start = case.c if case.accumulate else np.zeros_like(case.c)
    theirs = WGMMA("Hopper", f"m64n{case.c.shape[1]}k{case.a.shape[1]}.{types}")
    left, right = to_torch(case.a ^ sign, ELEMENTS[a]), to_torch(case.b, ELEMENTS[b]).T
    return sums_from_torch(theirs(left, right, sums_to_torch(start, accumulator)), accumulator)[:, case.order]


def check_floats(types: str, columns: int, kinds: tuple[str, ...] = KINDS) -> None:
    cases, bits = float_cases(types, columns, kinds), {"f": 16, "b": 16, "t": 32, "e": 8}[types.split(".")[1][0]]
    forms = variants(bits, integer=False)
    got = run(types, bits, forms, [case.spread(types) for case in cases], columns)
    for case, results, kind in zip(cases, got, kinds, strict=True):
        want = [float_rule(types, case, negated) for negated in (False, True)]
        for variant, result in zip(forms, results, strict=True):
            expected = want[variant.negate_a != variant.negate_b]
            np.testing.assert_array_equal(result, expected, err_msg=f"{types} n{columns} {kind} {variant}")


def check_integers(types: str, columns: int) -> None:
    rng, forms, cases = np.random.default_rng(columns), variants(8, integer=True), []
    for index in range(3):
        a, b = rng.integers(0, 256, (ROWS, 32), np.uint32), rng.integers(0, 256, (columns, 32), np.uint32)
        c = rng.integers(0, 1 << 32, (ROWS, columns), np.uint32)
        edges = np.array([0x7FFFFFFF, 0x80000000, 0x7FFFFFF0, 0x8000000F, 0], np.uint32)
        c = np.where(rng.random(c.shape) < 0.5, rng.choice(edges, c.shape), c)
        cases.append(Case(a, b, c, index != 1))
    _, kind_a, kind_b = types.split(".")
    for case, results in zip(cases, run(types, 8, forms, cases, columns), strict=True):
        a, b = (m.astype(np.uint8).view(np.int8 if kind == "s8" else np.uint8).astype(np.int64)
                for m, kind in ((case.a, kind_a), (case.b, kind_b)))  # fmt: skip
        total = a @ b.T + (case.c.view(np.int32) if case.accumulate else 0)
        for variant, result in zip(forms, results, strict=True):
            want = np.clip(total, -(1 << 31), (1 << 31) - 1) if variant.saturate else total
            np.testing.assert_array_equal(
                result, want.astype(np.uint64).astype(np.uint32), err_msg=f"{types} {variant}"
            )


@pytest.mark.parametrize(
    ("types", "columns"),
    [("f32.f16.f16", 24), ("f16.f16.f16", 16), ("f32.bf16.bf16", 8), ("f32.tf32.tf32", 40), ("f32.e4m3.e5m2", 16),
     ("f16.e5m2.e4m3", 8)],
)  # fmt: skip
def test_float_products(types, columns):
    check_floats(types, columns)


@pytest.mark.parametrize(("types", "columns"), [("s32.s8.u8", 24), ("s32.u8.s8", 16)])
def test_integer_products(types, columns):
    check_integers(types, columns)


@pytest.mark.slow
@pytest.mark.parametrize("types", FLOATS)
@pytest.mark.parametrize("columns", COLUMNS)
def test_every_float_product(types, columns):
    check_floats(types, columns)


@pytest.mark.slow
@pytest.mark.parametrize("types", INTEGERS)
@pytest.mark.parametrize("columns", INTEGER_COLUMNS)
def test_every_integer_product(types, columns):
    check_integers(types, columns)


def test_a_base_offset_is_refused_by_name(monkeypatch):
    plain = vars(Layout)["descriptor"].fget
    monkeypatch.setattr(Layout, "descriptor", property(lambda layout: plain(layout) | 1 << 49))
    with pytest.raises(ExecutionError, match="its base offset is not zero"):
        check_integers("s32.s8.s8", 8)
