"""Micro-ops whose results are predicates, kept as lane masks."""

import numpy as np
from numba import njit

from gpu_model.machine.double import choose_f64, compare_f64
from gpu_model.machine.floating import combine, compare_f32, set_pair
from gpu_model.machine.integer import predicate, set_predicate
from gpu_model.machine.lanes import load_i32, load_u32, store_u32
from gpu_model.machine.microop import (
    A_AND,
    A_XOR,
    B_AND,
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
    PS2,
    A,
    B,
    C,
    D,
    Op,
    field,
    source,
)

VOTE_ALL, VOTE_ANY, VOTE_EQ = 0, 1, 2
CHOOSE_MIN, CHOOSE_MAX = 16, 17  # above the comparison codes


@njit
def _compare_signed(a, b, code):
    result = np.uint32(0)
    for lane in range(32):
        x, y = load_i32(a, lane), load_i32(b, lane)
        holds = ((x < y) & (code & 1 != 0)) | ((x == y) & (code & 2 != 0)) | ((x > y) & (code & 4 != 0))
        result |= np.uint32(np.uint32(holds) << lane)
    return result


@njit
def _compare_unsigned(a, b, code):
    result = np.uint32(0)
    for lane in range(32):
        x, y = load_u32(a, lane), load_u32(b, lane)
        holds = ((x < y) & (code & 1 != 0)) | ((x == y) & (code & 2 != 0)) | ((x > y) & (code & 4 != 0))
        result |= np.uint32(np.uint32(holds) << lane)
    return result


@njit
def _isetp(u, frame, a, b, mask):
    """Integer comparison; .EX extends it by the low words' outcome in PS1."""
    code, signed, boolean, extended = field(u, M0), field(u, M1), field(u, M2), field(u, M3)
    strict = code & 5 if extended else code
    result = _compare_signed(a, b, strict) if signed else _compare_unsigned(a, b, strict)
    if extended:
        equal = _compare_unsigned(a, b, 2)
        low = predicate(u, PS1, frame)
        result = np.uint32((result & ~equal) | (equal & low))
    set_pair(u, frame, result, boolean, mask)


@njit
def _lut(a, b, c, table):
    result = np.uint32(0)
    for index in range(8):
        if (table >> index) & 1:
            term = a if index & 4 else np.uint32(~a)
            term &= b if index & 2 else np.uint32(~b)
            term &= c if index & 1 else np.uint32(~c)
            result |= np.uint32(term)
    return result


@njit
def _signs(row, flip):
    """The sign bits of a register row as a lane mask."""
    result = np.uint32(0)
    for lane in range(32):
        result |= np.uint32(((load_u32(row, lane) ^ flip) >> np.uint32(31)) << np.uint32(lane))
    return result


@njit
def _plop3(u, frame, consts, mask):
    x, y, z = predicate(u, PS0, frame), predicate(u, PS1, frame), predicate(u, PS2, frame)
    signs = field(u, M2)
    if signs & 1:
        x = _signs(source(u, A, frame, consts), np.uint32(field(u, A_XOR)))
    if signs & 2:
        y = _signs(source(u, B, frame, consts), np.uint32(field(u, B_XOR)))
    if signs & 4:
        z = _signs(source(u, C, frame, consts), np.uint32(field(u, C_XOR)))
    first, second = _lut(x, y, z, field(u, M0)), _lut(x, y, z, field(u, M1))
    set_predicate(u, PD0, frame, first, mask)
    set_predicate(u, PD1, frame, second, mask)


@njit
def _vote(u, frame, mask, mode):
    """VOTE: the ballot of PS0 over the active lanes, and its summary in a predicate of every lane."""
    votes = np.uint32(predicate(u, PS0, frame) & mask)
    if mode == VOTE_ALL:
        outcome = votes == mask
    elif mode == VOTE_ANY:
        outcome = votes != 0
    else:
        outcome = votes == mask or votes == 0
    # A uniform destination is written in full, a register or predicate of the lanes in the active ones.
    written = np.uint32(0xFFFFFFFF) if field(u, M1) else mask
    set_predicate(u, PD0, frame, np.uint32(0xFFFFFFFF) if outcome else np.uint32(0), written)
    destination = frame + field(u, D)
    for lane in range(32):
        if (written >> lane) & 1:
            store_u32(destination, lane, votes)


@njit
def predicate_step(op, u, frame, consts, mask):
    """Execute one predicate micro-op for the lanes of `mask`."""
    a, b = source(u, A, frame, consts), source(u, B, frame, consts)
    if op == Op.ISETP:
        _isetp(u, frame, a, b, mask)
    elif op == Op.FSETP:
        aa, ax = np.uint32(field(u, A_AND)), np.uint32(field(u, A_XOR))
        ba, bx = np.uint32(field(u, B_AND)), np.uint32(field(u, B_XOR))
        set_pair(u, frame, compare_f32(a, b, aa, ax, ba, bx, field(u, M0), field(u, M1)), field(u, M2), mask)
    elif op == Op.DSETP:
        aa, ax = np.uint32(field(u, A_AND)), np.uint32(field(u, A_XOR))
        ba, bx = np.uint32(field(u, B_AND)), np.uint32(field(u, B_XOR))
        if field(u, M0) >= CHOOSE_MIN:
            first, second = choose_f64(a, b, aa, ax, ba, bx, field(u, M0) == CHOOSE_MAX)
            other = predicate(u, PS0, frame)
            set_predicate(u, PD0, frame, combine(first, other, field(u, M2)), mask)
            set_predicate(u, PD1, frame, combine(second, other, field(u, M2)), mask)
        else:
            set_pair(u, frame, compare_f64(a, b, aa, ax, ba, bx, field(u, M0)), field(u, M2), mask)
    elif op == Op.PLOP3:
        _plop3(u, frame, consts, mask)
    else:
        _vote(u, frame, mask, field(u, M0))
