"""Lowering of warpgroup products (HGMMA, QGMMA, IGMMA) and narrow-float products (QMMA, OMMA)."""

from gpu_model.machine import narrow, wgmma
from gpu_model.machine.emit import Emit
from gpu_model.machine.fragments import KINDS
from gpu_model.machine.lower_memory import GENERATIONS
from gpu_model.machine.microop import Column as C
from gpu_model.machine.microop import Op
from gpu_model.program import ZERO_REGISTER, Operand
from hw.presets import TENSOR_CORES, TensorCore
from mx_formats import element

_NARROW = {"E4M3": element.E4M3, "E5M2": element.E5M2, "E3M2": element.E3M2, "E2M3": element.E2M3,
           "E2M1": element.E2M1}  # fmt: skip
_FLAGS = {"tA": wgmma.TRANSPOSE_A, "tB": wgmma.TRANSPOSE_B, "nA": wgmma.NEGATE_A, "nB": wgmma.NEGATE_B}
_COLUMNS = range(8, 257, 8)


def _core(e: Emit, kind: element.ElementFormat) -> TensorCore:
    core = TENSOR_CORES.get((GENERATIONS[e.program.arch], kind))
    if core is None:
        raise e.fail(f"{kind.name} on sm_{e.program.arch} has no published rule")
    return core


def _narrow_pair(e: Emit) -> list[element.ElementFormat]:
    pair = [_NARROW[name] for name in e.ordered if name in _NARROW]
    if len(pair) != 2:
        raise e.fail(f"needs two element types of {', '.join(_NARROW)}")
    return pair


def _shape(e: Emit, depth: int) -> int:
    """Columns of a warpgroup product, from a modifier like 64x128x16."""
    sizes = [name for name in e.ordered if name.count("x") == 2]
    if len(sizes) != 1:
        raise e.fail("expected one shape")
    rows, columns, k = (int(size) for size in sizes[0].split("x"))
    if rows != 64 or columns not in _COLUMNS or k != depth:
        raise e.fail(f"shape {sizes[0]}, expected 64 x a multiple of 8 up to 256 x {depth}")
    return columns


def _warpgroup_operands(e: Emit, accumulator: int) -> int:
    """Destination, A or none, descriptors, accumulator, predicate; returns the flags."""
    flags = 0
    e.destination(accumulator)
    if e.operands[0]["kind"] == Operand.REGISTER:
        operand = e.take()
        flags |= wgmma.A_REGISTERS | wgmma.NEGATE_A * bool(operand["negate"])
        e.source(C.A, operand, 4)
    descriptors = e.take()
    if descriptors["kind"] != Operand.MEMORY:
        raise e.fail("expected matrix descriptors")
    e.out[C.B] = e.uniform_register(int(descriptors["uniform"]))
    select = str(descriptors["select"])
    for i in range(0, len(select), 2):
        flags |= _FLAGS[select[i : i + 2]]
    kept = e.take()
    if kept["kind"] == Operand.REGISTER and kept["index"] == ZERO_REGISTER:
        flags |= wgmma.ZERO
    else:
        e.source(C.C, kept, accumulator)
    if e.next_is_predicate():
        e.predicate_source(C.PS0)
    if e.operands and e.operands[0]["kind"] == Operand.COUNTER:
        e.take()  # the group's completion, which is immediate
    return flags


def warpgroup(e: Emit) -> None:
    """HGMMA, QGMMA: 64 x N x 256 bits of floats; A in registers or shared memory, B in shared memory."""
    half = "F16" in e.modifiers
    if e.row["opcode"] == "QGMMA":
        kinds, bits = _narrow_pair(e), 8
    else:
        kind = element.TF32 if "TF32" in e.modifiers else element.BF16 if "BF16" in e.modifiers else element.FP16
        kinds, bits = [kind, kind], 32 if kind is element.TF32 else 16
    if half == ("F32" in e.modifiers):
        raise e.fail("needs one of the modifiers F32, F16")
    columns, core = _shape(e, 256 // bits), _core(e, kinds[0])
    e.known(*[name for name in e.ordered if "x" in name], "F32", "F16", "BF16", "TF32", *_NARROW)
    flags = _warpgroup_operands(e, columns // (4 if half else 2))
    if flags & (wgmma.TRANSPOSE_A | wgmma.TRANSPOSE_B) and bits != 16:
        raise e.fail("a transposed operand that is not 16 bits wide")
    flags |= wgmma.HALF * half | wgmma.NARROW_SUM * (core.result_bits != 23)
    left = core.fraction_bits - kinds[0].mantissa_bits - kinds[1].mantissa_bits
    e.op(
        Op.WGMMA,
        m0=columns,
        m1=KINDS.index(kinds[0]) | KINDS.index(kinds[1]) << 4 | bits << 8,
        m2=flags,
        m3=core.products | core.fraction_bits << 8 | left << 16,
    )


def warpgroup_integer(e: Emit) -> None:
    """IGMMA: 64 x N x 32 of 8-bit integers, in int32."""
    columns, types = _shape(e, 32), [name for name in e.ordered if name in ("S8", "U8")]
    e.known(*[name for name in e.ordered if "x" in name], "S8", "U8", "SAT")
    flags = _warpgroup_operands(e, columns // 2)
    flags |= wgmma.SIGNED_A * (types[0] == "S8") | wgmma.SIGNED_B * (types[-1] == "S8")
    e.op(Op.WGMMA_INTEGER, m0=columns, m2=flags | wgmma.SATURATE * ("SAT" in e.modifiers))


def _scales(e: Emit) -> None:
    """Scale registers of A and B, and which of their lanes and bytes."""
    e.source(C.M2, e.take())
    e.source(C.M3, e.take())
    e.source(C.TARGET, e.take())


def qmma(e: Emit) -> None:
    """QMMA: 8-bit and narrower floats, in FP32 or FP16; .SF with an E8M0 scale a row and a column."""
    e.known("16816", "16832", "F32", "F16", "SF", "E8", *_NARROW)
    kinds, half, scaled = _narrow_pair(e), "F16" in e.modifiers, "SF" in e.modifiers
    core, depth = _core(e, kinds[0]), e.choose({"16816": 16, "16832": 32})
    if scaled and (half or "E8" not in e.modifiers or depth != 32):
        raise e.fail("this block-scaled form")
    registers = 2 if half else 4
    e.destination(registers)
    for column, count in ((C.A, depth // 8), (C.B, depth // 16), (C.C, registers)):
        operand = e.take()
        if operand["select"] not in ("", "ROW", "COL"):
            raise e.fail(f"operand layout .{operand['select']}")
        e.source(column, operand, count)
    flags = narrow.HALF * half | narrow.NARROW_SUM * (core.result_bits != 23 and not half) | narrow.SCALED * scaled
    left = core.fraction_bits - kinds[0].mantissa_bits - kinds[1].mantissa_bits
    shape = KINDS.index(kinds[0]) | KINDS.index(kinds[1]) << 4 | depth << 8
    e.op(Op.QMMA, m0=shape, m1=flags | core.fraction_bits | min(depth, core.products) << 8 | left << 16)
    if scaled:
        _scales(e)


def omma(e: Emit) -> None:
    """OMMA: 64 products of E2M1, with two E8M0 or four UE4M3 scales (MXFP4, NVFP4)."""
    e.known("SF", "16864", "F32", "E2M1", "E8", "UE4M3", "4X")
    if {"SF", "16864", "F32"} - e.modifiers or len(e.modifiers & {"E8", "UE4M3"}) != 1:
        raise e.fail("this form")
    e.destination(4)
    for column, count in ((C.A, 4), (C.B, 2), (C.C, 4)):
        e.source(column, e.take(), count)
    flags = narrow.UNSIGNED_E4M3 * ("UE4M3" in e.modifiers) | narrow.FOUR_SCALES * ("4X" in e.modifiers)
    e.op(Op.OMMA, m1=flags)
    _scales(e)


LOWERINGS = {
    "HGMMA": warpgroup, "QGMMA": warpgroup, "IGMMA": warpgroup_integer,
    "QMMA": qmma, "OMMA": omma,
}  # fmt: skip
