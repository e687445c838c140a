"""Loads and stores of every width and space, atomics, copies to shared memory, calls and jump tables."""

import itertools

import numpy as np
import pytest

from tests.gpu_model.ptx import ieee
from tests.gpu_model.ptx.harness import ARCHES, Op, bits_of, check, cross, run, spread
from tests.gpu_model.ptx.ieee import F32, FORMATS
from tests.gpu_model.ptx.test_integers import read, signed, wrap

VALUES = np.random.default_rng(8).integers(0, 1 << 63, 128, dtype=np.uint64).tolist()


def space_ops() -> list[Op]:
    """Store and load back through shared and local memory, at every width and sign."""
    ops = []
    for space, place in (("shared", "tile"), ("local", "stack")):
        for kind in ("u8", "s8", "u16", "s16", "u32", "u64"):
            out, width = {"u8": "u32", "s8": "s32", "u16": "u32", "s16": "s32"}.get(kind, kind), int(kind[1:])
            store = (
                f"st.{space}.b{width} [w], {{a}};"
                if width > 32
                else f"cvt.u32.u64 t, {{a}};\nst.{space}.b{width} [w], t;"
            )
            text = (
                f"mov.u64 w, {place};\nmad.wide.u32 w, tid, 8, w;\n" if space == "shared" else f"mov.u64 w, {place};\n"
            )
            text += f"{store}\nld.{space}.{kind} {{d}}, [w];"
            ops.append(
                Op(f"{space} {kind}", out, ("b64",), lambda a, k=kind, o=out: wrap(read(a, k), int(o[1:])), text)
            )
    return ops


GLOBALS = ".shared .align 16 .b8 tile[4096];\n.const .align 8 .b64 table[4] = {11, 22, 33, 44};"


@pytest.mark.parametrize("arch", ARCHES)
def test_spaces(arch):
    ops = [Op(op.name, op.out, op.ins, op.rule, ".local .align 8 .b8 stack[64];\n" + op.text) for op in space_ops()]
    check(ops, spread(VALUES), arch, globals_=GLOBALS)


@pytest.mark.parametrize("arch", ARCHES)
def test_constant_memory(arch):
    text = "and.b32 t, {a}, 3;\nmov.u64 w, table;\nmad.wide.u32 w, t, 8, w;\nld.const.u64 {d}, [w];"
    ops = [
        Op("indexed constant", "u64", ("u32",), lambda a: 11 * (1 + a % 4), text),
        Op("fixed constant", "u64", ("u32",), lambda a: 33, "ld.const.u64 {d}, [table+16];"),
    ]
    check(ops, spread(VALUES), arch, globals_=GLOBALS)


ATOMICS = {
    "add.u32": ("u32", lambda m, x: m + x), "add.u64": ("u64", lambda m, x: m + x), "min.s32": ("s32", min),
    "max.u32": ("u32", max), "min.s64": ("s64", min), "max.u64": ("u64", max), "and.b32": ("u32", lambda m, x: m & x),
    "or.b32": ("u32", lambda m, x: m | x), "xor.b64": ("u64", lambda m, x: m ^ x), "exch.b32": ("u32", lambda m, x: x),
    "inc.u32": ("u32", lambda m, x: 0 if m >= x else m + 1),
    "dec.u32": ("u32", lambda m, x: x if m == 0 or m > x else m - 1),
}  # fmt: skip


@pytest.mark.parametrize("space", ["shared", "global"])
@pytest.mark.parametrize("arch", ARCHES)
def test_atomics(arch, space):
    """Each lane has a cell of its own holding b; the result is the old value and the new one, exclusive-or'ed."""
    ops = []
    for name, (kind, function) in ATOMICS.items():
        width = int(kind[1:])
        word = "w" if space == "shared" else "src"
        where = "mov.u64 w, tile;\nmad.wide.u32 w, tid, 8, w;\n" if space == "shared" else ""
        text = (
            f".reg .b{width} before, after;\n{where}st.{space}.b{width} [{word}], {{b}};\n"
            f"atom.{space}.{name} before, [{word}], {{a}};\nld.{space}.b{width} after, [{word}];\n"
            f"st.{space}.b64 [{word}], {{c}};\nxor.b{width} {{d}}, before, after;"
        )

        def rule(a, b, c, kind=kind, width=width, function=function):
            new = wrap(function(read(b, kind), read(a, kind)), width)
            return wrap(b ^ new, width)

        ops.append(Op(f"{space} {name}", f"b{width}", (f"b{width}", f"b{width}", "b64"), rule, text))
    # In global memory the cell is the first operand's slot, put back from c afterwards.
    values = [0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF, 1 << 63, 12345]
    operands = cross(values, values)
    operands[2] = operands[0]
    check(ops, operands, arch, globals_=GLOBALS)


def pair_add(a: int, b: int, kind: str) -> int:
    form = FORMATS[kind]
    return sum(ieee.add(a >> s & 0xFFFF, b >> s & 0xFFFF, form) << s for s in (0, 16))


def pair_choose(a: int, b: int, kind: str, largest: bool) -> int:
    form = FORMATS[kind]
    return sum(ieee.minimum(a >> s & 0xFFFF, b >> s & 0xFFFF, form, largest, False) << s for s in (0, 16))


def flushed_add(a: int, b: int) -> int:
    """Float atomics in global memory flush subnormals."""
    return ieee.flush(ieee.add(ieee.flush(a, F32), ieee.flush(b, F32), F32), F32)


def vector_ops(name: str) -> list[Op]:
    """Vector atomics of sm_90: the cell holds b in every word, a is combined into it; seen word by word."""
    forms = [("f32", count, "add", flushed_add) for count in (2, 4)]
    for kind, operation, count in itertools.product(("f16", "bf16"), ("add", "min", "max"), (1, 2, 4)):
        if count == 1 and operation != "add":
            continue

        def rule(a: int, b: int, kind=kind, operation=operation) -> int:
            return pair_add(a, b, kind) if operation == "add" else pair_choose(a, b, kind, operation == "max")

        forms.append((f"{kind}x2", count, operation, rule))
    ops = []
    for kind, count, operation, rule in forms:
        shape = f".v{count}" * (count > 1)
        full = f"{operation}{'.noftz' * (kind != 'f32')}{shape}.{kind}"
        registers = ", ".join(f"r{i}" for i in range(count))
        old, new = (f"{{{{{registers}}}}}", f"{{{{{', '.join(['{a}'] * count)}}}}}") if count > 1 else ("r0", "{a}")
        operation_text = (
            f"atom.global.{full} {old}, [w], {new};" if name == "atom" else f"red.global.{full} [w], {new};"
        )
        cells = "".join(f"st.global.b32 [w+{4 * i}], {{b}};\n" for i in range(count))
        for seen in {0, count - 1}:
            text = f".reg .b32 r<{count}>;\nshl.b32 t, tid, 4;\nmov.u64 w, cells;\n"
            text += "cvt.u64.u32 rest, t;\nadd.u64 w, w, rest;\n"
            text += f"{cells}{operation_text}\nld.global.b32 {{d}}, [w+{4 * seen}];\n"
            if name == "atom":
                text += f"setp.ne.u32 p, r{seen}, {{b}};\n@p mov.b32 {{d}}, 0xbad;"
            ops.append(Op(f"{name}.{full} word {seen}", "b32", ("b32", "b32"), rule, ".reg .b64 rest;\n" + text, 90))
    return ops


CELLS = ".global .align 16 .b8 cells[8192];"


@pytest.mark.parametrize("name", ["atom", "red"])
@pytest.mark.parametrize("arch", [90, 120])
def test_vector_atomics(arch, name):
    """NaN results aside: those of the sums are canonical, and so are those of the minima."""
    values = [
        0x3C003F80,
        0x0001BF80,
        0x80000000,
        0x00000000,
        0x7C00FF80,
        0x40490FDB,
        0x7F7FFFFF,
        0x33333333,
        0xC2C84000,
    ]
    check(vector_ops(name), cross(values, values), arch, globals_=CELLS)


@pytest.mark.parametrize("space", ["shared", "global"])
@pytest.mark.parametrize("arch", [90, 120])
def test_128_bit_exchange(arch, space):
    """exch and cas of (a, b) on a cell that holds (a, c): the old value and whether the cell changed."""
    where = "tile" if space == "shared" else "cells"
    head = f"""
.reg .b128 old, new, wanted; .reg .b64 low, high, rest;
and.b32 t, tid, 127;
shl.b32 t, t, 4;
mov.u64 w, {where};
cvt.u64.u32 rest, t;
add.u64 w, w, rest;
st.{space}.v2.b64 [w], {{{{{{a}}, {{c}}}}}};
mov.b128 new, {{{{{{b}}, {{a}}}}}};
mov.b128 wanted, {{{{{{a}}, {{b}}}}}};
"""
    exchange = head + f"atom.{space}.exch.b128 old, [w], new;\nmov.b128 {{{{low, high}}}}, old;\n"
    swap = head + f"atom.{space}.cas.b128 old, [w], wanted, new;\nmov.b128 {{{{low, high}}}}, old;\n"
    after = f"ld.{space}.v2.b64 {{{{low, high}}}}, [w];\n"
    kinds = ("b64",) * 3
    ops = [
        Op("exch, old", "b64", kinds, lambda a, b, c: a ^ wrap(3 * c, 64), exchange + XOR),
        Op("exch, new", "b64", kinds, lambda a, b, c: b ^ wrap(3 * a, 64), exchange + after + XOR),
        Op("cas, old", "b64", kinds, lambda a, b, c: a ^ wrap(3 * c, 64), swap + XOR),
        Op("cas, new", "b64", kinds,
           lambda a, b, c: b ^ wrap(3 * a, 64) if b == c else a ^ wrap(3 * c, 64), swap + after + XOR),
    ]  # fmt: skip
    values = [0, 1, 1 << 63, 0x123456789ABCDEF0]
    operands = cross(values, values, values, limit=64)
    check(ops, operands[:, :128], arch, globals_=CELLS + "\n" + GLOBALS)


@pytest.mark.parametrize("arch", ARCHES)
def test_generic_addresses(arch):
    """Loads, stores, atomics and isspacep through addresses whose memory is known only when the kernel runs."""
    place = """
.local .align 8 .b8 stack[16]; .reg .b64 other; .reg .b32 which;
mov.u64 w, tile;
mad.wide.u32 w, lane, 8, w;
cvta.shared.u64 w, w;
mov.u64 other, stack;
cvta.local.u64 other, other;
mov.b32 which, {c};
setp.eq.u32 p, which, 1;
selp.b64 w, other, w, p;
setp.eq.u32 p, which, 2;
selp.b64 w, dst, w, p;
"""
    ops = [Op("ld, st", "b32", ("b32",) * 3, lambda a, b, c: b, place + "st.b32 [w], {b};\nld.b32 {d}, [w];")]
    for name, kind, rule in (
        ("add.u32", "b32", lambda a, b, c: wrap(a + b, 32)),
        ("add.f32", "f32", lambda a, b, c: flushed_add(b, a) if c == 2 else ieee.add(b, a, F32)),
        ("max.u64", "b64", lambda a, b, c: max(a, b)),
        ("cas.b32", "b32", lambda a, b, c: b),
    ):
        width = bits_of(kind)
        source = "{a}, {b}" if name.startswith("cas") else "{a}"
        first = "{a}" if name.startswith("cas") else "{b}"
        # Atomics know no local memory.
        atomic_place = place.replace("setp.eq.u32 p, which, 1;\nselp.b64 w, other, w, p;\n", "")
        assert atomic_place != place
        text = f"st.b{width} [w], {first};\natom.{name} {{d}}, [w], {source};\nld.b{width} {{d}}, [w];"
        ops.append(Op(name, kind, (kind, kind, "b32"), rule, atomic_place + text))
    for index, space in enumerate(("shared", "local", "global")):
        text = f"isspacep.{space} {{d}}, w;"
        ops.append(Op(f"isspacep.{space}", "pred", ("b32",) * 3, lambda a, b, c, i=index: int(c == i), place + text))
    values = [0x3F800000, 0x3F800001, 0x40000002, 0x00000001, 0x7F7FFFFE, 0x12345678]
    check(ops, cross(values, values, [0, 1, 2]), arch, globals_=GLOBALS)


XOR = "mul.lo.u64 high, high, 3;\nxor.b64 {d}, low, high;"


@pytest.mark.parametrize("arch", [120])
def test_256_bit_accesses(arch):
    """Eight words at once, whole or in part: ptxas loads only the words that are used."""
    ops = []
    for used in ((0, 1, 2, 3, 4, 5, 6, 7), (0, 5, 7), (3,), (1, 2, 6), (4, 5)):
        names = ", ".join(f"v{i}" for i in range(8))
        text = f".reg .b32 v<8>;\nand.b64 w, src, -32;\nld.global.v8.b32 {{{{{names}}}}}, [w];\nmov.u32 {{d}}, 0;\n"
        text += "".join(f"mad.lo.u32 {{d}}, {{d}}, 31, v{i};\n" for i in used)
        ops.append((Op(f"words {used}", "u32", (), None, text), used))
    operands = spread(VALUES[:32], pad=32)
    aligned = np.zeros(operands.size + 4, np.uint64)
    aligned = aligned[(-aligned.ctypes.data % 32) // 8 :][: operands.size].reshape(operands.shape)
    aligned[:] = operands
    results = run([op for op, _ in ops], aligned, arch)
    words = aligned[0].view(np.uint32).reshape(-1, 8)
    for (op, used), row in zip(ops, results, strict=True):
        for lane in range(32):
            want = 0
            for i in used:
                want = wrap(want * 31 + int(words[lane // 4, i]), 32)
            assert row[lane] == want, f"{op.name}, lane {lane}"


@pytest.mark.parametrize("arch", [120])
def test_256_bit_stores(arch):
    text = """
.reg .b64 rest, back;
shl.b32 t, tid, 5;
mov.u64 w, cells;
cvt.u64.u32 rest, t;
add.u64 w, w, rest;
st.global.v4.b64 [w], {{{a}, {b}, {c}, {a}}};
ld.global.b64 {d}, [w];
ld.global.b64 back, [w+8];
mad.lo.u64 {d}, {d}, 31, back;
ld.global.b64 back, [w+16];
mad.lo.u64 {d}, {d}, 31, back;
ld.global.b64 back, [w+24];
mad.lo.u64 {d}, {d}, 31, back;
"""
    op = Op("st.v4.b64", "u64", ("b64",) * 3, lambda a, b, c: wrap(((a * 31 + b) * 31 + c) * 31 + a, 64), text)
    check([op], spread(VALUES[:128], VALUES[1:], VALUES[2:])[:, :128], arch, globals_=CELLS)


@pytest.mark.parametrize("arch", ARCHES)
def test_compare_and_swap(arch):
    text = """
.reg .b32 before, after;
mov.u64 w, tile;
mad.wide.u32 w, tid, 8, w;
st.shared.b32 [w], {a};
atom.shared.cas.b32 before, [w], {b}, {c};
ld.shared.b32 after, [w];
xor.b32 {d}, before, after;
"""
    op = Op("cas", "b32", ("b32",) * 3, lambda a, b, c: a ^ c if a == b else 0, text)
    check([op], cross([0, 1, 5], [0, 1, 5], [7, 0xFFFFFFFF]), arch, globals_=GLOBALS)


@pytest.mark.parametrize("arch", [arch for arch in ARCHES if arch >= 80])
def test_asynchronous_copy(arch):
    """cp.async of 4, 8 and 16 bytes, and its zero fill past the source size."""
    ops = []
    for size, used in ((4, 4), (8, 8), (8, 4), (16, 16), (16, 8), (4, 0)):
        text = f"""
mov.u32 t, tile;
mad.lo.u32 t, lane, 16, t;
and.b64 w, src, -16;
cp.async.ca.shared.global [t], [w], {size}, {used};
cp.async.commit_group;
cp.async.wait_group 0;
ld.shared.b64 {{d}}, [t];
"""
        if size == 4:
            text = text.replace("ld.shared.b64 {d}, [t];", "ld.shared.u32 u, [t];\ncvt.u64.u32 {d}, u;")
        ops.append((Op(f"cp.async {size} of {used}", "u64", (), None, text), min(used, 8)))
    operands = spread(VALUES[:32], pad=32)
    results = run([op for op, _ in ops], operands, arch, globals_=GLOBALS)
    for (op, used), row in zip(ops, results, strict=True):
        # The source address is aligned down to 16 bytes: an even lane's slot for both lanes of a pair.
        if operands.ctypes.data % 16 == 0:
            want = [int(v) & (1 << 8 * used) - 1 for v in np.repeat(operands[0][::2], 2)]
            assert row.tolist() == want, op.name


@pytest.mark.parametrize("arch", ARCHES)
def test_jump_table_and_call(arch):
    function = ".func (.reg .b32 r) triple(.reg .b32 x)\n{\nmul.lo.u32 r, x, 3;\nadd.u32 r, r, 1;\nret;\n}\n"
    call = Op("call", "u32", ("u32",), lambda a: wrap(3 * a + 1, 32), "call ({d}), triple, ({a});")
    jump = Op("brx.idx", "u32", ("u32",), lambda a: (10, 20, 30, 40)[a & 3], """
and.b32 t, {a}, 3;
targets: .branchtargets zero, one, two, three;
brx.idx t, targets;
zero: mov.u32 {d}, 10; bra out;
one: mov.u32 {d}, 20; bra out;
two: mov.u32 {d}, 30; bra out;
three: mov.u32 {d}, 40;
out:
""")  # fmt: skip
    operands = spread(VALUES[:64])
    check([call], operands, arch, globals_=function)
    check([jump], operands, arch)


def test_signed_reading():
    assert [signed(v, 8) for v in (0, 127, 128, 255)] == [0, 127, -128, -1]
