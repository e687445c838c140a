"""A decoded kernel: one structured array, a row per SASS instruction, control bits as columns.

The decoder (`gpu_model.decode`) fills it; the machine and the core model each lower it to
their own numeric tables. Nothing here depends on an architecture.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

INSTRUCTION_BYTES = 16  # Volta and later
MAX_OPERANDS = 8
ZERO_REGISTER = 255  # RZ
ZERO_UNIFORM = 255  # URZ, whatever its number in the encoding
TRUE_PREDICATE = 7  # PT and UPT
NO_COUNTER = 7  # a write_counter or read_counter of 7 names no dependence counter


class Operand(IntEnum):
    """What an operand slot holds, and so what its columns mean."""

    NONE = 0
    REGISTER = 1  # index: R0..R254, 255 = RZ
    UNIFORM = 2  # index: UR0..UR254, 255 = URZ
    PREDICATE = 3  # index: P0..P6, 7 = PT; negate: !P
    UNIFORM_PREDICATE = 4  # index: UP0..UP6, 7 = UPT
    IMMEDIATE = 5  # value: the 32-bit pattern as encoded
    CONSTANT = 6  # c[bank][value], plus register `index` or uniform `uniform` unless -1
    MEMORY = 7  # [R(index) + UR(uniform) + value]; -1 where absent; wide: 64-bit base register
    SPECIAL = 8  # value: index into SPECIAL_REGISTERS
    TARGET = 9  # value: byte address of a branch target
    BARRIER = 10  # index: B0..B15
    COUNTER = 11  # index: SB0..SB5; 8 + i is matrix group counter gsb(i)
    PREDICATE_SET = 12  # PR, all eight predicates of a lane (P2R, R2P); uniform >= 0: UPR
    RETURN_ADDRESS = 13  # index: 0 for Rpc.LO, 1 for Rpc.HI


SPECIAL_REGISTERS = (
    "SRZ", "SR_LANEID", "SR_TID.X", "SR_TID.Y", "SR_TID.Z", "SR_CTAID.X", "SR_CTAID.Y", "SR_CTAID.Z",
    "SR_NTID", "SR_CLOCKLO", "SR_CLOCKHI", "SR_LTMASK", "SR_LEMASK", "SR_GTMASK", "SR_GEMASK", "SR_EQMASK",
    "SR_VIRTUALSMID", "SR_SMEMSZ", "SR_SWINLO", "SR_SWINHI", "SR_CgaCtaId", "SR_WARPID", "SR_VIRTID",
    "SR_GLOBALTIMERLO", "SR_GLOBALTIMERHI", "SR_CgaSize",
)  # fmt: skip

OPERAND = np.dtype(
    [
        ("kind", "u1"),
        ("negate", "?"),  # -x, or ~x and !p for logical operands
        ("absolute", "?"),  # |x|
        ("reuse", "?"),  # keep this operand in the register-file cache
        ("wide", "?"),  # .64: a register pair
        ("bank", "u1"),  # constant bank
        ("index", "i2"),
        ("uniform", "i2"),  # uniform register added to a MEMORY or CONSTANT address, or -1
        ("value", "i8"),
        # part or scaling of a register: "H0_H0", "B1", "X4"; of a matrix descriptor: any of "tA tB nA nB"
        ("select", "U8"),
    ]
)

INSTRUCTION = np.dtype(
    [
        ("pc", "u4"),  # byte offset in the kernel
        ("opcode", "U16"),  # base name, e.g. "LDG"
        ("modifiers", "U56"),  # the rest, e.g. "E.128.CONSTANT"
        ("guard", "u1"),  # predicate index, 7 = always
        ("guard_negate", "?"),
        ("guard_uniform", "?"),  # @UP rather than @P
        ("operands", OPERAND, (MAX_OPERANDS,)),  # in the order of the disassembly, destinations first
        ("stall", "u1"),  # 0..15 cycles until this warp may issue again
        ("yield_", "?"),  # this warp may not issue in the next cycle
        ("write_counter", "u1"),  # dependence counter released at write-back, 7 = none
        ("read_counter", "u1"),  # dependence counter released when the sources are read, 7 = none
        ("wait_mask", "u1"),  # bit i: wait until counter i is zero
        ("line", "u4"),  # source line, 0 = unknown
        ("file", "u2"),  # index into Program.files
    ]
)


@dataclass(frozen=True)
class Relocation:
    """A 64-bit word of a constant bank that holds an address known at launch.

    Attributes:
        bank: constant bank.
        offset: byte offset of the word.
        symbol: what it points to.
        target: byte offset in the kernel's global data, or None for a function the host provides.
    """

    bank: int
    offset: int
    symbol: str
    target: int | None


@dataclass(frozen=True)
class Program:
    """One kernel's code.

    Attributes:
        name: kernel name.
        arch: compute capability times ten, e.g. 86.
        rows: `INSTRUCTION` array in address order.
        text: the disassembly of each row, for messages and reports.
        files: source paths that `rows["file"]` indexes; entry 0 is "" (unknown).
        registers: registers a thread uses.
        shared_bytes: static shared memory a block uses, in bytes (the launch adds its dynamic part).
        local_bytes: stack a thread uses, in bytes.
        parameter_base: byte offset of the first kernel parameter in constant bank 0.
        parameter_bytes: bytes of kernel parameters.
        constants: initial constant banks, bank number to bytes.
        barriers: named barriers used.
        global_data: initial contents of the kernel's own global memory (tables, strings).
        relocations: constant-bank words that point into it, or at host functions such as vprintf.
        cluster: blocks of a cluster in x, y, z.
    """

    name: str
    arch: int
    rows: np.ndarray
    text: tuple[str, ...]
    files: tuple[str, ...]
    registers: int
    shared_bytes: int
    local_bytes: int
    parameter_base: int
    parameter_bytes: int
    constants: dict[int, bytes]
    barriers: int
    global_data: bytes = b""
    relocations: tuple[Relocation, ...] = ()
    cluster: tuple[int, int, int] = (1, 1, 1)

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, row: int) -> str:
        """Say where an instruction is: kernel, PC and Triton source line."""
        instruction = self.rows[row]
        place = f"kernel {self.name}, PC {int(instruction['pc']):#06x}"
        if instruction["line"]:
            place += f", {self.files[instruction['file']]}:{int(instruction['line'])}"
        return place
