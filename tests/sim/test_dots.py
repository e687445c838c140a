"""Chaining instructions back into dot products."""

import numpy as np
import pytest

from gpu_model.machine.capture import FACTS, RECORD_ROWS, WARP_INDEX
from gpu_model.machine.fragments import KINDS
from hw.presets import TENSOR_CORES
from mx_formats.element import E2M1, E4M3, FP16
from sim.dots import BLOCK, collect_dots, tensor_core_sums
from sim.fragments import Kind, TileOperands, unpack_records

STEP = 16  # K of one HMMA of 16-bit operands
HMMA = Kind(FP16, FP16, STEP)

AMPERE = TENSOR_CORES["ampere", FP16]


def tiles_of(group: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> TileOperands:
    scales = [np.zeros((len(a), lines, 0), np.uint8) for lines in (16, 8)]
    return TileOperands(HMMA, group, a.astype(np.uint32), b.astype(np.uint32), *scales, c, d)


def run_chains(a: np.ndarray, b: np.ndarray, start: np.ndarray, warp: int = 0) -> TileOperands:
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
    return tiles_of(np.full(len(a_), warp), a_.view(np.uint16), b_.view(np.uint16), c_, d_)


def joined(*parts: TileOperands) -> TileOperands:
    columns = (np.concatenate([getattr(part, name) for part in parts]) for name in ("group", "a", "b", "c", "d"))
    return tiles_of(*columns)


def integers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(np.float16)


@pytest.mark.parametrize("links", [1, 2, 3, 4])
def test_interleaved_chains_from_zero(links: int) -> None:
    k = links * STEP
    a, b = integers(1, 5, 16, k), integers(2, 5, 8, k)
    (dots,) = collect_dots(run_chains(a, b, np.zeros((5, 16, 8), np.float32)), "ampere")
    assert dots.length == -(-k // BLOCK) * BLOCK
    assert dots.count == 5 * 128
    np.testing.assert_array_equal(dots.a[:, :, :k], a)
    np.testing.assert_array_equal(dots.b[:, :, :k], b)
    assert not dots.a[:, :, k:].any()
    np.testing.assert_array_equal(dots.tensor_core, a.astype(float) @ b.astype(float).swapaxes(1, 2))


def test_a_foreign_accumulator_starts_a_chain_and_is_left_out() -> None:
    a, b = integers(3, 4, 16, 32), integers(4, 4, 8, 32)
    start = integers(5, 4, 16, 8).astype(np.float32) + 0.5
    (dots,) = collect_dots(run_chains(a, b, start), "ampere")
    assert dots.a.shape == (4, 16, 32)
    np.testing.assert_array_equal(dots.tensor_core, a.astype(float) @ b.astype(float).swapaxes(1, 2))


def test_warps_do_not_mix() -> None:
    a, b = integers(6, 1, 16, 32), integers(7, 1, 8, 32)
    zero = np.zeros((1, 16, 8), np.float32)
    first, second = run_chains(a, b, zero, warp=0), run_chains(a, b, zero, warp=1)
    (dots,) = collect_dots(joined(first, second), "ampere")
    assert dots.a.shape == (2, 16, 32)


def test_lengths_come_apart_shortest_first() -> None:
    zero = np.zeros((2, 16, 8), np.float32)
    long = run_chains(integers(8, 2, 16, 64), integers(9, 2, 8, 64), zero)
    short = run_chains(integers(10, 2, 16, 32), integers(11, 2, 8, 32), zero, warp=1)
    assert [dots.length for dots in collect_dots(joined(long, short), "ampere")] == [32, 64]


def test_no_instructions_no_dots() -> None:
    assert unpack_records(np.zeros((0, RECORD_ROWS, 32), np.uint32)) == []
    none = np.zeros((0, 16, 8), np.float32)
    assert collect_dots(tiles_of(np.zeros(0, np.int64), none, none, none, none), "ampere") == ()


def test_equal_tiles_of_a_block_all_keep_their_links() -> None:
    a, b = (np.repeat(integers(12, 1, rows, 64), 3, axis=0) for rows in (16, 8))
    (dots,) = collect_dots(run_chains(a, b, np.zeros((3, 16, 8), np.float32)), "ampere")
    assert dots.a.shape == (3, 16, 64)


def record_of(words: np.ndarray, kind: int, bits: int, depth: int) -> np.ndarray:
    """Registers uint32[n, 14, 32] as the machine keeps them, with their facts."""
    facts = np.zeros((len(words), 1, 32), np.uint32)
    facts[:, 0, : WARP_INDEX + 1] = [kind, kind, bits, depth, 0, 0, 0, 5]
    return np.concatenate([words, facts], axis=1)


def test_fragments_follow_the_ptx_tables() -> None:
    """PTX ISA, mma.m16n8k16 with 16-bit operands, g = lane >> 2, t = lane % 4, element i of a lane's fragment.

    A: row g for i in 0, 1, 4, 5, else g + 8; k = 2t + (i & 1) + (8 if i >= 4). B: k = 2t + (i & 1) + (8 if i >= 2),
    column g. Accumulator: row g for i < 2, else g + 8; column 2t + (i & 1).
    """
    rng = np.random.default_rng(13)
    words = rng.integers(0, 1 << 32, (2, FACTS, 32), dtype=np.uint32)
    (operands,) = unpack_records(record_of(words, KINDS.index(FP16), 16, 16))
    assert operands.kind == HMMA
    assert operands.group.tolist() == [5, 5]
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


def test_bytes_follow_the_ptx_tables() -> None:
    """PTX ISA, mma.m16n8k32 with 8-bit operands, element i of a lane's fragment.

    A: row g for 0 <= i < 4 and 8 <= i < 12, else g + 8; k = 4t + (i & 3) + (16 if i >= 8).
    B: k = 4t + (i & 3) + (16 if i >= 4), column g. E2M1 lies in bits 2 to 5 of its byte.
    """
    words = np.random.default_rng(14).integers(0, 1 << 32, (2, FACTS, 32), dtype=np.uint32)
    for element, shift in ((E4M3, 0), (E2M1, 2)):
        (operands,) = unpack_records(record_of(words, KINDS.index(element), 8, 32))
        mask = (1 << element.bits) - 1
        for lane in range(32):
            g, t = lane >> 2, lane % 4
            for i in range(16):
                code = words[:, i // 4, lane] >> (8 * (i % 4) + shift) & mask
                row = g + (0 if i // 4 in (0, 2) else 8)
                np.testing.assert_array_equal(operands.a[:, row, 4 * t + (i & 3) + (16 if i >= 8 else 0)], code)
            for i in range(8):
                code = words[:, 4 + i // 4, lane] >> (8 * (i % 4) + shift) & mask
                np.testing.assert_array_equal(operands.b[:, g, 4 * t + (i & 3) + (16 if i >= 4 else 0)], code)


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
    sums = tensor_core_sums(HMMA, a.view(np.uint16), b.view(np.uint16), AMPERE)[:, 0, 0]
    np.testing.assert_array_equal(sums, np.float32([1, 1 + 2.0**-23, 1 + 2.0**-23]))
