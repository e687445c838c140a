"""Integer and data-movement micro-ops, one warp at a time.

Semantics follow the PTX ISA operations that ptxas maps to them. Sources are read as
`(value & AND) ^ XOR`; a negated integer source is `~x` with 1 carried in, so that carries out of a
subtraction mean "no borrow", as the .X forms expect.
"""

import numpy as np
from numba import njit

from gpu_model.machine.bits import (
    bmsk,
    count_or_flip,
    lop3,
    prmt,
    saturate_integers,
    sgxt,
    shf,
    shift_by_constant,
)
from gpu_model.machine.lanes import load_i32, load_u32, store_u32
from gpu_model.machine.microop import (
    A_XOR,
    B_XOR,
    C_XOR,
    M0,
    M1,
    M2,
    M3,
    PD0,
    PD1,
    PS0,
    PS1,
    A,
    B,
    C,
    D,
    Op,
    field,
    source,
)

_LOW = 0xFFFFFFFF


@njit
def first_lane(mask):
    """The lowest lane of a mask; 31 of an empty one."""
    lane = 0
    while lane < 31 and not (mask >> lane) & 1:
        lane += 1
    return lane


@njit
def predicate(u, column, frame):
    """A source predicate as a lane mask, negation applied."""
    return np.uint32(load_u32(frame + field(u, column), 0) ^ np.uint32(field(u, column + 1)))


@njit
def set_predicate(u, column, frame, value, mask):
    """Write a destination predicate in the lanes of `mask`."""
    word = frame + field(u, column)
    store_u32(word, 0, np.uint32((value & mask) | (load_u32(word, 0) & ~mask)))


@njit
def blend(destination, temp, mask):
    """Copy a finished row to its register in the lanes of `mask`."""
    if mask == _LOW:
        for lane in range(32):
            store_u32(destination, lane, load_u32(temp, lane))
    else:
        for lane in range(32):
            keep = (mask >> lane) & 1 == 0
            store_u32(destination, lane, load_u32(destination, lane) if keep else load_u32(temp, lane))


@njit
def _iadd3(t, a, b, c, ax, bx, cx, k):
    for lane in range(32):
        total = (load_u32(a, lane) ^ ax) + (load_u32(b, lane) ^ bx) + (load_u32(c, lane) ^ cx) + k
        store_u32(t, lane, np.uint32(total))


@njit
def _iadd3_carry(u, t, a, b, c, ax, bx, cx, k, frame, mask):
    """Add with carries in and out; two carry-outs count the two possible carries of three terms."""
    carry0, carry1 = predicate(u, PS0, frame), predicate(u, PS1, frame)
    first, second = np.uint32(0), np.uint32(0)
    for lane in range(32):
        total = np.uint64(load_u32(a, lane) ^ ax) + np.uint64(load_u32(b, lane) ^ bx)
        total += np.uint64(load_u32(c, lane) ^ cx) + np.uint64(k)
        total += np.uint64((carry0 >> lane) & 1) + np.uint64((carry1 >> lane) & 1)
        store_u32(t, lane, np.uint32(total))
        high = total >> np.uint64(32)
        first |= np.uint32(np.uint32(high >= 1) << lane)
        second |= np.uint32(np.uint32(high >= 2) << lane)
    set_predicate(u, PD0, frame, first, mask)
    set_predicate(u, PD1, frame, second, mask)


@njit
def _imad(t, a, b, c, cx, k):
    for lane in range(32):
        store_u32(t, lane, np.uint32(load_u32(a, lane) * load_u32(b, lane) + (load_u32(c, lane) ^ cx) + k))


@njit
def _imad_wide(t, a, b, c, signed, negative):
    """64-bit a * b + c with c a register pair; the result takes two rows of `t`."""
    for lane in range(32):
        if signed:
            product = np.uint64(np.int64(load_i32(a, lane)) * np.int64(load_i32(b, lane)))
        else:
            product = np.uint64(load_u32(a, lane)) * np.uint64(load_u32(b, lane))
        addend = np.uint64(load_u32(c, lane)) | np.uint64(load_u32(c + 128, lane)) << np.uint64(32)
        total = product + (~addend + np.uint64(1) if negative else addend)
        store_u32(t, lane, np.uint32(total))
        store_u32(t + 128, lane, np.uint32(total >> np.uint64(32)))


@njit
def _imad_wide_carry(u, t, a, b, c, frame, mask):
    """Unsigned 64-bit a * b + c with a carry in (PS0) and out (PD0)."""
    carry_in = predicate(u, PS0, frame)
    carry_out = np.uint32(0)
    for lane in range(32):
        product = np.uint64(load_u32(a, lane)) * np.uint64(load_u32(b, lane))
        addend = np.uint64(load_u32(c, lane)) | np.uint64(load_u32(c + 128, lane)) << np.uint64(32)
        total = product + addend
        carry = np.uint32(total < product)
        total += np.uint64((carry_in >> lane) & 1)
        carry |= np.uint32((total == 0) & ((carry_in >> lane) & 1 != 0))
        store_u32(t, lane, np.uint32(total))
        store_u32(t + 128, lane, np.uint32(total >> np.uint64(32)))
        carry_out |= np.uint32(carry << lane)
    set_predicate(u, PD0, frame, carry_out, mask)


@njit
def _lea(u, t, a, b, c, ax, bx, frame, mask):
    """(a << shift) + b, or its high word with c:a shifted (.HI); carry in PS0, carry out PD0.

    A negated term is its complement plus one, and the complement alone with a carry in (.X). The carry out counts that
    one: -0 + b carries, which the high half of a 64-bit difference relies on.
    """
    shift, high, sign_extend = np.uint64(field(u, M0)), field(u, M1), field(u, M2)
    flip = ~np.uint64(0) if ax != 0 else np.uint64(0)
    whole = field(u, M3) == 0
    negated, one = np.uint64(ax != 0 and whole), np.uint64(bx != 0 and whole)
    carry_in = predicate(u, PS0, frame)
    carry_out = np.uint32(0)
    for lane in range(32):
        if sign_extend:
            wide = np.uint64(np.int64(load_i32(a, lane)))
        else:
            wide = np.uint64(load_u32(a, lane)) | np.uint64(load_u32(c, lane)) << np.uint64(32)
        wide = (wide << shift) ^ flip
        term = (wide + negated) >> np.uint64(32) if high else (wide & np.uint64(_LOW)) + negated
        total = term + np.uint64(load_u32(b, lane) ^ bx) + one + np.uint64((carry_in >> lane) & 1)
        store_u32(t, lane, np.uint32(total))
        carry_out |= np.uint32(np.uint32(total >> np.uint64(32) != 0) << lane)
    set_predicate(u, PD0, frame, carry_out, mask)


@njit
def _set_if_nonzero(u, frame, t, boolean, mask):
    """The predicate result of LOP3: any bit set, combined with PS0 (0: and, 1: or)."""
    nonzero = np.uint32(0)
    for lane in range(32):
        nonzero |= np.uint32(np.uint32(load_u32(t, lane) != 0) << lane)
    other = predicate(u, PS0, frame)
    set_predicate(u, PD0, frame, np.uint32(nonzero & other if boolean == 0 else nonzero | other), mask)


@njit
def _sel(t, a, b, chosen, aa, ax, ba, bx):
    for lane in range(32):
        first = (load_u32(a, lane) & aa) ^ ax
        second = (load_u32(b, lane) & ba) ^ bx
        store_u32(t, lane, np.uint32(first if (chosen >> lane) & 1 else second))


@njit
def _imnmx(t, a, b, minimum, signed):
    for lane in range(32):
        x, y = load_u32(a, lane), load_u32(b, lane)
        less = load_i32(a, lane) < load_i32(b, lane) if signed else x < y
        store_u32(t, lane, x if less == ((minimum >> lane) & 1 != 0) else y)


@njit
def _idp(t, a, b, c, signed_a, signed_b):
    """Four-way byte dot product with accumulate (PTX dp4a)."""
    for lane in range(32):
        x, y = load_u32(a, lane), load_u32(b, lane)
        total = np.int64(load_u32(c, lane))
        for i in range(4):
            p, q = np.int64((x >> (8 * i)) & 0xFF), np.int64((y >> (8 * i)) & 0xFF)
            p = p - 256 if signed_a and p > 127 else p
            q = q - 256 if signed_b and q > 127 else q
            total += p * q
        store_u32(t, lane, np.uint32(total))


@njit
def _idp2(t, a, b, c, signed_a, signed_b, high):
    """Two-way dot product of halves of a with bytes of b, with accumulate (PTX dp2a)."""
    for lane in range(32):
        x, y = load_u32(a, lane), load_u32(b, lane)
        total = np.int64(load_u32(c, lane))
        for i in range(2):
            p = np.int64((x >> (16 * i)) & 0xFFFF)
            q = np.int64((y >> (8 * i + 16 * high)) & 0xFF)
            p = p - 65536 if signed_a and p > 32767 else p
            q = q - 256 if signed_b and q > 127 else q
            total += p * q
        store_u32(t, lane, np.uint32(total))


@njit
def _vabsdiff(t, a, b, c, signed):
    """c + |a - b| (PTX sad)."""
    for lane in range(32):
        if signed:
            difference = abs(np.int64(load_i32(a, lane)) - np.int64(load_i32(b, lane)))
        else:
            difference = abs(np.int64(load_u32(a, lane)) - np.int64(load_u32(b, lane)))
        store_u32(t, lane, np.uint32(difference + np.int64(load_u32(c, lane))))


@njit
def _vabsdiff4(t, a, b, c, signed, accumulate):
    """|a - b| of each byte, or c plus their sum (PTX vabsdiff4)."""
    for lane in range(32):
        x, y = load_u32(a, lane), load_u32(b, lane)
        packed, total = np.uint32(0), np.int64(load_u32(c, lane))
        for i in range(4):
            p, q = np.int64((x >> (8 * i)) & 0xFF), np.int64((y >> (8 * i)) & 0xFF)
            p = p - 256 if signed and p > 127 else p
            q = q - 256 if signed and q > 127 else q
            total += abs(p - q)
            packed |= np.uint32((abs(p - q) & 0xFF) << (8 * i))
        store_u32(t, lane, np.uint32(total) if accumulate else packed)


@njit
def _predicates_to_register(t, a, frame, first_word, keep_mask, shift):
    """P2R: insert the lane's eight predicate bits into a byte of a, under a mask."""
    for lane in range(32):
        bits = np.uint32(0)
        for i in range(7):
            bits |= np.uint32(((load_u32(frame, first_word + i) >> lane) & 1) << i)
        bits = np.uint32(bits | 0x80)
        inserted = np.uint32(np.uint32(bits & keep_mask) << shift)
        store_u32(t, lane, np.uint32((load_u32(a, lane) & ~np.uint32(keep_mask << shift)) | inserted))


@njit
def _register_to_predicates(a, frame, first_word, chosen, shift, mask):
    """R2P: set the predicates of `chosen` from bits of a."""
    for i in range(7):
        if (chosen >> i) & 1:
            value = np.uint32(0)
            for lane in range(32):
                value |= np.uint32(((load_u32(a, lane) >> (shift + i)) & 1) << lane)
            word = load_u32(frame, first_word + i)
            store_u32(frame, first_word + i, np.uint32((value & mask) | (word & ~mask)))


@njit
def _broadcast_first(u, t, a, frame, mask):
    """R2UR: the first active lane's value, to every lane of a uniform register; PD0: the lanes that differ from it."""
    lane = first_lane(mask)
    value, differs = load_u32(a, lane), np.uint32(0)
    for i in range(32):
        store_u32(t, i, value)
        differs |= np.uint32(np.uint32(load_u32(a, i) != value) << i)
    if field(u, M0):
        differs |= load_u32(frame + field(u, PD0), 0)
    set_predicate(u, PD0, frame, differs, mask)


@njit
def integer_step(op, u, frame, consts, t, mask):
    """Execute one integer micro-op for the lanes of `mask`; `t` is scratch of at least 8 rows."""
    a, b, c = source(u, A, frame, consts), source(u, B, frame, consts), source(u, C, frame, consts)
    ax, bx, cx = np.uint32(field(u, A_XOR)), np.uint32(field(u, B_XOR)), np.uint32(field(u, C_XOR))
    m0, m1, m2 = field(u, M0), field(u, M1), field(u, M2)
    destination = frame + field(u, D)
    if op == Op.MOV:
        blend(destination, a, mask)
        for extra in range(1, m0):
            blend(destination + 128 * extra, a + 128 * extra, mask)
        return
    if op == Op.IADD3:
        _iadd3(t, a, b, c, ax, bx, cx, np.uint32(m0))
    elif op == Op.IMAD:
        _imad(t, a, b, c, cx, np.uint32(cx != 0))
    elif op == Op.LOP3:
        lop3(t, a, b, c, m0)
        if m1:
            _set_if_nonzero(u, frame, t, m2, mask)
    elif op == Op.SHF:
        if m1 >= 0:
            shift_by_constant(t, a if m1 < 2 and m2 == 0 else c, np.int64(load_u32(b, 0)), m1)
        else:
            shf(t, a, b, c, m0)
    elif op == Op.SEL:
        _sel(t, a, b, predicate(u, PS0, frame), np.uint32(field(u, A_XOR - 1)), ax, np.uint32(field(u, B_XOR - 1)), bx)
    elif op == Op.IMAD_WIDE:
        if m1:
            _imad_wide_carry(u, t, a, b, c, frame, mask)
        else:
            _imad_wide(t, a, b, c, m0, cx != 0)
        blend(destination + 128, t + 128, mask)
    elif op == Op.IADD3_CARRY:
        _iadd3_carry(u, t, a, b, c, ax, bx, cx, np.uint32(m0), frame, mask)
    elif op == Op.LEA or op == Op.LEA_HI:
        _lea(u, t, a, b, c, ax, bx, frame, mask)
    else:
        _rare_step(op, u, frame, t, mask, a, b, c, ax, cx, m0, m1, m2)
        if op == Op.R2P:
            return
    blend(destination, t, mask)


@njit
def _rare_step(op, u, frame, t, mask, a, b, c, ax, cx, m0, m1, m2):
    if op == Op.IMAD_CARRY:
        _imad(t, a, b, c, cx, np.uint32(0))
        carry = predicate(u, PS0, frame)
        for lane in range(32):
            store_u32(t, lane, np.uint32(load_u32(t, lane) + ((carry >> lane) & 1)))
    elif op == Op.IMAD_HI:
        if m1:
            _imad_wide_carry(u, t, a, b, c, frame, mask)
        else:
            _imad_wide(t, a, b, c, m0, cx != 0)
        blend(t, t + 128, np.uint32(_LOW))
    elif op == Op.IMNMX:
        _imnmx(t, a, b, predicate(u, PS0, frame), m0)
    elif op == Op.PRMT:
        prmt(t, a, b, c, m0)
    elif op == Op.SGXT:
        sgxt(t, a, b, m0, m1)
    elif op == Op.BMSK:
        bmsk(t, a, b, m1)
    elif op == Op.IDP:
        _idp(t, a, b, c, m0, m1)
    elif op == Op.IDP2:
        _idp2(t, a, b, c, m0, m1, m2)
    elif op == Op.VABSDIFF:
        _vabsdiff(t, a, b, c, m0)
    elif op == Op.VABSDIFF4:
        _vabsdiff4(t, a, b, c, m0, m1)
    elif op == Op.I2I or op == Op.I2IP:
        saturate_integers(t, a, b, c, op == Op.I2IP, m0, m1, m2)
    elif op == Op.P2R:
        _predicates_to_register(t, a, frame, m0, np.uint32(m1), m2)
    elif op == Op.R2P:
        _register_to_predicates(a, frame, m0, m1, m2, mask)
    elif op == Op.R2UR:
        _broadcast_first(u, t, a, frame, mask)
    else:
        count_or_flip(t, a, ax, op, m0, m1)
