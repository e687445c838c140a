"""Lowering of floating-point and conversion instructions."""

from gpu_model.machine import convert, floating, half, multifunction, predicates
from gpu_model.machine.emit import HALF_SIGNS, Emit
from gpu_model.machine.lower_integer import BOOLEANS, COMPARISONS
from gpu_model.machine.microop import Column as C
from gpu_model.machine.microop import Op
from gpu_model.machine.rounding import DOWN, NEAREST, UP, ZERO
from gpu_model.program import ZERO_REGISTER, Operand

ROUNDINGS = {"RN": NEAREST, "RZ": ZERO, "RM": DOWN, "RP": UP}
_SCALES = {"D2": -1, "D4": -2, "D8": -3, "M2": 1, "M4": 2, "M8": 3}  # of a product, by a power of two
_INTEGRAL = {"RN": 0, "TRUNC": 1, "FLOOR": 2, "CEIL": 3}


def _flags(e: Emit) -> int:
    return (
        floating.FTZ * ("FTZ" in e.modifiers)
        | floating.SATURATE * ("SAT" in e.modifiers)
        | floating.RELU * ("RELU" in e.modifiers)
        | floating.FINITE * ("SATFINITE" in e.modifiers)
    )  # fmt: skip


def arithmetic(plain: Op, with_mode: Op, sources: tuple[C, ...]):
    """A lowering for FADD, FMUL, FFMA; the modified forms go through exact rounding, as do FMUL's .D2 to .M8."""

    def lower(e: Emit) -> None:
        e.known("FTZ", "SAT", *ROUNDINGS, *(_SCALES if plain == Op.FMUL else ()))
        e.destination()
        for column in sources:
            e.float(column, e.take())
        mode, flags = e.choose(ROUNDINGS, NEAREST), _flags(e)
        scale = e.choose(_SCALES, 0)
        e.op(with_mode if mode or flags or scale else plain, m0=mode, m1=flags, m2=scale)

    return lower


def fmnmx(e: Emit) -> None:
    """FMNMX: minimum where the predicate holds, else maximum; .XORSIGN gives it the sign of the product."""
    e.known("FTZ", "NAN", "XORSIGN")
    e.destination()
    exclusive = _exclusive_sign(e)
    e.float(C.A, e.take())
    e.float(C.B, e.take())
    e.predicate_source(C.PS0)
    e.op(Op.FMNMX, m0=_flags(e), m1="NAN" in e.modifiers, m2=exclusive)


def _exclusive_sign(e: Emit) -> bool:
    """Whether .XORSIGN is there, which takes the signs of the registers as they are."""
    if "XORSIGN" in e.modifiers and any(operand["negate"] for operand in e.operands[:2]):
        raise e.fail("a negated operand")
    return "XORSIGN" in e.modifiers


def fsetp(e: Emit) -> None:
    """FSETP: compare floats, combine with a predicate."""
    e.known("FTZ", *COMPARISONS, *BOOLEANS)
    e.predicate_destination(C.PD0)
    e.predicate_destination(C.PD1)
    e.float(C.A, e.take())
    e.float(C.B, e.take())
    e.predicate_source(C.PS0)
    e.op(Op.FSETP, m0=e.choose(COMPARISONS), m1=_flags(e), m2=e.choose(BOOLEANS))


def fset(e: Emit) -> None:
    """FSET: comparison as 1.0 (.BF) or all ones."""
    e.known("FTZ", "BF", *COMPARISONS, *BOOLEANS)
    e.destination()
    e.float(C.A, e.take())
    e.float(C.B, e.take())
    e.predicate_source(C.PS0)
    e.op(Op.FSET, m0=e.choose(COMPARISONS), m1=_flags(e), m2=e.choose(BOOLEANS), m3="BF" in e.modifiers)


_FUNCTION_NAMES = ("EX2", "RCP", "RSQ", "LG2", "SQRT", "SIN", "COS", "TANH")
_FUNCTIONS = {name: getattr(multifunction, name) for name in _FUNCTION_NAMES}
_HIGH_FUNCTIONS = {"RCP64H": multifunction.RCP, "RSQ64H": multifunction.RSQ}


def mufu(e: Emit) -> None:
    """MUFU: the multi-function unit, on a float32, a half, or the high word of a double."""
    e.known("F16", "BF16", *_FUNCTIONS, *_HIGH_FUNCTIONS)
    e.destination()
    kind = e.choose({"F16": multifunction.FLOAT16, "BF16": multifunction.BFLOAT16}, multifunction.FLOAT32)
    operand = e.take()
    if kind == multifunction.FLOAT32:
        e.float(C.A, operand)
    else:
        e.float(C.A, operand, sign=HALF_SIGNS)
    if e.modifiers & _HIGH_FUNCTIONS.keys():
        return e.op(Op.MUFU64H, m0=e.choose(_HIGH_FUNCTIONS))
    upper = _SELECTS.get(str(operand["select"])) == half.HIGH_HIGH
    return e.op(Op.MUFU, m0=e.choose(_FUNCTIONS), m1=kind, m2=upper)


def frnd(e: Emit) -> None:
    """FRND: round to an integral float."""
    e.known("FTZ", "F16", "BF16", "F64", *_INTEGRAL)
    mode, kind = e.choose(_INTEGRAL, 0), e.choose(_FLOATS, convert.F32)
    e.destination(2 if kind == convert.F64 else 1)
    select = _float_source(e, e.take(), kind)
    if kind == convert.F32:
        return e.op(Op.FRND, m0=mode, m1=_flags(e))
    return e.op(Op.F2F, m0=kind | select << 2, m1=kind, m2=convert.INTEGRAL + mode)


def fchk(e: Emit) -> None:
    """FCHK.DIVIDE: does a / b need the slow path?"""
    e.known("DIVIDE")
    e.predicate_destination(C.PD0)
    e.float(C.A, e.take())
    e.float(C.B, e.take())
    e.op(Op.FCHK)


_SELECTS = {"": half.PAIR, "H1_H0": half.PAIR, "H0_H0": half.LOW_LOW, "H1_H1": half.HIGH_HIGH, "H0": half.LOW_LOW,
            "H1": half.HIGH_HIGH}  # fmt: skip


def _half_sources(e: Emit, columns: tuple[C, ...]) -> int:
    """Point the columns at packed halves; returns which halves each gives."""
    selects = 0
    for i, column in enumerate(columns):
        operand = e.take()
        name = str(operand["select"])
        if name == "F32" and e.row["opcode"] == "HADD2" and column == C.A:  # Turing's cvt.rz.f16.f32
            e.float(column, operand)
            selects |= half.SINGLE << (2 * i)
            continue
        if name not in _SELECTS:
            raise e.fail(f"half selector .{name}")
        e.float(column, operand, sign=HALF_SIGNS)
        selects |= _SELECTS[name] << (2 * i)
    return selects


def half_arithmetic(op: Op, columns: tuple[C, ...]):
    """A lowering for HADD2, HMUL2, HFMA2."""

    def lower(e: Emit) -> None:
        e.known("F32", "MMA", "BF16_V2", "BF16", "FTZ", "SAT", "RELU")
        to_single = "F32" in e.modifiers
        if to_single and (op != Op.HADD2 or _flags(e) & ~floating.SATURATE):
            raise e.fail("a float32 result of this operation")
        e.destination()
        selects = _half_sources(e, columns)
        kind = half.BFLOAT16 if e.modifiers & {"BF16_V2", "BF16"} else half.FLOAT16
        e.op(op, m0=selects, m1=kind, m2=_flags(e), m3=to_single)

    return lower


def half_compare(op: Op):
    """A lowering for HSETP2 and HSET2."""

    def lower(e: Emit) -> None:
        e.known("BF16_V2", "BF16", "FTZ", "BF", "H0_H0", "H1_H1", *COMPARISONS, *BOOLEANS)
        if op == Op.HSETP2:
            e.predicate_destination(C.PD0)
            e.predicate_destination(C.PD1)
        else:
            e.destination()
        selects = _half_sources(e, (C.A, C.B))
        e.predicate_source(C.PS0)
        kind = half.BFLOAT16 if e.modifiers & {"BF16_V2", "BF16"} else half.FLOAT16
        code = e.choose(COMPARISONS) | e.choose(BOOLEANS) << 4
        # .BF makes HSET2 write 1.0; HSETP2 takes two comparisons apart unless it combines them by .H0_H0.
        code |= 64 * ("BF" in e.modifiers or "H0_H0" in e.modifiers)
        e.op(op, m0=selects, m1=kind, m2=_flags(e), m3=code)

    return lower


def hmnmx2(e: Emit) -> None:
    """HMNMX2: packed minimum or maximum."""
    e.known("BF16_V2", "BF16", "FTZ", "NAN", "XORSIGN")
    e.destination()
    exclusive = _exclusive_sign(e)
    selects = _half_sources(e, (C.A, C.B))
    e.predicate_source(C.PS0)
    kind = half.BFLOAT16 if e.modifiers & {"BF16_V2", "BF16"} else half.FLOAT16
    e.op(Op.HMNMX2, m0=selects, m1=kind, m2=_flags(e), m3=("NAN" in e.modifiers) | 2 * exclusive)


def _only_zero(e: Emit) -> None:
    """Take an operand that ptxas always leaves RZ; what else it would do is not documented."""
    operand = e.take()
    if operand["kind"] != Operand.REGISTER or operand["index"] != ZERO_REGISTER:
        raise e.fail("an operand that is not RZ")


def f2fp(e: Emit) -> None:
    """F2FP.PACK_AB: two floats to a pair of halves; .MERGE_C: one float to the lower half; .PACK_B: one to TF32."""
    if "TF32" in e.modifiers:
        e.known("TF32", "F32", "PACK_B", "RELU", "SATFINITE", *ROUNDINGS)
        e.destination()
        e.float(C.A, e.take())
        return e.op(Op.F2TF32, m1=e.choose(ROUNDINGS, NEAREST), m2=_flags(e))
    e.known("PACK_AB", "MERGE_C", "F16", "BF16", "F32", "FTZ", "RELU", "SATFINITE", *ROUNDINGS)
    e.destination()
    if "MERGE_C" not in e.modifiers:
        e.float(C.A, e.take())
    e.float(C.B, e.take())
    if "MERGE_C" in e.modifiers:
        _only_zero(e)
    kind = convert.BF16 if "BF16" in e.modifiers else convert.F16
    return e.op(Op.F2FP, m0=kind, m1=e.choose(ROUNDINGS, NEAREST), m2=_flags(e))


_INTEGERS = {"U8": (8, 0), "S8": (8, 1), "U16": (16, 0), "S16": (16, 1), "U32": (32, 0), "S32": (32, 1),
             "U64": (64, 0), "S64": (64, 1)}  # fmt: skip
_FLOATS = {"F16": convert.F16, "BF16": convert.BF16, "F32": convert.F32, "F64": convert.F64}
_BYTES = {"": 0, "B0": 0, "B1": 1, "B2": 2, "B3": 3, "H0": 0, "H1": 2, "H0_H0": 0, "H1_H1": 2}


def i2f(e: Emit) -> None:
    """I2F, I2FP: integer to float (source defaults to S32, result to F32)."""
    e.known(*_INTEGERS, *_FLOATS, *ROUNDINGS)
    width, signed = _INTEGERS[next((name for name in e.ordered if name in _INTEGERS), "S32")]
    target = e.choose(_FLOATS, convert.F32)
    e.destination(2 if target == convert.F64 else 1)
    operand = e.take()
    e.integer(C.A, operand, 2 if width == 64 else 1)
    byte = _BYTES.get(str(operand["select"]))
    if byte is None:
        raise e.fail(f"selector .{operand['select']}")
    e.op(Op.I2F, m0=width << 1 | signed, m1=byte, m2=target, m3=e.choose(ROUNDINGS, NEAREST))


def f2ip(e: Emit) -> None:
    """F2IP.U8: one float to a byte (the form ptxas emits for cvt.u8.f32)."""
    e.known("U8", "F32", "NTZ", *_INTEGRAL)
    e.destination()
    _only_zero(e)
    e.float(C.A, e.take())
    _only_zero(e)
    e.op(Op.F2I, m0=8 << 1, m1=e.choose(_INTEGRAL, 0), m2=convert.F32)


def f2i(e: Emit) -> None:
    """F2I: float to integer, saturating (source defaults to F32, result to S32)."""
    e.known("FTZ", "NTZ", *_INTEGERS, *_FLOATS, *_INTEGRAL)
    width, signed = _INTEGERS[next((name for name in e.ordered if name in _INTEGERS), "S32")]
    kind = e.choose(_FLOATS, convert.F32)
    e.destination(2 if width == 64 else 1)
    operand = e.take()
    select = _float_source(e, operand, kind)
    e.op(Op.F2I, m0=width << 1 | signed, m1=e.choose(_INTEGRAL, 0), m2=kind | select << 2, m3=_flags(e))


def _float_source(e: Emit, operand, kind: int) -> int:  # noqa: ANN001 - a record of a structured array
    """Point A at a float of a given kind; returns which half of the register it is."""
    if kind in (convert.F16, convert.BF16):
        name = str(operand["select"])
        if name not in _SELECTS:
            raise e.fail(f"half selector .{name}")
        e.float(C.A, operand, sign=HALF_SIGNS)
        return _SELECTS[name]
    e.float(C.A, operand, words=2 if kind == convert.F64 else 1)
    return 0


def f2f(e: Emit) -> None:
    """F2F: float to float, `.destination.source`."""
    e.known("FTZ", *_FLOATS, *ROUNDINGS)
    kinds = [_FLOATS[name] for name in e.ordered if name in _FLOATS]
    if len(kinds) != 2:
        raise e.fail("F2F without two formats")
    target, kind = kinds
    e.destination(2 if target == convert.F64 else 1)
    select = _float_source(e, e.take(), kind)
    e.op(Op.F2F, m0=kind | select << 2, m1=target, m2=e.choose(ROUNDINGS, NEAREST), m3=_flags(e))


def double(op: Op, columns: tuple[C, ...]):
    """A lowering for DADD, DMUL, DFMA."""

    def lower(e: Emit) -> None:
        e.known(*ROUNDINGS)
        e.destination(2)
        for column in columns:
            e.float(column, e.take(), words=2)
        e.op(op, m0=e.choose(ROUNDINGS, NEAREST))

    return lower


_CHOICES = {"MIN": predicates.CHOOSE_MIN, "MAX": predicates.CHOOSE_MAX}


def dsetp(e: Emit) -> None:
    """DSETP: compare doubles, combine with a predicate; .MIN and .MAX choose one."""
    e.known(*COMPARISONS, *BOOLEANS, *_CHOICES)
    e.predicate_destination(C.PD0)
    e.predicate_destination(C.PD1)
    e.float(C.A, e.take(), words=2)
    e.float(C.B, e.take(), words=2)
    e.predicate_source(C.PS0)
    e.op(Op.DSETP, m0=e.choose(COMPARISONS | _CHOICES), m2=e.choose(BOOLEANS))


_TWO, _THREE = (C.A, C.B), (C.A, C.B, C.C)


LOWERINGS = {
    "FADD": arithmetic(Op.FADD, Op.FADD_MODE, _TWO),
    "FMUL": arithmetic(Op.FMUL, Op.FMUL_MODE, _TWO),
    "FFMA": arithmetic(Op.FFMA, Op.FFMA_MODE, _THREE),
    "UFADD": arithmetic(Op.FADD, Op.FADD_MODE, _TWO),
    "UFMUL": arithmetic(Op.FMUL, Op.FMUL_MODE, _TWO),
    "UFFMA": arithmetic(Op.FFMA, Op.FFMA_MODE, _THREE),
    "UFMNMX": fmnmx, "UFSETP": fsetp, "UFSET": fset, "UFRND": frnd, "UF2F": f2f, "UF2FP": f2fp,
    "FMNMX": fmnmx, "FSETP": fsetp, "FSET": fset, "MUFU": mufu, "FRND": frnd, "FCHK": fchk,
    "HADD2": half_arithmetic(Op.HADD2, _TWO),
    "HMUL2": half_arithmetic(Op.HMUL2, _TWO),
    "HFMA2": half_arithmetic(Op.HFMA2, _THREE),
    "HSETP2": half_compare(Op.HSETP2), "HSET2": half_compare(Op.HSET2), "HMNMX2": hmnmx2,
    "F2FP": f2fp, "I2F": i2f, "I2FP": i2f, "UI2F": i2f, "UI2FP": i2f, "F2I": f2i, "UF2I": f2i, "F2IP": f2ip,
    "F2F": f2f,
    "DADD": double(Op.DADD, _TWO), "DMUL": double(Op.DMUL, _TWO), "DFMA": double(Op.DFMA, _THREE),
    "DSETP": dsetp,
}  # fmt: skip
