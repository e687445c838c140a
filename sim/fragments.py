"""Matrices from the records that the machine keeps of tensor instructions (`gpu_model.machine.capture`)."""

from dataclasses import dataclass

import numpy as np

from gpu_model.machine import capture
from gpu_model.machine.fragments import KINDS
from hw.tensor_core import COLUMNS, ROWS
from mx_formats.element import E2M1, TF32, ElementFormat
from mx_formats.scale import E8M0, UE4M3, ScaleFormat

_SCALES: dict[int, ScaleFormat | None] = {
    capture.NO_SCALES: None, capture.E8M0_SCALES: E8M0, capture.UE4M3_SCALES: UE4M3,
}  # fmt: skip
_ROW_BITS = 256  # of a row of A or a column of B


@dataclass(frozen=True)
class Kind:
    """What a tensor instruction multiplies.

    Attributes:
        a: format of the left operand's elements.
        b: of the right operand's.
        depth: products along k.
        scale: format of the operands' scales, None without.
        scales: of each row or column, evenly along k; 0 without.
    """

    a: ElementFormat
    b: ElementFormat
    depth: int
    scale: ScaleFormat | None = None
    scales: int = 0


@dataclass(frozen=True)
class TileOperands:
    """n executed 16 x 8 tiles of one kind of tensor instruction with FP32 sums, in program order within each warp.

    Attributes:
        kind: of all of them.
        group: int64[n]; an accumulator is looked for among tiles of the same group only (a warp, or a block).
        a: uint32[n, 16, depth], codes of the left operand, [row, k].
        b: uint32[n, 8, depth], codes of the right operand, [column, k].
        scale_a: uint8[n, 16, scales], codes of the left operand's scales.
        scale_b: uint8[n, 8, scales].
        c: float32[n, 16, 8], accumulator before.
        d: float32[n, 16, 8], accumulator after.
    """

    kind: Kind
    group: np.ndarray
    a: np.ndarray
    b: np.ndarray
    scale_a: np.ndarray
    scale_b: np.ndarray
    c: np.ndarray
    d: np.ndarray


def unpack_records(words: np.ndarray) -> list[TileOperands]:
    """Tiles from records uint32[n, RECORD_ROWS, 32], one `TileOperands` a kind, in the order in which kinds appear."""
    facts = words[:, capture.FACTS]
    columns = (capture.KIND_A, capture.KIND_B, capture.FIELD_BITS, capture.DEPTH, capture.SCALE_KIND,
               capture.SCALE_COUNT)  # fmt: skip
    keys = facts[:, columns]
    return [_unpack(words[(keys == key).all(1)], *key) for key in dict.fromkeys(map(tuple, keys.tolist()))]


def first_tiles(words: np.ndarray) -> int:
    """How many of the records begin an instruction; warpgroup products have more than one."""
    return int((words[:, capture.FACTS, capture.TILE] == 0).sum())


def _unpack(words: np.ndarray, a: int, b: int, bits: int, depth: int, scale: int, scales: int) -> TileOperands:
    kind, facts = Kind(KINDS[a], KINDS[b], depth, _SCALES[scale], scales), words[:, capture.FACTS]
    left = _lines(words[:, capture.A_ROWS : capture.B_ROWS], ROWS, bits)[:, :, :depth]
    right = _lines(words[:, capture.B_ROWS : capture.BEFORE], COLUMNS, bits)[:, :, :depth]
    scale_words = facts[:, capture.SCALES_A : capture.SCALES_B], facts[:, capture.SCALES_B :]
    scale_a, scale_b = (part[:, :, None] >> (8 * np.arange(scales, dtype=np.uint32)) for part in scale_words)
    return TileOperands(
        kind=kind,
        group=facts[:, capture.WARP_INDEX].astype(np.int64),
        a=_codes(left, kind.a, bits),
        b=_codes(right, kind.b, bits),
        scale_a=scale_a.astype(np.uint8),
        scale_b=scale_b.astype(np.uint8),
        c=_sums(words[:, capture.BEFORE : capture.AFTER]),
        d=_sums(words[:, capture.AFTER : capture.FACTS]),
    )


def _lines(registers: np.ndarray, lines: int, bits: int) -> np.ndarray:
    """Fields uint32[n, lines, 256 / bits] of `lines` rows of A or columns of B, from registers uint32[n, r, 32].

    Lane 4g + t holds lines g and, for A, g + 8 in turn; a register's fields are neighbours along k, four lanes hold
    neighbouring ones, and the next register of a line goes on after them (PTX ISA, mma.sync).
    """
    n, high = len(registers), lines // 8
    words = registers.reshape(n, -1, high, 8, 4).transpose(0, 2, 3, 1, 4).reshape(n, lines, -1)
    per_word = 32 // bits
    fields = words[..., None] >> (bits * np.arange(per_word, dtype=np.uint32))
    return fields.reshape(n, lines, _ROW_BITS // bits) & np.uint32((1 << bits) - 1)


def _codes(fields: np.ndarray, element: ElementFormat, bits: int) -> np.ndarray:
    """Elements of fewer bits than their field lie in its low bits, but E2M1 in the middle of a byte, TF32 on top."""
    shift = 2 if element is E2M1 and bits == 8 else bits - TF32.bits if element is TF32 else 0
    return (fields >> np.uint32(shift)) & np.uint32((1 << element.bits) - 1)


def _sums(registers: np.ndarray) -> np.ndarray:
    """float32[n, 16, 8]: register 2h + j of lane 4g + t is row g + 8h, column 2t + j."""
    n = len(registers)
    values = np.ascontiguousarray(registers).view(np.float32).reshape(n, 2, 2, 8, 4)
    return np.ascontiguousarray(values.transpose(0, 1, 3, 4, 2).reshape(n, ROWS, COLUMNS))
