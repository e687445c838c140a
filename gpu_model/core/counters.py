"""Dependence counters going down, and the groups of asynchronous copies that they may stand for."""

from numba import njit

from gpu_model.core.stalls import StallReason
from gpu_model.core.state import GROUPS, NEVER

_FIRST_COUNTER_REASON = int(StallReason.GLOBAL_MEMORY)
_LAST_COUNTER_REASON = int(StallReason.MATRIX_PRODUCT)


@njit(cache=True, nogil=True)
def release(sub, local, counter, cycle):
    """Count a dependence counter down and look at a warp that waits for counters again."""
    sub.count[local, counter] -= 1
    if sub.not_before[local] == NEVER and _FIRST_COUNTER_REASON <= sub.reason[local] <= _LAST_COUNTER_REASON:
        sub.not_before[local] = cycle
        sub.wake = min(sub.wake, cycle)


@njit(cache=True, nogil=True)
def complete_groups(sub, local, cycle):
    """Release the counters of groups that are closed and done, oldest first."""
    while sub.group_head[local] < sub.group[local]:
        group = sub.group_head[local] % GROUPS
        if sub.group_open[local, group] > 0:
            return
        if sub.group_counter[local, group] >= 0:
            release(sub, local, sub.group_counter[local, group], cycle)
        sub.group_head[local] += 1


@njit(cache=True, nogil=True)
def leave_group(sub, local, group, cycle):
    """One copy of a group is done."""
    sub.group_open[local, group] -= 1
    complete_groups(sub, local, cycle)
