"""Which unit an opcode uses. A new opcode is one entry; its latency is in `distances.csv` or the unit's own."""

from enum import IntEnum
from types import MappingProxyType


class Path(IntEnum):
    """How an instruction leaves the issue stage."""

    FIXED = 0  # Control, Allocate, three read cycles, a unit
    VARIABLE = 1  # Control, a unit that releases counters
    MEMORY = 2  # Control, the memory queue


class Pipe(IntEnum):
    """Issue ports of execution units; several units of the spec can share one."""

    FP32 = 0
    ALU = 1
    TENSOR = 2
    UNIFORM = 3
    BRANCH = 4
    MISC = 5
    SFU = 6
    FP64 = 7
    PRODUCT = 8  # entry to the queue of warpgroup products


class Action(IntEnum):
    """What an instruction does besides using a unit."""

    NONE = 0
    BARRIER_WAIT = 1
    BARRIER_ARRIVE = 2
    CLOSE_GROUP = 3  # of LDGSTS or of bulk stores; its counter is released when the group is done
    LDGSTS = 4
    MEMBAR = 5
    PRODUCT = 6
    MBARRIER_SET = 7
    MBARRIER_UPDATE = 8
    MBARRIER_TEST = 9
    COPY_LOAD = 10  # completes on an mbarrier
    COPY_STORE = 11  # belongs to a group


class Space(IntEnum):
    """Which memory a memory instruction reaches."""

    NONE = 0  # shuffles and special registers: the path without an access
    GLOBAL = 1
    SHARED = 2
    CONSTANT = 3
    MBARRIER = 4
    COPY = 5  # what the copy engine moves


PIPE_OF_UNIT = MappingProxyType(
    {
        "fp32": Pipe.FP32,
        "half": Pipe.FP32,
        "alu": Pipe.ALU,
        "tensor": Pipe.TENSOR,
        "uniform": Pipe.UNIFORM,
        "branch": Pipe.BRANCH,
        "misc": Pipe.MISC,
        "sfu": Pipe.SFU,
        "convert": Pipe.SFU,
        "fp64": Pipe.FP64,
    }
)

VARIABLE_UNITS = ("sfu", "convert", "fp64")

_BY_UNIT = {
    "fp32": "FADD FMUL FFMA FHADD FHFMA IMAD IMUL",
    "alu": "IADD3 LOP3 SHF SHL SHR PRMT LEA MOV SEL IMNMX ISETP FSETP FSET PLOP3 P2R R2P FMNMX FSEL FSWZADD SGXT BMSK "
    "IABS VABSDIFF VABSDIFF4 CS2R I2FP F2FP IDP HMNMX2 VOTE VOTEU "
    "R2UR LEPC MOVM I2IP F2IP IADD VIADD VIADDMNMX VIMNMX VIMNMX3 "
    "ELECT CS2UR",
    "half": "HADD2 HMUL2 HFMA2 HSETP2 HSET2",
    "tensor": "HMMA IMMA BMMA QMMA OMMA",
    "uniform": "ULDC UMOV UIADD3 UIMAD UISETP ULEA ULOP3 USHF USEL UPRMT USGXT UPLOP3 UFLO UBREV UPOPC "
    "UBMSK UP2UR UR2UP UIADD UIMNMX UVIADD UVIMNMX UVIMNMX3 "
    "UFADD UFMUL UFFMA UFMNMX UFSETP UFSET UFSEL UFRND UF2F UF2FP UF2I UI2F UI2FP",
    "branch": "BRA EXIT CALL RET BSSY BSYNC BREAK JMP BRX BRXU JMX WARPSYNC ENDCOLLECTIVE KILL YIELD RPCMOV BMOV",
    "misc": "NOP BAR DEPBAR MEMBAR ERRBAR CGAERRBAR LDGDEPBAR CCTL NANOSLEEP PMTRIG BPT PREEXIT "
    "ACQBULK UTMACMDFLUSH UTMACCTL UTMAPF UBLKPF USETMAXREG",
    "sfu": "MUFU POPC FLO BREV FCHK REDUX",
    "convert": "F2I I2F F2F FRND I2I",
    "fp64": "DADD DMUL DFMA DSETP DMNMX DMMA",
}
UNIT_OF = MappingProxyType({opcode: unit for unit, opcodes in _BY_UNIT.items() for opcode in opcodes.split()})

# opcode -> (space, stem of the memory class, whether data comes back)
MEMORY_OPCODES = MappingProxyType(
    {
        "LDG": (Space.GLOBAL, "ldg", True),
        "LD": (Space.GLOBAL, "ldg", True),
        "LDL": (Space.GLOBAL, "ldg", True),
        "ATOM": (Space.GLOBAL, "ldg", True),
        "ATOMG": (Space.GLOBAL, "ldg", True),
        "STG": (Space.GLOBAL, "stg", False),
        "ST": (Space.GLOBAL, "stg", False),
        "STL": (Space.GLOBAL, "stg", False),
        "RED": (Space.GLOBAL, "stg", False),
        "REDG": (Space.GLOBAL, "stg", False),
        "LDS": (Space.SHARED, "lds", True),
        "LDSM": (Space.SHARED, "lds", True),
        "ATOMS": (Space.SHARED, "lds", True),
        "STS": (Space.SHARED, "sts", False),
        "STSM": (Space.SHARED, "sts", False),
        "LDC": (Space.CONSTANT, "ldc", True),
        "LDCU": (Space.CONSTANT, "ldc", True),
        "LDGSTS": (Space.GLOBAL, "ldgsts", True),
        "SHFL": (Space.NONE, "shuffle", True),
        "MATCH": (Space.NONE, "shuffle", True),
        "S2R": (Space.NONE, "special", True),
        "S2UR": (Space.NONE, "special", True),
        "B2R": (Space.NONE, "special", True),
    }
)

_WITHOUT_DESTINATION = (
    "STG ST STL STS STSM RED REDG LDGSTS",
    "ISETP FSETP HSETP2 DSETP PLOP3 R2P R2UR",
    "BRA BRX JMP JMX EXIT CALL RET BSSY BSYNC BREAK KILL YIELD WARPSYNC BMOV RPCMOV",
    "NOP BAR DEPBAR MEMBAR ERRBAR CGAERRBAR LDGDEPBAR CCTL NANOSLEEP PMTRIG BPT PREEXIT ACQBULK",
    "UTMACMDFLUSH UTMACCTL UTMAPF UBLKPF USETMAXREG",
)
NO_DESTINATION = frozenset(opcode for line in _WITHOUT_DESTINATION for opcode in line.split())

# A single register source of these sits in slot B of the encoding.
UNARY_SLOT_B = frozenset(("MOV", "I2FP", "F2FP", "IABS", "POPC", "FLO", "BREV", "MUFU"))

L1_BYPASS_OPCODES = frozenset(("ATOM", "ATOMG", "RED", "REDG"))
