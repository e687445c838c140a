"""What the issue stage knows of an instruction once it is decoded, as bits.

Field by field what decoders of the 128-bit encoding find: the control bits as they are, the unit with how long it is
taken, operands by slot. Source of the control bits: Huerta et al., MICRO 2025.
"""

from collections.abc import Mapping

import numpy as np
from amaranth.lib import data

from rtl.issue_stage.design import SLOTS

FIXED, VARIABLE, MEMORY = range(3)  # how an instruction leaves the stage
LINE_BITS = 21  # of a constant's place: bank and line
MOST_REGISTERS = 4  # of an operand

OPERAND = data.StructLayout({"register": 8, "count": 3, "reuse": 1})
INSTRUCTION = data.StructLayout({
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
})  # fmt: skip
WORDS = -(-INSTRUCTION.size // 32)


def fields() -> dict[str, tuple[int, int]]:
    """First bit and width of each field; operands as `register0`, `count0`, `reuse0` and so on."""
    places = {key: (field.offset, field.width) for key, field in INSTRUCTION if key != "operands"}
    start = INSTRUCTION["operands"].offset
    for slot in range(SLOTS):
        for key, field in OPERAND:
            places[f"{key}{slot}"] = (start + slot * OPERAND.size + field.offset, field.width)
    return places


def pack(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Instructions as words.

    Args:
        columns: an integer array of N for each of `fields()`.

    Returns:
        uint32[N, WORDS], least significant word first.

    Raises:
        ValueError: a field missing or unknown, or a value that does not fit its bits.
    """
    places = fields()
    if set(columns) != set(places):
        raise ValueError(f"instruction fields: got {sorted(columns)}, must be {sorted(places)}")
    count = len(columns["path"])
    bits = np.zeros((count, WORDS * 32), np.uint8)
    for key, (first, width) in places.items():
        values = np.asarray(columns[key]).astype(np.int64)
        if count and not (values.min() >= 0 and values.max() < 1 << width):
            raise ValueError(f"instruction field {key}: {values.min()} to {values.max()} does not fit in {width} bits")
        bits[:, first : first + width] = values[:, None] >> np.arange(width) & 1
    return np.packbits(bits, axis=1, bitorder="little").view("<u4").astype(np.uint32)
