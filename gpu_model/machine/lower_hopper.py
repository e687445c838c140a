"""Lowering of the ordinary instructions that Hopper and Blackwell add or respell."""

import numpy as np

from gpu_model.machine import bytes as narrow_floats
from gpu_model.machine import half
from gpu_model.machine.emit import Emit
from gpu_model.machine.lower_float import LOWERINGS as FLOAT
from gpu_model.machine.lower_integer import BOOLEANS, COMPARISONS, isetp, mov
from gpu_model.machine.lower_integer import LOWERINGS as INTEGER
from gpu_model.machine.lower_memory import ldc as load_constant
from gpu_model.machine.microop import Column as C
from gpu_model.machine.microop import Op
from gpu_model.program import TRUE_PREDICATE, ZERO_REGISTER, Operand


def add(e: Emit) -> None:
    """VIADD, IADD: a + b; IADD.64 of register pairs."""
    if "64" in e.modifiers:
        return add_wide(e)
    e.known()
    e.destination()
    ones = e.integer(C.A, e.take()) + e.integer(C.B, e.take())
    return e.op(Op.IADD3, m0=ones)


def _skip_unused_carry(e: Emit) -> None:
    while e.next_is_predicate():
        if e.take()["index"] != TRUE_PREDICATE:
            raise e.fail("a carry out of a 64-bit sum")


def add_wide(e: Emit) -> None:
    """IADD.64, IADD3.64: the sum of two or three register pairs."""
    e.known("64")
    e.destination(2)
    _skip_unused_carry(e)
    ones = e.integer(C.A, e.take(), 2) + e.integer(C.B, e.take(), 2)
    if e.operands:
        ones += e.integer(C.C, e.take(), 2)
    e.op(Op.IADD64, m0=ones)


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
    """VIMNMX: minimum where the predicate holds, else maximum; VIADDMNMX: of a + b and c."""
    e.known("S32", "U32", "S64", "U64", "U16x2", "S16x2", "RELU")
    pair, wide = e.modifiers & {"U16x2", "S16x2"}, e.modifiers & {"S64", "U64"}
    summed = e.row["opcode"] == "VIADDMNMX"
    if (summed and (pair or wide)) or (pair and "RELU" in e.modifiers):
        raise e.fail("this width")
    words = 2 if wide else 1
    e.destination(words)
    if e.integer(C.A, e.take(), words):
        raise e.fail("a negated operand")
    ones = e.integer(C.B, e.take()) if summed else 0
    if e.integer(C.C, e.take(), words):
        raise e.fail("a negated operand")
    e.predicate_source(C.PS0)
    signed = not e.modifiers & {"U32", "U64", "U16x2"}
    e.op(Op.MINMAX16 if pair else Op.MINMAX, m0=signed, m1="RELU" in e.modifiers, m2=bool(wide), m3=ones)


def imnmx(e: Emit) -> None:
    """IMNMX; its 64-bit form has two unused predicate results and an unused last source."""
    if not e.modifiers & {"S64", "U64"}:
        return INTEGER["IMNMX"](e)
    e.known("S64", "U64")
    _skip_unused_carry(e)
    last = e.operands.pop()
    if last["kind"] != Operand.PREDICATE or last["index"] != TRUE_PREDICATE or not last["negate"]:
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
    if operand["index"] >= 0 or operand["uniform"] >= 0:
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
    """R2UR, with .BROADCAST where the lanes agree by construction."""
    e.modifiers -= {"BROADCAST"}
    e.ordered = tuple(name for name in e.ordered if name != "BROADCAST")
    INTEGER["R2UR"](e)


_HALVES = {"": 0, "H0_H0": 0, "H1_H1": 1}


def mixed(e: Emit) -> None:
    """FHADD, FHFMA: halves a (and b) with a float c, in one rounding to nearest."""
    e.known("BF16", "RN")
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
    e.op(Op.MIXED, m0=kind, m1=selects, m2=product)


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
    merged = e.take()
    if merged["kind"] != Operand.REGISTER or merged["index"] != ZERO_REGISTER:
        raise e.fail("bits merged into the result")
    return e.op(Op.PACK, m0=form, m1=kind, m2="RELU" in e.modifiers)


def _plain(e: Emit) -> np.void:
    """The next operand, which must not be negated."""
    operand = e.take()
    if operand["negate"] or operand["absolute"] or operand["select"]:
        raise e.fail("a modified operand")
    return operand


def _unpack(e: Emit, form: int, name: str) -> None:
    e.known("UNPACK_B", "F16", "BF16", name)
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
    e.op(Op.UNPACK, m0=form, m1="BF16" in e.modifiers, m3=part)


LOWERINGS = {
    "F2FP": convert_pair,
    "VIADD": add, "IADD": add, "IADD3": iadd3, "UIADD3": iadd3, "UIADD": add, "UVIADD": add,
    "ISETP": compare, "UISETP": compare,
    "SEL": select, "USEL": select,
    "IMNMX": imnmx, "UIMNMX": imnmx, "VIMNMX": minmax, "UVIMNMX": minmax, "VIADDMNMX": minmax,
    "LDCU": constant_load,
    "ELECT": elect, "R2UR": broadcast,
    "FHADD": mixed, "FHFMA": mixed,
}  # fmt: skip
