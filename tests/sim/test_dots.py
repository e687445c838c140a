"""Chaining instructions back into dot products."""

import numpy as np
import pytest

from hw.presets import TENSOR_CORES
from mx_formats.element import FP16
from sim.dots import BLOCK, FRAGMENT_WORDS, STEP, HmmaOperands, collect_dots, tensor_core_sums, unpack_fragments

AMPERE = TENSOR_CORES["ampere", FP16]


def run_chains(a: np.ndarray, b: np.ndarray, start: np.ndarray, warp: int = 0) -> HmmaOperands:
    """Instructions of n tiles executed in lock step: tile 0 link 0, tile 1 link 0, ..., tile 0 link 1, ...

    Operands are small integers, so that every sum is exact in float32 whatever its order.
    """
    rows = []
    c = start.copy()
    for k in range(0, a.shape[2], STEP):
        piece_a, piece_b = a[:, :, k : k + STEP], b[:, :, k : k + STEP]
        d = (c + piece_a.astype(np.float64) @ piece_b.astype(np.float64).swapaxes(1, 2)).astype(np.float32)
        rows.append((piece_a, piece_b, c, d))
        c = d
    a_, b_, c_, d_ = (np.concatenate(column) for column in zip(*rows, strict=True))
    return HmmaOperands(FP16, np.full(len(a_), warp), a_.view(np.uint16), b_.view(np.uint16), c_, d_)


def joined(*parts: HmmaOperands) -> HmmaOperands:
    columns = (np.concatenate([getattr(part, name) for part in parts]) for name in ("group", "a", "b", "c", "d"))
    return HmmaOperands(FP16, *columns)


def integers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(np.float16)


@pytest.mark.parametrize("links", [1, 2, 3, 4])
def test_interleaved_chains_from_zero(links: int) -> None:
    k = links * STEP
    a, b = integers(1, 5, 16, k), integers(2, 5, 8, k)
    (dots,) = collect_dots(run_chains(a, b, np.zeros((5, 16, 8), np.float32)), AMPERE)
    assert dots.length == -(-k // BLOCK) * BLOCK
    assert dots.count == 5 * 128
    np.testing.assert_array_equal(dots.a[:, :, :k], a)
    np.testing.assert_array_equal(dots.b[:, :, :k], b)
    assert not dots.a[:, :, k:].any()
    np.testing.assert_array_equal(dots.tensor_core, a.astype(float) @ b.astype(float).swapaxes(1, 2))


def test_a_foreign_accumulator_starts_a_chain_and_is_left_out() -> None:
    a, b = integers(3, 4, 16, 32), integers(4, 4, 8, 32)
    start = integers(5, 4, 16, 8).astype(np.float32) + 0.5
    (dots,) = collect_dots(run_chains(a, b, start), AMPERE)
    assert dots.a.shape == (4, 16, 32)
    np.testing.assert_array_equal(dots.tensor_core, a.astype(float) @ b.astype(float).swapaxes(1, 2))


def test_warps_do_not_mix() -> None:
    a, b = integers(6, 1, 16, 32), integers(7, 1, 8, 32)
    zero = np.zeros((1, 16, 8), np.float32)
    first, second = run_chains(a, b, zero, warp=0), run_chains(a, b, zero, warp=1)
    (dots,) = collect_dots(joined(first, second), AMPERE)
    assert dots.a.shape == (2, 16, 32)


def test_lengths_come_apart_shortest_first() -> None:
    zero = np.zeros((2, 16, 8), np.float32)
    long = run_chains(integers(8, 2, 16, 64), integers(9, 2, 8, 64), zero)
    short = run_chains(integers(10, 2, 16, 32), integers(11, 2, 8, 32), zero, warp=1)
    assert [dots.length for dots in collect_dots(joined(long, short), AMPERE)] == [32, 64]


def test_no_instructions_no_dots() -> None:
    empty = unpack_fragments(np.zeros((0, FRAGMENT_WORDS, 32), np.uint32), np.zeros(0, np.int64), FP16)
    assert collect_dots(empty, AMPERE) == ()


def test_equal_tiles_of_a_block_all_keep_their_links() -> None:
    a, b = (np.repeat(integers(12, 1, rows, 64), 3, axis=0) for rows in (16, 8))
    (dots,) = collect_dots(run_chains(a, b, np.zeros((3, 16, 8), np.float32)), AMPERE)
    assert dots.a.shape == (3, 16, 64)


def test_fragments_follow_the_ptx_tables() -> None:
    """PTX ISA, mma.m16n8k16 with 16-bit operands, g = lane >> 2, t = lane % 4, element i of a lane's fragment.

    A: row g for i in 0, 1, 4, 5, else g + 8; k = 2t + (i & 1) + (8 if i >= 4). B: k = 2t + (i & 1) + (8 if i >= 2),
    column g. Accumulator: row g for i < 2, else g + 8; column 2t + (i & 1).
    """
    rng = np.random.default_rng(13)
    words = rng.integers(0, 1 << 32, (2, FRAGMENT_WORDS, 32), dtype=np.uint32)
    operands = unpack_fragments(words, np.zeros(2, np.int64), FP16)
    for lane in range(32):
        g, t = lane >> 2, lane % 4
        for i in range(8):
            code = (words[:, i // 2, lane] >> (16 * (i % 2))) & 0xFFFF
            row, k = g + (0 if i in (0, 1, 4, 5) else 8), 2 * t + (i & 1) + (8 if i >= 4 else 0)
            np.testing.assert_array_equal(operands.a[:, row, k], code)
        for i in range(4):
            code = (words[:, 4 + i // 2, lane] >> (16 * (i % 2))) & 0xFFFF
            np.testing.assert_array_equal(operands.b[:, g, 2 * t + (i & 1) + (8 if i >= 2 else 0)], code)
            row, column = g + (0 if i < 2 else 8), 2 * t + (i & 1)
            np.testing.assert_array_equal(operands.c[:, row, column].view(np.uint32), words[:, 6 + i, lane])
            np.testing.assert_array_equal(operands.d[:, row, column].view(np.uint32), words[:, 10 + i, lane])


def test_sums_are_cut_where_the_tensor_core_cuts() -> None:
    """1 + 2^-24 in one fused step: the small product lies below F = 24 fraction bits only when halved again.

    Aligned to exponent 0 with 24 fraction bits, 2^-24 is the last bit kept; the sum 1 + 2^-24 is then truncated to
    float32 (23 fraction bits), so it is 1. Two of them make 1 + 2^-23, which float32 holds; a third product of 2^-25
    is lost.
    """
    a, b = np.zeros((3, 16, 32), np.float16), np.zeros((3, 8, 32), np.float16)
    a[:, 0, 0] = b[:, 0, 0] = 1
    a[:, 0, 1] = b[:, 0, 1] = 2.0**-12
    a[1:, 0, 2] = b[1:, 0, 2] = 2.0**-12
    a[2, 0, 3], b[2, 0, 3] = 2.0**-12, 2.0**-13
    sums = tensor_core_sums(a.view(np.uint16), b.view(np.uint16), FP16, AMPERE)[:, 0, 0]
    np.testing.assert_array_equal(sums, np.float32([1, 1 + 2.0**-23, 1 + 2.0**-23]))
