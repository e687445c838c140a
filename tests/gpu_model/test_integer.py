"""Integer SASS against NumPy and Python integers on edge values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gpu_model.sass_runner import run

EDGES = np.array(
    [0, 1, 2, 3, 31, 32, 33, 63, 64, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0x80000001,
     0xFFFFFFFE, 0xFFFFFFFF, 0x12345678, 0xDEADBEEF, 0xAAAAAAAA, 0x55555555, 5, 7, 100, 1000, 0xF0F0F0F0, 0x0F0F0F0F,
     0x00FF00FF, 0x80],
    np.uint32,
)  # fmt: skip
A, B, C = EDGES, np.roll(EDGES, 7), np.roll(EDGES, 13)
MASK = 0xFFFFFFFF


def wide(array):
    return [int(x) for x in array]


def signed(x):
    return x - (1 << 32) if x >> 31 else x


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("IADD3 R40, R10, R11, R12", lambda a, b, c: a + b + c),
        ("IADD3 R40, R10, -R11, R12", lambda a, b, c: a - b + c),
        ("IADD3 R40, -R10, R11, -R12", lambda a, b, c: b - a - c),
        ("IADD3 R40, R10, 0x7fffffff, RZ", lambda a, b, c: a + 0x7FFFFFFF),
        ("IADD3 R40, R10, -0x5, RZ", lambda a, b, c: a - 5),
        ("IMAD R40, R10, R11, R12", lambda a, b, c: a * b + c),
        ("IMAD R40, R10, R11, -R12", lambda a, b, c: a * b - c),
        ("IMAD.MOV.U32 R40, RZ, RZ, R10", lambda a, b, c: a),
        ("IMAD.IADD R40, R10, 0x1, R12", lambda a, b, c: a + c),
        ("IMAD.SHL.U32 R40, R10, 0x10, RZ", lambda a, b, c: a << 4),
        ("IMAD.HI.U32 R40, R10, R11, RZ", lambda a, b, c: (a * b) >> 32),
        ("IMAD.HI R40, R10, R11, RZ", lambda a, b, c: (signed(a) * signed(b)) >> 32),
        ("LEA R40, R10, R11, 0x3", lambda a, b, c: ((a << 3) & MASK) + b),
        ("LEA.HI R40, R10, R11, RZ, 0x5", lambda a, b, c: ((a << 5) >> 32) + b),
        ("LEA.HI R40, R10, R11, R12, 0x5", lambda a, b, c: (((c << 32 | a) << 5) >> 32) + b),
        ("LEA.HI.SX32 R40, R10, R11, 0x1b", lambda a, b, c: ((signed(a) << 27) >> 32) + b),
        ("LEA.HI.SX32 R40, R10, -R11, 0x1b", lambda a, b, c: ((signed(a) << 27) >> 32) - b),
        ("IMNMX R40, R10, R11, PT", lambda a, b, c: min(signed(a), signed(b))),
        ("IMNMX R40, R10, R11, !PT", lambda a, b, c: max(signed(a), signed(b))),
        ("IMNMX.U32 R40, R10, R11, PT", lambda a, b, c: min(a, b)),
        ("IABS R40, R10", lambda a, b, c: abs(signed(a))),
        ("POPC R40, R10", lambda a, b, c: a.bit_count()),
        ("BREV R40, R10", lambda a, b, c: int(f"{a:032b}"[::-1], 2)),
        ("FLO.U32 R40, R10", lambda a, b, c: a.bit_length() - 1),
        ("FLO.U32.SH R40, R10", lambda a, b, c: 32 - a.bit_length() if a else -1),
        ("SGXT R40, R10, 0x5", lambda a, b, c: (a & 31) - (32 if a & 16 else 0)),
        ("SGXT.U32 R40, R10, 0x5", lambda a, b, c: a & 31),
        ("BMSK R40, 0x4, 0x8", lambda a, b, c: 0xFF0),
        ("MOV R40, R10", lambda a, b, c: a),
    ],
)
def test_one_word_operations(text, expected):
    got = run(text, A, B, C)[0]
    want = [expected(a, b, c) & MASK for a, b, c in zip(wide(A), wide(B), wide(C), strict=True)]
    assert got.tolist() == want


@pytest.mark.parametrize("shift", [0, 7, 31])
def test_carries_of_shifted_differences(shift):
    """b - (a << shift) on 64 bits, as ptxas pairs its halves; b's high word is C."""
    code = f"LEA R40, P0, -R10, R11, {shift:#x}\nIMAD.X R41, RZ, RZ, R12, P0\nIADD3 R41, R41, -0x1, RZ"
    low, high = run(code, A, B, C, outputs=2)
    want = [
        ((c << 32 | b) - (a << shift & MASK)) & (1 << 64) - 1 for a, b, c in zip(wide(A), wide(B), wide(C), strict=True)
    ]
    assert [int(h) << 32 | int(v) for v, h in zip(low, high, strict=True)] == want


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # PTX shl/shr clamp the amount at the width; the 64-bit forms return one word of the pair.
        ("SHF.L.U32 R40, R10, R11, RZ", lambda a, s, c: a << min(s, 32)),
        ("SHF.R.U32.HI R40, RZ, R11, R10", lambda a, s, c: a >> min(s, 32)),
        ("SHF.R.S32.HI R40, RZ, R11, R10", lambda a, s, c: signed(a) >> min(s, 32)),
        ("SHF.L.U64.HI R40, R10, R11, R12", lambda a, s, c: ((c << 32 | a) << min(s, 64)) >> 32),
        ("SHF.R.U64 R40, R10, R11, R12", lambda a, s, c: (c << 32 | a) >> min(s, 64)),
        ("SHF.L.W.U32 R40, R10, R11, RZ", lambda a, s, c: a << (s & 31)),
        ("SHF.L.U32.HI R40, R10, R11, R12", lambda a, s, c: ((c << 32 | a) << min(s, 32)) >> 32),
    ],
)
def test_shifts_by_register(kind, expected):
    got = run(kind, A, B, C)[0]
    want = [expected(a, s, c) & MASK for a, s, c in zip(wide(A), wide(B), wide(C), strict=True)]
    assert got.tolist() == want


@pytest.mark.parametrize("amount", [0, 1, 5, 31])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SHF.L.U32 R40, R10, {:#x}, RZ", lambda a, s: a << s),
        ("SHF.R.U32.HI R40, RZ, {:#x}, R10", lambda a, s: a >> s),
        ("SHF.R.S32.HI R40, RZ, {:#x}, R10", lambda a, s: signed(a) >> s),
    ],
)
def test_shifts_by_immediate(text, expected, amount):
    got = run(text.format(amount), A)[0]
    assert got.tolist() == [expected(a, amount) & MASK for a in wide(A)]


def test_every_lop3_table():
    for lut in range(256):
        want = np.zeros(32, np.uint32)
        for index in range(8):
            if lut >> index & 1:
                want |= (A if index & 4 else ~A) & (B if index & 2 else ~B) & (C if index & 1 else ~C)
        assert run(f"LOP3.LUT R40, R10, R11, R12, {lut:#x}, !PT", A, B, C)[0].tolist() == want.tolist(), hex(lut)


def test_lop3_inverted_operand_and_predicate():
    got = run("LOP3.LUT P1, R40, R10, ~R11, RZ, 0xc0, !PT\nSEL R41, R10, RZ, P1", A, B, outputs=2)
    assert got[0].tolist() == (A & ~B).tolist()
    assert got[1].tolist() == np.where(A & ~B, A, 0).tolist()


def test_wide_multiply_add_and_carries():
    body = "MOV R14, R12\nMOV R15, R10\nIMAD.WIDE.U32 R40, R10, R11, R14\nIMAD.WIDE R42, R10, R11, R14"
    got = run(body, A, B, C, outputs=4)
    for lane, (a, b, c) in enumerate(zip(wide(A), wide(B), wide(C), strict=True)):
        addend = a << 32 | c
        assert int(got[0][lane]) | int(got[1][lane]) << 32 == (a * b + addend) & (1 << 64) - 1
        assert int(got[2][lane]) | int(got[3][lane]) << 32 == (signed(a) * signed(b) + addend) & (1 << 64) - 1


def test_64_bit_add_and_subtract_chains():
    add = "IADD3 R40, P1, R10, R12, RZ\nIADD3.X R41, R11, R13, RZ, P1, !PT"
    sub = "IADD3 R42, P1, R10, -R12, RZ\nIADD3.X R43, R11, ~R13, RZ, P1, !PT"
    got = run(f"{add}\n{sub}", A, B, C, np.roll(A, 3), outputs=4)
    for lane in range(32):
        x = int(A[lane]) | int(B[lane]) << 32
        y = int(C[lane]) | int(np.roll(A, 3)[lane]) << 32
        assert int(got[0][lane]) | int(got[1][lane]) << 32 == (x + y) & (1 << 64) - 1
        assert int(got[2][lane]) | int(got[3][lane]) << 32 == (x - y) & (1 << 64) - 1


def test_two_carries_of_three_terms():
    got = run("IADD3 R40, P1, P2, R10, R11, R12\nIADD3.X R41, RZ, RZ, RZ, P1, P2", A, B, C, outputs=2)
    for lane, total in enumerate(a + b + c for a, b, c in zip(wide(A), wide(B), wide(C), strict=True)):
        assert int(got[0][lane]) | int(got[1][lane]) << 32 == total


def test_prmt_selects_bytes_and_signs():
    selectors = np.random.default_rng(0).integers(0, 1 << 16, 32, dtype=np.uint32)
    got = run("PRMT R40, R10, R11, R12", A, selectors, C)[0]
    for lane in range(32):
        pool = np.array([A[lane], C[lane]]).view(np.uint8)
        want = 0
        for i in range(4):
            nibble = int(selectors[lane]) >> 4 * i & 15
            byte = int(pool[nibble & 7])
            want |= (0xFF * (byte >> 7) if nibble & 8 else byte) << 8 * i
        assert int(got[lane]) == want


COMPARE = {
    "LT": np.less, "EQ": np.equal, "LE": np.less_equal, "GT": np.greater, "NE": np.not_equal, "GE": np.greater_equal,
}  # fmt: skip


@pytest.mark.parametrize("name", COMPARE)
@pytest.mark.parametrize("kind", ["", ".U32"])
def test_isetp(name, kind):
    got = run(
        f"ISETP.{name}{kind}.AND P1, P2, R10, R11, PT\nSEL R40, 0x1, RZ, P1\nSEL R41, 0x1, RZ, P2", A, B, outputs=2
    )
    holds = COMPARE[name](A, B) if kind else COMPARE[name](A.view(np.int32), B.view(np.int32))
    assert got[0].tolist() == holds.astype(int).tolist()
    assert got[1].tolist() == (~holds).astype(int).tolist()


@pytest.mark.parametrize("name", COMPARE)
@pytest.mark.parametrize("kind", ["", ".U32"])
def test_64_bit_comparison(name, kind):
    low, high = np.repeat(EDGES[:8], 4), np.tile(EDGES[14:18], 8)
    other_low, other_high = np.tile(EDGES[:8], 4), np.repeat(EDGES[14:18], 8)
    body = (
        f"ISETP.{name}.U32.AND P1, PT, R10, R12, PT\n"
        f"ISETP.{name}{kind}.AND.EX P1, PT, R11, R13, PT, P1\nSEL R40, 0x1, RZ, P1"
    )
    got = run(body, low, high, other_low, other_high)[0]
    x, y = low.astype(np.uint64) | high.astype(np.uint64) << 32, other_low | other_high.astype(np.uint64) << 32
    want = COMPARE[name](x, y) if kind else COMPARE[name](x.view(np.int64), y.view(np.int64))
    assert got.tolist() == want.astype(int).tolist()


def test_plop3_combines_predicates():
    bits = np.arange(32, dtype=np.uint32)
    body = "R2P PR, R10, 0x1f\nPLOP3.LUT P5, P6, P0, P1, P2, 0x96, 0xe8\nP2R R40, PR, RZ, 0x7f"
    got = run(body, bits)[0]
    for lane in range(32):
        a, b, c = lane & 1, lane >> 1 & 1, lane >> 2 & 1
        assert got[lane] == lane | (a ^ b ^ c) << 5 | (a + b + c >= 2) << 6


def test_guards_leave_inactive_lanes_alone():
    got = run("MOV R40, R10\nISETP.LT.U32.AND P1, PT, R0, 0xa, PT\n@!P1 MOV R40, R11", A, B)[0]
    assert got.tolist() == np.where(np.arange(32) < 10, A, B).tolist()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, MASK), min_size=64, max_size=64))
def test_shuffles(values):
    data, index = np.array(values[:32], np.uint32), np.array(values[32:], np.uint32)
    lanes = np.arange(32)
    got = run(
        "SHFL.IDX PT, R40, R10, R11, 0x1f\nSHFL.BFLY PT, R41, R10, 0x5, 0x1f\nSHFL.UP P1, R42, R10, 0x3, RZ\n"
        "SHFL.DOWN PT, R43, R10, 0x3, 0x1f\nSHFL.IDX PT, R44, R10, 0x1, 0x181f\nSEL R45, 0x1, RZ, P1",
        data, index, outputs=6,
    )  # fmt: skip
    assert got[0].tolist() == data[index & 31].tolist()
    assert got[1].tolist() == data[lanes ^ 5].tolist()
    assert got[2].tolist() == np.where(lanes >= 3, data[lanes - 3], data).tolist()
    assert got[3].tolist() == np.where(lanes < 29, data[(lanes + 3) & 31], data).tolist()
    assert got[4].tolist() == data[(lanes & 24) + 1].tolist()  # segments of eight lanes
    assert got[5].tolist() == (lanes >= 3).astype(int).tolist()


def test_votes_and_reductions():
    got = run(
        "ISETP.LT.U32.AND P1, PT, R0, 0x5, PT\nVOTE.ANY R40, P2, P1\nSEL R41, 0x1, RZ, P2\nVOTE.ALL P3, P1\n"
        "SEL R42, 0x1, RZ, P3\nREDUX.SUM UR4, R10\nMOV R43, UR4\nREDUX.MIN.S32 UR4, R10\nMOV R44, UR4",
        A, outputs=5,
    )  # fmt: skip
    assert set(got[0].tolist()) == {31}
    assert set(got[1].tolist()) == {1}
    assert set(got[2].tolist()) == {0}
    assert set(got[3].tolist()) == {sum(wide(A)) & MASK}
    assert set(got[4].tolist()) == {int(A.view(np.int32).min()) & MASK}


def test_words_kept_in_the_return_address():
    """Blackwell's ptxas spills into Rpc, each lane its own; a predicate guards it as any move."""
    code = """
    RPCMOV.32 Rpc.LO, R10
    RPCMOV.32 Rpc.HI, R11
    ISETP.LT.U32.AND P0, PT, R12, 0x10, PT
    @P0 RPCMOV.32 Rpc.LO, R12
    RPCMOV.32 R40, Rpc.LO
    RPCMOV.32 R41, Rpc.HI
    """
    low, high = run(code, A, B, C, outputs=2)
    assert low.tolist() == [c if c < 16 else a for a, c in zip(wide(A), wide(C), strict=True)]
    assert high.tolist() == wide(B)
