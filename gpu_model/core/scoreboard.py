"""A scoreboard in place of control bits: results under way and readers under way, by register of a warp.

An instruction waits while a register it reads or writes has a result under way, and while a register it writes
has readers under way. Readers are counted only where they read out of order, that is in variable-latency
instructions; one more than the counter holds waits. Results are forwarded as with control bits, so an entry is
clear when a consumer may issue (the mechanism compared in Huerta et al., MICRO 2025).
"""

from numba import njit

from gpu_model.core.events import RELEASE, push, warp_data
from gpu_model.core.opcodes import Path
from gpu_model.core.stalls import StallReason
from gpu_model.core.state import ALL_COUNTERS, DEPENDENCES, ERROR_READERS, NEVER, READERS

_FIXED = int(Path.FIXED)
_REGISTER = int(StallReason.REGISTER)
_FIRST_REASON, _LAST_REASON = int(StallReason.GLOBAL_MEMORY), int(StallReason.MATRIX_PRODUCT)


@njit(cache=True, nogil=True)
def clear(sub, local):
    """A new warp has nothing under way."""
    for entry in range(DEPENDENCES):
        sub.result_at[local, entry] = 0
        sub.readers[local, entry] = 0
    for slot in range(READERS):
        sub.reader_row[local, slot] = -1


@njit(cache=True, nogil=True)
def registers_ready(sub, local, op, config):
    """Cycle from which the warp's registers let the instruction issue (NEVER = not known yet), and why not before."""
    ready, reason = 0, _REGISTER
    for i in range(op.uses):
        for entry in range(op.use_first[i], op.use_first[i] + op.use_count[i]):
            if op.path != _FIXED and sub.readers[local, entry] >= config.consumers:
                return NEVER, _REGISTER
            at = sub.result_at[local, entry]
            if at < NEVER and sub.result_reason[local, entry] == _REGISTER:
                at += op.use_extra[i]
            if at > ready:
                ready, reason = at, sub.result_reason[local, entry]
    for i in range(op.makes):
        for entry in range(op.make_first[i], op.make_first[i] + op.make_count[i]):
            if sub.readers[local, entry] > 0:
                return NEVER, _REGISTER
            if sub.result_at[local, entry] > ready:
                ready, reason = sub.result_at[local, entry], sub.result_reason[local, entry]
    return ready, reason


@njit(cache=True, nogil=True)
def expect(sub, local, op, result_at):
    """Note an issued instruction's results and, if it reads out of order, its reads."""
    for i in range(op.makes):
        for entry in range(op.make_first[i], op.make_first[i] + op.make_count[i]):
            sub.result_at[local, entry] = result_at
            sub.result_reason[local, entry] = _REGISTER if op.path == _FIXED else op.wait_reason
    if op.path != _FIXED:
        _count_reads(sub, local, op, 1)


@njit(cache=True, nogil=True)
def _count_reads(sub, local, op, change):
    for i in range(op.uses):
        for entry in range(op.use_first[i], op.use_first[i] + op.use_count[i]):
            sub.readers[local, entry] += change


@njit(cache=True, nogil=True)
def results_written(sub, local, op, cycle):
    """A memory instruction's results are in their registers."""
    for i in range(op.makes):
        for entry in range(op.make_first[i], op.make_first[i] + op.make_count[i]):
            sub.result_at[local, entry] = cycle
    _look_again(sub, local, cycle)


@njit(cache=True, nogil=True)
def read_at(sm, sub, index, local, generation, row, cycle):
    """Schedule the end of an instruction's reads, unless its warp is gone."""
    if sub.generation[local] != generation:
        return
    slot = 0
    while slot < READERS and sub.reader_row[local, slot] >= 0:
        slot += 1
    if slot == READERS:
        sm.error = ERROR_READERS
        return
    sub.reader_row[local, slot] = row
    push(sm, cycle, RELEASE, warp_data(index, local, generation, ALL_COUNTERS + slot))


@njit(cache=True, nogil=True)
def reads_done(sub, local, table, slot, cycle):
    """The instruction of a slot has read its sources."""
    op = table[sub.reader_row[local, slot]]
    sub.reader_row[local, slot] = -1
    _count_reads(sub, local, op, -1)
    _look_again(sub, local, cycle)


@njit(cache=True, nogil=True)
def _look_again(sub, local, cycle):
    reason = sub.reason[local]
    if sub.not_before[local] == NEVER and (reason == _REGISTER or _FIRST_REASON <= reason <= _LAST_REASON):
        sub.not_before[local] = cycle
        sub.wake = min(sub.wake, cycle)
