"""Latencies without a GPU: the issue distances that ptxas leaves between a producer and its consumer.

Fixed-latency results have no interlock: the stall counts that ptxas writes must cover the latency, so the
shortest distance it ever leaves is what it believes the hardware needs, an upper bound on what it does need
(the method of `distances()`; Huerta et al., MICRO 2025, describe the control bits). The corpus is made here: every
producer feeds every consumer in one long chain, so that nothing independent can stand between them.

`python -m gpu_model.core.distances` rewrites `distances.csv`, which the core model reads.
"""

import csv
import functools
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpu_model.core.opcodes import NO_DESTINATION, UNIT_OF
from gpu_model.decode import decode
from gpu_model.errors import CubinError
from gpu_model.program import NO_COUNTER, TRUE_PREDICATE, ZERO_REGISTER, ZERO_UNIFORM, Operand, Program

TABLE = Path(__file__).with_name("distances.csv")
ARCHES = {75: "8.0", 80: "8.0", 86: "8.0", 89: "8.4", 90: "8.4", 120: "8.7"}  # and their PTX version
COLUMNS = ("arch", "producer", "consumer", "cycles", "pairs")

# Operations on the running word x and the loop-invariant word y; each is producer and consumer of all others.
_OPERATIONS = {
    "add_f32": "add.f32 x, x, y;",
    "mul_f32": "mul.f32 x, x, y;",
    "fma_f32": "fma.rn.f32 x, x, y, y;",
    "min_f32": "min.f32 x, x, y;",
    "add_s32": "add.s32 x, x, y;",
    "mad_s32": "mad.lo.s32 x, x, y, y;",
    "wide": "mad.wide.u32 w, x, y, w; cvt.u32.u64 x, w;",
    "add_u64": "cvt.u64.u32 v, x; mul.lo.u64 v, v, w; add.u64 w, w, v; shr.u64 v, w, 32; cvt.u32.u64 x, v;",
    "logic": "lop3.b32 x, x, y, z, 0x96;",
    "funnel": "shf.l.wrap.b32 x, x, y, z;",
    "permute": "prmt.b32 x, x, y, z;",
    "lea": "shl.b32 t, x, 4; add.s32 x, t, y;",
    "min_s32": "min.s32 x, x, y;",
    "absolute": "abs.s32 x, x;",
    "dp4a": "dp4a.u32.u32 x, x, y, z;",
    "add_f16": "add.f16x2 x, x, y;",
    "fma_f16": "fma.rn.f16x2 x, x, y, z;",
    "min_f16": "min.f16x2 x, x, y;",
    "fma_bf16": "fma.rn.bf16x2 x, x, y, z;",
    "select_f32": "setp.gt.f32 p, x, y; selp.b32 x, z, y, p;",
    "select_s32": "setp.gt.s32 p, x, y; selp.b32 x, z, y, p;",
    "select_both": "setp.gt.s32 p, x, y; setp.lt.and.s32 p, x, z, p; selp.b32 x, z, y, p;",
    "guard": "setp.gt.s32 p, x, y; @p st.shared.b32 [memory], z; xor.b32 x, x, z;",
    "pack": "cvt.rn.f16x2.f32 x, x, y;",
    "to_float": "cvt.rn.f32.s32 x, x;",
    "byte": "bfe.s32 x, x, 4, 8;",
    "vote": "setp.gt.s32 p, x, y; vote.sync.ballot.b32 x, p, 0xffffffff;",
    "shared": "and.b32 t, x, 124; add.u32 t, t, memory; ld.shared.b32 x, [t];",
    "sfu": "ex2.approx.ftz.f32 x, x;",
    "double": "cvt.f64.f32 d, x; fma.rn.f64 d, d, e, e; fma.rn.f64 d, d, e, e; add.f64 d, d, e; cvt.rn.f32.f64 x, d;",
    "double_select": "setp.gt.f64 p, d, e; selp.f64 d, d, e, p; add.f64 d, d, e;",
    "uniform": "add.s32 u, u, k; shl.b32 u, u, 2; xor.b32 u, u, k; mul.lo.s32 u, u, k; add.s32 x, x, u;",
}  # fmt: skip
_UNSUPPORTED = {75: {"fma_bf16", "min_f16", "pack"}}  # operations that came with sm_80

# mma shape and types: (registers of A, B, C and D, first architecture)
_TENSOR = {
    "m16n8k16.row.col.f32.f16.f16.f32": (4, 2, 4, 80),
    "m16n8k16.row.col.f32.bf16.bf16.f32": (4, 2, 4, 80),
    "m16n8k16.row.col.f16.f16.f16.f16": (4, 2, 2, 80),
    "m16n8k8.row.col.f32.f16.f16.f32": (2, 1, 4, 75),
    "m16n8k8.row.col.f32.tf32.tf32.f32": (4, 2, 4, 80),
    "m16n8k32.row.col.s32.s8.s8.s32": (4, 2, 4, 80),
    "m16n8k16.row.col.s32.s8.s8.s32": (2, 1, 4, 80),
    "m16n8k32.row.col.f32.e4m3.e4m3.f32": (4, 2, 4, 89),
}

_HEAD = """
.version {version}
.target sm_{arch}
.address_size 64
.visible .entry chain(.param .u64 source, .param .u64 result, .param .u32 factor)
{{
.reg .b32 x, y, z, t, u, k, memory, thread; .reg .b64 w, v, address, to; .reg .f64 d, e; .reg .pred p;
.shared .align 16 .b8 bytes[1024];
ld.param.u64 address, [source]; ld.param.u64 to, [result]; ld.param.u32 k, [factor];
mov.u32 thread, %tid.x; mov.u32 u, %ctaid.x; mov.u32 memory, bytes;
mul.wide.u32 w, thread, 64; add.u64 address, address, w;
"""
_LOADS = """
ld.global.b32 x, [address]; ld.global.b32 y, [address+4]; ld.global.b32 z, [address+8];
ld.global.b64 w, [address+16]; ld.global.b64 d, [address+24]; ld.global.b64 e, [address+32];
"""
_TAIL = """
st.global.b32 [to], x; st.global.b64 [to+8], w; st.global.b64 [to+16], d; st.global.b32 [to+24], u;
ret;
}
"""


@dataclass(frozen=True)
class Distance:
    """Shortest issue distance ptxas leaves between two instructions.

    Attributes:
        arch: compute capability times ten.
        producer: opcode with the modifiers that matter to its latency, e.g. `IMAD.WIDE`, `HMMA.16816.F32`.
        consumer: `same` (the producer's own opcode), `unit` (another of its execution unit), `fixed` (of another unit),
            `variable` (memory, SFU), or `guard` (a predicate that guards, or a branch).
        cycles: issue to issue.
        pairs: pairs seen in the corpus.
    """

    arch: int
    producer: str
    consumer: str
    cycles: int
    pairs: int


def _chains(arch: int) -> Iterator[str]:
    """PTX kernels in which each operation is followed by each other one."""
    names = [name for name in _OPERATIONS if name not in _UNSUPPORTED.get(arch, ())]
    for first in names:
        body = "\n".join(_OPERATIONS[first] * 2 + _OPERATIONS[second] for second in names)
        yield _HEAD.format(version=ARCHES[arch], arch=arch) + _LOADS + body + _TAIL
    for shape, (a, b, c, since) in _TENSOR.items():
        if arch >= since:
            yield _tensor_chain(arch, shape, a, b, c)


def _tensor_chain(arch: int, shape: str, a: int, b: int, c: int) -> str:
    def registers(prefix: str, count: int) -> str:
        return "{" + ", ".join(f"{prefix}{i}" for i in range(count)) + "}"

    declared = f".reg .b32 a<{a}>, b<{b}>, c<{c}>;\n"
    words = [f"{name}{i}" for name, count in (("a", a), ("b", b), ("c", c)) for i in range(count)]
    loads = "".join(f"ld.global.b32 {word}, [address+{4 * i}];\n" for i, word in enumerate(words))
    sources = ", ".join((registers("a", a), registers("b", b), registers("c", c)))
    accumulate = f"mma.sync.aligned.{shape} {registers('c', c)}, {sources};\n"
    use = "add.f32 x, c0, c1; st.global.b32 [to], x; ret; }"
    return _HEAD.format(version=ARCHES[arch], arch=arch) + declared + loads + accumulate * 4 + use


def assemble(ptx: str, arch: int) -> bytes:
    """Run Triton's ptxas.

    Raises:
        CubinError: ptxas refuses the text.
    """
    from triton.backends.nvidia.compiler import get_ptxas

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "chain.ptx", Path(folder) / "chain.cubin"
        source.write_text(ptx)
        command = [get_ptxas(arch).path, f"-arch=sm_{arch}", "-o", str(target), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CubinError(f"ptxas refuses a chain for sm_{arch}: {done.stderr.strip()}")
        return target.read_bytes()


def _name(opcode: str, modifiers: str) -> str:
    parts = modifiers.split(".")
    if opcode.endswith("MMA"):
        return ".".join((opcode, *(part for part in parts if part)))
    kept = [part for part in ("WIDE", "MMA") if part in parts]  # HFMA2.MMA runs elsewhere than HFMA2
    return ".".join((opcode, *kept))


def _destinations(row: np.void) -> int:
    """How many operands, from the first on, are destinations."""
    operands = row["operands"]
    if operands[0]["kind"] == Operand.PREDICATE:
        return 1 + int(operands[1]["kind"] == Operand.PREDICATE)
    return 0 if str(row["opcode"]) in NO_DESTINATION else 1


def _written(row: np.void) -> set[tuple[str, int]]:
    """First registers, uniform registers and predicates that an instruction writes."""
    names = {Operand.REGISTER: "R", Operand.UNIFORM: "U", Operand.PREDICATE: "P"}
    destinations = row["operands"][: _destinations(row)]
    found = {(names[o["kind"]], int(o["index"])) for o in destinations if o["kind"] in names}
    return found - {("R", ZERO_REGISTER), ("U", ZERO_UNIFORM), ("P", TRUE_PREDICATE)}


def _read(row: np.void) -> set[tuple[str, int]]:
    """Registers, uniform registers and data predicates that an instruction reads; its guard stands apart."""
    found: set[tuple[str, int]] = set()
    for operand in row["operands"][_destinations(row) :]:
        kind, index, uniform = operand["kind"], int(operand["index"]), int(operand["uniform"])
        addressed = kind in (Operand.MEMORY, Operand.CONSTANT)
        if kind == Operand.REGISTER or (addressed and index >= 0):
            found.add(("R", index))
        elif kind in (Operand.UNIFORM, Operand.PREDICATE):
            found.add(("U" if kind == Operand.UNIFORM else "P", index))
        if addressed and uniform >= 0:
            found.add(("U", uniform))
    return found


def pairs(program: Program) -> Iterator[tuple[str, str, int]]:
    """Producer, kind of consumer and issue distance of each nearest dependence in straight-line code."""
    rows = program.rows
    for index, row in enumerate(rows):
        if row["write_counter"] != NO_COUNTER:
            continue
        produced, distance = _written(row), int(row["stall"])
        for later in rows[index + 1 :]:
            if not produced or later["wait_mask"]:
                break  # a wait may have taken longer than the stall counts
            guard = not later["guard_uniform"] and ("P", int(later["guard"])) in produced
            used = produced & _read(later)
            if guard or used:
                name = _name(str(row["opcode"]), str(row["modifiers"]))
                yield name, _consumer(row, later, guard), distance
            produced -= used | _written(later)
            if guard or str(later["opcode"]) in ("BRA", "EXIT", "CALL", "RET", "BAR"):
                break
            distance += int(later["stall"])


def _consumer(row: np.void, later: np.void, guard: bool) -> str:
    if guard:
        return "guard"
    if later["write_counter"] != NO_COUNTER or later["read_counter"] != NO_COUNTER:
        return "variable"
    own, other = str(row["opcode"]), str(later["opcode"])
    if own == other:
        return "same"
    return "unit" if UNIT_OF.get(own) == UNIT_OF.get(other) else "fixed"


def derive(arches: Iterable[int] = ARCHES) -> list[Distance]:
    """Compile the corpus and take the minima; sorted by architecture, producer and consumer.

    Raises:
        CubinError: ptxas refuses a chain.
    """
    shortest: dict[tuple[int, str, str], list[int]] = {}
    for arch in arches:
        for ptx in _chains(arch):
            program, _ = decode(assemble(ptx, arch))
            for producer, consumer, cycles in pairs(program):
                shortest.setdefault((arch, producer, consumer), []).append(cycles)
    return [Distance(*key, min(cycles), len(cycles)) for key, cycles in sorted(shortest.items())]


@functools.cache
def table() -> dict[tuple[int, str, str], Distance]:
    """The committed distances by (arch, producer, consumer)."""
    with TABLE.open(newline="") as file:
        rows = [
            Distance(int(row["arch"]), row["producer"], row["consumer"], int(row["cycles"]), int(row["pairs"]))
            for row in csv.DictReader(file)
        ]
    return {(row.arch, row.producer, row.consumer): row for row in rows}


def latency(arch: int, opcode: str, modifiers: str, unit: int) -> int:
    """Issue distance to the nearest fixed-latency consumer, cycles.

    Args:
        arch: compute capability times ten.
        opcode: base name.
        modifiers: the rest of it.
        unit: latency of the execution unit, for instructions that the corpus lacks; also the most that is believed
            where only consumers of other units were seen, since ptxas may add a cycle for those.
    """
    name = _name(opcode, modifiers)
    known = {consumer: table().get((arch, name, consumer)) for consumer in ("same", "unit", "fixed")}
    own = [row.cycles for consumer in ("same", "unit") if (row := known[consumer])]
    other = [row.cycles for row in (known["fixed"],) if row]
    return min(own + other) if own else min([unit, *other])


def main() -> None:
    """Rewrite the table."""
    with TABLE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in derive():
            writer.writerow([getattr(row, column) for column in COLUMNS])


if __name__ == "__main__":
    main()
