"""mma.sync.block_scale of sm_120a: every type pair, scale vector and selector, against MMA-Sim bit for bit."""

from itertools import product

import numpy as np
import pytest
import torch
from mmasim.nv_ptx.sim import MMABlockScale

from hw.presets import NVIDIA_F32
from mx_formats.element import E2M1, E2M3, E3M2, E4M3, E5M2
from tests.gpu_model.ptx.warp_matrix import run_mma
from tests.hw.mma_sim import KINDS, draw, draw_sums, sums_from_torch, sums_to_torch, to_torch

ARCH, LANES = 120, 32
ELEMENTS = {"e4m3": E4M3, "e5m2": E5M2, "e3m2": E3M2, "e2m3": E2M3, "e2m1": E2M1}
TORCH_SCALES = {"ue8m0": torch.float8_e8m0fnu, "ue4m3": torch.float8_e4m3fn}
RNG = np.random.default_rng(12)


def draw_scales(shape: tuple[int, ...], kind: str) -> np.ndarray:
    """Scale codes: near one, far from it, any code (NaN, and the sign bit that UE4M3 ignores)."""
    near = RNG.integers(120, 135, shape) if kind == "ue8m0" else RNG.integers(0x20, 0x60, shape)
    far = RNG.integers(0, 256, shape)
    return np.where(RNG.random(shape) < 0.8, near, far).astype(np.uint8)


def scale_words(scales: np.ndarray, byte: int, thread: int, is_a: bool) -> np.ndarray:
    """The scale register of each lane, its other bytes at random: PTX ISA, block scaling of mma.

    `scales` is uint8[case, line, vector]. Line g of B is in lane 4g + thread. Of A, lane 4g + 2 thread has row g and
    the next lane row g + 8. A vector lies in as many bytes from `byte` on.
    """
    cases, lines, count = scales.shape
    held = RNG.integers(0, 256, (cases, LANES, 4), np.uint8)
    line = np.arange(lines)
    lane = 4 * (line % 8) + (2 * thread + line // 8 if is_a else thread)
    held[:, lane, byte : byte + count] = scales
    return held.view(np.uint32)[..., 0]


def check_scaled(form: str, vector: str, selectors: list[tuple[int, ...]], constant: bool) -> None:
    """A case for each kind of operand, a launch for each choice of (byte, thread) of A and of B."""
    shape, kind, _, _, a, b, _, scale = form.split(".")
    depth, count, repeats = int(shape.split("k")[1]), int(vector[0]), 2
    kinds = [name for name in KINDS for _ in range(repeats)]
    left = np.stack([draw(RNG, ELEMENTS[a], (16, depth), name) for name in kinds])
    right = np.stack([draw(RNG, ELEMENTS[b], (8, depth), name) for name in kinds])
    start = np.stack([draw_sums(RNG, NVIDIA_F32, (16, 8), name) for name in kinds])
    scales = [draw_scales((len(kinds), lines, count), scale) for lines in (16, 8)]
    theirs = MMABlockScale("RTX Blackwell", form)
    packed = depth == 64
    if packed:
        shown = [torch.from_numpy((m[..., ::2] | m[..., 1::2] << 4).astype(np.uint8)) for m in (left, right)]
        registers = [left, right]
    else:
        shown = [to_torch(left, ELEMENTS[a]), to_torch(right, ELEMENTS[b])]
        registers = [m << np.uint32(2 * (name == "e2m1")) for m, name in ((left, a), (right, b))]
    with_types = [torch.from_numpy(part).view(TORCH_SCALES[scale]) for part in scales]
    want = [
        sums_from_torch(theirs(x, y.T, sums_to_torch(c, NVIDIA_F32), sa, sb.T), NVIDIA_F32)
        for x, y, c, sa, sb in zip(*shown, start, *with_types, strict=True)
    ]
    text = f"mma.sync.aligned.{shape}.row.col.{kind}.block_scale.scale_vec::{vector}.f32.{a}.{b}.f32.{scale}"
    for byte_a, thread_a, byte_b, thread_b in selectors:
        words = [scale_words(scales[0], byte_a, thread_a, True), scale_words(scales[1], byte_b, thread_b, False)]
        if constant:
            chosen, declarations = (byte_a, thread_a, byte_b, thread_b), ""
        else:  # in registers, which ptxas cannot see through
            chosen = ("h0", "h1", "h2", "h3")
            words += [np.full_like(words[0], value) for value in (byte_a, thread_a, byte_b, thread_b)]
            declarations = ".reg .b16 h<4>, no;"
        operands = f", {{0}}, {{{{{chosen[0]}, {chosen[1]}}}}}, {{1}}, {{{{{chosen[2]}, {chosen[3]}}}}}"
        moves = "" if constant else "".join(f"mov.b32 {{{{h{i}, no}}}}, {{{2 + i}}};" for i in range(4))
        got = run_mma(text, registers[0], registers[1], start, ARCH, bits=4 if packed else 8,
                      extra=np.stack(words, 1), before=moves, operands=operands, declarations=declarations)  # fmt: skip
        note = f"{form} {vector}, byte and thread of A {byte_a}, {thread_a}, of B {byte_b}, {thread_b}"
        np.testing.assert_array_equal(got, np.stack(want), err_msg=note)


PAIRS = list(product(ELEMENTS, repeat=2))
BYTE_FORMS = {f"{a}.{b}": f"m16n8k32.kind::mxf8f6f4.block32.f32.{a}.{b}.f32.ue8m0" for a, b in PAIRS}
NIBBLE_FORMS = [
    ("m16n8k64.kind::mxf4.block32.f32.e2m1.e2m1.f32.ue8m0", "2X"),
    ("m16n8k64.kind::mxf4nvf4.block32.f32.e2m1.e2m1.f32.ue8m0", "2X"),
    ("m16n8k64.kind::mxf4nvf4.block16.f32.e2m1.e2m1.f32.ue8m0", "4X"),
    ("m16n8k64.kind::mxf4nvf4.block16.f32.e2m1.e2m1.f32.ue4m3", "4X"),
]  # fmt: skip


@pytest.mark.parametrize("types", [*BYTE_FORMS])
def test_8_bit_containers(types):
    check_scaled(BYTE_FORMS[types], "1X", [(0, 0, 0, 0), (3, 1, 2, 3)], constant=True)


@pytest.mark.parametrize(("form", "vector"), NIBBLE_FORMS, ids=lambda part: part)
def test_4_bit_elements(form, vector):
    bytes_ = (0, 2) if vector == "2X" else (0,)
    selectors = [(x, 1, y, 2) for x in bytes_ for y in bytes_]
    check_scaled(form, vector, selectors, constant=True)


@pytest.mark.parametrize("constant", [True, False], ids=["immediate", "register"])
def test_some_selectors(constant):
    check_scaled(BYTE_FORMS["e4m3.e2m1"], "1X", [(1, 0, 3, 1), (2, 1, 0, 2)], constant)
    check_scaled(NIBBLE_FORMS[1][0], "2X", [(2, 0, 0, 3)], constant)


@pytest.mark.slow
@pytest.mark.parametrize("constant", [True, False], ids=["immediate", "register"])
@pytest.mark.parametrize(("form", "vector"), [(BYTE_FORMS["e5m2.e2m3"], "1X"), *NIBBLE_FORMS], ids=lambda part: part)
def test_every_selector(form, vector, constant):
    bytes_ = {"1X": range(4), "2X": (0, 2), "4X": (0,)}[vector]
    check_scaled(form, vector, list(product(bytes_, range(2), bytes_, range(4))), constant)
