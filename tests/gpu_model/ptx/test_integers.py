"""Integer, logic, shift and byte instructions on edge values, by the PTX ISA's rules (chapters 9.7.1 and 9.7.8)."""

import itertools

import numpy as np
import pytest

from tests.gpu_model.ptx.harness import ARCHES, Op, check, cross, spread

EDGES32 = [0, 1, 2, 3, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0x80000001,
           0xFFFFFFFF, 0xFFFFFFFE, 0x12345678, 0xDEADBEEF]  # fmt: skip
SHIFTS = [0, 1, 5, 15, 16, 31, 32, 33, 63, 64, 65, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
EDGES64 = [0, 1, 2, 10, 0xFFFFFFFF, 0x100000000, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0xFFFFFFFFFFFFFFFF,
           0xFFFFFFFF00000001, 0x123456789ABCDEF0, 0x00000000DEADBEEF]  # fmt: skip
RANDOM = np.random.default_rng(2).integers(0, 1 << 32, 6).tolist()


def signed(value: int, width: int) -> int:
    """Two's complement reading of a pattern."""
    return value - (1 << width) if value >> width - 1 & 1 else value


def read(value: int, kind: str) -> int:
    """A pattern as a PTX integer type."""
    width = int(kind[1:])
    value &= (1 << width) - 1
    return signed(value, width) if kind[0] == "s" else value


def wrap(value: int, width: int) -> int:
    return value & (1 << width) - 1


def integer(name: str, kind: str, function, count: int = 2, *, out: str = "", text: str = "", since: int = 75) -> Op:
    """An operation whose rule is a function of integer values, its result wrapped."""
    out = out or kind

    def rule(*sources: int) -> int:
        return wrap(function(*(read(source, kind) for source in sources)), int(out[1:]))

    return Op(name, out, (kind,) * count, rule, text, since)


def clamp(value: int, kind: str) -> int:
    width = int(kind[1:])
    low, high = (-(1 << width - 1), (1 << width - 1) - 1) if kind[0] == "s" else (0, (1 << width) - 1)
    return max(low, min(high, value))


def quotient(a: int, b: int) -> int:
    """Division toward zero."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def common_ops(kind: str) -> list[Op]:
    width = int(kind[1:])
    ops = [
        integer(f"add.{kind}", kind, lambda a, b: a + b),
        integer(f"sub.{kind}", kind, lambda a, b: a - b),
        integer(f"mul.lo.{kind}", kind, lambda a, b: a * b),
        integer(f"mul.hi.{kind}", kind, lambda a, b: a * b >> width),
        integer(f"mad.lo.{kind}", kind, lambda a, b, c: a * b + c, 3),
        integer(f"mad.hi.{kind}", kind, lambda a, b, c: (a * b >> width) + c, 3),
        integer(f"min.{kind}", kind, min),
        integer(f"max.{kind}", kind, max),
        integer(f"sad.{kind}", kind, lambda a, b, c: c + abs(a - b), 3),
    ]
    for name, holds in (("eq", {0}), ("ne", {-1, 1}), ("lt", {-1}), ("le", {-1, 0}), ("gt", {1}), ("ge", {0, 1})):

        def rule(a: int, b: int, holds=frozenset(holds)) -> int:
            x, y = read(a, kind), read(b, kind)
            return int((x > y) - (x < y) in holds)

        ops.append(Op(f"setp.{name}.{kind}", "pred", (kind, kind), rule))
    if kind[0] == "s":
        ops += [integer(f"abs.{kind}", kind, abs, 1), integer(f"neg.{kind}", kind, lambda a: -a, 1)]
    return ops


WIDE = {"u16": "u32", "s16": "s32", "u32": "u64", "s32": "s64"}


def wide_ops(kind: str) -> list[Op]:
    out = WIDE[kind]

    def mad(a: int, b: int, c: int) -> int:
        return wrap(read(a, kind) * read(b, kind) + c, int(out[1:]))

    return [
        integer(f"mul.wide.{kind}", kind, lambda a, b: a * b, out=out),
        Op(f"mad.wide.{kind}", out, (kind, kind, out), mad),
    ]


def saturating_ops() -> list[Op]:
    return [
        integer("add.sat.s32", "s32", lambda a, b: clamp(a + b, "s32")),
        integer("sub.sat.s32", "s32", lambda a, b: clamp(a - b, "s32")),
        integer("mad.hi.sat.s32", "s32", lambda a, b, c: clamp((a * b >> 32) + c, "s32"), 3),
    ]


def low24(a: int, kind: str) -> int:
    return signed(a & 0xFFFFFF, 24) if kind[0] == "s" else a & 0xFFFFFF


def mul24_ops(kind: str) -> list[Op]:
    def product(a: int, b: int) -> int:
        return low24(a, kind) * low24(b, kind)

    return [
        integer(f"mul24.lo.{kind}", kind, product),
        integer(f"mul24.hi.{kind}", kind, lambda a, b: product(a, b) >> 16),
        integer(f"mad24.lo.{kind}", kind, lambda a, b, c: product(a, b) + c, 3),
        integer(f"mad24.hi.{kind}", kind, lambda a, b, c: (product(a, b) >> 16) + c, 3),
    ]


@pytest.mark.parametrize("arch", ARCHES)
def test_arithmetic_of_32_bits(arch):
    ops = [op for kind in ("u32", "s32") for op in common_ops(kind) + wide_ops(kind) + mul24_ops(kind)]
    check(ops + saturating_ops(), cross(EDGES32 + RANDOM, EDGES32, EDGES32[:3] + RANDOM[:3], limit=512), arch)


@pytest.mark.parametrize("arch", ARCHES)
def test_arithmetic_of_16_bits(arch):
    values = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0x8001, 0xFFFF, 0x1234]
    ops = [op for kind in ("u16", "s16") for op in common_ops(kind) + wide_ops(kind)]
    check(ops, cross(values, values, values[:4], limit=384), arch)


@pytest.mark.parametrize("arch", ARCHES)
def test_arithmetic_of_64_bits(arch):
    ops = [op for kind in ("u64", "s64") for op in common_ops(kind)]
    check(ops, cross(EDGES64, EDGES64, EDGES64[:3], limit=384), arch)


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("constant", [2**31 - 1, 2**31, 2**32 - 16, 2**32 - 1, 2**32, 3 << 40, -16, -(2**31), -(2**33)])
def test_constants_of_64_bits(arch, constant):
    """Where bit 31 is set, a 32-bit immediate is extended by sign and a 64-bit one is not."""
    pattern = wrap(constant, 64)
    ops = [
        Op("add", "b64", ("b64",), lambda a: wrap(a + constant, 64), f"add.s64 {{d}}, {{a}}, {constant};"),
        Op("xor", "b64", ("b64",), lambda a: a ^ pattern, f"xor.b64 {{d}}, {{a}}, {constant};"),
        Op(
            "mad", "b64", ("b64",), lambda a: wrap(a * a + constant, 64), f"mad.lo.s64 {{d}}, {{a}}, {{a}}, {constant};"
        ),
        Op(
            "min",
            "b64",
            ("b64",),
            lambda a: wrap(min(signed(a, 64), constant), 64),
            f"min.s64 {{d}}, {{a}}, {constant};",
        ),
        Op("lt", "pred", ("b64",), lambda a: signed(a, 64) < constant, f"setp.lt.s64 {{d}}, {{a}}, {constant};"),
        Op("lo", "pred", ("b64",), lambda a: a < pattern, f"setp.lo.u64 {{d}}, {{a}}, {pattern:#x}U;"),
    ]
    near = [wrap(constant + step, 64) for step in (-1, 0, 1)]
    check(ops, cross([*EDGES64, *near], limit=32), arch)


@pytest.mark.parametrize("arch", ARCHES)
def test_carry_chains(arch):
    """add.cc, addc, sub.cc, subc, mad.cc, madc: arithmetic on 128 bits by 32-bit steps."""
    texts = {
        "addc": "add.cc.u64 {d}, {a}, {b};\naddc.u64 {d}, {a}, {b};",
        "subc": "sub.cc.u64 {d}, {a}, {b};\nsubc.u64 {d}, {a}, {b};",
    }

    def addc(a: int, b: int) -> int:
        return wrap(a + b + (a + b >> 64), 64)

    def subc(a: int, b: int) -> int:
        return wrap(a - b - (a < b), 64)

    ops = [
        Op("addc.u64", "u64", ("u64", "u64"), addc, texts["addc"]),
        Op("subc.u64", "u64", ("u64", "u64"), subc, texts["subc"]),
    ]
    check(ops, cross(EDGES64, EDGES64), arch)
    steps = [
        Op("madc.hi.u32", "u32", ("u32",) * 3, lambda a, b, c: wrap((a * b + c) >> 32, 32),
           "mad.lo.cc.u32 t, {a}, {b}, {c};\nmadc.hi.u32 {d}, {a}, {b}, 0;"),
        Op("addc.u32", "u32", ("u32",) * 3, lambda a, b, c: wrap((a + b >> 32) + c + c, 32),
           "add.cc.u32 t, {a}, {b};\naddc.u32 {d}, {c}, {c};"),
        Op("subc.u32", "u32", ("u32",) * 3, lambda a, b, c: wrap(-int(a < b) + c, 32),
           "sub.cc.u32 t, {a}, {b};\nsubc.u32 {d}, {c}, 0;"),
    ]  # fmt: skip
    check(steps, cross(EDGES32, EDGES32, EDGES32[:4], limit=512), arch)


def division_ops(kind: str) -> list[Op]:
    """Division toward zero; the PTX ISA leaves division by zero to the machine, so divisors are made odd."""
    odd = f"or.b{kind[1:]} {{b}}, {{b}}, 1;\n"

    def divide(a: int, b: int) -> int:
        return quotient(a, read(b | 1, kind))

    def remainder(a: int, b: int) -> int:
        return a - divide(a, b) * read(b | 1, kind)

    return [
        integer(f"div.{kind}", kind, divide, text=f"{odd}div.{kind} {{d}}, {{a}}, {{b}};"),
        integer(f"rem.{kind}", kind, remainder, text=f"{odd}rem.{kind} {{d}}, {{a}}, {{b}};"),
        *(
            integer(
                f"div.{kind} by {by}", kind, lambda a, by=by: quotient(a, by), 1, text=f"div.{kind} {{d}}, {{a}}, {by};"
            )
            for by in (3, 7, 10, 16, 641)
        ),
    ]


@pytest.mark.parametrize("kind", ["u16", "s16", "u32", "s32", "u64", "s64"])
@pytest.mark.parametrize("arch", ARCHES)
def test_division(arch, kind):
    values = EDGES64 if kind.endswith("64") else EDGES32
    check(division_ops(kind), cross(values, values, limit=384), arch)


def shift_left(a: int, count: int, width: int) -> int:
    return 0 if count >= width else wrap(a << count, width)


def shift_ops() -> list[Op]:
    ops = []
    for width in (16, 32, 64):
        b, u, s = f"b{width}", f"u{width}", f"s{width}"
        ops += [
            Op(f"shl.{b}", b, (b, "u32"), lambda a, n, w=width: shift_left(a, n, w)),
            Op(f"shr.{u}", u, (u, "u32"), lambda a, n, w=width: 0 if n >= w else a >> n),
            Op(f"shr.{s}", s, (s, "u32"), lambda a, n, w=width: wrap(signed(a, w) >> min(n, w), w)),
        ]
    ops += [
        Op(f"{name} by {by}", kind, (kind,), rule, f"{name} {{d}}, {{a}}, {by};")
        for by in (1, 31, 32, 40)
        for name, kind, rule in (
            ("shl.b32", "b32", lambda a, by=by: shift_left(a, by, 32)),
            ("shr.u32", "u32", lambda a, by=by: 0 if by > 31 else a >> by),
            ("shr.s32", "s32", lambda a, by=by: wrap(signed(a, 32) >> min(by, 32), 32)),
            ("shl.b64", "b64", lambda a, by=by: shift_left(a, by, 64)),
            ("shr.s64", "s64", lambda a, by=by: wrap(signed(a, 64) >> by, 64)),
        )
    ]
    return ops


def funnel(a: int, b: int, count: int, left: bool, wraps: bool) -> int:
    """shf: the pair b:a shifted, its high word for a left shift and its low word for a right one."""
    count = count & 31 if wraps else min(count, 32)
    pair = b << 32 | a
    return wrap(pair << count >> 32, 32) if left else wrap(pair >> count, 32)


def funnel_ops() -> list[Op]:
    return [
        Op(f"shf.{'l' if left else 'r'}.{'wrap' if wraps else 'clamp'}.b32", "b32", ("b32", "b32", "u32"),
           lambda a, b, c, left=left, wraps=wraps: funnel(a, b, c, left, wraps))
        for left, wraps in itertools.product((False, True), (False, True))
    ]  # fmt: skip


@pytest.mark.parametrize("arch", ARCHES)
def test_shifts(arch):
    check(shift_ops(), cross([*EDGES32, *EDGES64], SHIFTS, limit=640), arch)
    check(funnel_ops(), cross(EDGES32 + RANDOM, EDGES32[:8] + RANDOM, SHIFTS, limit=1024), arch)


def lop3(a: int, b: int, c: int, table: int) -> int:
    """Bit i of the result is the table's entry at (a_i, b_i, c_i)."""
    result = 0
    for index in range(8):
        if table >> index & 1:
            result |= (a if index & 4 else ~a) & (b if index & 2 else ~b) & (c if index & 1 else ~c)
    return wrap(result, 32)


def logic_ops() -> list[Op]:
    functions = {"and": lambda a, b: a & b, "or": lambda a, b: a | b, "xor": lambda a, b: a ^ b}
    ops = [
        Op(f"{name}.b{width}", f"b{width}", (f"b{width}",) * 2, f)
        for name, f in functions.items()
        for width in (16, 32, 64)
    ]
    ops += [Op(f"not.b{w}", f"b{w}", (f"b{w}",), lambda a, w=w: wrap(~a, w)) for w in (16, 32, 64)]
    ops += [Op(f"cnot.b{w}", f"b{w}", (f"b{w}",), lambda a: int(a == 0)) for w in (16, 32, 64)]
    tables = [0x00, 0xFF, 0x80, 0x01, 0x96, 0xE8, 0xCA, 0x3C, 0x17, 0x5A, 0xFE, 0x2D]
    return ops + [
        Op(f"lop3.b32 {table:#x}", "b32", ("b32",) * 3, lambda a, b, c, t=table: lop3(a, b, c, t),
           f"lop3.b32 {{d}}, {{a}}, {{b}}, {{c}}, {table};")
        for table in tables
    ]  # fmt: skip


@pytest.mark.parametrize("arch", ARCHES)
def test_logic(arch):
    check(logic_ops(), cross(EDGES32 + RANDOM, EDGES32, RANDOM, limit=384), arch)


def extract(a: int, start: int, length: int, kind: str) -> int:
    """bfe, as the PTX ISA's pseudocode states it: past the top, bits are the sign of the field."""
    width = int(kind[1:])
    start, length = start & 0xFF, length & 0xFF
    has_sign = kind[0] == "s" and length > 0
    sign = a >> min(start + length - 1, width - 1) & 1 if has_sign else 0
    result = 0
    for i in range(width):
        bit = a >> (start + i) & 1 if i < length and start + i < width else sign
        result |= bit << i
    return result


def insert(a: int, b: int, start: int, length: int, width: int) -> int:
    """bfi: the low `length` bits of a into b from bit `start`."""
    start, length = start & 0xFF, length & 0xFF
    field = wrap(((1 << length) - 1) << start, width)
    return b & ~field | wrap(a << start, width) & field


def find(a: int, kind: str, shift_amount: bool) -> int:
    """bfind: position of the leading bit that differs from the sign, or the shift that would bring it up."""
    width = int(kind[1:])
    if kind[0] == "s" and a >> width - 1:
        a = wrap(~a, width)
    if a == 0:
        return 0xFFFFFFFF
    position = a.bit_length() - 1
    return width - 1 - position if shift_amount else position


def mask_bits(start: int, length: int, wraps: bool) -> int:
    """bmsk: ones of `length` from bit `start`."""
    start, length = (start & 31, length & 31) if wraps else (min(start, 32), min(length, 32))
    return wrap(((1 << length) - 1) << start, 32)


def extend(a: int, length: int, kind: str, wraps: bool) -> int:
    """szext: the low `length` bits, sign- or zero-extended."""
    length = length & 31 if wraps else min(length, 32)
    low = a & (1 << length) - 1
    return wrap(signed(low, length), 32) if kind == "s32" and length else low


def bit_ops() -> list[Op]:
    return [
        *(Op(f"bfe.{kind}", kind, (kind, "u32", "u32"), lambda a, b, c, k=kind: extract(a, b, c, k))
          for kind in ("u32", "s32", "u64", "s64")),
        *(Op(f"bfind{'.shiftamt' * amount}.{kind}", "u32", (kind,), lambda a, k=kind, s=amount: find(a, k, s))
          for kind in ("u32", "s32", "u64", "s64") for amount in (False, True)),
        *(Op(f"clz.b{w}", "u32", (f"b{w}",), lambda a, w=w: w - a.bit_length()) for w in (32, 64)),
        *(Op(f"popc.b{w}", "u32", (f"b{w}",), lambda a: a.bit_count()) for w in (32, 64)),
        *(Op(f"brev.b{w}", f"b{w}", (f"b{w}",), lambda a, w=w: int(f"{a:0{w}b}"[::-1], 2)) for w in (32, 64)),
        *(Op(f"bmsk.{mode}.b32", "b32", ("b32", "b32"), lambda a, b, m=mode: mask_bits(a, b, m == "wrap"))
          for mode in ("clamp", "wrap")),
        *(Op(f"szext.{mode}.{kind}", kind, (kind, "u32"), lambda a, b, m=mode, k=kind: extend(a, b, k, m == "wrap"))
          for mode in ("clamp", "wrap") for kind in ("u32", "s32")),
        *(Op(f"bfi.b32 {start} {length}", "b32", ("b32", "b32"),
             lambda a, b, s=start, n=length: insert(a, b, s, n, 32), f"bfi.b32 {{d}}, {{a}}, {{b}}, {start}, {length};")
          for start, length in ((0, 8), (5, 11), (24, 16), (31, 1), (0, 32), (3, 0))),
        Op("bfi.b32", "b32", ("b32", "b32", "u32"), lambda a, b, c: insert(a, b, c, 7, 32),
           "bfi.b32 {d}, {a}, {b}, {c}, 7;"),
        Op("bfi.b64", "b64", ("b64", "b64", "u32"), lambda a, b, c: insert(a, b, c, 13, 64),
           "bfi.b64 {d}, {a}, {b}, {c}, 13;"),
        Op("fns.b32", "b32", ("b32",), lambda a: next((i for i in range(32) if a >> i & 1), 0xFFFFFFFF),
           "fns.b32 {d}, {a}, 0, 1;"),
    ]  # fmt: skip


@pytest.mark.parametrize("arch", ARCHES)
def test_bit_fields(arch):
    values = [*EDGES32, *EDGES64, *RANDOM]
    positions = [0, 1, 5, 15, 16, 31, 32, 33, 63, 64, 65, 200, 255]  # the PTX ISA restricts them to a byte
    check(bit_ops(), cross(values, positions, [0, 1, 8, 31, 32, 33, 64, 128, 255], limit=768), arch)


PRMT_MODES = ("", ".f4e", ".b4e", ".rc8", ".ecl", ".ecr", ".rc16")


def permute(a: int, b: int, selector: int, mode: str) -> int:
    """prmt: the table of the PTX ISA; the default mode replicates the byte's sign where a nibble's top bit is set."""
    pool = [(b << 32 | a) >> 8 * i & 0xFF for i in range(8)]
    n = selector & 3
    chosen = {
        ".f4e": [n, n + 1, n + 2, n + 3], ".b4e": [n, n + 7 & 7, n + 6 & 7, n + 5 & 7], ".rc8": [n] * 4,
        ".ecl": [max(n, i) for i in range(4)], ".ecr": [min(n, i) for i in range(4)],
        ".rc16": [(n & 1) * 2, (n & 1) * 2 + 1] * 2,
    }.get(mode)  # fmt: skip
    if chosen is not None:
        return sum(pool[index] << 8 * i for i, index in enumerate(chosen))
    result = 0
    for i in range(4):
        nibble = selector >> 4 * i & 15
        byte = pool[nibble & 7]
        result |= ((0xFF if byte & 0x80 else 0) if nibble & 8 else byte) << 8 * i
    return result


def dot_bytes(a: int, b: int, c: int, kind_a: str, kind_b: str) -> int:
    def lanes(word: int, kind: str) -> list[int]:
        return [read(word >> 8 * i, f"{kind[0]}8") for i in range(4)]

    return wrap(c + sum(x * y for x, y in zip(lanes(a, kind_a), lanes(b, kind_b), strict=True)), 32)


def dot_halves(a: int, b: int, c: int, kind_a: str, kind_b: str, high: bool) -> int:
    words = [read(a >> 16 * i, f"{kind_a[0]}16") for i in range(2)]
    bytes_ = [read(b >> 8 * (i + 2 * high), f"{kind_b[0]}8") for i in range(2)]
    return wrap(c + sum(x * y for x, y in zip(words, bytes_, strict=True)), 32)


def byte_ops() -> list[Op]:
    kinds = list(itertools.product(("u32", "s32"), repeat=2))
    return [
        *(Op(f"prmt.b32{mode}", "b32", ("b32", "b32", "b32"), lambda a, b, c, m=mode: permute(a, b, c, m))
          for mode in PRMT_MODES),
        *(Op(f"prmt.b32 {s:#x}", "b32", ("b32", "b32"), lambda a, b, s=s: permute(a, b, s, ""),
             f"prmt.b32 {{d}}, {{a}}, {{b}}, {s};") for s in (0x5410, 0x7632, 0x8765, 0x0123, 0xFBA9)),
        *(Op(f"dp4a.{x}.{y}", "s32" if "s32" in (x, y) else "u32", ("b32", "b32", "b32"),
             lambda a, b, c, x=x, y=y: dot_bytes(a, b, c, x, y)) for x, y in kinds),
        *(Op(f"dp2a.{half}.{x}.{y}", "s32" if "s32" in (x, y) else "u32", ("b32", "b32", "b32"),
             lambda a, b, c, x=x, y=y, h=half: dot_halves(a, b, c, x, y, h == "hi"))
          for x, y in kinds for half in ("lo", "hi")),
    ]  # fmt: skip


@pytest.mark.parametrize("arch", ARCHES)
def test_bytes(arch):
    selectors = [0x3210, 0x7654, 0x0123, 0x8888, 0xFEDC, 0x5410, 1, 2, 3]
    check(byte_ops(), cross(EDGES32 + RANDOM, EDGES32, selectors + RANDOM, limit=768), arch)


def packed_ops() -> list[Op]:
    """Two 16-bit lanes in a word (sm_90 and later have them in one instruction)."""

    def lanes(function, kind):
        def rule(a: int, b: int) -> int:
            pairs = [(read(a >> s, kind), read(b >> s, kind)) for s in (0, 16)]
            low, high = (wrap(function(*pair), 16) for pair in pairs)
            return high << 16 | low

        return rule

    ops = [
        Op(f"{name}.{kind}x2", "b32", ("b32", "b32"), lanes(function, kind), since=90)
        for kind in ("u16", "s16")
        for name, function in (("add", lambda a, b: a + b), ("min", min), ("max", max))
    ]
    for name, function in (("min", min), ("max", max)):

        def clipped(a: int, b: int, function=function) -> int:
            return max(function(a, b), 0)

        ops.append(Op(f"{name}.relu.s16x2", "b32", ("b32", "b32"), lanes(clipped, "s16"), since=90))
        ops.append(integer(f"{name}.relu.s32", "s32", clipped, since=90))
    return ops


def fused_ops() -> list[Op]:
    """Sums and minima of which sm_90 makes one instruction, 32 bits and two times 16 bits wide."""

    def whole(function, kind):
        return lambda a, b, c: wrap(function(read(a, kind), read(b, kind), read(c, kind)), int(kind[1:]))

    def lanes(function, kind):
        def rule(*words: int) -> int:
            low, high = (whole(function, kind)(*(word >> s for word in words)) for s in (0, 16))
            return high << 16 | low

        return rule

    ops = []
    for name, choose in (("min", min), ("max", max)):
        for kind in ("u32", "s32", "u16", "s16"):
            pair = kind.endswith("16")
            form, bits, wide = (f"{kind}x2" if pair else kind), int(kind[1:]), lanes if pair else whole

            def summed(a, b, c, choose=choose, kind=kind, bits=bits):
                return choose(read(wrap(a + b, bits), kind), c)

            def three(a, b, c, choose=choose):
                return choose(a, b, c)

            for label, first, rule in (("add", "add", summed), (name, name, three)):
                text = f"{first}.{form} t, {{a}}, {{b}};\n{name}.{form} {{d}}, t, {{c}};"
                ops.append(Op(f"{label}, {name} {form}", "b32", ("b32",) * 3, wide(rule, kind), text, 90))
                if kind[0] == "s":

                    def clipped(*sources, rule=rule):
                        return max(rule(*sources), 0)

                    text = text.replace(f"{name}.{form} {{d}}", f"{name}.relu.{form} {{d}}")
                    ops.append(Op(f"{label}, {name}.relu {form}", "b32", ("b32",) * 3, wide(clipped, kind), text, 90))
    return ops


@pytest.mark.parametrize("arch", [arch for arch in ARCHES if arch >= 90])
def test_packed_16_bits(arch):
    check(packed_ops() + fused_ops(), cross(EDGES32 + RANDOM, EDGES32, EDGES32, limit=768), arch)


def byte_difference_ops() -> list[Op]:
    def differences(a: int, b: int, kind: str) -> list[int]:
        return [abs(read(a >> 8 * i, f"{kind[0]}8") - read(b >> 8 * i, f"{kind[0]}8")) for i in range(4)]

    def side_by_side(a: int, b: int, c: int) -> int:
        return sum(wrap(value, 8) << 8 * i for i, value in enumerate(differences(a, b, "u32")))

    return [
        Op("vabsdiff4.u32.u32.u32", "b32", ("b32",) * 3, side_by_side),
        *(Op(f"vabsdiff4.{kind}.{kind}.{kind}.add", "b32", ("b32",) * 3,
             lambda a, b, c, k=kind: wrap(sum(differences(a, b, k)) + c, 32)) for kind in ("u32", "s32")),
    ]  # fmt: skip


@pytest.mark.parametrize("arch", ARCHES)
def test_byte_differences(arch):
    """vabsdiff4: each byte's difference, or their sum added to c."""
    check(byte_difference_ops(), cross(EDGES32 + RANDOM, EDGES32, RANDOM[:2], limit=384), arch)


def pack(a: int, b: int, kind: str) -> int:
    """cvt.pack.sat: a and b, clamped, side by side."""
    width = int(kind[1:])
    high, low = (wrap(clamp(signed(x, 32), kind), width) for x in (a, b))
    return high << width | low


@pytest.mark.parametrize("arch", ARCHES)
def test_packing(arch):
    ops = [
        Op(f"cvt.pack.sat.{kind}.s32", "b32", ("b32", "b32"), lambda a, b, k=kind: pack(a, b, k))
        for kind in ("u16", "s16")
    ]
    ops += [
        Op(f"cvt.pack.sat.{kind}.s32.b32", "b32", ("b32",) * 3,
           lambda a, b, c, k=kind: wrap(c << 2 * int(k[1:]) | pack(a, b, k), 32), since=75 if "8" in kind else 80)
        for kind in ("u8", "s8", "u4", "s4", "u2", "s2")
    ]  # fmt: skip
    check(ops, cross(EDGES32, EDGES32, [0, 0x12345678]), arch)


MIXED = "mad.lo.u32 t, block, 0x9E3779B1, 12345;\n"


def mixed(block: int) -> int:
    return wrap(block * 0x9E3779B1 + 12345, 32)


# Values that are the same in every lane, for which ptxas takes the uniform datapath where it can.
UNIFORM = {
    "brev.b32 {d}, t;": lambda x, _: int(f"{x:032b}"[::-1], 2),
    "popc.b32 {d}, t;": lambda x, _: x.bit_count(),
    "bfind.u32 {d}, t;": lambda x, _: x.bit_length() - 1 if x else 0xFFFFFFFF,
    "clz.b32 {d}, t;": lambda x, _: 32 - x.bit_length(),
    "shl.b32 {d}, t, 7;": lambda x, _: wrap(x << 7, 32),
    "shr.s32 {d}, t, 3;": lambda x, _: wrap(signed(x, 32) >> 3, 32),
    "prmt.b32 {d}, t, t, 0x0123;": lambda x, _: permute(x, x, 0x0123, ""),
    "lop3.b32 {d}, t, block, 77, 0x96;": lambda x, a: x ^ a ^ 77,
    "min.u32 {d}, t, 0x70000000;": lambda x, _: min(x, 0x70000000),
    "max.s32 {d}, t, -5;": lambda x, _: wrap(max(signed(x, 32), -5), 32),
    "szext.clamp.s32 {d}, t, 11;": lambda x, _: extend(x, 11, "s32", False),
    "bfe.u32 {d}, t, 5, 9;": lambda x, _: extract(x, 5, 9, "u32"),
    "setp.lt.s32 p, t, 0;\nselp.b32 {d}, 111, t, p;": lambda x, _: 111 if x >> 31 else x,
    "setp.gt.u32 p, t, 99;\nsetp.lt.and.u32 q, t, 0x80000000, p;\nselp.b32 {d}, 5, 6, q;":
        lambda x, _: 5 if 99 < x < 0x80000000 else 6,
    "mul.hi.u32 {d}, t, 0xCCCCCCCD;": lambda x, _: x * 0xCCCCCCCD >> 32,
    "div.u32 {d}, t, 10;": lambda x, _: x // 10,
    "sub.u32 {d}, block, t;": lambda x, a: wrap(a - x, 32),
}  # fmt: skip


@pytest.mark.parametrize("arch", ARCHES)
def test_uniform_values(arch):
    ops = [
        Op(text, "u32", ("u32",), lambda a, rule=rule: rule(mixed(a), a), MIXED + text)
        for text, rule in UNIFORM.items()
    ]
    check(ops, spread([lane // 32 for lane in range(12 * 32)], pad=32), arch, threads=32)
