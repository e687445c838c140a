"""Lowering of integer, move and predicate instructions."""

from gpu_model.machine import bits
from gpu_model.machine.emit import NARROW, Emit
from gpu_model.machine.floating import AND, OR, XOR
from gpu_model.machine.microop import Column as C
from gpu_model.machine.microop import Op
from gpu_model.program import Operand

COMPARISONS = {
    "F": 0, "LT": 1, "EQ": 2, "LE": 3, "GT": 4, "NE": 5, "GE": 6, "NUM": 7,
    "NAN": 8, "LTU": 9, "EQU": 10, "LEU": 11, "GTU": 12, "NEU": 13, "GEU": 14, "T": 15,
}  # fmt: skip
BOOLEANS = {"AND": AND, "OR": OR, "XOR": XOR}
_WIDTH_NAMES = ("U32", "S32", "U64", "S64")


def return_address_move(e: Emit) -> None:
    """RPCMOV: a word into or out of the return address, which Blackwell's ptxas uses as a spare register."""
    e.known("32")
    e.destination()
    e.source(C.A, e.take())
    e.op(Op.MOV, m0=1)


def mov(e: Emit) -> None:
    """MOV, UMOV, LDC, ULDC: copy a word, or two with .64; loads from constant banks also 8 and 16 bits."""
    e.known("64", "U32", *NARROW)
    words = 2 if "64" in e.modifiers else 1
    e.destination(words)
    if narrow := next((name for name in e.ordered if name in NARROW), None):
        e.narrow_constant(C.A, e.take(), narrow)
    else:
        e.source(C.A, e.take(), words, whole=True)
    if e.operands and e.immediate() & 0xF != 0xF:  # MOV's byte mask
        raise e.fail("a MOV that writes some bytes only")
    e.op(Op.MOV, m0=words)


def iadd3(e: Emit) -> None:
    """IADD3: three-term add; carries out after the destination, carries in at the end (.X)."""
    e.known("X")
    e.destination()
    outs = 0
    while e.next_is_predicate():
        e.predicate_destination(C.PD0 if outs == 0 else C.PD1)
        outs += 1
    ones = e.integer(C.A, e.take()) + e.integer(C.B, e.take()) + e.integer(C.C, e.take())
    extended = "X" in e.modifiers
    e.no_predicate(C.PS0)
    e.no_predicate(C.PS1)
    if extended:
        e.predicate_source(C.PS0)
        if e.operands:
            e.predicate_source(C.PS1)
        ones = 0  # with a carry in, a negated term is its complement
    e.op(Op.IADD3_CARRY if outs or extended else Op.IADD3, m0=ones)


def imad(e: Emit) -> None:
    """IMAD and its disguises (.MOV, .IADD, .SHL): low word of a * b + c."""
    if "WIDE" in e.modifiers or "HI" in e.modifiers:
        return imad_wide(e)
    e.known("MOV", "IADD", "SHL", "U32", "S32", "X")
    e.destination()
    if e.next_is_predicate():
        raise e.fail("IMAD with a carry out")
    if e.integer(C.A, e.take()) | e.integer(C.B, e.take()):
        raise e.fail("a negated factor")
    e.integer(C.C, e.take())
    if "X" in e.modifiers:
        e.predicate_source(C.PS0)
        return e.op(Op.IMAD_CARRY)
    return e.op(Op.IMAD)


def imad_wide(e: Emit) -> None:
    """IMAD.WIDE: a * b + c with a 64-bit c; IMAD.HI: its high word."""
    high = "HI" in e.modifiers
    e.known("WIDE", "HI", "U32", "S32", "X")
    e.destination(1 if high else 2)
    carry = e.next_is_predicate() or "X" in e.modifiers
    if e.next_is_predicate():
        e.predicate_destination(C.PD0)
    if e.integer(C.A, e.take()) | e.integer(C.B, e.take()):
        raise e.fail("a negated factor")
    e.integer(C.C, e.take(), 2)
    e.no_predicate(C.PS0)
    if "X" in e.modifiers:
        e.predicate_source(C.PS0)
    signed = "U32" not in e.modifiers
    if carry and signed:
        raise e.fail("a carry of a signed product")
    e.op(Op.IMAD_HI if high else Op.IMAD_WIDE, m0=signed, m1=carry)


def lea(e: Emit) -> None:
    """LEA: (a << shift) + b; .HI takes the high word of c:a shifted; .X adds a carry."""
    e.known("HI", "X", "SX32")
    high, sign_extend = "HI" in e.modifiers, "SX32" in e.modifiers
    e.destination()
    if e.next_is_predicate():
        e.predicate_destination(C.PD0)
    e.integer(C.A, e.take())
    e.integer(C.B, e.take())
    if high and not sign_extend:
        e.integer(C.C, e.take())
    shift = e.immediate()
    e.no_predicate(C.PS0)
    if "X" in e.modifiers:
        e.predicate_source(C.PS0)
        if e.out[C.A_XOR]:
            raise e.fail("a negated shifted term with a carry in")
    e.op(Op.LEA_HI if high else Op.LEA, m0=shift, m1=high, m2=sign_extend, m3="X" in e.modifiers)


def lop3(e: Emit) -> None:
    """LOP3.LUT: any bitwise function of three words; optionally a predicate says whether it is non-zero."""
    e.known("LUT", "PAND", "POR")
    has_predicate = e.next_is_predicate()
    if has_predicate:
        e.predicate_destination(C.PD0)
    e.destination()
    inverted = [e.integer(column, e.take()) for column in (C.A, C.B, C.C)]
    table = e.immediate()
    for term, flipped in zip((4, 2, 1), inverted, strict=True):  # fold ~x into the truth table
        if flipped:
            table = sum((table >> (index ^ term) & 1) << index for index in range(8))
    e.out[[C.A_XOR, C.B_XOR, C.C_XOR]] = 0
    e.no_predicate(C.PS0)
    if e.operands:
        e.predicate_source(C.PS0)
    e.op(Op.LOP3, m0=table, m1=has_predicate, m2=AND if "PAND" in e.modifiers else OR)


def shf(e: Emit) -> None:
    """SHF: funnel shift of c:a by b."""
    e.known("L", "R", "HI", "W", *_WIDTH_NAMES)
    e.destination()
    a, b, c = e.take(), e.take(), e.take()
    for column, operand in ((C.A, a), (C.B, b), (C.C, c)):
        if e.integer(column, operand):
            raise e.fail("a negated operand")
    kind = e.choose({name: i for i, name in enumerate(_WIDTH_NAMES)})
    right, high = "R" in e.modifiers, "HI" in e.modifiers
    mode = bits.SHIFT_RIGHT * right | bits.SHIFT_HIGH * high | bits.SHIFT_SIGNED * (kind & 1)
    mode |= bits.SHIFT_WRAP * ("W" in e.modifiers) | bits.SHIFT_WIDE * (kind >= 2)
    # The plain shifts of one word by a small number are most of them.
    simple = -1
    if b["kind"] == Operand.IMMEDIATE and int(b["value"]) < 32 and kind < 2:
        if not right and not high:
            simple = 0
        elif right and high:
            simple = 1 + (kind & 1)
    e.op(Op.SHF, m0=mode, m1=simple, m2=int(right))


def select(e: Emit) -> None:
    """SEL, FSEL, USEL: a where the predicate holds, else b."""
    e.known("FTZ")
    is_float = e.row["opcode"] in ("FSEL", "UFSEL")
    e.destination()
    for column in (C.A, C.B):
        operand = e.take()
        if is_float:
            e.float(column, operand)
        elif e.integer(column, operand):
            raise e.fail("a negated operand")
    e.predicate_source(C.PS0)
    e.op(Op.SEL)


def imnmx(e: Emit) -> None:
    """IMNMX: minimum where the predicate holds, else maximum."""
    e.known("U32", "S32")
    e.destination()
    if e.integer(C.A, e.take()) | e.integer(C.B, e.take()):
        raise e.fail("a negated operand")
    e.predicate_source(C.PS0)
    e.op(Op.IMNMX, m0="U32" not in e.modifiers)


_PRMT_MODES = {"F4E": 1, "B4E": 2, "RC8": 3, "ECL": 4, "ECR": 5, "RC16": 6}


def prmt(e: Emit) -> None:
    """PRMT: pick four bytes out of eight."""
    e.known(*_PRMT_MODES)
    e.destination()
    for column in (C.A, C.B, C.C):
        if e.integer(column, e.take()):
            raise e.fail("a negated operand")
    e.op(Op.PRMT, m0=e.choose(_PRMT_MODES, 0))


def two_source(op: Op, **columns: int):
    """A lowering for SGXT and BMSK: a, b, signedness and wrap."""

    def lower(e: Emit) -> None:
        e.known("U32", "W", "C")
        e.destination()
        if e.integer(C.A, e.take()) | e.integer(C.B, e.take()):
            raise e.fail("a negated operand")
        e.op(op, m0="U32" not in e.modifiers, m1="W" in e.modifiers, **columns)

    return lower


def unary(op: Op):
    """A lowering for IABS, POPC, BREV, FLO."""

    def lower(e: Emit) -> None:
        e.known("U32", "S32", "SH")
        e.destination()
        if op == Op.FLO and e.next_is_predicate():
            e.predicate_destination(C.PD0)
        e.integer(C.A, e.take())
        if e.out[C.A_XOR] and op == Op.IABS:
            raise e.fail("a negated operand")
        e.op(op, m0="U32" not in e.modifiers, m1="SH" in e.modifiers)

    return lower


def idp(e: Emit) -> None:
    """IDP.4A: four byte products and a sum; IDP.2A: two products of halves and bytes."""
    e.known("4A", "2A", "LO", "HI", "U8", "S8", "U16", "S16")
    kinds = [name for name in e.ordered if name in ("U8", "S8", "U16", "S16")]
    e.destination()
    for column in (C.A, C.B, C.C):
        if e.integer(column, e.take()):
            raise e.fail("a negated operand")
    pair = "2A" in e.modifiers
    e.op(Op.IDP2 if pair else Op.IDP, m0=kinds[0][0] == "S", m1=kinds[-1][0] == "S", m2="HI" in e.modifiers)


def vabsdiff(e: Emit) -> None:
    """VABSDIFF: c + |a - b|."""
    e.known("U32", "S32")
    e.destination()
    for column in (C.A, C.B, C.C):
        if e.integer(column, e.take()):
            raise e.fail("a negated operand")
    e.op(Op.VABSDIFF, m0="U32" not in e.modifiers)


def vabsdiff4(e: Emit) -> None:
    """VABSDIFF4: |a - b| of each byte; .ACC adds the four to c."""
    e.known("U8", "S8", "ACC")
    e.destination()
    for column in (C.A, C.B, C.C):
        if e.integer(column, e.take()):
            raise e.fail("a negated operand")
    e.op(Op.VABSDIFF4, m0="S8" in e.modifiers, m1="ACC" in e.modifiers)


_NARROWED = {
    "U2": (2, 0),
    "S2": (2, 1),
    "U4": (4, 0),
    "S4": (4, 1),
    "U8": (8, 0),
    "S8": (8, 1),
    "U16": (16, 0),
    "S16": (16, 1),
    "U32": (32, 0),
    "S32": (32, 1),
}


def i2i(e: Emit) -> None:
    """I2I.SAT: saturate an integer to another type; I2IP: saturate two and pack them."""
    e.known("SAT", *_NARROWED)
    kinds = [_NARROWED[name] for name in e.ordered if name in _NARROWED]
    if len(kinds) != 2 or kinds[1][0] != 32 or "SAT" not in e.modifiers:
        raise e.fail("a conversion other than .SAT from 32 bits")
    packs = e.row["opcode"] == "I2IP"
    e.destination()
    for column in (C.A, C.B, C.C) if packs else (C.A,):
        if e.integer(column, e.take()):
            raise e.fail("a negated operand")
    (width, signed), (_, source_signed) = kinds
    e.op(Op.I2IP if packs else Op.I2I, m0=source_signed, m1=width, m2=signed)


def isetp(e: Emit) -> None:
    """ISETP: compare, combine with a predicate; .EX continues a 64-bit comparison."""
    e.known("U32", "S32", "EX", *COMPARISONS, *BOOLEANS)
    e.predicate_destination(C.PD0)
    e.predicate_destination(C.PD1)
    if e.integer(C.A, e.take()) | e.integer(C.B, e.take()):
        raise e.fail("a negated operand")
    e.predicate_source(C.PS0)
    extended = "EX" in e.modifiers
    if extended:
        e.predicate_source(C.PS1)
    code, boolean = e.choose(COMPARISONS), e.choose(BOOLEANS)
    e.op(Op.ISETP, m0=code & 7, m1="U32" not in e.modifiers, m2=boolean, m3=extended)


def plop3(e: Emit) -> None:
    """PLOP3: two bitwise functions of three predicates, or sign bits of registers."""
    e.known("LUT")
    e.predicate_destination(C.PD0)
    e.predicate_destination(C.PD1)
    signs = 0
    for i, (column, word) in enumerate(((C.PS0, C.A), (C.PS1, C.B), (C.PS2, C.C))):
        if e.next_is_predicate():
            e.predicate_source(column)
            continue
        operand = e.take()
        if operand["kind"] not in (Operand.REGISTER, Operand.UNIFORM) or operand["select"] != "SIGN":
            raise e.fail("a source that is neither a predicate nor a sign bit")
        e.integer(word, operand)
        signs |= 1 << i
    e.op(Op.PLOP3, m0=e.immediate(), m1=e.immediate(), m2=signs)


def p2r(e: Emit) -> None:
    """P2R: predicates into the bits of a register."""
    e.known("B0", "B1", "B2", "B3")
    e.destination()
    first = 8 if e.take()["uniform"] >= 0 else 0
    e.integer(C.A, e.take())
    keep = e.immediate() & 0xFF
    shift = 8 * e.choose({"B0": 0, "B1": 1, "B2": 2, "B3": 3}, 0)
    e.op(Op.P2R, m0=first, m1=keep, m2=shift)


def r2p(e: Emit) -> None:
    """R2P, UR2UP: bits of a register into predicates."""
    e.known("B0", "B1", "B2", "B3")
    first = 8 if e.take()["uniform"] >= 0 else 0
    operand = e.take()
    e.integer(C.A, operand)
    shift = 8 * e.choose({"B0": 0, "B1": 1, "B2": 2, "B3": 3}, 0)
    if str(operand["select"]).startswith("B"):
        shift = 8 * int(str(operand["select"])[1])
    e.op(Op.R2P, m0=first, m1=e.immediate() & 0x7F if e.operands else 0x7F, m2=shift)


def r2ur(e: Emit) -> None:
    """R2UR: a lane's register to a uniform register; the predicate says in which lanes the register differs."""
    e.known("FILL")
    if e.next_is_predicate():
        e.predicate_destination(C.PD0)
    e.destination()
    e.integer(C.A, e.take())
    e.op(Op.R2UR)


LOWERINGS = {
    "MOV": mov, "UMOV": mov, "ULDC": mov, "RPCMOV": return_address_move,
    "IADD3": iadd3, "UIADD3": iadd3,
    "IMAD": imad, "UIMAD": imad,
    "LEA": lea, "ULEA": lea,
    "LOP3": lop3, "ULOP3": lop3,
    "SHF": shf, "USHF": shf,
    "SEL": select, "FSEL": select, "USEL": select, "UFSEL": select,
    "IMNMX": imnmx,
    "PRMT": prmt, "UPRMT": prmt,
    "SGXT": two_source(Op.SGXT), "USGXT": two_source(Op.SGXT),
    "BMSK": two_source(Op.BMSK), "UBMSK": two_source(Op.BMSK),
    "IABS": unary(Op.IABS), "POPC": unary(Op.POPC), "UPOPC": unary(Op.POPC),
    "BREV": unary(Op.BREV), "UBREV": unary(Op.BREV), "FLO": unary(Op.FLO), "UFLO": unary(Op.FLO),
    "IDP": idp, "VABSDIFF": vabsdiff, "VABSDIFF4": vabsdiff4, "I2I": i2i, "I2IP": i2i,
    "ISETP": isetp, "UISETP": isetp,
    "PLOP3": plop3, "UPLOP3": plop3,
    "P2R": p2r, "UP2UR": p2r, "R2P": r2p, "UR2UP": r2p, "R2UR": r2ur,
}  # fmt: skip
