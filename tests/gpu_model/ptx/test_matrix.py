"""ldmatrix, stmatrix and mma.sync: the fragment layouts of the PTX ISA (chapter 9.7.15) on whole numbers."""

from fractions import Fraction

import numpy as np
import pytest

from gpu_model.execute import Machine, execute
from tests.gpu_model.ptx.harness import _HEAD, _VERSIONS, ARCHES, assemble, launch

RNG = np.random.default_rng(1)


def run_words(body: str, words: np.ndarray, outputs: int, arch: int) -> np.ndarray:
    """Run PTX on one warp; register k of a lane comes from words[k, lane], result k goes to slot k."""
    source = np.ascontiguousarray(words, np.uint64)
    result = np.zeros((outputs, 32), np.uint64)
    loads = "\n".join(f"ld.global.b32 a{k}, [src+{256 * k}];" for k in range(len(words)))
    stores = "\n".join(f"st.global.b32 [dst+{256 * k}], d{k};" for k in range(outputs))
    head = _HEAD.format(version=_VERSIONS[arch], target=f"sm_{arch}", globals="")
    declared = f".reg .b32 a<{len(words)}>, d<{outputs}>, place; .shared .align 16 .b8 tile[1024];"
    image = assemble("\n".join([head, declared, loads, body, stores, "ret;\n}\n"]), arch)
    execute(Machine(launch(image, source, result, 32, 1)))
    return result.astype(np.uint32)


def fragment_a(matrix: np.ndarray, per_word: int) -> np.ndarray:
    """A (16 x k) as registers: lane 4g + t, register r holds row g + 8 (r & 1), column per_word (t + 4 (r >> 1))."""
    words = np.zeros((matrix.shape[1] // (2 * per_word), 32), np.uint32)
    for register, lane in np.ndindex(words.shape):
        row, column = lane // 4 + 8 * (register & 1), per_word * (lane % 4 + 4 * (register >> 1))
        words[register, lane] = np.ascontiguousarray(matrix[row, column : column + per_word]).view(np.uint32)[0]
    return words


def fragment_b(matrix: np.ndarray, per_word: int) -> np.ndarray:
    """B (k x 8) as registers: lane 4g + t, register r holds column g, rows from per_word (t + 4 r)."""
    words = np.zeros((matrix.shape[0] // (4 * per_word), 32), np.uint32)
    for register, lane in np.ndindex(words.shape):
        row = per_word * (lane % 4 + 4 * register)
        words[register, lane] = np.ascontiguousarray(matrix[row : row + per_word, lane // 4]).view(np.uint32)[0]
    return words


def fragment_c(matrix: np.ndarray) -> np.ndarray:
    """The accumulator (16 x 8): lane 4g + t, row g (and g + 8), columns 2t and 2t + 1; halves share a register."""
    lanes = np.arange(32)
    rows, columns = lanes // 4, 2 * (lanes % 4)
    four = np.stack([matrix[rows + 8 * (r >> 1), columns + (r & 1)] for r in range(4)])
    if matrix.dtype.itemsize == 4:
        return four.view(np.uint32)
    pair = four.view(np.uint16).astype(np.uint32)
    return np.stack([pair[0] | pair[1] << 16, pair[2] | pair[3] << 16])


def brain(matrix: np.ndarray) -> np.ndarray:
    return (matrix.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


ENCODE = {
    "f16": lambda m: m.astype(np.float16), "bf16": brain, "tf32": lambda m: m.astype(np.float32),
    "s8": lambda m: m.astype(np.int8), "u8": lambda m: m.astype(np.uint8), "f32": lambda m: m.astype(np.float32),
    "s32": lambda m: m.astype(np.int32),
}  # fmt: skip

# k, type of A, type of B, accumulator, first architecture
MMA = [
    (16, "f16", "f16", "f32", 80), (16, "f16", "f16", "f16", 80), (8, "f16", "f16", "f32", 75),
    (8, "f16", "f16", "f16", 75),
    (16, "bf16", "bf16", "f32", 80), (8, "bf16", "bf16", "f32", 80), (8, "tf32", "tf32", "f32", 80),
    (4, "tf32", "tf32", "f32", 80), (16, "s8", "s8", "s32", 80), (32, "s8", "s8", "s32", 80),
    (32, "u8", "s8", "s32", 80), (32, "u8", "u8", "s32", 80),
]  # fmt: skip


@pytest.mark.parametrize(("k", "kind_a", "kind_b", "kind_c", "since"), MMA)
@pytest.mark.parametrize("arch", ARCHES)
def test_mma(arch, k, kind_a, kind_b, kind_c, since):
    if arch < since:
        return
    low_a, low_b = (0 if kind[0] == "u" else -5 for kind in (kind_a, kind_b))
    a, b, c = RNG.integers(low_a, 6, (16, k)), RNG.integers(low_b, 6, (k, 8)), RNG.integers(-50, 50, (16, 8))
    per_word = {"f16": 2, "bf16": 2, "tf32": 1, "s8": 4, "u8": 4}[kind_a]
    words_a = fragment_a(ENCODE[kind_a](a), per_word)
    words_b = fragment_b(ENCODE[kind_b](b), per_word)
    words_c = fragment_c(ENCODE[kind_c](c))
    names = iter(range(64))
    groups = [", ".join(f"a{next(names)}" for _ in group) for group in (words_a, words_b, words_c)]
    results = ", ".join(f"d{i}" for i in range(len(words_c)))
    registers = [f"{{{group}}}" for group in (results, *groups)]
    text = f"mma.sync.aligned.m16n8k{k}.row.col.{kind_c}.{kind_a}.{kind_b}.{kind_c} {', '.join(registers)};"
    got = run_words(text, np.concatenate([words_a, words_b, words_c]), len(words_c), arch)
    want = fragment_c(ENCODE[kind_c](a @ b + c))
    assert got.tolist() == want.tolist()


def packed_rows(matrix: np.ndarray, bits: int, rows: int) -> np.ndarray:
    """Rows of elements of `bits` bits as registers: word 4 i + t of row g (and g + 8, next) in lane 4g + t."""
    count = 32 // bits
    shifts = bits * np.arange(count, dtype=np.uint64)
    words = ((matrix.astype(np.uint64) & (1 << bits) - 1).reshape(matrix.shape[0], -1, count) << shifts).sum(2)
    parts = [
        words[half : half + 8, 4 * i : 4 * i + 4] for i in range(words.shape[1] // 4) for half in range(0, rows, 8)
    ]
    return np.stack([part.reshape(-1) for part in parts]).astype(np.uint32)


# rows, k, type of A, type of B, last architecture that has it
PACKED = [
    (8, 16, "s8", "s8", 120), (8, 16, "u8", "s8", 120), (8, 32, "u4", "u4", 89), (8, 32, "s4", "s4", 89),
    (16, 32, "s4", "u4", 89), (16, 64, "u4", "s4", 89), (16, 64, "s4", "s4", 89),
    (8, 128, "xor", "b1", 89), (16, 128, "xor", "b1", 89), (16, 256, "xor", "b1", 89),
    (8, 128, "and", "b1", 90), (16, 128, "and", "b1", 90), (16, 256, "and", "b1", 90),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "k", "kind_a", "kind_b", "last"), PACKED)
@pytest.mark.parametrize("arch", [arch for arch in ARCHES if arch >= 80])
def test_mma_of_packed_integers(arch, rows, k, kind_a, kind_b, last):
    """m8n8k16 of bytes, int4 and single bits, on their whole range."""
    if arch > last:
        return
    bits = int(kind_b[1:])
    low_a, low_b = (-(1 << bits - 1) if kind[0] == "s" else 0 for kind in (kind_a, kind_b))
    a, b = RNG.integers(low_a, low_a + (1 << bits), (rows, k)), RNG.integers(low_b, low_b + (1 << bits), (8, k))
    c = RNG.integers(-1000, 1000, (rows, 8))
    product = (a[:, None] ^ b).sum(2) if kind_a == "xor" else (a[:, None] & b).sum(2) if kind_a == "and" else a @ b.T
    words_a, words_b = packed_rows(a, bits, rows), packed_rows(b, bits, 8)
    lanes, count = np.arange(32), rows // 4
    place = [(lanes // 4 + 8 * (r >> 1), 2 * (lanes % 4) + (r & 1)) for r in range(count)]
    words_c = np.stack([c[spot] for spot in place]).astype(np.int32).view(np.uint32)
    names = iter(range(64))
    groups = [", ".join(f"a{next(names)}" for _ in group) for group in (words_a, words_b, words_c)]
    registers = [f"{{{group}}}" for group in (", ".join(f"d{i}" for i in range(count)), *groups)]
    logic = f".{kind_a}.popc" if bits == 1 else ""
    types = "b1.b1" if bits == 1 else f"{kind_a}.{kind_b}"
    text = f"mma.sync.aligned.m{rows}n8k{k}.row.col.s32.{types}.s32{logic} {', '.join(registers)};"
    got = run_words(text, np.concatenate([words_a, words_b, words_c]), count, arch)
    want = np.stack([(product + c)[spot] for spot in place]).astype(np.int32).view(np.uint32)
    assert got.tolist() == want.tolist()


@pytest.mark.parametrize(("rows", "k"), [(8, 4), (16, 4), (16, 8), (16, 16)])
@pytest.mark.parametrize("arch", [arch for arch in ARCHES if arch >= 80])
def test_mma_of_doubles(arch, rows, k):
    """Products added one after the other by fused multiply-add, from the first k on."""
    if rows == 16 and arch < 90:
        return
    a, b, c = RNG.normal(size=(rows, k)), RNG.normal(size=(k, 8)), RNG.normal(size=(rows, 8))
    want = c.copy()
    for i, row, column in np.ndindex(k, rows, 8):
        want[row, column] = float(Fraction(a[row, i]) * Fraction(b[i, column]) + Fraction(want[row, column]))
    lanes = np.arange(32)
    spots_a = [(lanes // 4 + 8 * (i % (rows // 8)), lanes % 4 + 4 * (i // (rows // 8))) for i in range(rows * k // 32)]
    spots_b = [(lanes % 4 + 4 * i, lanes // 4) for i in range(k // 4)]
    spots_c = [(lanes // 4 + 8 * (r >> 1), 2 * (lanes % 4) + (r & 1)) for r in range(rows // 4)]
    groups = [[m[s] for s in spots] for m, spots in ((a, spots_a), (b, spots_b), (c, spots_c))]
    values = np.stack([row for group in groups for row in group])
    words = np.ascontiguousarray(values).view(np.uint32).reshape(len(values), 32, 2).transpose(0, 2, 1).reshape(-1, 32)
    names, text = iter(range(64)), ".reg .f64 x<32>, y<4>;\n"
    text += "".join(f"mov.b64 x{i}, {{a{2 * i}, a{2 * i + 1}}};\n" for i in range(len(values)))
    sources = [", ".join(f"x{next(names)}" for _ in group) for group in groups]
    results = ", ".join(f"y{i}" for i in range(rows // 4))
    operands = ", ".join(f"{{{group}}}" for group in (results, *sources))
    text += f"mma.sync.aligned.m{rows}n8k{k}.row.col.f64.f64.f64.f64 {operands};\n"
    text += "".join(f"mov.b64 {{d{2 * i}, d{2 * i + 1}}}, y{i};\n" for i in range(rows // 4))
    got = run_words(text, words, rows // 2, arch)
    shown = np.ascontiguousarray(got.reshape(-1, 2, 32).transpose(0, 2, 1)).view(np.float64)[..., 0]
    assert shown.tolist() == [want[spot].tolist() for spot in spots_c]


@pytest.mark.parametrize("arch", ARCHES)
def test_movmatrix(arch):
    words = RNG.integers(0, 1 << 32, (1, 32), dtype=np.uint32)
    got = run_words("movmatrix.sync.aligned.m8n8.trans.b16 d0, a0;", words, 1, arch)
    matrix = words.view(np.uint16).reshape(8, 8)
    assert got.tolist() == np.ascontiguousarray(matrix.T).reshape(1, -1).view(np.uint32).tolist()


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("arch", ARCHES)
def test_ldmatrix(arch, transposed, count):
    """Lane 4r + c receives elements (r, 2c) and (r, 2c + 1) of each 8 x 8 matrix, or of its transpose."""
    words = RNG.integers(0, 1 << 32, (4, 32), dtype=np.uint32)
    results = ", ".join(f"d{i}" for i in range(count))
    body = f"""
mov.u32 place, tile;
mad.lo.u32 place, lane, 16, place;
st.shared.v4.b32 [place], {{a0, a1, a2, a3}};
bar.warp.sync -1;
ldmatrix.sync.aligned.m8n8.x{count}{".trans" * transposed}.shared.b16 {{{results}}}, [place];
"""
    got = run_words(body, words, count, arch)
    matrices = np.ascontiguousarray(words.T).view(np.uint16).reshape(4, 8, 8)[:count]
    want = np.stack([np.ascontiguousarray(m.T if transposed else m).reshape(-1).view(np.uint32) for m in matrices])
    assert got.tolist() == want.tolist()


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("arch", [arch for arch in ARCHES if arch >= 90])
def test_stmatrix(arch, transposed):
    """The inverse of ldmatrix: each lane then reads back one row of eight elements."""
    words = RNG.integers(0, 1 << 32, (4, 32), dtype=np.uint32)
    body = f"""
mov.u32 place, tile;
mad.lo.u32 place, lane, 16, place;
stmatrix.sync.aligned.m8n8.x4{".trans" * transposed}.shared.b16 [place], {{a0, a1, a2, a3}};
bar.warp.sync -1;
ld.shared.v4.b32 {{d0, d1, d2, d3}}, [place];
"""
    got = run_words(body, words, 4, arch)
    fragments = words.view(np.uint16).reshape(4, 8, 8)
    matrices = np.stack([m.T if transposed else m for m in fragments])
    want = np.ascontiguousarray(matrices.reshape(32, 8)).view(np.uint32).T
    assert got.tolist() == want.tolist()
