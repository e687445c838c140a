"""Lowering of instructions between the lanes of a warp."""

from gpu_model.machine import exchange, predicates
from gpu_model.machine.emit import Emit
from gpu_model.machine.microop import Column as C
from gpu_model.machine.microop import Op

_VOTES = {"ALL": predicates.VOTE_ALL, "ANY": predicates.VOTE_ANY, "EQ": predicates.VOTE_EQ}


def vote(e: Emit) -> None:
    """VOTE, VOTEU: ballot of a predicate."""
    e.known(*_VOTES, "U")
    uniform = e.row["opcode"] == "VOTEU"
    e.uniform = False
    e.out[C.UNIFORM] = 0
    if not e.next_is_predicate():
        e.destination()
    e.predicate_destination(C.PD0)
    e.predicate_source(C.PS0)
    e.op(Op.VOTE, m0=e.choose(_VOTES), m1=uniform)


_SHUFFLES = {"IDX": exchange.SHUFFLE_IDX, "UP": exchange.SHUFFLE_UP, "DOWN": exchange.SHUFFLE_DOWN,
             "BFLY": exchange.SHUFFLE_BFLY}  # fmt: skip


def shfl(e: Emit) -> None:
    """SHFL: read another lane's register."""
    e.known(*_SHUFFLES)
    e.predicate_destination(C.PD0)
    e.destination()
    for column in (C.A, C.B, C.C):
        e.source(column, e.take())
    e.op(Op.SHFL, m0=e.choose(_SHUFFLES))


def movm(e: Emit) -> None:
    """MOVM.16.MT88: transpose an 8 x 8 matrix of 16-bit elements, two a lane."""
    e.known("16", "MT88")
    if e.modifiers != {"16", "MT88"}:
        raise e.fail("this layout")
    e.destination()
    e.source(C.A, e.take())
    e.op(Op.MOVM)


def match(e: Emit) -> None:
    """MATCH: lanes that hold the same value."""
    e.known("ANY", "ALL", "U64")
    need_all = "ALL" in e.modifiers
    if e.next_is_predicate():
        e.predicate_destination(C.PD0)
    e.destination()
    words = 2 if "U64" in e.modifiers else 1
    e.source(C.A, e.take(), words)
    e.op(Op.MATCH, m0=words, m1=need_all)


_REDUCTIONS = {"SUM": exchange.REDUX_SUM, "MIN": exchange.REDUX_MIN, "MAX": exchange.REDUX_MAX,
               "AND": exchange.REDUX_AND, "OR": exchange.REDUX_OR, "XOR": exchange.REDUX_XOR}  # fmt: skip


def redux(e: Emit) -> None:
    """REDUX: integer reduction over the warp, to a uniform register."""
    e.known(*_REDUCTIONS, "S32", "U32")
    e.destination()
    e.source(C.A, e.take())
    kind = e.choose(_REDUCTIONS, exchange.REDUX_AND)
    e.op(Op.REDUX, m0=kind, m1="S32" in e.modifiers)


LOWERINGS = {
    "VOTE": vote, "VOTEU": vote, "SHFL": shfl, "MOVM": movm, "MATCH": match, "REDUX": redux,
}  # fmt: skip
