"""Hopper's warpgroup products, tensor copies and barriers, each against a model of its own."""

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from gpu_model import VirtualGPU, tensormap
from gpu_model.errors import LaunchError, MemoryFault, SassError, UnsupportedInstruction
from gpu_model.machine.fragments import matrix_address
from gpu_model.machine.lower import lower
from gpu_model.machine.mbarrier import update_barrier
from gpu_model.machine.tensor_copy import swizzled
from gpu_model.sass import assemble
from hw.presets import tensor_core
from hw.reference import reference
from mx_formats.element import BF16, E4M3, E5M2, FP16


@pytest.fixture(scope="module")
def gpu():
    with VirtualGPU("h100_sxm") as device:
        triton.set_allocator(lambda size, align, stream: torch.empty(size, dtype=torch.int8))
        yield device


@triton.jit
def _product(a_ptr, b_ptr, c_ptr, K, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
             B_TRANSPOSED: tl.constexpr):  # fmt: skip
    rows, columns, depth = tl.arange(0, ROWS), tl.arange(0, COLUMNS), tl.arange(0, DEPTH)
    total = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for start in range(0, K, DEPTH):
        a = tl.load(a_ptr + rows[:, None] * K + (start + depth)[None, :])
        if B_TRANSPOSED:
            b = tl.load(b_ptr + columns[:, None] * K + (start + depth)[None, :]).T
        else:
            b = tl.load(b_ptr + (start + depth)[:, None] * COLUMNS + columns[None, :])
        total = tl.dot(a, b, total)
    tl.store(c_ptr + rows[:, None] * COLUMNS + columns[None, :], total)


DTYPES = {"fp16": (torch.float16, FP16), "bf16": (torch.bfloat16, BF16), "e4m3": (torch.float8_e4m3fn, E4M3),
          "e5m2": (torch.float8_e5m2, E5M2)}  # fmt: skip


def codes(tensor):
    return tensor.contiguous().view(torch.int8 if tensor.element_size() == 1 else torch.int16).numpy()


def draw(shape, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    spread = torch.randint(-4, 5, shape, generator=generator)
    return torch.ldexp(torch.randn(shape, generator=generator), spread).to(dtype)


@pytest.mark.parametrize("b_transposed", [True, False])
@pytest.mark.parametrize("name", ["fp16", "bf16"])
def test_warpgroup_products_follow_the_hopper_rule(gpu, name, b_transposed):
    """Both orientations of B in shared memory; 64 x 64 x 128, every output in exact rationals at a sample."""
    dtype, element = DTYPES[name]
    a, b = draw((64, 128), dtype, 1), draw((64, 128), dtype, 2)
    c = torch.empty(64, 64)
    _product[(1,)](a, b if b_transposed else b.T.contiguous(), c, 128, 64, 64, 64, b_transposed, num_warps=4)
    assert any("HGMMA" in text for text in gpu.launches[-1].launch.program.text)
    tree = tensor_core("hopper", element)
    left, right = codes(a).astype(np.uint16), codes(b).astype(np.uint16)
    for row, column in np.random.default_rng(1).integers(0, 64, (40, 2)):
        total = 0
        for k in range(0, 128, tree.products):
            step = slice(k, k + tree.products)
            total = reference(tree, element, left[row, step], element, right[column, step], total)
        assert c[row, column].numpy().view(np.uint32) == total


@pytest.mark.parametrize("name", ["e4m3", "e5m2"])
def test_fp8_sums_keep_13_bits(gpu, name):
    """The second half of k is zero, so that one instruction's sum is the result."""
    dtype, element = DTYPES[name]
    a, b = draw((64, 64), dtype, 3), draw((64, 64), dtype, 4)
    for operand in (a, b):
        operand.view(torch.uint8)[:, 32:] = 0
    c = torch.empty(64, 64)
    _product[(1,)](a, b, c, 64, 64, 64, 64, True, num_warps=4)
    assert any("QGMMA" in text for text in gpu.launches[-1].launch.program.text)
    tree, got = tensor_core("hopper", element), c.numpy().view(np.uint32)
    assert not (got & 0x3FF).any()
    left, right = codes(a).astype(np.uint8), codes(b).astype(np.uint8)
    for row, column in np.random.default_rng(1).integers(0, 64, (40, 2)):
        assert got[row, column] == reference(tree, element, left[row, :32], element, right[column, :32], 0) << 10


def chunk_order(lines, span):
    """Offset of each 16-byte chunk of a swizzled tile of rows of `span` bytes: a row's chunks are permuted by its
    place among the rows that fill 1024, 512 or 256 bytes."""
    chunks = span // 16
    order = np.empty((lines, chunks), int)
    for line in range(lines):
        turn = line * span // 128 % chunks
        for chunk in range(chunks):
            order[line, chunk] = line * span + 16 * (chunk ^ turn)
    return order


@pytest.mark.parametrize(("mode", "span"), [(1, 128), (2, 64), (3, 32)])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_matrix_descriptor_addresses_of_k_major_matrices(mode, span, size):
    start, stride = 2048, 8 * span
    descriptor = mode << 62 | (stride >> 4) << 32 | 1 << 16 | start >> 4
    order = chunk_order(32, span)
    for line in range(32):
        for k in range(span // size):
            chunk, inside = divmod(k * size, 16)
            got = matrix_address(np.int64(np.uint64(descriptor).view(np.int64)), line, k, size, 0)
            assert got == start + order[line, chunk] + inside


@pytest.mark.parametrize(("mode", "span"), [(1, 128), (2, 64), (3, 32)])
def test_matrix_descriptor_addresses_of_line_major_matrices(mode, span):
    """16-bit elements, `span` bytes of lines contiguous; groups of 8 k by the stride, more lines by leading."""
    start, stride, leading = 1024, 8 * span, 16 * span
    descriptor = mode << 62 | (stride >> 4) << 32 | (leading >> 4) << 16 | start >> 4
    order, per = chunk_order(64, span), span // 2
    for k in range(16):
        for line in range(2 * per):
            chunk, inside = divmod(line % per * 2, 16)
            got = matrix_address(np.int64(np.uint64(descriptor).view(np.int64)), line, k, 2, 1)
            assert got == start + order[16 * (line // per) + k, chunk] + inside


def test_matrix_descriptor_without_swizzle():
    descriptor = np.int64((256 >> 4) << 32 | (128 >> 4) << 16 | 512 >> 4)  # K-major: core matrices of 8 rows x 16 bytes
    for line in range(16):
        for k in range(16):
            want = 512 + line // 8 * 256 + k // 8 * 128 + line % 8 * 16 + k % 8 * 2
            assert matrix_address(descriptor, line, k, 2, 0) == want


@pytest.mark.parametrize("swizzle", [0, 1, 2, 3])
def test_tensor_copies_use_the_same_swizzle(swizzle):
    span = 16 << swizzle
    rows = 16
    order = chunk_order(rows, span) if swizzle else 16 * np.arange(rows)[:, None]
    for row in range(rows):
        for chunk in range(span // 16):
            assert swizzled(row * span + 16 * chunk, swizzle) == order[row, chunk]


@triton.jit
def _copy_box(source, out_ptr, row, column, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    box = source.load([row, column])
    at = tl.arange(0, ROWS)[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    tl.store(out_ptr + at, box)


@pytest.mark.parametrize("padding", ["zero", "nan"])
def test_boxes_are_filled_outside_the_tensor(gpu, padding):
    data = torch.randn(40, 48)
    for row, column in [(0, 0), (-5, -7), (33, 41), (100, 0)]:
        out = torch.empty(16, 32)
        source = TensorDescriptor(data, [40, 48], [48, 1], [16, 32], padding=padding)
        _copy_box[(1,)](source, out, row, column, 16, 32)
        fill = float("nan") if padding == "nan" else 0.0
        want = torch.full((200, 200), fill)
        want[20:60, 20:68] = data
        torch.testing.assert_close(
            out, want[20 + row : 36 + row, 20 + column : 52 + column], rtol=0, atol=0, equal_nan=True
        )


@triton.jit
def _store_boxes(out_ptr, sums, ROWS, COLUMNS, BOX: tl.constexpr):
    target = tl.make_tensor_descriptor(out_ptr, [ROWS, COLUMNS], [COLUMNS, 1], [BOX, BOX])
    row, column = tl.program_id(0) * BOX, tl.program_id(1) * BOX
    values = (row + tl.arange(0, BOX))[:, None] * 1000 + (column + tl.arange(0, BOX))[None, :]
    target.store([row, column], values.to(tl.float32))
    sums.atomic_add([0, 0], values.to(tl.float32))


def test_device_descriptors_store_and_add(gpu):
    out, sums = torch.full((40, 36), -1.0), torch.zeros(16, 16)
    _store_boxes[(3, 3)](out, TensorDescriptor.from_tensor(sums, [16, 16]), 40, 36, 16)
    want = torch.arange(48)[:, None] * 1000 + torch.arange(48)[None, :]
    assert torch.equal(out, want[:40, :36].float())
    assert torch.equal(sums, want.reshape(3, 16, 3, 16).sum(dim=(0, 2)).float())


def test_a_copy_outside_every_tensor_is_named(gpu):
    data = torch.randn(40, 48)
    lie = TensorDescriptor(data, [4000, 48], [48, 1], [16, 32])
    with pytest.raises(MemoryFault, match=r"out-of-bounds global access .* UTMALDG\.2D"):
        _copy_box[(1,)](lie, torch.empty(16, 32), 3000, 0, 16, 32)


def test_tensor_map_rules_are_named():
    for change, message in (
        ({"address": 8}, "address 0x8 is not a multiple of 16"),
        ({"strides": [24]}, "stride 24 of dimension 1"),
        ({"box": [300, 4]}, "box size 300"),
        ({"box": [64, 4], "swizzle": tensormap.SWIZZLE_64}, "a box row of 256 bytes"),
        ({"element": 12}, "element type 12"),
    ):
        arguments = {"address": 0, "sizes": [64, 64], "strides": [256], "box": [16, 4], "element": tensormap.F32}
        with pytest.raises(LaunchError, match=message):
            tensormap.encode(**(arguments | change))


def _change(state, arrivals, announced, drop):
    return int(update_barrier(np.uint64(state), arrivals, announced, drop))


def test_barrier_phases():
    """PTX ISA mbarrier: a phase ends when no arrival is pending and no byte is outstanding, and the next begins."""
    threads = 3
    low, high = (2**20 - threads) << 1, (2**20 - threads) << 11  # what ptxas writes for mbarrier.init
    state = start = high << 32 | low
    for phase in (1, 0, 1):
        state = _change(state, 1, 4096, 0)  # arrive and expect bytes
        state = _change(state, 1, 0, 0)
        state = _change(state, 0, -1024, 0)
        state = _change(state, 1, 0, 0)
        assert state >> 63 == 1 - phase  # bytes are outstanding
        state = _change(state, 0, -3072, 0)
        assert state >> 63 == phase
        assert (state ^ start) & ~(1 << 63) == 0


def test_barrier_counts_bytes_that_come_before_they_are_announced():
    state = (2**20 - 1) << 43 | (2**20 - 1) << 1
    state = _change(state, 0, -512, 0)
    assert _change(state, 1, 512, 0) >> 63 == 1


def test_barrier_drop_lowers_the_next_phase():
    state = (2**20 - 2) << 43 | (2**20 - 2) << 1
    state = _change(_change(state, 1, 0, 1), 1, 0, 0)
    assert state >> 63 == 1
    assert _change(state, 1, 0, 0) >> 63 == 0  # one arrival is enough now


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("HGMMA.64x64x8.F32 R24, gdesc[UR8], R24", "shape 64x64x8"),
        ("QGMMA.64x64x32.F32.E4M3.E4M3 R24, gdesc[UR8].tnspB, R24", "transposed"),
        ("SYNCS.ARRIVE.TRANS64.TMASK.ART0 R2, [R0+URZ], R7", "modifier .TMASK"),
        ("UTMALDG.3D.IM2COL [UR8], [UR6]", "modifier .IM2COL"),
    ],
)
def test_unsupported_forms_are_named(text, reason):
    with pytest.raises(UnsupportedInstruction, match=reason):
        lower(assemble(f"{text}\nMOV R100, RZ\nEXIT", arch=90))


def test_an_unknown_descriptor_flag_is_named():
    with pytest.raises(SassError, match=r"\.sparseA is not known"):
        assemble("HGMMA.64x64x16.F32 R24, gdesc[UR8].sparseA, R24", arch=90)
