"""Events of the issue stages of one SM: what `gpu_model.issue_stream` records."""

import numpy as np
from numba import njit

FETCH, RELEASE, WAKE, ACCEPT, START, ISSUE, RESULT, READ = range(8)
EVENT = np.dtype(
    [
        ("cycle", "i8"),
        ("control", "i8"),  # of an ISSUE: cycle in Control
        ("seen", "i8"),  # cycle in which it was known
        ("kind", "i4"),
        ("sub_core", "i4"),
        ("local", "i4"),  # warp slot of the sub-core
        ("item", "i4"),  # counter of a RELEASE, else the program row
        ("last", "i4"),  # of a FETCH: the warp's last instruction
    ],
    align=True,
)


@njit(cache=True, nogil=True)
def note(events, count, seen, cycle, kind, sub_core, local, item):
    """Write an event; returns how many there are."""
    event = events[count]
    event.seen, event.cycle, event.kind, event.sub_core, event.local, event.item = (
        seen, cycle, kind, sub_core, local, item,
    )  # fmt: skip
    event.control, event.last = -1, 0
    return count + 1
