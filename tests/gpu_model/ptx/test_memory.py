"""Loads and stores of every width and space, atomics, copies to shared memory, calls and jump tables."""

import numpy as np
import pytest

from tests.gpu_model.ptx.harness import ARCHES, Op, check, cross, run, spread
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
