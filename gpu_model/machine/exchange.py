"""Micro-ops that move data between lanes: shuffles, matches, warp reductions."""

import numpy as np
from numba import njit

from gpu_model.machine.integer import blend, set_predicate
from gpu_model.machine.lanes import load_i32, load_u32, store_u32
from gpu_model.machine.microop import M0, M1, PD0, A, B, C, D, Op, field, source

SHUFFLE_IDX, SHUFFLE_UP, SHUFFLE_DOWN, SHUFFLE_BFLY = range(4)
REDUX_SUM, REDUX_MIN, REDUX_MAX, REDUX_AND, REDUX_OR, REDUX_XOR = range(6)


@njit
def shuffle_source(lane, offset, control, mode):
    """PTX shfl: the lane whose value a lane takes, and whether it is in range; `control` holds clamp and segment."""
    offset, clamp, segment = np.int64(offset) & 31, np.int64(control) & 31, (np.int64(control) >> 8) & 31
    low, high = lane & segment, (lane & segment) | (clamp & ~segment)
    if mode == SHUFFLE_IDX:
        target = low | (offset & ~segment)
        inside = target <= high
    elif mode == SHUFFLE_UP:
        target = lane - offset
        inside = target >= high  # with .UP the clamp is the lower bound
    elif mode == SHUFFLE_DOWN:
        target = lane + offset
        inside = target <= high
    else:
        target = lane ^ offset
        inside = target <= high
    return (target & 31 if inside else lane), inside


@njit
def _shuffle(u, frame, t, a, b, c, mode, mask):
    """PTX shfl: c holds the clamp in bits 0..4 and the segment mask in bits 8..12."""
    in_range = np.uint32(0)
    for lane in range(32):
        target, inside = shuffle_source(lane, load_u32(b, lane), load_u32(c, lane), mode)
        in_range |= np.uint32(np.uint32(inside) << lane)
        store_u32(t, lane, load_u32(a, target))
    set_predicate(u, PD0, frame, in_range, mask)


@njit
def _match(u, frame, t, a, words, need_all, mask):
    """MATCH.ANY: lanes with this lane's value; MATCH.ALL: the mask if all agree, else 0."""
    everybody = np.uint32(mask)
    for lane in range(32):
        same = np.uint32(0)
        for other in range(32):
            equal = load_u32(a, lane) == load_u32(a, other)
            if words == 2:
                equal = equal and load_u32(a + 128, lane) == load_u32(a + 128, other)
            if (mask >> other) & 1 and equal:
                same |= np.uint32(np.uint32(1) << other)
        if need_all and (mask >> lane) & 1 and same != mask:
            everybody = np.uint32(0)
        store_u32(t, lane, same)
    if need_all:
        for lane in range(32):
            store_u32(t, lane, everybody)
        set_predicate(u, PD0, frame, np.uint32(0xFFFFFFFF) if everybody else np.uint32(0), mask)


@njit
def _reduce(t, a, kind, signed, mask):
    """REDUX: reduce an integer over the active lanes."""
    total, first = np.uint32(0), True
    for lane in range(32):
        if not (mask >> lane) & 1:
            continue
        x = load_u32(a, lane)
        if first:
            total = x
        elif kind == REDUX_SUM:
            total = np.uint32(total + x)
        elif kind == REDUX_AND:
            total &= x
        elif kind == REDUX_OR:
            total |= x
        elif kind == REDUX_XOR:
            total ^= x
        else:
            less = load_i32(a, lane) < np.int32(total) if signed else x < total
            total = x if less == (kind == REDUX_MIN) else total
        first = False
    for lane in range(32):
        store_u32(t, lane, total)


@njit
def _transpose(t, a):
    """MOVM: lane 4r + c holds elements 2c and 2c + 1 of row r, before and after."""
    for lane in range(32):
        row, column = lane >> 2, 2 * (lane & 3)
        word = np.uint32(0)
        for part in range(2):
            other = load_u32(a, 4 * (column + part) + (row >> 1))
            word |= np.uint32(((other >> np.uint32(16 * (row & 1))) & np.uint32(0xFFFF)) << np.uint32(16 * part))
        store_u32(t, lane, word)


@njit
def exchange_step(op, u, frame, consts, t, mask):
    """Execute one cross-lane micro-op for the lanes of `mask`."""
    a = source(u, A, frame, consts)
    if op == Op.SHFL:
        _shuffle(u, frame, t, a, source(u, B, frame, consts), source(u, C, frame, consts), field(u, M0), mask)
        blend(frame + field(u, D), t, mask)
    elif op == Op.MOVM:
        _transpose(t, a)
        blend(frame + field(u, D), t, mask)
    elif op == Op.MATCH:
        _match(u, frame, t, a, field(u, M0), field(u, M1), mask)
        blend(frame + field(u, D), t, mask)
    else:
        _reduce(t, a, field(u, M0), field(u, M1), mask)
        # A uniform destination takes the value in every lane.
        blend(frame + field(u, D), t, np.uint32(0xFFFFFFFF))
