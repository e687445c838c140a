"""Lowering a whole Program to micro-ops, and the table of supported opcodes."""

import functools
import struct
from dataclasses import dataclass

import numpy as np

from gpu_model.errors import LaunchError, UnsupportedInstruction
from gpu_model.machine import (
    lower_bulk,
    lower_control,
    lower_exchange,
    lower_float,
    lower_hopper,
    lower_integer,
    lower_matrix,
    lower_memory,
)
from gpu_model.machine.emit import ConstantArea, Emit
from gpu_model.machine.lanes import ROW_BYTES
from gpu_model.machine.microop import COUNT, RETURN_ROWS, SINK_ROWS, register_row
from gpu_model.program import ZERO_UNIFORM, Operand, Program

_SPARE_REGISTERS = 8  # a wide operand may end past the last register a kernel declares

LOWERINGS = (
    lower_integer.LOWERINGS | lower_exchange.LOWERINGS | lower_float.LOWERINGS | lower_memory.LOWERINGS
    | lower_control.LOWERINGS | lower_hopper.LOWERINGS | lower_bulk.LOWERINGS | lower_matrix.LOWERINGS
)  # fmt: skip


@dataclass(frozen=True)
class Code:
    """A Program ready to run, whatever its launch parameters.

    Attributes:
        microops: int64[instructions, columns].
        constants: word of each row of the constant area: ("immediate", value) or ("constant", bank, offset, format).
        frame_bytes: bytes of one warp's frame.
    """

    microops: np.ndarray
    constants: tuple[tuple, ...]
    frame_bytes: int


def _uniform_registers(program: Program) -> int:
    """Uniform registers a kernel uses; newer architectures have more than 63."""
    operands = program.rows["operands"]
    direct = operands["index"][operands["kind"] == Operand.UNIFORM]
    added = operands["uniform"][np.isin(operands["kind"], (Operand.MEMORY, Operand.CONSTANT))]
    used = np.concatenate([direct, added])
    return int(used[used < ZERO_UNIFORM].max(initial=-1)) + 1 + _SPARE_REGISTERS


def _lower_one(program: Program, index: int, area: ConstantArea, registers: int, uniforms: int) -> np.ndarray:
    emit = Emit(program, index, area, registers, uniforms)
    lowering = LOWERINGS.get(str(emit.row["opcode"]))
    if lowering is None:
        raise emit.fail("this opcode is not modelled")
    lowering(emit)
    emit.done()
    return emit.out


@functools.lru_cache(maxsize=256)
def _lower_cached(holder: "_Identity") -> Code:
    program = holder.program
    area, registers = ConstantArea(), program.registers + _SPARE_REGISTERS
    uniforms = _uniform_registers(program)
    table = np.zeros((len(program), COUNT), np.int64)
    for index in range(len(program)):
        table[index] = _lower_one(program, index, area, registers, uniforms)
    frame_bytes = register_row(registers + uniforms + SINK_ROWS + RETURN_ROWS)
    return Code(table, tuple(area.entries), frame_bytes)


class _Identity:
    """Hash a Program by identity: its arrays are not hashable, and decoding already caches by content."""

    def __init__(self, program: Program):
        self.program = program

    def __hash__(self) -> int:
        return id(self.program)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and other.program is self.program


def lower(program: Program) -> Code:
    """Translate a Program to micro-ops.

    Raises:
        UnsupportedInstruction: an opcode or modifier the machine does not model, named with its kernel, PC,
            source line and architecture, before anything runs.
    """
    return _lower_cached(_Identity(program))


def constant_area(code: Code, banks: dict[int, bytes], kernel: str) -> np.ndarray:
    """Fill the constant area for a launch: uint32[rows, 32].

    Raises:
        LaunchError: a constant-bank word outside the launch's banks.
    """
    area = np.zeros((max(1, len(code.constants)), ROW_BYTES // 4), np.uint32)
    for row, (kind, *where) in enumerate(code.constants):
        area[row] = where[0] if kind == "immediate" else _constant_word(banks, tuple(where), kernel)
    return area


def _constant_word(banks: dict[int, bytes], where: tuple[int, int, str], kernel: str) -> int:
    bank, offset, form = where
    data = banks.get(bank, b"")
    if not 0 <= offset <= len(data) - struct.calcsize(form):
        raise LaunchError(f"kernel {kernel} reads c[{bank:#x}][{offset:#x}], but that bank has {len(data)} bytes")
    return struct.unpack_from(form, data, offset)[0] & 0xFFFFFFFF


def unsupported(program: Program) -> list[UnsupportedInstruction]:
    """Every instruction of a Program that the machine does not model."""
    found, uniforms = [], _uniform_registers(program)
    for index in range(len(program)):
        try:
            _lower_one(program, index, ConstantArea(), program.registers + _SPARE_REGISTERS, uniforms)
        except UnsupportedInstruction as error:
            found.append(error)
    return found
