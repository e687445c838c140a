"""Which lanes of a warp are together because the code made them so, and what each lane knows of the others.

A group is a set of lanes that run in lock-step: at the start the whole warp, later the lanes that a BSYNC, a
WARPSYNC or a block barrier joined. Lanes leave their group when the warp is seen running without them; they do
not rejoin by meeting at the same PC, which the hardware does not promise.

An epoch counts what the lanes of a warp can tell apart: it grows when a group splits, lanes converge, or the
warp signals another. `KNOWN[i, j]` is the last epoch of lane j that happened before what lane i does now.
"""

from numba import njit

from gpu_model.machine.lanes import load_i64, store_i64

NOW, GROUPED, TOGETHER, KNOWN = 0, 1, 2, 34  # GROUPED: the lanes that ran when the groups were last looked at
LANE_WORDS = 34 + 32 * 32


@njit
def begin_warp(lanes, active):
    """The lanes of `active` start together, after everything that was done in an earlier block."""
    for lane in range(32):
        store_i64(lanes, TOGETHER + lane, active)
    store_i64(lanes, GROUPED, active)
    _share(lanes, 0xFFFFFFFF, 0xFFFFFFFF)


@njit
def _share(lanes, group, knowing):
    """Everything the lanes of `group` did so far happened before what the lanes of `knowing` do next."""
    now = load_i64(lanes, NOW)
    for lane in range(32):
        if (knowing >> lane) & 1:
            for other in range(32):
                if (group >> other) & 1:
                    store_i64(lanes, KNOWN + 32 * lane + other, now)
    store_i64(lanes, NOW, now + 1)


@njit
def see_running(lanes, active):
    """Note which lanes run: a group of which only some do has split since it was last seen."""
    if load_i64(lanes, GROUPED) == active:
        return
    for lane in range(32):
        group = load_i64(lanes, TOGETHER + lane)
        if not (active >> lane) & 1 or group & ~active == 0:
            continue
        _share(lanes, group, group)
        for other in range(32):
            if (group >> other) & 1:
                store_i64(lanes, TOGETHER + other, group & active if (active >> other) & 1 else group & ~active)
    store_i64(lanes, GROUPED, active)


@njit
def converge(lanes, joined):
    """The lanes of `joined` met where the code says they must."""
    first = 0
    while first < 31 and not (joined >> first) & 1:
        first += 1
    if joined & ~load_i64(lanes, TOGETHER + first) == 0:
        return
    see_running(lanes, joined)
    for other in range(32):
        known = load_i64(lanes, KNOWN + 32 * first + other)
        for lane in range(32):
            if (joined >> lane) & 1:
                known = max(known, load_i64(lanes, KNOWN + 32 * lane + other))
        for lane in range(32):
            if (joined >> lane) & 1:
                store_i64(lanes, KNOWN + 32 * lane + other, known)
    for lane in range(32):
        if (joined >> lane) & 1:
            store_i64(lanes, TOGETHER + lane, joined)
    _share(lanes, joined, joined)


@njit
def meet_everybody(lanes, active):
    """The whole warp passed a block barrier; those that run on together are a group."""
    _share(lanes, 0xFFFFFFFF, 0xFFFFFFFF)
    converge(lanes, active)


@njit
def lane_knows(lanes, lane, other, epoch):
    """Whether what `other` did in an epoch happened before what `lane` does now."""
    return (load_i64(lanes, TOGETHER + lane) >> other) & 1 or load_i64(lanes, KNOWN + 32 * lane + other) >= epoch
