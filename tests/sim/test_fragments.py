"""Operands of every kind of tensor instruction: rows of the matrices a kernel was given, and sums it gave back."""

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from gpu_model import VirtualGPU
from mx_formats.block import MXFP4, MXFP8_E4M3, NVFP4
from mx_formats.quantize import Quantized, dequantize
from sim.dots import Dots, collect_dots
from sim.fragments import first_tiles, unpack_records
from sim.record import GENERATIONS, MATRIX_OPCODES

M, N, K = 64, 32, 128


@triton.jit
def _product(a_ptr, b_ptr, c_ptr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, STEP: tl.constexpr):
    rows, columns, depth = tl.arange(0, M), tl.arange(0, N), tl.arange(0, STEP)
    total = tl.zeros((M, N), dtype=tl.float32)
    for start in range(0, K, STEP):
        a = tl.load(a_ptr + rows[:, None] * K + (start + depth)[None, :])
        b = tl.load(b_ptr + columns[:, None] * K + (start + depth)[None, :])
        total = tl.dot(a, b.T, total)
    tl.store(c_ptr + rows[:, None] * N + columns[None, :], total)


@triton.jit
def _scaled(a_ptr, a_scale_ptr, b_ptr, b_scale_ptr, c_ptr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr,
            KIND: tl.constexpr, BLOCK: tl.constexpr, PACKED: tl.constexpr):  # fmt: skip
    rows, columns = tl.arange(0, M), tl.arange(0, N)
    depth, blocks = tl.arange(0, K // PACKED), tl.arange(0, K // BLOCK)
    a = tl.load(a_ptr + rows[:, None] * (K // PACKED) + depth[None, :])
    b = tl.load(b_ptr + columns[:, None] * (K // PACKED) + depth[None, :])
    a_scale = tl.load(a_scale_ptr + rows[:, None] * (K // BLOCK) + blocks[None, :])
    b_scale = tl.load(b_scale_ptr + columns[:, None] * (K // BLOCK) + blocks[None, :])
    c = tl.dot_scaled(a, a_scale, KIND, b.T, b_scale, KIND)
    tl.store(c_ptr + rows[:, None] * N + columns[None, :], c)


def run(gpu: str, launch) -> tuple[tuple[Dots, ...], set[str], int, int]:
    """Dot products of one launch, its matrix opcodes, records kept and instructions they begin."""
    with VirtualGPU(gpu, dots=4096) as device:
        launch()
        record = device.launches[-1]
    words, opcodes = record.dots.words, set(record.launch.program.rows["opcode"]) & set(MATRIX_OPCODES)
    dots = tuple(group for part in unpack_records(words)
                 for group in collect_dots(part, GENERATIONS[device.spec.arch]))  # fmt: skip
    return dots, opcodes, len(words), first_tiles(words)


def check(dots: tuple[Dots, ...], a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    """Each 16 x 8 tile of the product once, with its rows, its columns and the bits of its sums."""
    (group,) = dots
    assert group.length == K
    seen = set()
    for left, right, sums in zip(group.a, group.b, group.tensor_core, strict=True):
        (row,) = (i for i in range(0, M, 16) if (a[i : i + 16] == left).all())
        (column,) = (j for j in range(0, N, 8) if (b[j : j + 8] == right).all())
        np.testing.assert_array_equal(sums.view(np.uint32), c[row : row + 16, column : column + 8].view(np.uint32))
        seen.add((row, column))
    assert len(seen) == len(group.a) == M * N // 128


CASES = [
    ("rtx_a6000", torch.float16, "HMMA"), ("rtx_a6000", torch.bfloat16, "HMMA"), ("rtx_a6000", torch.float32, "HMMA"),
    ("rtx_4090", torch.float8_e4m3fn, "QMMA"), ("rtx_4090", torch.float8_e5m2, "QMMA"),
    ("h100_sxm", torch.float16, "HGMMA"), ("h100_sxm", torch.bfloat16, "HGMMA"), ("h100_sxm", torch.float32, "HGMMA"),
    ("h100_sxm", torch.float8_e4m3fn, "QGMMA"), ("rtx_5090", torch.float16, "HMMA"),
    ("rtx_5090", torch.float8_e5m2, "QMMA"),
]  # fmt: skip


@pytest.mark.parametrize(("gpu", "dtype", "opcode"), CASES, ids=lambda value: str(value).removeprefix("torch."))
def test_rows_columns_and_sums_are_the_kernels(gpu: str, dtype: torch.dtype, opcode: str) -> None:
    """float32 operands are those of TF32: their last 13 bits are zero here."""
    generator = torch.Generator().manual_seed(1)
    spread = torch.randint(-4, 5, (M + N, K), generator=generator)
    values = torch.ldexp(torch.randn(M + N, K, generator=generator), spread)
    values = (values.view(torch.int32) & ~0x1FFF).view(torch.float32).to(dtype)
    a, b, c = values[:M].contiguous(), values[M:].contiguous(), torch.empty(M, N)
    dots, opcodes, tiles, instructions = run(gpu, lambda: _product[(1,)](a, b, c, M, N, K, 64, num_warps=4))
    assert opcodes == {opcode}
    check(dots, a.float().numpy(), b.float().numpy(), c.numpy())
    assert tiles == instructions * (N // 8 if "GMMA" in opcode else 1)


@pytest.mark.parametrize(("block", "kind", "opcode"), [
    (MXFP8_E4M3, "e4m3", "QMMA"), (MXFP4, "e2m1", "OMMA"), (NVFP4, "e2m1", "OMMA"),
], ids=["mxfp8", "mxfp4", "nvfp4"])  # fmt: skip
def test_block_scales_are_in_the_operands(block, kind: str, opcode: str) -> None:
    rng, packed = np.random.default_rng(2), 2 if kind == "e2m1" else 1
    codes = rng.integers(0, 1 << block.element.bits, (M + N, K), dtype=np.uint8)
    codes[codes == 0x7F], codes[codes == 0xFF] = 1, 2  # E4M3's NaNs
    low = 40 if block is NVFP4 else 120
    scales = rng.integers(low, low + 12, (M + N, K // block.block_size), dtype=np.uint8)
    values = dequantize(Quantized(codes, scales, block))
    stored = torch.from_numpy(codes if packed == 1 else codes[:, ::2] | codes[:, 1::2] << 4)
    scale = torch.from_numpy(scales)
    if kind == "e4m3":
        stored = stored.view(torch.float8_e4m3fn)
    if block is NVFP4:
        scale = scale.view(torch.float8_e4m3fn)
    c = torch.empty(M, N)
    dots, opcodes, _, _ = run("rtx_5090", lambda: _scaled[(1,)](
        stored[:M].contiguous(), scale[:M].contiguous(), stored[M:].contiguous(), scale[M:].contiguous(), c, M, N, K,
        kind, block.block_size, packed, num_warps=4))  # fmt: skip
    assert opcodes == {opcode}
    check(dots, values[:M], values[M:], c.numpy())
