"""Assemble PTX with Triton's ptxas and run it: bit patterns in, bit patterns out, many operations a kernel.

Every value travels in a 64-bit slot. An `Op` is a piece of PTX whose `{d}` is its result and whose `{a}`,
`{b}`, `{c}` are its sources; `check` runs a list of them over operands and compares with each one's rule.
"""

import functools
import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from triton.backends.nvidia.compiler import get_ptxas

from gpu_model.decode import decode
from gpu_model.execute import Machine, execute
from gpu_model.launch import Launch, Segment
from tests.gpu_model.ptx.ieee import FORMATS, is_nan

ARCHES = (75, 80, 86, 89, 90, 120)
THREADS = 128
SLOT = 8  # bytes
ALIGNMENT = 32  # of a kernel's own memory: the widest access

# PTX ISA versions that introduced the targets.
_VERSIONS = {75: "7.8", 80: "8.6", 86: "8.6", 89: "8.6", 90: "8.6", 120: "8.8"}
_HEAD = """
.version {version}
.target {target}
.address_size 64
{globals}
.visible .entry probe(.param .u64 source, .param .u64 result)
{{
.reg .b64 src, dst, wide;
.reg .b32 tid, block, size, lane;
ld.param.u64 src, [source];
ld.param.u64 dst, [result];
mov.u32 tid, %tid.x;
mov.u32 block, %ctaid.x;
mov.u32 size, %ntid.x;
mad.lo.u32 tid, block, size, tid;
and.b32 lane, tid, 31;
mul.wide.u32 wide, tid, 8;
add.u64 src, src, wide;
add.u64 dst, dst, wide;
"""


@dataclass(frozen=True)
class Near:
    """An approximate result: a value and how far the answer may be from it."""

    value: float
    error: float


class AnyNaN:
    """A result that is some NaN, its payload unspecified."""


ANY_NAN = AnyNaN()


@dataclass(frozen=True)
class Op:
    """One operation under test.

    Attributes:
        name: the PTX instruction, or any label when `text` is given.
        out: result type: a PTX type without its dot, or `pred`.
        ins: source types, of `{a}`, `{b}`, `{c}`.
        rule: patterns of the sources to the expected pattern, a collection of accepted ones, `Near` or `ANY_NAN`.
        text: PTX statements; empty for `name {d}, {a}, ...;`.
        since: the first architecture that has it.
    """

    name: str
    out: str
    ins: tuple[str, ...]
    rule: Callable
    text: str = ""
    since: int = 75


def bits_of(kind: str) -> int:
    """Width of a PTX type in bits."""
    return {"bf16": 16, "pred": 1}.get(kind) or (32 if kind.endswith("x2") else int(kind.lstrip("bsuf")))


def _register(kind: str) -> str:
    return ".pred" if kind == "pred" else f".b{max(16, bits_of(kind))}"


def _load(name: str, index: int, kind: str, count: int) -> str:
    width = bits_of(kind)
    form = f"{'s' if kind[0] == 's' else 'u'}8" if width == 8 else f"b{width}"
    return f"ld.global.{form} {name}, [src+{index * count * SLOT}];"


def _store(index: int, kind: str, count: int) -> str:
    where = f"[dst+{index * count * SLOT}]"
    if kind == "pred":
        return f"selp.b32 t, 1, 0, d;\nst.global.b32 {where}, t;"
    return f"st.global.b{bits_of(kind)} {where}, d;"


def _block(op: Op, index: int, count: int) -> str:
    names = "abc"[: len(op.ins)]
    declared = [f".reg {_register(kind)} {name};" for name, kind in zip(names, op.ins, strict=True)]
    loads = [_load(name, i, kind, count) for i, (name, kind) in enumerate(zip(names, op.ins, strict=True))]
    text = op.text or f"{op.name} {', '.join(('{d}', *(f'{{{name}}}' for name in names)))};"
    body = text.format(d="d", **{name: name for name in names})
    scratch = f".reg {_register(op.out)} d; .reg .b32 t, u; .reg .b64 w; .reg .pred p, q;"
    return "\n".join(["{", scratch, *declared, *loads, body, _store(index, op.out, count), "}"])


def kernel(ops: Sequence[Op], count: int, arch: int, globals_: str = "") -> str:
    """PTX text of a kernel that runs every operation on `count` operand tuples."""
    target = f"sm_{arch}"
    head = _HEAD.format(version=_VERSIONS[arch], target=target, globals=globals_)
    return "\n".join([head, *(_block(op, i, count) for i, op in enumerate(ops)), "ret;\n}\n"])


@functools.lru_cache(maxsize=512)
def assemble(ptx: str, arch: int) -> bytes:
    """Cubin of a PTX text, for the target it names; `arch` chooses the ptxas.

    Raises:
        ValueError: ptxas refuses it; its message.
    """
    stem = Path(tempfile.gettempdir()) / f"warptree-ptx-{os.getpid()}-{hashlib.sha256(ptx.encode()).hexdigest()[:16]}"
    source, image = stem.with_suffix(".ptx"), stem.with_suffix(".cubin")
    try:
        source.write_text(ptx)
        target = re.search(r"\.target\s+(\w+)", ptx)
        command = [get_ptxas(arch).path, f"-arch={target[1] if target else ''}", str(source), "-o", str(image)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ValueError(f"ptxas refuses the kernel: {done.stderr or done.stdout}")
        return image.read_bytes()
    finally:
        source.unlink(missing_ok=True)
        image.unlink(missing_ok=True)


def launch(image: bytes, source: np.ndarray, result: np.ndarray, threads: int, blocks: int, shared: int = 0) -> Launch:
    """A launch of `probe` on uint64 slots."""
    program, _ = decode(image)
    parameters = np.array([source.ctypes.data, result.ctypes.data], np.uint64).tobytes()
    own = np.zeros(len(program.global_data) + ALIGNMENT, np.uint8)
    own = own[-own.ctypes.data % ALIGNMENT :][: len(program.global_data)]
    memory = [("source", source), ("result", result), *([("own", own)] if own.size else [])]
    segments = sorted((Segment(name, a.ctypes.data, a.nbytes) for name, a in memory), key=lambda s: s.address)
    return Launch(program, (blocks, 1, 1), threads, program.shared_bytes + shared, parameters, tuple(segments),
                  (source, result, own), own.ctypes.data if own.size else 0)  # fmt: skip


def run(
    ops: Sequence[Op], operands: np.ndarray, arch: int, *, globals_: str = "", threads: int = THREADS
) -> np.ndarray:
    """Execute operations on operands uint64[3, count]; results uint64[ops, count]. Count is a multiple of 32."""
    count = operands.shape[1]
    threads = min(threads, count)
    source = np.ascontiguousarray(operands, np.uint64)
    result = np.zeros((len(ops), count), np.uint64)
    image = assemble(kernel(ops, count, arch, globals_), arch)
    execute(Machine(launch(image, source, result, threads, count // threads)))
    return result


def spread(*columns: Iterable[int], pad: int = THREADS) -> np.ndarray:
    """Operand tuples side by side as uint64[3, n], n padded to whole blocks by repeating from the start."""
    rows = [np.array([value & (1 << 64) - 1 for value in column], np.uint64) for column in columns]
    rows += [np.zeros(len(rows[0]), np.uint64)] * (3 - len(rows))
    count = -(-len(rows[0]) // pad) * pad
    return np.stack([np.resize(row, count) for row in rows])


def cross(*columns: Sequence[int], limit: int = 4096) -> np.ndarray:
    """Every combination of operand values; an evenly spread `limit` of them where there are more."""
    grids = [grid.reshape(-1) for grid in np.meshgrid(*[np.arange(len(c)) for c in columns], indexing="ij")]
    chosen = np.arange(len(grids[0]))
    if len(chosen) > limit:
        chosen = np.random.default_rng(0).choice(chosen, limit, replace=False)
    return spread(*[[column[i] for i in grid[chosen]] for column, grid in zip(columns, grids, strict=True)])


def float_value(bits: int, kind: str) -> float:
    """A pattern of f16, bf16, f32 or f64 as a Python float."""
    if kind == "bf16":
        bits, kind = bits << 16, "f32"
    view = {"f16": (np.uint16, np.float16), "f32": (np.uint32, np.float32), "f64": (np.uint64, np.float64)}[kind]
    return float(view[0](bits).view(view[1]))


def accepted(got: int, want: object, kind: str) -> bool:
    """Whether a result pattern is one the rule allows."""
    if want is ANY_NAN:
        return is_nan(got, FORMATS[kind])
    if isinstance(want, Near):
        value = float_value(got, kind)
        if np.isnan(want.value) or np.isinf(want.value):
            return value == want.value or (np.isnan(value) and np.isnan(want.value))
        return abs(value - want.value) <= want.error
    if isinstance(want, (set, frozenset, tuple)):
        return got in want
    return got == want


@functools.cache
def _expected(rule: Callable, *sources: int) -> object:
    return rule(*sources)


def failures(op: Op, operands: np.ndarray, results: np.ndarray) -> list[str]:
    """Where an operation's results break its rule, as text."""
    masks = [(1 << bits_of(kind)) - 1 for kind in op.ins]
    found = []
    for sources, got in zip(operands[: len(op.ins)].T.tolist(), results.tolist(), strict=True):
        sources = [value & mask for value, mask in zip(sources, masks, strict=True)]
        want = _expected(op.rule, *sources)
        if not accepted(got, want, op.out):
            shown = f"{want:#x}" if isinstance(want, int) else want
            found.append(f"{op.name} of {', '.join(map(hex, sources))}: got {got:#x}, expected {shown}")
    return list(dict.fromkeys(found))


def check(ops: Sequence[Op], operands: np.ndarray, arch: int, *, globals_: str = "", threads: int = THREADS) -> None:
    """Run operations and assert that every result follows its rule."""
    ops = [op for op in ops if op.since <= arch]
    results = run(ops, operands, arch, globals_=globals_, threads=threads)
    wrong = [text for op, row in zip(ops, results, strict=True) for text in failures(op, operands, row)[:3]]
    assert not wrong, f"sm_{arch}, {len(wrong)} shown:\n" + "\n".join(wrong[:40])
