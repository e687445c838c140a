"""Operands of tensor instructions with FP32 sums, kept for accuracy studies: one record a tile of 16 x 8 outputs.

A record is `RECORD_ROWS` rows of 32 words, whatever the instruction: register fragments of mma.sync (`fragments`), A in
rows 0 to 3, B in 4 and 5, the accumulator before in 6 to 9 and after in 10 to 13, then one row of facts. Warpgroup
products, whose matrices lie in shared memory, are brought into the same layout, a record for every 8 columns.
"""

import numpy as np
from numba import njit

from gpu_model.machine.context import WARP, Context, get, put
from gpu_model.machine.fragments import load_bits, matrix_address
from gpu_model.machine.lanes import load_u32, store_u32

RECORD_ROWS = 15
RECORD_WORDS = 32 * RECORD_ROWS
A_ROWS, B_ROWS, BEFORE, AFTER, FACTS = 0, 4, 6, 10, 14
# Words of the last row: element kinds (`fragments.KINDS`), bits of the field an element lies in, products along k,
# kind and number of each line's scales, tile of its instruction, warp; then a word of scales for each of A's 16 rows
# and B's 8 columns, the first scale in its lowest byte.
KIND_A, KIND_B, FIELD_BITS, DEPTH, SCALE_KIND, SCALE_COUNT, TILE, WARP_INDEX = range(8)
SCALES_A, SCALES_B = 8, 24
NO_SCALES, E8M0_SCALES, UE4M3_SCALES = 0, 1, 2


@njit
def new_record(ctx, kind_a, kind_b, bits, depth, tile):
    """Address of the next record with its facts filled in, no scales; 0 where there is no room."""
    count = get(ctx, Context.DOT_COUNT)
    if count >= get(ctx, Context.DOT_CAPACITY):
        return np.int64(0)
    put(ctx, Context.DOT_COUNT, count + 1)
    record = get(ctx, Context.DOTS) + 4 * RECORD_WORDS * count
    facts = record + 128 * FACTS
    store_u32(facts, KIND_A, np.uint32(kind_a))
    store_u32(facts, KIND_B, np.uint32(kind_b))
    store_u32(facts, FIELD_BITS, np.uint32(bits))
    store_u32(facts, DEPTH, np.uint32(depth))
    store_u32(facts, SCALE_KIND, np.uint32(NO_SCALES))
    store_u32(facts, SCALE_COUNT, np.uint32(0))
    store_u32(facts, TILE, np.uint32(tile))
    store_u32(facts, WARP_INDEX, np.uint32(get(ctx, WARP)))
    return record


@njit
def keep_rows(record, first, registers, count):
    """Copy `count` registers of the warp to the record's rows from `first`."""
    for register in range(count):
        for lane in range(32):
            store_u32(record + 128 * (first + register), lane, load_u32(registers + 128 * register, lane))


@njit
def keep_fragments(record, a, b, depth, bits):
    """A and B from registers."""
    keep_rows(record, A_ROWS, a, depth * bits >> 6)
    keep_rows(record, B_ROWS, b, depth * bits >> 7)


@njit
def keep_matrix(record, first_row, shared, descriptor, first, lines, bits, line_major):
    """256 bits of each of `lines` rows of A (16) or columns of B (8), from shared memory, from line `first`."""
    size, per_word = bits >> 3, 32 // bits
    for line in range(lines):
        for index in range(8):
            word = np.uint32(0)
            for i in range(per_word):
                address = shared + matrix_address(descriptor, first + line, index * per_word + i, size, line_major)
                word |= load_bits(address, size) << np.uint32(bits * i)
            register = (index >> 2) * (lines >> 3) + (line >> 3)
            store_u32(record + 128 * (first_row + register), 4 * (line & 7) + (index & 3), word)


@njit
def flip_signs(record, bits):
    """Change the sign of every element of A."""
    mask = np.uint32(0)
    for i in range(32 // bits):
        mask |= np.uint32(1) << np.uint32(bits * i + bits - 1)
    for register in range(4):
        for lane in range(32):
            row = record + 128 * (A_ROWS + register)
            store_u32(row, lane, load_u32(row, lane) ^ mask)


@njit
def keep_sums(record, first_row, acc):
    """acc[column, row] of FP32."""
    for lane in range(32):
        for register in range(4):
            value = acc[2 * (lane & 3) + (register & 1), (lane >> 2) + 8 * (register >> 1)]
            store_u32(record + 128 * (first_row + register), lane, np.uint32(value))


@njit
def keep_scales(record, first_word, kind, count, line, word):
    """The scales of one line, `count` bytes."""
    facts = record + 128 * FACTS
    store_u32(facts, SCALE_KIND, np.uint32(kind))
    store_u32(facts, SCALE_COUNT, np.uint32(count))
    store_u32(facts, first_word + line, np.uint32(word))
