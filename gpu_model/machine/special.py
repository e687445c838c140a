"""Special registers (thread, block and lane indices, lane masks, the clock) and what memory an address is in."""

import numpy as np
from numba import njit

from gpu_model.machine.context import Context, get
from gpu_model.machine.integer import blend, set_predicate
from gpu_model.machine.lanes import load_u32, store_u32
from gpu_model.machine.microop import M0, M1, PD0, A, D, field, source
from gpu_model.machine.window import SHARED_WINDOW, is_in_space

# Special registers, by their index in gpu_model.program.SPECIAL_REGISTERS.
SR_ZERO, SR_LANE, SR_TID_X, SR_TID_Y, SR_TID_Z, SR_CTAID_X, SR_CTAID_Y, SR_CTAID_Z = range(8)


SR_CLOCKLO, SR_CLOCKHI, SR_LT, SR_LE, SR_GT, SR_GE, SR_EQ = range(9, 16)
SR_VIRTID, SR_GLOBALTIMERLO, SR_GLOBALTIMERHI = 22, 23, 24
SR_SM, SR_WINDOW_HIGH, SR_RANK = 16, 19, 20  # SR_SWINLO and SR_CgaSize (which of a launch's cluster shapes) read 0


@njit
def _special_value(ctx, which, lane):
    thread = get(ctx, Context.WARP) * 32 + lane
    x, y = get(ctx, Context.NTID_X), get(ctx, Context.NTID_Y)
    value = np.int64(0)
    if which == SR_LANE:
        value = lane
    elif which == SR_TID_X:
        value = thread % x
    elif which == SR_TID_Y:
        value = thread // x % y
    elif which == SR_TID_Z:
        value = thread // (x * y)
    elif which == SR_CTAID_X:
        value = get(ctx, Context.CTAID_X)
    elif which == SR_CTAID_Y:
        value = get(ctx, Context.CTAID_Y)
    elif which == SR_CTAID_Z:
        value = get(ctx, Context.CTAID_Z)
    elif which in (SR_CLOCKLO, SR_GLOBALTIMERLO):  # the functional clocks count instructions
        value = get(ctx, Context.EXECUTED)
    elif which in (SR_CLOCKHI, SR_GLOBALTIMERHI):
        value = get(ctx, Context.EXECUTED) >> 32
    elif which == SR_VIRTID:  # the warp's slot, which is its number in the block, from bit 8 on
        value = get(ctx, Context.WARP) << 8
    elif which == SR_LT:
        value = (1 << lane) - 1
    elif which == SR_LE:
        value = (2 << lane) - 1
    elif which == SR_GT:
        value = 0xFFFFFFFF & ~((2 << lane) - 1)
    elif which == SR_GE:
        value = 0xFFFFFFFF & ~((1 << lane) - 1)
    elif which == SR_EQ:
        value = 1 << lane
    elif which == SR_WINDOW_HIGH:
        value = SHARED_WINDOW >> 32
    elif which == SR_SM:
        value = get(ctx, Context.SM)
    elif which == SR_RANK:
        value = get(ctx, Context.RANK)
    return value


@njit
def query_space(ctx, u, frame, consts, mask):
    """QSPC: whether each lane's generic address is in a memory."""
    row, space, result = source(u, A, frame, consts), field(u, M0), np.uint32(0)
    for lane in range(32):
        address = np.int64(load_u32(row, lane)) | np.int64(load_u32(row + 128, lane)) << 32
        result |= np.uint32(np.uint32(is_in_space(ctx, address + field(u, M1), space)) << np.uint32(lane))
    set_predicate(u, PD0, frame, result, mask)


@njit
def read_special(ctx, u, frame, t, mask):
    """S2R, S2UR, CS2R and CS2UR; a 64-bit one reads a register pair such as the clock."""
    which, words = field(u, M0), field(u, M1)
    for lane in range(32):
        value = np.uint64(_special_value(ctx, which, lane))
        store_u32(t, lane, np.uint32(value))
        store_u32(t + 128, lane, np.uint32(value >> np.uint64(32)))
    for word in range(words):
        blend(frame + field(u, D) + 128 * word, t + 128 * word, mask)
