"""Lowering of the ordinary instructions that Hopper and Blackwell add or respell."""

import numpy as np

from gpu_model.machine import bytes as narrow_floats
from gpu_model.machine import half
from gpu_model.machine.emit import PREDICATES, Emit, fixed_constant
from gpu_model.machine.lower_float import LOWERINGS as FLOAT
from gpu_model.machine.lower_float import ROUNDINGS
from gpu_model.machine.lower_integer import BOOLEANS, COMPARISONS, isetp, mov
from gpu_model.machine.lower_integer import LOWERINGS as INTEGER
from gpu_model.machine.lower_memory import ldc as load_constant
from gpu_model.machine.microop import Column as C
from gpu_model.machine.microop import Op
from gpu_model.machine.rounding import NEAREST
from gpu_model.program import TRUE_PREDICATE, Operand


def add(e: Emit) -> None:
    """VIADD, IADD: a + b, with carries in (.X) and out; .64 of register pairs, .16x2 and .U8x4 of parts of a word."""
    if "64" in e.modifiers:
        return add_wide(e)
    if e.modifiers & _LANE_BITS.keys() or "ISAT" in e.modifiers:
        return add_lanes(e)
    e.known("X")
    e.destination()
    carries = _carries_out(e)
    ones = e.integer(C.A, e.take()) + e.integer(C.B, e.take())
    if not _carry_in(e) and not carries:
        return e.op(Op.IADD3, m0=ones)
    return e.op(Op.IADD3_CARRY, m0=0 if "X" in e.modifiers else ones)


def _carries_out(e: Emit) -> int:
    """Take the carries out after a destination; returns how many there are."""
    count = 0
    while e.next_is_predicate():
        e.predicate_destination(C.PD1 if count else C.PD0)
        count += 1
    return count


def _carry_in(e: Emit) -> bool:
    """Take the carries in of .X, or read them as none; with one, a negated term is its complement."""
    e.no_predicate(C.PS0)
    e.no_predicate(C.PS1)
    if "X" in e.modifiers:
        e.predicate_source(C.PS0)
        if e.operands:
            e.predicate_source(C.PS1)
    return "X" in e.modifiers


def add_wide(e: Emit) -> None:
    """IADD.64, IADD3.64: the sum of two or three register pairs, with carries."""
    e.known("64", "X")
    e.destination(2)
    carries = _carries_out(e)
    ones = e.integer(C.A, e.take(), 2) + e.integer(C.B, e.take(), 2)
    if e.operands and not e.next_is_predicate():
        ones += e.integer(C.C, e.take(), 2)
    if not _carry_in(e) and not carries:
        return e.op(Op.IADD64, m0=ones)
    return e.op(Op.IADD64_CARRY, m0=0 if "X" in e.modifiers else ones)


_LANE_BITS = {"16x2": 16, "S16x2": 16, "U16x2": 16, "U8x4": 8, "S8x4": 8}


def add_lanes(e: Emit) -> None:
    """VIADD.16x2, VIADD.U8x4: a + b (or - b) of each part of a word, wrapping; VIADD.S32.ISAT: saturating."""
    e.known("16x2", "U8x4", "S32", "ISAT")
    if ("ISAT" in e.modifiers) != ("S32" in e.modifiers):
        raise e.fail("this saturation")
    e.destination()
    if e.integer(C.A, e.take()):
        raise e.fail("a negated first operand")
    e.op(Op.ADD_LANES, m0=e.choose(_LANE_BITS, 32), m1=e.integer(C.B, e.take()), m2="ISAT" in e.modifiers)


def iadd3(e: Emit) -> None:
    """IADD3, UIADD3, and their 64-bit forms."""
    if "64" in e.modifiers:
        return add_wide(e)
    return INTEGER["IADD3"](e)


def compare(e: Emit) -> None:
    """ISETP, UISETP, and their 64-bit forms."""
    if not e.modifiers & {"S64", "U64"}:
        return isetp(e)
    e.known("S64", "U64", *COMPARISONS, *BOOLEANS)
    e.predicate_destination(C.PD0)
    e.predicate_destination(C.PD1)
    if e.integer(C.A, e.take(), 2) | e.integer(C.B, e.take(), 2):
        raise e.fail("a negated operand")
    e.predicate_source(C.PS0)
    return e.op(Op.ISETP64, m0=e.choose(COMPARISONS) & 7, m1="S64" in e.modifiers, m2=e.choose(BOOLEANS))


def minmax(e: Emit) -> None:
    """VIMNMX: minimum where the predicate holds, else maximum; VIADDMNMX: of a + b and c; VIMNMX3: of a, b and c."""
    e.known("S32", "U32", "S64", "U64", "U16x2", "S16x2", "U8x4", "S8x4", "RELU")
    bits, wide = e.choose(_LANE_BITS, 32), e.modifiers & {"S64", "U64"}
    summed, three = e.row["opcode"] == "VIADDMNMX", str(e.row["opcode"]).endswith("VIMNMX3")
    if wide and (summed or three):
        raise e.fail("this width")
    words = 2 if wide else 1
    e.destination(words)
    if e.integer(C.A, e.take(), words):
        raise e.fail("a negated operand")
    negated = e.integer(C.B, e.take()) if summed or three else 0
    if e.integer(C.C, e.take(), words) or (negated and three):
        raise e.fail("a negated operand")
    e.predicate_source(C.PS0)
    signed, relu = not any(name.startswith("U") for name in e.ordered), "RELU" in e.modifiers
    if bits == 32 and not three:
        return e.op(Op.MINMAX, m0=signed, m1=relu, m2=bool(wide), m3=negated)
    return e.op(Op.MINMAX_LANES, m0=signed | bits << 1, m1=relu, m2=2 if three else summed, m3=negated)


def imnmx(e: Emit) -> None:
    """IMNMX; its 64-bit form has two unused predicate results and an unused last source."""
    if not e.modifiers & {"S64", "U64"}:
        return INTEGER["IMNMX"](e)
    e.known("S64", "U64")
    while e.next_is_predicate():
        if e.take()["index"] != TRUE_PREDICATE:
            raise e.fail("a predicate of a 64-bit minimum")
    last = e.operands.pop()
    if last["kind"] not in PREDICATES or last["index"] != TRUE_PREDICATE or not last["negate"]:
        raise e.fail("a continued minimum")
    return minmax(e)


def select(e: Emit) -> None:
    """SEL, USEL, and their 64-bit forms."""
    if "64" not in e.modifiers:
        return INTEGER["SEL"](e)
    e.known("64")
    e.destination(2)
    if e.integer(C.A, e.take(), 2) | e.integer(C.B, e.take(), 2):
        raise e.fail("a negated operand")
    e.predicate_source(C.PS0)
    return e.op(Op.SEL64)


def constant_load(e: Emit) -> None:
    """LDCU: words of a constant bank to uniform registers."""
    operand = e.operands[1]
    if not fixed_constant(operand):
        return load_constant(e)
    if "128" in e.modifiers:
        e.known("128")
        e.destination(4)
        e.source(C.A, e.take(), 4)
        return e.op(Op.MOV, m0=4)
    return mov(e)


def elect(e: Emit) -> None:
    """ELECT: pick one of the lanes that take part."""
    e.known()
    e.predicate_destination(C.PD0)
    e.destination()
    e.predicate_source(C.PS0)
    e.op(Op.ELECT)


def broadcast(e: Emit) -> None:
    """R2UR, with .BROADCAST where the lanes agree by construction; .OR adds to the lanes that differ."""
    either = "OR" in e.modifiers
    e.modifiers -= {"BROADCAST", "OR"}
    e.ordered = tuple(name for name in e.ordered if name not in ("BROADCAST", "OR"))
    INTEGER["R2UR"](e)
    e.out[C.M0] = either


_HALVES = {"": 0, "H0": 0, "H0_H0": 0, "H1": 1, "H1_H1": 1}


def mixed(e: Emit) -> None:
    """FHADD, FHFMA: halves a (and b) with a float c, in one rounding."""
    e.known("BF16", "SAT", *ROUNDINGS)
    product = e.row["opcode"] == "FHFMA"
    e.destination()
    selects = 0
    for shift, column in ((0, C.A), (2, C.B)) if product else ((0, C.A),):
        operand = e.take()
        if str(operand["select"]) not in _HALVES or operand["absolute"]:
            raise e.fail("this half operand")
        e.source(column, operand)
        selects |= (_HALVES[str(operand["select"])] | 2 * bool(operand["negate"])) << shift
    e.float(C.C, e.take())
    kind = half.BFLOAT16 if "BF16" in e.modifiers else half.FLOAT16
    e.op(Op.MIXED, m0=kind | 2 * ("SAT" in e.modifiers), m1=selects, m2=product, m3=e.choose(ROUNDINGS, NEAREST))


_NEUTRAL_SCALE = 0x7F7F  # two E8M0 codes of 2**0
_PARTS = {"": 0, "H0": 0, "H1": 2, "B0": 0, "B1": 1, "B2": 2, "B3": 3}


def convert_pair(e: Emit) -> None:
    """F2FP; pairs of floats of 8 bits or fewer to halves (UNPACK_B) and back (MERGE_C)."""
    narrow = [name for name in e.ordered if name in narrow_floats.NAMES]
    if not narrow:
        return FLOAT["F2FP"](e)
    form = narrow_floats.NAMES.index(narrow[0])
    if "UNPACK_B" in e.modifiers:
        return _unpack(e, form, narrow[0])
    e.known("SATFINITE", "RELU", "F32", "F16", "BF16", "PACK_AB_MERGE_C", "UNPACK_B_MERGE_C", narrow[0])
    if "SATFINITE" not in e.modifiers or narrow[0] == "E8":
        raise e.fail("this conversion")
    kind = e.choose({"F32": narrow_floats.FROM_F32, "F16": narrow_floats.FROM_F16, "BF16": narrow_floats.FROM_BF16})
    e.destination()
    if kind == narrow_floats.FROM_F32:
        e.source(C.A, _plain(e))
    e.source(C.B, _plain(e))
    e.source(C.C, _plain(e))
    return e.op(Op.PACK, m0=form, m1=kind, m2="RELU" in e.modifiers)


def _plain(e: Emit) -> np.void:
    """The next operand, which must not be negated."""
    operand = e.take()
    if operand["negate"] or operand["absolute"] or operand["select"]:
        raise e.fail("a modified operand")
    return operand


def _unpack(e: Emit, form: int, name: str) -> None:
    e.known("UNPACK_B", "F16", "BF16", "RELU", name)
    e.destination()
    operand = e.take()
    part = _PARTS.get(str(operand["select"]))
    if part is None or operand["negate"] or operand["absolute"]:
        raise e.fail("this operand")
    e.source(C.A, operand)
    if e.operands:
        scale = e.take()
        if scale["kind"] != Operand.IMMEDIATE or int(scale["value"]) & 0xFFFF != _NEUTRAL_SCALE:
            raise e.fail("a scale other than one")
    e.op(Op.UNPACK, m0=form, m1="BF16" in e.modifiers, m2="RELU" in e.modifiers, m3=part)


LOWERINGS = {
    "F2FP": convert_pair,
    "VIADD": add, "IADD": add, "IADD3": iadd3, "UIADD3": iadd3, "UIADD": add, "UVIADD": add,
    "ISETP": compare, "UISETP": compare,
    "SEL": select, "USEL": select,
    "IMNMX": imnmx, "UIMNMX": imnmx, "VIMNMX": minmax, "UVIMNMX": minmax, "VIADDMNMX": minmax,
    "VIMNMX3": minmax, "UVIMNMX3": minmax,
    "LDCU": constant_load,
    "ELECT": elect, "R2UR": broadcast,
    "FHADD": mixed, "FHFMA": mixed,
}  # fmt: skip
