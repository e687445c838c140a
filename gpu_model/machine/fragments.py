"""Operands of the newer tensor instructions: any element type, from registers or shared memory, to matrices.

Register fragments are those of the PTX ISA's mma.sync and wgmma, for elements of 4 to 32 bits: word r of lane
4g + t holds, for A, row g + 8 (r & 1) and the w elements from k = w t + 4 w (r >> 1), w elements to a word; for
B, column g and k = w t + 4 w r.
"""

import numpy as np
from numba import njit

from gpu_model.machine.lanes import load_u8, load_u16, load_u32
from hw.tensor_core import operand_table, split_bf16, split_f16, split_tf32
from mx_formats.element import BF16, E2M1, E2M3, E3M2, E4M3, E5M2, FP16, TF32, ElementFormat

# Element kinds, as micro-ops number them.
KINDS: tuple[ElementFormat, ...] = (FP16, BF16, TF32, E4M3, E5M2, E3M2, E2M3, E2M1)
KIND_F16, KIND_BF16, KIND_TF32, FIRST_TABLE = 0, 1, 2, 3


def _tables() -> np.ndarray:
    """Significand and exponent of every byte of the 8-bit kinds, int32[kinds, 256, 2].

    Six-bit elements lie in the low bits of a byte; E2M1 lies in bits 2 to 5.
    """
    tables = np.zeros((len(KINDS), 256, 2), np.int32)
    for index, kind in enumerate(KINDS[FIRST_TABLE:], FIRST_TABLE):
        codes = np.arange(256) >> (2 if kind is E2M1 else 0) & ((1 << kind.bits) - 1)
        significand, exponent = operand_table(kind)
        tables[index, :, 0], tables[index, :, 1] = significand[codes], exponent[codes]
    return tables


_TABLES = _tables()
E2M1_DOUBLED = (operand_table(E2M1)[0] << np.maximum(operand_table(E2M1)[1], 0)).astype(np.int32)  # 16 values, times 2


@njit
def decode(bits, kind):
    """Significand and exponent of an element."""
    if kind == KIND_F16:
        return split_f16(bits)
    if kind == KIND_BF16:
        return split_bf16(bits)
    if kind == KIND_TF32:
        return split_tf32(bits)
    return _TABLES[kind, bits & np.uint32(0xFF), 0], _TABLES[kind, bits & np.uint32(0xFF), 1]


@njit
def part(word, index, bits):
    """Element `index` of a word of elements of `bits` bits."""
    if bits == 32:
        return np.uint32(word)
    return np.uint32((word >> np.uint32(bits * index)) & np.uint32((1 << bits) - 1))


@njit
def load_a(a, depth, kind, bits, sig, exp):
    """A from registers: 16 x depth elements."""
    width = 32 // bits
    for lane in range(32):
        group, thread = lane >> 2, lane & 3
        for register in range(depth * bits >> 6):
            word = load_u32(a + 128 * register, lane)
            row, k = group + 8 * (register & 1), width * thread + 4 * width * (register >> 1)
            for i in range(width):
                sig[k + i, row], exp[k + i, row] = decode(part(word, i, bits), kind)


@njit
def load_b(b, depth, kind, bits, sig, exp):
    """B from registers: depth x 8 elements."""
    width = 32 // bits
    for lane in range(32):
        for register in range(depth * bits >> 7):
            word = load_u32(b + 128 * register, lane)
            k = width * (lane & 3) + 4 * width * register
            for i in range(width):
                sig[k + i, lane >> 2], exp[k + i, lane >> 2] = decode(part(word, i, bits), kind)


@njit
def matrix_address(descriptor, line, k, size, line_major):
    """Shared address of an element of a wgmma matrix (PTX ISA, matrix descriptor and canonical layouts).

    Args:
        descriptor: 64-bit matrix descriptor: start, leading and stride offsets in units of 16 bytes, swizzle mode.
        line: row of A or column of B.
        k: its index along the sum.
        size: bytes of an element.
        line_major: lines are contiguous rather than k (the transposed forms, 16-bit elements only).
    """
    start = (descriptor & 0x3FFF) << 4
    leading, stride = ((descriptor >> 16) & 0x3FFF) << 4, ((descriptor >> 32) & 0x3FFF) << 4
    mode = (descriptor >> 62) & 3  # 0 none, 1 128 bytes, 2 64 bytes, 3 32 bytes
    if mode == 0:
        per = 16 // size  # elements of a 16-byte row of an 8 x 16-byte core matrix
        if line_major:
            return start + line % per * size + line // per * stride + (k & 7) * 16 + (k >> 3) * leading
        return start + k % per * size + k // per * leading + (line & 7) * 16 + (line >> 3) * stride
    span = 256 >> mode
    if line_major:
        per = span // size
        address = start + line % per * size + line // per * leading + (k & 7) * span + (k >> 3) * stride
    else:
        address = start + k * size + (line & 7) * span + (line >> 3) * stride
    return address ^ ((address >> 3) & (span - 16))


@njit
def matrix_end(descriptor, lines, depth, size, line_major):
    """One past the last shared byte of a matrix, before the swizzle, rounded up to its 16-byte units."""
    last = np.int64(0)
    for line in range(lines):
        for k in (0, depth - 1):
            last = max(last, matrix_address(descriptor, line, k, size, line_major) | 15)
    return last + 1


@njit
def load_bits(address, size):
    """An element's bits from host memory."""
    if size == 1:
        return np.uint32(load_u8(address, 0))
    if size == 2:
        return np.uint32(load_u16(address, 0))
    return np.uint32(load_u32(address, 0))


@njit
def load_matrix(shared, descriptor, first, lines, depth, kind, bits, line_major, sig, exp):
    """`lines` rows of A or columns of B from shared memory, starting at line `first`."""
    size = bits >> 3
    for line in range(lines):
        for k in range(depth):
            address = shared + matrix_address(descriptor, first + line, k, size, line_major)
            sig[k, line], exp[k, line] = decode(load_bits(address, size), kind)


@njit
def negate(sig, lines, depth):
    """Flip the sign of every element that has one."""
    for k in range(depth):
        for line in range(lines):
            sig[k, line] = -sig[k, line]
