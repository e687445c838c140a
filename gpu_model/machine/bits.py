"""Bitwise and bit-field micro-ops on 32 lanes: logic, shifts, permutes, counts, saturation (PTX ISA)."""

import numpy as np
from numba import njit

from gpu_model.machine.lanes import load_i32, load_u32, store_u32
from gpu_model.machine.microop import Op


@njit
def _term(lut, index):
    """All ones if the truth table has row `index`."""
    return np.uint32(-((lut >> index) & 1))


@njit
def _lop3_general(t, a, b, c, lut):
    """Bitwise function of three words given by its truth table (a = 0xF0, b = 0xCC, c = 0xAA)."""
    abc, ab, ac, a_, bc, b_, c_, none = (_term(lut, 7), _term(lut, 6), _term(lut, 5), _term(lut, 4),
                                         _term(lut, 3), _term(lut, 2), _term(lut, 1), _term(lut, 0))  # fmt: skip
    for lane in range(32):
        x, y, z = load_u32(a, lane), load_u32(b, lane), load_u32(c, lane)
        with_x = (y & z & abc) | (y & ~z & ab) | (~y & z & ac) | (~y & ~z & a_)
        without = (y & z & bc) | (y & ~z & b_) | (~y & z & c_) | (~y & ~z & none)
        store_u32(t, lane, np.uint32((x & with_x) | (~x & without)))


@njit
def lop3(t, a, b, c, lut):
    """Bitwise function of three words by truth table; and, or, xor have loops of their own."""
    if lut == 0xC0:
        for lane in range(32):
            store_u32(t, lane, np.uint32(load_u32(a, lane) & load_u32(b, lane)))
    elif lut == 0xFC:
        for lane in range(32):
            store_u32(t, lane, np.uint32(load_u32(a, lane) | load_u32(b, lane)))
    elif lut == 0x3C:
        for lane in range(32):
            store_u32(t, lane, np.uint32(load_u32(a, lane) ^ load_u32(b, lane)))
    else:
        _lop3_general(t, a, b, c, lut)


SHIFT_RIGHT, SHIFT_HIGH, SHIFT_SIGNED, SHIFT_WRAP, SHIFT_WIDE = 1, 2, 4, 8, 16


@njit
def shf(t, a, b, c, mode):
    """Funnel shift of c:a; the amount saturates at the width unless .W wraps it (PTX shf, shl, shr)."""
    limit = 64 if mode & SHIFT_WIDE else 32
    for lane in range(32):
        amount = np.int64(load_u32(b, lane))
        amount = amount & (limit - 1) if mode & SHIFT_WRAP else min(amount, limit)
        value = np.uint64(load_u32(a, lane)) | np.uint64(load_u32(c, lane)) << np.uint64(32)
        half = np.uint64(amount >> 1)
        rest = np.uint64(amount) - half  # two steps, as a shift by 64 is undefined on the host
        if not mode & SHIFT_RIGHT:
            value = value << half << rest
        elif mode & SHIFT_SIGNED:
            value = np.uint64(np.int64(value) >> np.int64(half) >> np.int64(rest))
        else:
            value = value >> half >> rest
        store_u32(t, lane, np.uint32(value >> np.uint64(32) if mode & SHIFT_HIGH else value))


@njit
def shift_by_constant(t, source_row, amount, kind):
    """The common shifts of one word by an immediate below 32: 0 left, 1 right, 2 right arithmetic."""
    if kind == 0:
        for lane in range(32):
            store_u32(t, lane, np.uint32(load_u32(source_row, lane) << amount))
    elif kind == 1:
        for lane in range(32):
            store_u32(t, lane, np.uint32(load_u32(source_row, lane) >> amount))
    else:
        for lane in range(32):
            store_u32(t, lane, np.uint32(load_i32(source_row, lane) >> amount))


@njit
def prmt(t, a, b, c, mode):
    """Pick bytes of c:a by the selector b (PTX prmt); mode 0 is by nibble, the others by its low bits."""
    for lane in range(32):
        pool = np.uint64(load_u32(a, lane)) | np.uint64(load_u32(c, lane)) << np.uint64(32)
        selector = load_u32(b, lane)
        result = np.uint64(0)
        for i in range(4):
            which = (selector >> (4 * i)) & 0xF
            n = selector & 3
            if mode == 1:  # F4E: forward from n
                which = n + i
            elif mode == 2:  # B4E: backward from n
                which = (n - i) & 7
            elif mode == 3:  # RC8: replicate byte n
                which = n
            elif mode == 4:  # ECL: edge clamp left
                which = max(n, i)
            elif mode == 5:  # ECR: edge clamp right
                which = min(n, i)
            elif mode == 6:  # RC16: replicate half n
                which = (n & 1) * 2 + (i & 1)
            byte = pool >> np.uint64(8 * (which & 7)) & np.uint64(0xFF)
            if mode == 0 and which & 8:
                byte = np.uint64(0xFF) if byte & np.uint64(0x80) else np.uint64(0)
            result |= byte << np.uint64(8 * i)
        store_u32(t, lane, np.uint32(result))


@njit
def sgxt(t, a, b, signed, wrap):
    """Keep the low b bits, sign- or zero-extended; widths above 32 keep the word unless .W wraps."""
    for lane in range(32):
        width = np.int64(load_u32(b, lane))
        width = width & 31 if wrap else min(width, 32)
        shift = np.int64(64 - width)
        value = np.uint64(load_u32(a, lane))
        if width == 0:
            store_u32(t, lane, np.uint32(0))
        elif signed:
            store_u32(t, lane, np.uint32(np.int64(value << np.uint64(shift)) >> shift))
        else:
            store_u32(t, lane, np.uint32(value << np.uint64(shift) >> np.uint64(shift)))


@njit
def bmsk(t, a, b, wrap):
    """A mask of b ones from bit a (PTX bmsk); positions clamp unless .W wraps."""
    for lane in range(32):
        start, width = np.int64(load_u32(a, lane)), np.int64(load_u32(b, lane))
        start = start & 31 if wrap else min(start, 32)
        width = width & 31 if wrap else min(width, 32)
        ones = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
        store_u32(t, lane, np.uint32(ones << np.uint64(start)))


@njit
def count_or_flip(t, a, ax, op, signed, relative):
    """IABS, POPC, BREV and FLO."""
    for lane in range(32):
        x = np.uint32(load_u32(a, lane) ^ ax)
        if op == Op.IABS:
            store_u32(t, lane, np.uint32(-np.int32(x)) if np.int32(x) < 0 else x)
        elif op == Op.POPC:
            count = np.uint32(0)
            for bit in range(32):
                count += (x >> bit) & 1
            store_u32(t, lane, np.uint32(count))
        elif op == Op.BREV:
            flipped = np.uint32(0)
            for bit in range(32):
                flipped |= np.uint32(((x >> bit) & 1) << (31 - bit))
            store_u32(t, lane, flipped)
        else:  # FLO: position of the leading one (or of the leading non-sign bit)
            value = np.uint32(~x) if signed and np.int32(x) < 0 else x
            position = np.int64(-1)
            for bit in range(32):
                if (value >> bit) & 1:
                    position = bit
            if position >= 0 and relative:  # .SH: as a left shift amount
                position = 31 - position
            store_u32(t, lane, np.uint32(position))


@njit
def _saturate(row, lane, source_signed, width, signed):
    """A word clamped to a narrower (or differently signed) integer, as the low bits of a word."""
    value = np.int64(load_i32(row, lane)) if source_signed else np.int64(load_u32(row, lane))
    low = -(np.int64(1) << (width - 1)) if signed else np.int64(0)
    high = (np.int64(1) << (width - 1 if signed else width)) - 1
    return min(max(value, low), high)


@njit
def saturate_integers(t, a, b, c, pack, source_signed, width, signed):
    """I2I: saturate a; I2IP: saturate a and b side by side in the low half, c above them (PTX cvt.pack)."""
    for lane in range(32):
        if pack:
            ones = (np.int64(1) << width) - 1
            high = _saturate(a, lane, source_signed, width, signed) & ones
            low = _saturate(b, lane, source_signed, width, signed) & ones
            rest = np.int64(load_u32(c, lane)) << (2 * width)
            store_u32(t, lane, np.uint32(rest | high << width | low))
        else:
            store_u32(t, lane, np.uint32(_saturate(a, lane, source_signed, width, signed)))
