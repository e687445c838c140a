"""Lowering of the ordinary instructions that Hopper and Blackwell add or respell."""

from gpu_model.machine import half
from gpu_model.machine.emit import Emit
from gpu_model.machine.lower_integer import BOOLEANS, COMPARISONS, isetp, mov
from gpu_model.machine.lower_integer import LOWERINGS as INTEGER
from gpu_model.machine.microop import Column as C
from gpu_model.machine.microop import Op
from gpu_model.program import TRUE_PREDICATE


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


def constant_load(e: Emit) -> None:
    """LDCU: words of a constant bank to uniform registers."""
    operand = e.operands[1]
    if "128" in e.modifiers and operand["index"] < 0 and operand["uniform"] < 0:
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


LOWERINGS = {
    "VIADD": add, "IADD": add, "IADD3": iadd3, "UIADD3": iadd3, "UIADD": add, "UVIADD": add,
    "ISETP": compare, "UISETP": compare,
    "VIMNMX": minmax, "UVIMNMX": minmax, "VIADDMNMX": minmax,
    "LDCU": constant_load,
    "ELECT": elect, "R2UR": broadcast,
    "FHADD": mixed, "FHFMA": mixed,
}  # fmt: skip
