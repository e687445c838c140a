"""Lowering of control flow, barriers, special registers, and instructions without effect on values."""

from gpu_model.machine import barriers
from gpu_model.machine.emit import ALL, Emit
from gpu_model.machine.microop import Column as C
from gpu_model.machine.microop import Op
from gpu_model.program import INSTRUCTION_BYTES, SPECIAL_REGISTERS, Operand


def nothing(e: Emit) -> None:
    """Instructions without effect on values: waits, fences, hints."""
    e.operands.clear()
    e.op(Op.NOP)


def bra(e: Emit) -> None:
    """BRA: branch where the guard and the optional predicate hold; .ANY takes all lanes if one branches.

    .DIV branches if the lanes of a mask are not all active together, .CONV if they are.
    """
    e.known("U", "CALL", "ANY", "DIV", "CONV")
    if e.modifiers & {"DIV", "CONV"}:
        if len(e.operands) > 1:
            e.integer(C.A, e.take())
        else:  # the whole warp
            e.out[C.A] = ~e.area.row(("immediate", ALL))
        return e.op(Op.BRA_DIV if "DIV" in e.modifiers else Op.BRA_CONV, target=e.target())
    if e.next_is_predicate():
        e.predicate_source(C.PS0)
    return e.op(Op.BRA, target=e.target(), m0="ANY" in e.modifiers)


def call(e: Emit) -> None:
    """CALL: a jump; the return address was put in registers before."""
    e.known("REL", "ABS", "NOINC")
    if "ABS" in e.modifiers:  # to a function the host provides, whose address a relocation put in a constant bank
        e.source(C.A, e.take(), 2)
        return e.op(Op.HOST_CALL)
    return e.op(Op.BRA, target=e.target())


def lepc(e: Emit) -> None:
    """LEPC: the program counter or a label's address, relative to the kernel as all code addresses here are."""
    e.destination(2)
    address = INSTRUCTION_BYTES * e.target() if e.operands else int(e.row["pc"])
    e.out[C.A] = ~e.area.row(("immediate", address), ("immediate", 0))
    e.op(Op.MOV, m0=2)


def ret(e: Emit) -> None:
    """RET.REL.NODEC: jump to the address in a register pair, relative to the named function."""
    e.known("REL", "NODEC")
    e.source(C.A, e.take(), 2)
    e.op(Op.RET, m0=len(e.program), target=e.target())


def indexed(e: Emit) -> None:
    """BRX, BRXU: branch to an address in a register pair plus an offset from the next instruction."""
    e.known()
    e.source(C.A, e.take(), 2)
    offset = e.immediate()
    base = int(e.row["pc"]) + INSTRUCTION_BYTES + offset - (offset >> 31 << 32)
    if base % INSTRUCTION_BYTES:
        raise e.fail("an offset that is no multiple of an instruction")
    e.op(Op.RET, m0=len(e.program), target=base // INSTRUCTION_BYTES)


def exit_(e: Emit) -> None:
    """EXIT: the active lanes end."""
    e.known()
    e.op(Op.EXIT)


_BARRIERS = {"SYNC": barriers.SYNC, "ARV": barriers.ARRIVE}
_REDUCTIONS = {"POPC": barriers.REDUCE_COUNT, "AND": barriers.REDUCE_AND, "OR": barriers.REDUCE_OR}


def bar(e: Emit) -> None:
    """BAR.SYNC, .ARV, .RED: meet the warps of the block, or a number of its threads, at a barrier.

    Where one register gives both, the number of threads is in its upper half.
    """
    e.known("DEFER_BLOCKING", "RED", *_BARRIERS, *_REDUCTIONS)
    kind = e.choose(_REDUCTIONS if "RED" in e.modifiers else _BARRIERS)
    given = [e.take() for _ in range(min(2, sum(o["kind"] in _BARRIER_OPERANDS for o in e.operands)))]
    if not given:
        raise e.fail("expected a barrier")
    registers = [operand for operand in given if operand["kind"] == Operand.REGISTER]
    numbers = [barriers.FROM_REGISTER if o["kind"] == Operand.REGISTER else int(o["value"]) for o in given]
    if registers:
        e.source(C.A, registers[0])
    if len(registers) == 2:
        if registers[0]["index"] != registers[1]["index"]:
            raise e.fail("a barrier and a number of threads in different registers")
        numbers[1] = barriers.FROM_REGISTER_HIGH
    if numbers[0] > 15:
        raise e.fail(f"barrier {numbers[0]}, expected 0 to 15")
    if e.operands:
        e.predicate_source(C.PS0)
    e.op(Op.BAR, m0=numbers[0], m1=numbers[1] if len(numbers) > 1 else 0, m2=kind)


_BARRIER_OPERANDS = (Operand.REGISTER, Operand.IMMEDIATE)


def barrier_result(e: Emit) -> None:
    """B2R.RESULT: what the warp's last BAR.RED found, as a count and as a predicate."""
    e.known("RESULT")
    e.destination()
    if e.operands:
        e.predicate_destination(C.PD0)
    e.op(Op.BARRIER_RESULT)


def cluster_barrier(op: Op):
    """A lowering for UCGABAR_ARV and UCGABAR_WAIT."""

    def lower(e: Emit) -> None:
        e.known()
        e.op(op)

    return lower


def convergence(op: Op):
    """A lowering for BSSY, BSYNC and BREAK."""

    def lower(e: Emit) -> None:
        e.known("RECONVERGENT", "RELIABLE")
        if e.next_is_predicate():
            if op != Op.BREAK:
                raise e.fail("a convergence barrier with a predicate")
            e.predicate_source(C.PS0)
        e.op(op, m0=_barrier(e))
        e.operands.clear()  # BSSY names where its BSYNC is

    return lower


def _barrier(e: Emit) -> int:
    operand = e.take()
    if operand["kind"] != Operand.BARRIER or operand["index"] > 15:
        raise e.fail("expected a convergence barrier B0 to B15")
    return int(operand["index"])


def bmov(e: Emit) -> None:
    """BMOV: a convergence barrier to a register (.CLEAR empties it), or back."""
    e.known("32", "64", "CLEAR", "PQUAD")
    if e.operands[0]["kind"] == Operand.BARRIER:
        barrier = _barrier(e)
        e.integer(C.A, e.take())
        return e.op(Op.BMOV_WRITE, m0=barrier)
    e.destination()
    return e.op(Op.BMOV_READ, m0=_barrier(e), m1="CLEAR" in e.modifiers)


def warpsync(e: Emit) -> None:
    """WARPSYNC: wait until the lanes of a mask are here; .COLLECTIVE runs the code up to ENDCOLLECTIVE for them all."""
    e.known("ALL", "EXCLUSIVE", "COLLECTIVE")
    if "ALL" in e.modifiers:
        e.out[C.A] = ~e.area.row(("immediate", ALL))
        e.operands.clear()
        return e.op(Op.WARPSYNC)
    e.integer(C.A, e.take())
    return e.op(Op.WARPSYNC, target=e.target() + 1 if "COLLECTIVE" in e.modifiers else 0)


def collective_end(e: Emit) -> None:
    """ENDCOLLECTIVE: the lanes of a collective region part again."""
    e.known()
    e.op(Op.COLLECTIVE_END)


def special(e: Emit) -> None:
    """S2R, S2UR, CS2R, CS2UR: read a special register."""
    e.known("32")
    words = 2 if e.row["opcode"] in ("CS2R", "CS2UR") and "32" not in e.modifiers else 1
    e.uniform = e.row["opcode"] in ("S2UR", "CS2UR")
    e.out[C.UNIFORM] = e.uniform
    e.destination(words)
    operand = e.take()
    if operand["kind"] != Operand.SPECIAL:
        raise e.fail("expected a special register")
    name = SPECIAL_REGISTERS[int(operand["value"])]
    if name == "SRZ":
        return e.op(Op.MOV, m0=words)
    if name not in _READABLE:
        raise e.fail(f"special register {name}")
    return e.op(Op.SPECIAL, m0=int(operand["value"]), m1=words)


_CLUSTER_REGISTERS = ("SR_SWINLO", "SR_SWINHI", "SR_CgaCtaId", "SR_CgaSize")
_READABLE = frozenset(
    (*SPECIAL_REGISTERS[1:8], *SPECIAL_REGISTERS[9:17], *SPECIAL_REGISTERS[22:25], *_CLUSTER_REGISTERS)
)


def trap(e: Emit) -> None:
    """BPT.TRAP: the kernel stops itself."""
    e.operands.clear()
    e.op(Op.TRAP)


LOWERINGS = {
    "NOP": nothing, "DEPBAR": nothing, "LDGDEPBAR": nothing, "ERRBAR": nothing, "MEMBAR": nothing,
    "CCTL": nothing, "YIELD": nothing, "NANOSLEEP": nothing, "PMTRIG": nothing, "CGAERRBAR": nothing,

    "B2R": barrier_result,
    "UCGABAR_ARV": cluster_barrier(Op.CLUSTER_ARRIVE), "UCGABAR_WAIT": cluster_barrier(Op.CLUSTER_WAIT),
    "BRA": bra, "CALL": call, "RET": ret, "EXIT": exit_, "BAR": bar,
    "BSSY": convergence(Op.BSSY), "BSYNC": convergence(Op.BSYNC), "BREAK": convergence(Op.BREAK),
    "BMOV": bmov, "WARPSYNC": warpsync, "ENDCOLLECTIVE": collective_end, "BRX": indexed, "BRXU": indexed,
    "S2R": special, "S2UR": special, "CS2R": special, "CS2UR": special,
    "BPT": trap, "LEPC": lepc,
}  # fmt: skip
