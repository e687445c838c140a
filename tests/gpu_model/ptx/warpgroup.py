"""wgmma.mma_async on one warpgroup: matrices laid out in shared memory by the PTX ISA, a kernel of many variants.

A launch runs one shape and type. Each block is a case with its own operands, layouts and descriptors; each variant
is an instruction of the kernel (where A is, transposes, negations, saturation).
"""

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from gpu_model.execute import Machine, execute
from tests.gpu_model.ptx.fragments import pack, places_a, places_d, unpack
from tests.gpu_model.ptx.harness import assemble, launch

ROWS, THREADS = 64, 128
_SPANS = (16, 128, 64, 32)  # bytes, of each swizzle mode of a descriptor
DEPTH_BYTES = 32  # of every wgmma operand

_KERNEL = """
.version 8.6
.target sm_90a
.address_size 64
.extern .shared .align 1024 .b8 tile[];
.visible .entry probe(.param .u64 source, .param .u64 result)
{{
.reg .b64 src, dst, own, wide, m<4>;
.reg .b32 tid, block, at, base, word, x, y, z, w;
.reg .b32 a<4>, c<{registers}>, d<{registers}>;
.reg .pred more, keep;
ld.param.u64 src, [source];
ld.param.u64 dst, [result];
mov.u32 tid, %tid.x;
mov.u32 block, %ctaid.x;
mul.wide.u32 wide, block, {case_bytes};
add.u64 src, src, wide;
mul.wide.u32 wide, block, {result_bytes};
add.u64 dst, dst, wide;
mul.wide.u32 wide, tid, 4;
add.u64 own, src, wide;
add.u64 dst, dst, wide;
mov.u32 base, tile;
shl.b32 at, tid, 4;
copy:
cvt.u64.u32 wide, at;
add.u64 wide, wide, src;
ld.global.v4.b32 {{x, y, z, w}}, [wide];
add.u32 word, base, at;
st.shared.v4.b32 [word], {{x, y, z, w}};
add.u32 at, at, 2048;
setp.lt.u32 more, at, {shared};
@more bra copy;
ld.global.b32 x, [src+{shared}+32];
setp.ne.b32 keep, x, 0;
shr.u32 base, base, 4;
cvt.u64.u32 wide, base;
{loads}
fence.proxy.async;
bar.sync 0;
{variants}
ret;
}}
"""
_TAIL_BYTES = 48  # four descriptors and whether to accumulate, after a case's shared memory


@dataclass(frozen=True)
class Variant:
    """One instruction: where A is, and its immediate operands."""

    a_registers: bool = False
    transpose_a: bool = False
    transpose_b: bool = False
    negate_a: bool = False
    negate_b: bool = False
    saturate: bool = False


def variants(bits: int, integer: bool) -> list[Variant]:
    """Every form the PTX ISA allows for operands of `bits` bits."""
    if integer:
        return [Variant(registers, saturate=saturate) for registers, saturate in product((False, True), repeat=2)]
    turns = (False, True) if bits == 16 else (False,)
    return [
        Variant(registers, turn_a, turn_b, minus_a, minus_b)
        for registers, turn_a, turn_b in product((False, True), turns, turns)
        if not (registers and turn_a)
        for minus_a, minus_b in product((False, True), repeat=2)
    ]


@dataclass(frozen=True)
class Layout:
    """Where a matrix lies in shared memory (PTX ISA, strides and canonical layouts of wgmma).

    Attributes:
        mode: of the descriptor: 0 no swizzle, 1 of 128 bytes, 2 of 64, 3 of 32.
        line_major: lines (rows of A, columns of B) are contiguous, not k.
        start: byte offset of the matrix.
        leading: the leading dimension's byte offset.
        stride: the stride dimension's byte offset.
    """

    mode: int
    line_major: bool
    start: int
    leading: int
    stride: int

    @property
    def descriptor(self) -> int:
        """The 64-bit matrix descriptor."""
        return self.mode << 62 | (self.stride >> 4) << 32 | (self.leading >> 4) << 16 | self.start >> 4

    def places(self, lines: int, size: int) -> np.ndarray:
        """Byte offset of every element [line, k]: canonical layout, then 16-byte chunks permuted within a pattern."""
        line, k = np.arange(lines)[:, None], np.arange(DEPTH_BYTES // size)[None, :]
        span, chunk = _SPANS[self.mode], 16 // size
        if self.line_major and self.mode == 0:
            rest = line // chunk * self.stride + k % 8 * 16 + k // 8 * self.leading + line % chunk * size
        elif self.line_major:
            per = span // size
            rest = line // per * self.leading + k % 8 * span + k // 8 * self.stride + line % per * size
        elif self.mode == 0:
            rest = line % 8 * 16 + line // 8 * self.stride + k // chunk * self.leading + k % chunk * size
        else:
            rest = line % 8 * span + line // 8 * self.stride + k * size
        place = self.start + rest
        turn = place // 128 % (span // 16)
        return place // 128 * 128 + ((place // 16 % 8) ^ turn) * 16 + place % 16


def choose_layout(rng: np.random.Generator, lines: int, size: int, line_major: bool, mode: int, first: int) -> Layout:
    """A layout at or after byte `first` with offsets at random, within what the canonical layouts allow."""
    span = _SPANS[mode]
    start = -(-first // 1024) * 1024
    if mode == 0:  # core matrices of 8 x 16 bytes: neighbours along k, then along the lines, or the other way round
        start += 16 * int(rng.integers(0, 64))
        inner, count = 128, DEPTH_BYTES // 16 if not line_major else DEPTH_BYTES // size // 8
        groups = lines * size // 16 if line_major else lines // 8
        if rng.random() < 0.5:
            leading = inner + 16 * int(rng.integers(0, 3))
            return Layout(0, line_major, start, leading, count * leading + 16 * int(rng.integers(0, 3)))
        stride = inner + 16 * int(rng.integers(0, 3))
        return Layout(0, line_major, start, groups * stride, stride)
    pattern = 8 * span
    if line_major:
        columns = -(-lines * size // span)
        if rng.random() < 0.5:
            return Layout(mode, True, start, 2 * pattern, pattern)
        return Layout(mode, True, start, pattern, columns * pattern)
    start += DEPTH_BYTES * int(rng.integers(0, span // DEPTH_BYTES))  # a step along k inside the pattern
    return Layout(
        mode, False, start, 16 * int(rng.integers(0, 9)), pattern * int(rng.integers(1, 3 if lines <= 128 else 2))
    )


class Case(NamedTuple):
    """Operands of one block: codes of A [64, k] and B [n, k], patterns of C [64, n], and whether C is added."""

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    accumulate: bool


def _shared_image(rng: np.random.Generator, case: Case, bits: int) -> tuple[np.ndarray, list[int]]:
    """Shared memory of one block and its descriptors: A and B along k, and along their lines where that is legal."""
    size, layouts, codes = bits // 8, [], []
    for matrix in (case.a, case.b):
        for line_major in (False, True) if bits == 16 else (False,):
            end = max((int(layout.places(len(m), size).max()) + 1 for layout, m in layouts), default=0)
            layout = choose_layout(rng, len(matrix), size, line_major, int(rng.integers(4)), end)
            layouts.append((layout, matrix))
    end = max(int(layout.places(len(m), size).max()) for layout, m in layouts)
    image = rng.integers(0, 256, -(-(end + 16) // 2048) * 2048, np.uint8)
    for layout, matrix in layouts:
        places = layout.places(len(matrix), size)
        for byte in range(size):
            image[places + byte] = matrix >> 8 * byte & 255
        codes.append(layout.descriptor)
    return image, codes if bits == 16 else [codes[0], 0, codes[1], 0]


def _instruction(variant: Variant, types: str, columns: int, registers: int, bits: int) -> str:
    accumulators = ", ".join(f"d{i}" for i in range(registers))
    source_a = "{a0, a1, a2, a3}" if variant.a_registers else f"m{int(variant.transpose_a)}"
    text = f"m64n{columns}k{256 // bits}.{types}{'.satfinite' * variant.saturate}"
    signs = [-1 if minus else 1 for minus in (variant.negate_a, variant.negate_b)]
    turns = [int(variant.transpose_b)] if variant.a_registers else [int(variant.transpose_a), int(variant.transpose_b)]
    immediates = [] if types.startswith("s32") else signs + (turns if bits == 16 else [])
    operands = [f"{{{accumulators}}}", source_a, f"m{2 + int(variant.transpose_b)}", "keep", *map(str, immediates)]
    return f"wgmma.mma_async.sync.aligned.{text} {', '.join(operands)};"


def kernel(types: str, columns: int, bits: int, forms: list[Variant], shared: int) -> str:
    """PTX of a launch; a case is its shared memory, descriptors, A and C as registers, word by word of all threads."""
    registers = columns // (4 if types.startswith("f16") else 2)
    row, word = 4 * THREADS, shared + _TAIL_BYTES
    loads = [f"ld.global.b64 m{i}, [src+{shared + 8 * i}];\nadd.u64 m{i}, m{i}, wide;" for i in range(4)]
    loads += [f"ld.global.b32 a{i}, [own+{word + row * i}];" for i in range(4)]
    loads += [f"ld.global.b32 c{i}, [own+{word + row * (4 + i)}];" for i in range(registers)]
    body = []
    for index, variant in enumerate(forms):
        body += [f"mov.b32 d{i}, c{i};" for i in range(registers)]
        body += ["wgmma.fence.sync.aligned;", _instruction(variant, types, columns, registers, bits),
                 "wgmma.commit_group.sync.aligned;", "wgmma.wait_group.sync.aligned 0;"]  # fmt: skip
        body += [f"st.global.b32 [dst+{row * (index * registers + i)}], d{i};" for i in range(registers)]
    return _KERNEL.format(
        registers=registers, case_bytes=word + row * (4 + registers), result_bytes=len(forms) * registers * row,
        shared=shared, loads="\n".join(loads), variants="\n".join(body),
    )  # fmt: skip


def run(types: str, bits: int, forms: list[Variant], cases: list[Case], seed: int) -> np.ndarray:
    """Execute every variant on every case; patterns of D, uint32[case, variant, 64, n]."""
    rng, columns = np.random.default_rng(seed), cases[0].c.shape[1]
    half = types.startswith("f16")
    images = [_shared_image(rng, case, bits) for case in cases]
    shared = max(len(image) for image, _ in images)
    parts = []
    for case, (image, descriptors) in zip(cases, images, strict=True):
        words_c = pack(case.c[places_d(columns, threads=THREADS)], 16 if half else 32)
        tail = np.array([*descriptors, int(case.accumulate), 0], np.uint64)
        words_a = pack(case.a[places_a(256 // bits, bits, threads=THREADS)], bits)
        parts += [np.resize(image, shared), *(part.view(np.uint8) for part in (tail, words_a, words_c))]
    source = np.concatenate([part.reshape(-1) for part in parts])
    registers = columns // (4 if half else 2)
    result = np.zeros((len(cases), len(forms), registers, THREADS), np.uint32)
    image = assemble(kernel(types, columns, bits, forms, shared), 90)
    execute(Machine(launch(image, source, result, THREADS, len(cases), shared)))
    out = np.zeros((len(cases), len(forms), ROWS, columns), np.uint32)
    for block, form in np.ndindex(out.shape[:2]):
        out[block, form][places_d(columns, threads=THREADS)] = unpack(result[block, form], 16 if half else 32)
    return out
