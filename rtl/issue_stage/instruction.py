"""What the issue stage knows of an instruction once it is decoded, as bits.

Field by field what decoders of the 128-bit encoding find: the control bits as they are, the unit with how long it is
taken, operands by slot. Source of the control bits: Huerta et al., MICRO 2025.
"""

from collections.abc import Mapping

import numpy as np
from amaranth.lib import data

from rtl.issue_stage.design import MAKES, SLOTS, USES, IssueDesign

FIXED, VARIABLE, MEMORY = range(3)  # how an instruction leaves the stage
LINE_BITS = 21  # of a constant's place: bank and line
MOST_REGISTERS = 4  # of an operand

OPERAND = data.StructLayout({"register": 8, "count": 3, "reuse": 1})
RANGE = data.StructLayout({"first": 9, "count": 4})  # of entries of a scoreboard
_FIELDS = {
    "path": 2,
    "pipe": 3,
    "or_alu": 1,  # may use the ALU pipe when its own is taken
    "interval": 8,  # cycles the pipe is taken
    "port_cycles": 2,  # cycles more for which nothing issues
    "stall": 4,
    "yields": 1,
    "write_counter": 3,
    "read_counter": 3,
    "wait_mask": 6,
    "bar": 1,  # DEPBAR: issues when ...
    "bar_counter": 3,  # this counter ...
    "bar_limit": 6,  # ... is at most this ...
    "bar_mask": 6,  # ... and these are zero
    "blocks": 1,  # the warp goes on when it is woken
    "ends": 1,  # the warp's last
    "constant": 1,  # has a constant operand ...
    "line": LINE_BITS,  # ... in this line
    "reads": 1,  # reads registers
    "wide": 1,  # has an operand of four registers
    "operands": data.ArrayLayout(OPERAND, SLOTS),
}  # fmt: skip
_REGISTERS = {
    "latency": 6,  # issue to issue of a consumer, fixed
    "guard_extra": 4,  # cycles more to a guard
    "uses": data.ArrayLayout(RANGE, USES),  # registers read, the guard last
    "makes": data.ArrayLayout(RANGE, MAKES),  # registers written
}
_STEMS = {"operands": "", "uses": "use_", "makes": "make_"}


def layout(design: IssueDesign) -> data.StructLayout:
    """An instruction's fields; only a scoreboard is told of registers beyond those that are read through ports."""
    return data.StructLayout(_FIELDS | _REGISTERS if design.consumers else _FIELDS)


def fields(design: IssueDesign) -> dict[str, tuple[int, int]]:
    """First bit and width of each field; operands as `register0`, `count0`, ranges as `use_first0`, `make_count2`."""
    places = {}
    for key, field in layout(design):
        if key not in _STEMS:
            places[key] = (field.offset, field.width)
            continue
        for index in range(field.shape.length):
            start = field.offset + index * field.shape.elem_shape.size
            for part, inner in field.shape.elem_shape:
                places[f"{_STEMS[key]}{part}{index}"] = (start + inner.offset, inner.width)
    return places


def pack(design: IssueDesign, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Instructions as words.

    Args:
        design: what the instructions are for.
        columns: an integer array of N for each of `fields()`.

    Returns:
        uint32[N, words], least significant word first.

    Raises:
        ValueError: a field missing or unknown, or a value that does not fit its bits.
    """
    places = fields(design)
    if set(columns) != set(places):
        raise ValueError(f"instruction fields: got {sorted(columns)}, must be {sorted(places)}")
    return pack_fields(places, columns)


def pack_fields(places: Mapping[str, tuple[int, int]], columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Columns of N numbers at their first bits and widths as words, uint32[N, words], least significant word first.

    Raises:
        ValueError: a value that does not fit its bits.
    """
    count = len(next(iter(columns.values())))
    words = -(-max(first + width for first, width in places.values()) // 32)
    bits = np.zeros((count, words * 32), np.uint8)
    for key, (first, width) in places.items():
        values = np.asarray(columns[key]).astype(np.int64)
        if count and not (values.min() >= 0 and values.max() < 1 << width):
            raise ValueError(f"instruction field {key}: {values.min()} to {values.max()} does not fit in {width} bits")
        bits[:, first : first + width] = values[:, None] >> np.arange(width) & 1
    return np.packbits(bits, axis=1, bitorder="little").view("<u4").astype(np.uint32)
