"""Lowering of asynchronous copies, their barriers and fences."""

from gpu_model.machine import bulk, reduce
from gpu_model.machine.emit import Emit
from gpu_model.machine.lower_control import nothing
from gpu_model.machine.microop import Column as C
from gpu_model.machine.microop import Op
from gpu_model.program import ZERO_REGISTER, ZERO_UNIFORM, Operand

_RANKS = {f"{rank}D": rank for rank in range(1, 6)}
_ARRIVALS = {
    "A1T0": bulk.ARRIVE_ONE,
    "ART0": bulk.ARRIVE_REGISTER,
    "A0T1": bulk.EXPECT_ONE,
    "A0TR": bulk.EXPECT_REGISTER,
    "A0TX": bulk.COMPLETE_REGISTER,
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
    how = e.choose(_ARRIVALS, bulk.ARRIVE_ONE | bulk.EXPECT_REGISTER)
    e.destination(2)
    offset = _shared_address(e)
    e.source(C.B, e.take())
    return e.op(Op.BARRIER_ARRIVE, m0=offset, m1=how | bulk.DROP * ("OPTOUT" in e.modifiers))


def copies_arrive(e: Emit) -> None:
    """ARRIVES.LDGSTSBAR: this thread's earlier LDGSTS, all complete here, arrive at an mbarrier."""
    e.known("LDGSTSBAR", "64", "ARVCNT", "TRANSCNT")
    how = bulk.ARRIVE_ONE if "ARVCNT" in e.modifiers else bulk.COMPLETE_ONE
    e.op(Op.BARRIER_ARRIVE, m0=_shared_address(e), m1=how)


def tensor_copy(op: Op):
    """A lowering for UTMALDG, UTMASTG and UTMAREDG."""

    def lower(e: Emit) -> None:
        e.known(*_RANKS, "GATHER4", *(_REDUCTIONS if op == Op.TENSOR_REDUCE else ()))
        _uniform_rows(e, C.A)
        _uniform_rows(e, C.B)
        if e.operands and e.operands[0]["kind"] == Operand.MEMORY:
            e.take()  # a cache policy
        kind = e.choose(_REDUCTIONS) if op == Op.TENSOR_REDUCE else 0
        e.op(op, m0=e.choose(_RANKS), m1=kind, m2="GATHER4" in e.modifiers)

    return lower


def block_copy(e: Emit) -> None:
    """UBLKCP: contiguous bytes from global to shared memory (.S.G) or back (.G.S)."""
    if e.ordered not in (("S", "G"), ("G", "S")):
        raise e.fail("this direction")
    loading = e.ordered == ("S", "G")
    for column in (C.A, C.B) if loading else (C.B, C.A):
        _uniform_rows(e, column)
    e.source(C.C, e.take())
    e.op(Op.BLOCK_LOAD if loading else Op.BLOCK_STORE)


def stsm(e: Emit) -> None:
    """STSM.16: store one, two or four 8 x 8 matrices of 16-bit elements."""
    e.known("16", "M88", "MT88", "1", "2", "4")
    matrices = e.choose({"1": 1, "2": 2, "4": 4}, 1)
    offset = _shared_address(e)
    e.source(C.B, e.take(), matrices)
    e.op(Op.STSM, m0=offset, m1=matrices, m2="MT88" in e.modifiers)


LOWERINGS = {
    "SYNCS": syncs, "ARRIVES": copies_arrive, "STSM": stsm,
    "UTMALDG": tensor_copy(Op.TENSOR_LOAD), "UTMASTG": tensor_copy(Op.TENSOR_STORE),
    "UTMAREDG": tensor_copy(Op.TENSOR_REDUCE), "UBLKCP": block_copy,
    # Copies complete when issued, so that nothing is left to wait for, flush or fetch ahead.
    "UTMACMDFLUSH": nothing, "UTMACCTL": nothing, "UTMAPF": nothing, "UBLKPF": nothing, "FENCE": nothing,
    "WARPGROUP": nothing, "ACQBULK": nothing, "PREEXIT": nothing,
}  # fmt: skip
