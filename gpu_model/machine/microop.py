"""Micro-ops: the numeric form of a Program that the Numba interpreter runs.

A micro-op is a row of int64 columns. Operands are byte offsets of register rows (32 lanes x 32 bits):
non-negative in the warp's frame, `~offset` in the launch's constant area, so that a register, a uniform
register, an immediate and a constant-bank word are all read the same way.

Frame of a warp: one row of predicate words (P0..PT, UP0..UPT, a sink), the registers, the uniform
registers (replicated over the lanes), and rows that swallow writes to RZ.
"""

from enum import IntEnum

from numba import njit

from gpu_model.machine.lanes import ROW_BYTES, load_i64


class Column(IntEnum):
    """Columns of a micro-op."""

    OP = 0
    GUARD = 1  # byte offset of the guard's predicate word
    GUARD_XOR = 2  # all ones to negate it
    UNIFORM = 3  # 1: uniform datapath, runs for the whole warp
    D = 4  # destination row
    A = 5
    B = 6
    C = 7
    A_AND = 8  # sources are read as (value & AND) ^ XOR: |x| and -x for floats, ~x for integers
    A_XOR = 9
    B_AND = 10
    B_XOR = 11
    C_AND = 12
    C_XOR = 13
    PD0 = 14  # byte offsets of predicate words: destinations
    PD1 = 15
    PS0 = 16  # and sources
    PS0_XOR = 17
    PS1 = 18
    PS1_XOR = 19
    PS2 = 20
    PS2_XOR = 21
    M0 = 22  # operation-specific
    M1 = 23
    M2 = 24
    M3 = 25
    TARGET = 26  # micro-op index of a branch target; the swap value of a CAS
    COUNT = 27


# Column numbers as plain integers, which Numba folds.
(
    OP, GUARD, GUARD_XOR, UNIFORM, D, A, B, C, A_AND, A_XOR, B_AND, B_XOR, C_AND, C_XOR,
    PD0, PD1, PS0, PS0_XOR, PS1, PS1_XOR, PS2, PS2_XOR, M0, M1, M2, M3, TARGET, COUNT,
) = (int(column) for column in Column)  # fmt: skip

MICROOP_BYTES = 8 * COUNT
PREDICATE_WORDS = 17  # P0..P6, PT, UP0..UP6, UPT, sink
PREDICATE_SINK = 16
SINK_ROWS = 8  # a 256-bit write to RZ
RETURN_ROWS = 2  # the return address, which ptxas also keeps other words in

FAMILY_SHIFT = 6


class Family(IntEnum):
    """Groups of micro-ops that one interpreter function handles; `Op >> 6`."""

    INTEGER = 0
    FLOAT = 1
    HALF = 2
    PREDICATE = 3
    CONVERT = 4
    DOUBLE = 5
    EXCHANGE = 6
    MEMORY = 7
    TENSOR = 8
    CONTROL = 9
    WIDE = 10
    BULK = 11
    WGMMA = 12
    NARROW = 13
    WATCH = 14  # waits and fences that only checks look at


# fmt: off
def _numbers(family: Family, count: int) -> range:
    """The first `count` operation numbers of a family."""
    return range(family << FAMILY_SHIFT, (family << FAMILY_SHIFT) + count)


class Op(IntEnum):
    """Operations of micro-ops, numbered within their family."""

    (
        MOV, IADD3, IADD3_CARRY, IMAD, IMAD_CARRY, IMAD_WIDE, IMAD_HI, LEA, LEA_HI, LOP3, SHF, SEL, IMNMX,
        PRMT, SGXT, BMSK, IABS, POPC, BREV, FLO, IDP, IDP2, VABSDIFF, I2I, I2IP, P2R, R2P,
        R2UR, VABSDIFF4,
    ) = _numbers(Family.INTEGER, 29)
    (
        FADD, FMUL, FFMA, FADD_MODE, FMUL_MODE, FFMA_MODE, FMNMX, MUFU, FSET, FRND, FCHK,
    ) = _numbers(Family.FLOAT, 11)
    (
        HADD2, HMUL2, HFMA2, HSETP2, HSET2, HMNMX2,
    ) = _numbers(Family.HALF, 6)
    (
        ISETP, FSETP, PLOP3, DSETP, VOTE,
    ) = _numbers(Family.PREDICATE, 5)
    (
        F2FP, I2F, F2I, F2F, F2TF32,
    ) = _numbers(Family.CONVERT, 5)
    (
        DADD, DMUL, DFMA, MUFU64H,
    ) = _numbers(Family.DOUBLE, 4)
    (
        SHFL, MATCH, REDUX, MOVM,
    ) = _numbers(Family.EXCHANGE, 4)
    (
        LOAD, STORE, LDSM, LDGSTS, ATOM, LDC,
    ) = _numbers(Family.MEMORY, 6)
    (
        HMMA, IMMA, IMMA_PACKED, DMMA,
    ) = _numbers(Family.TENSOR, 4)
    (
        IADD64, IADD64_CARRY, ISETP64, MINMAX, MINMAX_LANES, ADD_LANES, ELECT, MIXED, SEL64,
    ) = _numbers(Family.WIDE, 9)
    (
        BARRIER_SET, BARRIER_ARRIVE, BARRIER_TEST, BARRIER_STORE, TENSOR_LOAD, TENSOR_STORE, TENSOR_REDUCE,
        BLOCK_COPY, STSM, REGISTERS,
    ) = _numbers(Family.BULK, 10)
    (
        WGMMA, WGMMA_INTEGER,
    ) = _numbers(Family.WGMMA, 2)
    (
        QMMA, OMMA, PACK, UNPACK,
    ) = _numbers(Family.NARROW, 4)
    (
        NOP, BRA, BRA_DIV, EXIT, BAR, BSSY, BSYNC, BREAK, BMOV_READ, BMOV_WRITE, WARPSYNC, RET, TRAP, SPECIAL,
        HOST_CALL, BRA_CONV, COLLECTIVE_END, BARRIER_RESULT, CLUSTER_ARRIVE, CLUSTER_WAIT,
        QUERY_SPACE,
    ) = _numbers(Family.CONTROL, 21)
    (
        WATCH,
    ) = _numbers(Family.WATCH, 1)
# fmt: on


@njit
def field(u, column):
    """Read a column of the micro-op at address `u`."""
    return load_i64(u, column)


@njit
def source(u, column, frame, consts):
    """Address of a source operand's register row."""
    offset = load_i64(u, column)
    return frame + offset if offset >= 0 else consts + ~offset


def register_row(index: int) -> int:
    """Byte offset of R(index) in a frame."""
    return ROW_BYTES * (1 + index)
