"""Lowering of asynchronous copies, their barriers and fences."""

from collections.abc import Collection

from gpu_model import tensormap
from gpu_model.machine import atomics, bulk, mbarrier, reduce
from gpu_model.machine.emit import Emit
from gpu_model.machine.lower_control import nothing
from gpu_model.machine.microop import Column as C
from gpu_model.machine.microop import Op
from gpu_model.program import ZERO_REGISTER, ZERO_UNIFORM, Operand

_RANKS = {f"{rank}D": rank for rank in range(1, 6)}
_ARRIVALS = {
    "A1T0": mbarrier.ARRIVE_ONE,
    "ART0": mbarrier.ARRIVE_REGISTER,
    "A0T1": mbarrier.EXPECT_ONE,
    "A0TR": mbarrier.EXPECT_REGISTER,
    "A0TX": mbarrier.COMPLETE_REGISTER,
}
_REDUCTIONS = {
    name: getattr(reduce, name) for name in ("ADD", "MIN", "MAX", "INC", "DEC", "AND", "OR", "XOR")
}  # fmt: skip


def _shared_address(e: Emit) -> int:
    """Point A and C at a shared address's registers; returns its offset."""
    operand = e.take()
    if operand["kind"] != Operand.MEMORY or operand["select"]:
        raise e.fail("expected a plain shared address")
    if 0 <= int(operand["index"]) < ZERO_REGISTER:
        e.out[C.A] = e.register(int(operand["index"]))
    if 0 <= int(operand["uniform"]) < ZERO_UNIFORM:
        e.out[C.C] = e.uniform_register(int(operand["uniform"]))
    return int(operand["value"])


def _uniform_rows(e: Emit, column: C) -> None:
    """Point a column at the uniform registers of an operand like [UR8]."""
    operand = e.take()
    if operand["kind"] != Operand.MEMORY or operand["index"] >= 0 or operand["value"]:
        raise e.fail("expected uniform registers")
    if not 0 <= int(operand["uniform"]) < ZERO_UNIFORM:
        raise e.fail("expected uniform registers")
    e.out[column] = e.uniform_register(int(operand["uniform"]))


def arrival_kind(modifiers: Collection[str]) -> int:
    """What a SYNCS.ARRIVE counts, as flags of `gpu_model.machine.mbarrier`."""
    named = [flags for name, flags in _ARRIVALS.items() if name in modifiers]
    flags = named[0] if named else mbarrier.ARRIVE_ONE | mbarrier.EXPECT_REGISTER
    return flags | mbarrier.DROP * ("OPTOUT" in modifiers)


def syncs(e: Emit) -> None:
    """SYNCS: set, arrive at or test an mbarrier."""
    if "CCTL" in e.modifiers:
        return nothing(e)
    if "EXCH" in e.modifiers:
        e.known("EXCH", "64")
        e.destination(2)
        offset = _shared_address(e)
        e.source(C.B, e.take(), 2)
        return e.op(Op.BARRIER_SET, m0=offset)
    if "PHASECHK" in e.modifiers:
        e.known("PHASECHK", "TRANS64", "TRYWAIT")
        e.predicate_destination(C.PD0)
        offset = _shared_address(e)
        e.source(C.B, e.take())
        return e.op(Op.BARRIER_TEST, m0=offset, m1="TRYWAIT" in e.modifiers)
    e.known("ARRIVE", "TRANS64", "RED", "OPTOUT", *_ARRIVALS)
    how = arrival_kind(e.modifiers)
    e.destination(2)
    offset = _shared_address(e)
    e.source(C.B, e.take())
    return e.op(Op.BARRIER_ARRIVE, m0=offset, m1=how)


def copies_arrive(e: Emit) -> None:
    """ARRIVES.LDGSTSBAR: this thread's earlier LDGSTS, all complete here, arrive at an mbarrier."""
    e.known("LDGSTSBAR", "64", "ARVCNT", "TRANSCNT")
    how = mbarrier.ARRIVE_ONE if "ARVCNT" in e.modifiers else mbarrier.COMPLETE_ONE
    e.op(Op.BARRIER_ARRIVE, m0=_shared_address(e), m1=how)


def tensor_copy(op: Op):
    """A lowering for UTMALDG, UTMASTG and UTMAREDG."""

    def lower(e: Emit) -> None:
        extra = {Op.TENSOR_LOAD: ("GATHER4", "MULTICAST"), Op.TENSOR_STORE: ("SCATTER4",)}.get(op, _REDUCTIONS)
        e.known(*_RANKS, *extra)
        _uniform_rows(e, C.A)
        _uniform_rows(e, C.B)
        shared_out = "MULTICAST" in e.modifiers
        if shared_out:
            e.source(C.C, e.take())
        _cache_policy(e)
        kind = e.choose(_REDUCTIONS) if op == Op.TENSOR_REDUCE else 0
        rows = bool(e.modifiers & {"GATHER4", "SCATTER4"})
        e.op(op, m0=e.choose(_RANKS), m1=kind, m2=rows, m3=shared_out)

    return lower


_DIRECTIONS = {"SG": bulk.TO_SHARED, "GS": bulk.TO_GLOBAL, "SS": bulk.BETWEEN_SHARED}
_ELEMENTS = {"S32": tensormap.S32, "U64": tensormap.U64, "S64": tensormap.S64, "F16": tensormap.F16,
             "BF16": tensormap.BF16, "F32": tensormap.F32, "F64": tensormap.F64}  # fmt: skip


def block_copy(e: Emit) -> None:
    """UBLKCP, UBLKRED: contiguous bytes to shared (.S.G, .S.S) or global memory (.G.S), copied or combined."""
    direction, reducing = _DIRECTIONS.get("".join(e.ordered[:2])), e.row["opcode"] == "UBLKRED"
    if direction is None or (reducing and direction == bulk.TO_SHARED):
        raise e.fail("this direction")
    how = bulk.COPY
    if reducing:
        e.known("S", "G", *_REDUCTIONS, *_ELEMENTS, "RN")
        kind, element = e.choose(_REDUCTIONS), e.choose(_ELEMENTS, tensormap.U32)
        if not reduce.allowed(element, kind):
            raise e.fail("this reduction of this element type")
        how = kind | element << 4
    else:
        e.known("S", "G", "MULTICAST")
    _uniform_rows(e, C.A)
    _uniform_rows(e, C.B)
    e.source(C.C, e.take())
    _cache_policy(e)
    e.op(Op.BLOCK_COPY, m0=direction, m1=how, m2="MULTICAST" in e.modifiers)


def _cache_policy(e: Emit) -> None:
    if e.operands and e.operands[0]["kind"] == Operand.MEMORY:
        e.take()


_STORE_TYPES = {"S32": atomics.SIGNED}


def store_and_complete(e: Emit) -> None:
    """STAS, REDAS: store to, or combine into, a cluster's shared memory and complete on a barrier there."""
    e.known("64", "128", *_REDUCTIONS, *_STORE_TYPES)
    combining = e.row["opcode"] == "REDAS"
    kind = e.choose({name: getattr(atomics, name) for name in _REDUCTIONS}) if combining else atomics.EXCH
    size = e.choose({"64": 8, "128": 16}, 4)
    operand = e.take()
    if operand["kind"] != Operand.MEMORY or operand["uniform"] >= 0 or operand["value"] or not operand["wide"]:
        raise e.fail("expected a pair of shared addresses")
    e.out[C.A] = e.register(int(operand["index"]), 2)
    e.source(C.B, e.take(), size // 4)
    e.op(Op.BARRIER_STORE, m0=size, m1=kind, m2=e.choose(_STORE_TYPES, atomics.UNSIGNED))


def stsm(e: Emit) -> None:
    """STSM.16: store one, two or four 8 x 8 matrices of 16-bit elements."""
    e.known("16", "M88", "MT88", "1", "2", "4")
    matrices = e.choose({"1": 1, "2": 2, "4": 4}, 1)
    offset = _shared_address(e)
    e.source(C.B, e.take(), matrices)
    e.op(Op.STSM, m0=offset, m1=matrices, m2="MT88" in e.modifiers)


def registers(e: Emit) -> None:
    """USETMAXREG: change the number of registers that each thread of the warp may use."""
    e.known("TRY_ALLOC", "DEALLOC", "CTAPOOL")
    taking = "TRY_ALLOC" in e.modifiers
    if taking == ("DEALLOC" in e.modifiers):
        raise e.fail("needs one of the modifiers TRY_ALLOC, DEALLOC")
    if taking:
        e.predicate_destination(C.PD0)
    e.op(Op.REGISTERS, m0=e.immediate(), m1=taking)


LOWERINGS = {
    "SYNCS": syncs, "ARRIVES": copies_arrive, "STSM": stsm,
    "UTMALDG": tensor_copy(Op.TENSOR_LOAD), "UTMASTG": tensor_copy(Op.TENSOR_STORE),
    "UTMAREDG": tensor_copy(Op.TENSOR_REDUCE), "UBLKCP": block_copy, "UBLKRED": block_copy,
    "USETMAXREG": registers, "STAS": store_and_complete, "REDAS": store_and_complete,
    # Copies complete when issued, so that nothing is left to wait for, flush or fetch ahead.
    "UTMACMDFLUSH": nothing, "UTMACCTL": nothing, "UTMAPF": nothing, "UBLKPF": nothing, "FENCE": nothing,
    "WARPGROUP": nothing, "ACQBULK": nothing, "PREEXIT": nothing,
}  # fmt: skip
