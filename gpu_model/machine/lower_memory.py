"""Lowering of memory and tensor-core instructions."""

from gpu_model.machine import atomics, lower_integer, memory, window
from gpu_model.machine.context import GENERIC_SPACE, GLOBAL_SPACE, LOCAL_SPACE, SHARED_SPACE
from gpu_model.machine.emit import Emit, fixed_constant
from gpu_model.machine.microop import Column as C
from gpu_model.machine.microop import Op
from gpu_model.machine.tensor import BF16, F16, TF32
from gpu_model.program import ZERO_REGISTER, ZERO_UNIFORM, Operand
from hw.presets import TENSOR_CORES
from mx_formats import element

_SIZES = {"U8": 1, "S8": 1, "U16": 2, "S16": 2, "64": 8, "128": 16, "256": 32, "32": 4}
_SPACES = {"LDG": GLOBAL_SPACE, "STG": GLOBAL_SPACE, "LDS": SHARED_SPACE, "STS": SHARED_SPACE,
           "LDL": LOCAL_SPACE, "STL": LOCAL_SPACE, "LDSM": SHARED_SPACE, "LD": GENERIC_SPACE, "ST": GENERIC_SPACE,
           "ATOMS": SHARED_SPACE, "ATOM": GENERIC_SPACE, "ATOMG": GLOBAL_SPACE, "RED": GLOBAL_SPACE,
           "REDG": GLOBAL_SPACE}  # fmt: skip
_WIDE_SPACES = (GLOBAL_SPACE, GENERIC_SPACE)
# Cache hints and orderings that change no value while one block runs at a time.
_HINTS = ("E", "CONSTANT", "STRONG", "WEAK", "GPU", "SM", "SYS", "CTA", "EF", "EL", "EU", "NA", "LU", "LTC64B",
          "LTC128B", "LTC256B", "BYPASS", "ACCESS", "PRIVATE", "MMIO", "ENL2", "EFL2", "ELL2")  # fmt: skip


def _address(e: Emit, operand, base: C, uniform: C, space: int) -> tuple[int, int]:  # noqa: ANN001 - a record
    """Point columns at a memory operand's registers; returns its offset and addressing flags (M2)."""
    if operand["kind"] != Operand.MEMORY:
        raise e.fail("expected a memory operand")
    how, index, extra = space, int(operand["index"]), int(operand["uniform"])
    if 0 <= index < ZERO_REGISTER:
        # nvdisasm leaves .64 out on Turing and on CAS; .E says that global addresses are 64 bits wide.
        wide = operand["wide"] or (space in _WIDE_SPACES and "E" in e.modifiers and operand["select"] != "U32")
        words = 2 if wide else 1
        e.out[base] = e.register(index, words)
        if words == 2:
            how |= memory.WIDE_BASE
    if 0 <= extra < ZERO_UNIFORM:
        e.out[uniform] = e.uniform_register(extra)
        if space in _WIDE_SPACES:
            how |= memory.WIDE_UNIFORM
    scale = {"": 0, "X4": 2, "X8": 3, "X16": 4, "U32": 0}.get(str(operand["select"]))
    if scale is None:
        raise e.fail(f"address scaling .{operand['select']}")
    return int(operand["value"]), how | scale << memory.SCALE_SHIFT


def _size(e: Emit) -> int:
    size = e.choose(_SIZES, 4)
    return size | memory.SIGNED_LOAD * bool(e.modifiers & {"S8", "S16"})


def load(e: Emit) -> None:
    """LDG, LDS, LDL, LD."""
    e.known(*_SIZES, "U", *_HINTS)
    size = _size(e)
    if e.next_is_predicate():
        raise e.fail("a load with a predicate result")
    if size == 32:
        return load_256(e)
    e.destination(max(1, (size & memory.SIZE_MASK) // 4))
    offset, how = _address(e, e.take(), C.A, C.C, _SPACES[e.row["opcode"]])
    if e.next_is_predicate():
        e.take()
        raise e.fail("a load with a predicate source")
    return e.op(Op.LOAD, m0=offset, m1=size, m2=how)


def load_256(e: Emit) -> None:
    """LDG.256: registers of the upper half, then of the lower; an immediate at the end says which words they hold."""
    last = e.operands[-1]
    words = int(last["value"]) if last["kind"] == Operand.IMMEDIATE else 0xFF
    e.destination((words >> 4).bit_count())
    e.out[C.B] = e.out[C.D]
    e.destination((words & 15).bit_count())
    offset, how = _address(e, e.take(), C.A, C.C, _SPACES[e.row["opcode"]])
    if e.operands:
        e.immediate()
    e.op(Op.LOAD, m0=offset, m1=32, m2=how, m3=words)


def store(e: Emit) -> None:
    """STG, STS, STL, ST."""
    e.known(*_SIZES, *_HINTS)
    size = _size(e)
    offset, how = _address(e, e.take(), C.A, C.C, _SPACES[e.row["opcode"]])
    e.source(C.B, e.take(), min(4, max(1, (size & memory.SIZE_MASK) // 4)))
    if size == 32:
        e.source(C.TARGET, e.take(), 4)
    e.op(Op.STORE, m0=offset, m1=size, m2=how)


_ATOMICS = {name: getattr(atomics, name) for name in (
    "ADD", "MIN", "MAX", "INC", "DEC", "AND", "OR", "XOR", "EXCH", "CAS", "CAST",
)}  # fmt: skip
_ATOMIC_TYPES = {"S32": atomics.SIGNED, "S64": atomics.SIGNED, "F32": atomics.FLOAT, "F64": atomics.FLOAT,
                 **{f"F16x{count}": atomics.PAIR_F16 for count in (2, 4, 8)},
                 **{f"BF16x{count}": atomics.PAIR_BF16 for count in (2, 4, 8)}, "BF16_V2": atomics.PAIR_BF16,
                 "F32x2": atomics.FLOATS, "F32x4": atomics.FLOATS}  # fmt: skip
_ATOMIC_SIZES = {**dict.fromkeys(("64", "U64", "S64", "F64", "F32x2", "F16x4", "BF16x4"), 8),
                 **dict.fromkeys(("128", "F32x4", "F16x8", "BF16x8"), 16)}  # fmt: skip


def atom(e: Emit) -> None:
    """ATOMG, ATOM, ATOMS, RED, REDG: read, combine, write; the old value is the result."""
    e.known(*_ATOMICS, *_ATOMIC_TYPES, "U32", "U64", "64", "128", "32", "FTZ", "RN", "POPC", "SPIN", *_HINTS)
    name = str(e.row["opcode"])
    counting = "POPC" in e.modifiers
    size = e.choose(_ATOMIC_SIZES, 4)
    kind = atomics.COUNT_LANE if counting else e.choose(_ATOMICS)
    type_ = e.choose(_ATOMIC_TYPES, atomics.UNSIGNED)
    if type_ in (atomics.FLOAT, atomics.FLOATS) and kind != atomics.ADD:
        raise e.fail("a float atomic other than ADD")
    if type_ in (atomics.PAIR_F16, atomics.PAIR_BF16) and kind not in (atomics.ADD, atomics.MIN, atomics.MAX):
        raise e.fail("an atomic on pairs other than ADD, MIN and MAX")
    if size == 16 and type_ == atomics.UNSIGNED and kind not in (atomics.EXCH, atomics.CAS):
        raise e.fail("a 128-bit atomic other than EXCH and CAS")
    if e.next_is_predicate():  # done, or for CAST, whether it swapped
        e.predicate_destination(C.PD0)
    result = name not in ("RED", "REDG") and bool(e.operands) and e.operands[0]["kind"] != Operand.MEMORY
    if result:
        e.destination(size // 4)
    operand = e.take()
    offset, how = _address(e, operand, C.A, C.C, _SPACES[name])
    e.out[C.TARGET] = ~e.area.zero()
    if not counting:
        e.source(C.B, e.take(), size // 4)
    if kind in (atomics.CAS, atomics.CAST):
        e.source(C.TARGET, e.take(), size // 4)
    flags = atomics.FLUSH * ("FTZ" in e.modifiers) | atomics.NO_RESULT * (not result)
    e.op(Op.ATOM, m0=offset, m1=size, m2=how, m3=kind | type_ << atomics.TYPE_SHIFT | flags)


_QUERIES = {"G": GLOBAL_SPACE, "L": LOCAL_SPACE, "S": SHARED_SPACE, "D": window.CLUSTER}


def query_space(e: Emit) -> None:
    """QSPC: whether a generic address is in global, local, shared, or the cluster's shared memory."""
    e.known("E", *_QUERIES)
    e.predicate_destination(C.PD0)
    zero, operand = e.take(), e.take()
    if zero["kind"] != Operand.REGISTER or zero["index"] != ZERO_REGISTER or operand["uniform"] >= 0:
        raise e.fail("a form other than P, RZ, [R]")
    e.out[C.A] = e.register(int(operand["index"]), 2)
    e.op(Op.QUERY_SPACE, m0=e.choose(_QUERIES), m1=int(operand["value"]))


def ldc(e: Emit) -> None:
    """LDC: a constant bank at a fixed offset is a move; with a register index it is read as memory."""
    operand = e.operands[1]
    if operand["kind"] == Operand.CONSTANT and fixed_constant(operand):
        return lower_integer.mov(e)
    e.known(*_SIZES)
    size = _size(e)
    e.destination(max(1, (size & memory.SIZE_MASK) // 4))
    operand = e.take()
    if operand["kind"] != Operand.CONSTANT:
        raise e.fail("expected a constant-bank operand")
    if 0 <= int(operand["index"]) < ZERO_REGISTER:
        e.out[C.A] = e.register(int(operand["index"]))
    if 0 <= int(operand["uniform"]) < ZERO_UNIFORM:
        e.out[C.C] = e.uniform_register(int(operand["uniform"]))
    return e.op(Op.LDC, m0=int(operand["value"]), m1=size, m3=int(operand["bank"]))


def ldsm(e: Emit) -> None:
    """LDSM.16: 8 x 8 matrices of 16-bit elements, one, two or four of them."""
    e.known("16", "M88", "MT88", "1", "2", "4")
    matrices = e.choose({"1": 1, "2": 2, "4": 4}, 1)
    e.destination(matrices)
    offset, how = _address(e, e.take(), C.A, C.C, SHARED_SPACE)
    e.op(Op.LDSM, m0=offset, m1=16, m2=how, m3=matrices | 8 * ("MT88" in e.modifiers))


def ldgsts(e: Emit) -> None:
    """LDGSTS: copy global to shared memory; a false predicate writes zeros.

    With .ZFILL the address is past the aligned source by the bytes at its end that are zero instead.
    """
    e.known("64", "128", "ZFILL", *_HINTS)
    shared, remote = e.take(), e.take()
    offset, how = _address(e, remote, C.A, C.B, GLOBAL_SPACE)
    e.out[C.D] = ~e.area.zero()
    shared_offset, shared_how = _address(e, shared, C.C, C.D, SHARED_SPACE)
    if e.operands:
        e.predicate_source(C.PS0)
    size = _size(e) | memory.ZERO_FILL * ("ZFILL" in e.modifiers)
    e.op(Op.LDGSTS, m0=offset, m1=size, m2=how, m3=shared_offset, ps1=shared_how >> memory.SCALE_SHIFT)


GENERATIONS = {75: "turing", 80: "ampere", 86: "ampere", 89: "ada", 90: "hopper", 120: "blackwell"}
_KINDS = {F16: element.FP16, BF16: element.BF16, TF32: element.TF32}


def hmma(e: Emit) -> None:
    """HMMA: floating-point matrix multiply and accumulate, by the generation's alignment rule."""
    e.known("16816", "1688", "1684", "F32", "F16", "BF16", "TF32")
    kind = TF32 if "TF32" in e.modifiers else BF16 if "BF16" in e.modifiers else F16
    depth = e.choose({"16816": 16, "1688": 8, "1684": 4})
    half = "F32" not in e.modifiers
    if kind != F16 and half:
        raise e.fail("a float16 accumulator with operands that are not float16")
    core = TENSOR_CORES.get((GENERATIONS[e.program.arch], _KINDS[kind]))
    if core is None:
        raise e.fail(f"{_KINDS[kind].name} on sm_{e.program.arch} has no published rule")
    per_word = 1 if kind == TF32 else 2
    accumulator = 2 if half else 4
    e.destination(accumulator)
    e.source(C.A, e.take(), 16 * depth // 32 // per_word)
    e.source(C.B, e.take(), 8 * depth // 32 // per_word)
    e.source(C.C, e.take(), accumulator)
    step = min(depth, core.products)
    e.op(Op.HMMA, m0=depth, m1=kind, m2=half, m3=core.fraction_bits << 8 | step)


def imma(e: Emit) -> None:
    """IMMA: int8 or int4 matrix multiply and accumulate in int32."""
    e.known(*_PACKED_SHAPES, "16816", "16832", "S8", "U8", "S4", "U4", "SAT")
    types = [name for name in e.ordered if name in ("S8", "U8", "S4", "U4")]
    if types[0].endswith("4") or "8816" in e.modifiers:
        return packed(e, int(types[0][1:]), (types[0][0] == "S") | 2 * (types[-1][0] == "S"))
    depth = e.choose({"16816": 16, "16832": 32})
    e.destination(4)
    e.source(C.A, e.take(), depth // 8)
    e.source(C.B, e.take(), depth // 16)
    e.source(C.C, e.take(), 4)
    signs = (types[0] == "S8") | 2 * (types[-1] == "S8")
    return e.op(Op.IMMA, m0=depth, m1=signs, m2="SAT" in e.modifiers)


# Rows of A, and 32-bit words of A a row and lane.
_PACKED_SHAPES = {"8816": (8, 1), "8832": (8, 1), "16832": (16, 1), "16864": (16, 2),
                  "88128": (8, 1), "168128": (16, 1), "168256": (16, 2)}  # fmt: skip


def packed(e: Emit, bits: int, how: int) -> None:
    """Products of words that hold elements of `bits` bits; `how` is signedness, or the logic of single bits."""
    rows, words = _PACKED_SHAPES[next(name for name in e.ordered if name in _PACKED_SHAPES)]
    e.destination(rows // 4)
    e.source(C.A, e.take(), words * rows // 8)
    e.source(C.B, e.take(), words)
    e.source(C.C, e.take(), rows // 4)
    e.op(Op.IMMA_PACKED, m0=words, m1=bits | how << 8, m2="SAT" in e.modifiers, m3=rows)


def bmma(e: Emit) -> None:
    """BMMA: bits that both operands have, or that differ, counted in int32."""
    e.known("88128", "168128", "168256", "XOR", "AND", "POPC")
    packed(e, 1, e.choose({"AND": 0, "XOR": 1}))


_DOUBLE_SHAPES = {"884": (8, 4), "8x8x4": (8, 4), "16x8x4": (16, 4), "16x8x8": (16, 8), "16x8x16": (16, 16)}


def dmma(e: Emit) -> None:
    """DMMA: float64 products, added one after the other by fused multiply-add."""
    e.known(*_DOUBLE_SHAPES)
    rows, depth = _DOUBLE_SHAPES[next((name for name in e.ordered if name in _DOUBLE_SHAPES), "884")]
    e.destination(rows // 2)
    for column, words in ((C.A, depth * rows // 16), (C.B, depth // 2), (C.C, rows // 2)):
        operand = e.take()
        if operand["negate"] or operand["absolute"]:
            raise e.fail("a modified operand")
        e.source(column, operand, words)
    e.op(Op.DMMA, m0=depth, m3=rows)


LOWERINGS = {
    "LDG": load, "LDS": load, "LDL": load, "STG": store, "STS": store, "STL": store, "LD": load, "ST": store,
    "LDSM": ldsm, "LDGSTS": ldgsts, "LDC": ldc,
    "ATOMG": atom, "ATOM": atom, "ATOMS": atom, "RED": atom, "REDG": atom, "QSPC": query_space,
    "HMMA": hmma, "IMMA": imma, "BMMA": bmma, "DMMA": dmma,
}  # fmt: skip
