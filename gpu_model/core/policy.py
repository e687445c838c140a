"""Issue policies other than CGGTY: the order in which greedy-then-oldest and loose round robin look at warps."""

from numba import njit

from gpu_model.core.state import LOCALS, POLICIES

CGGTY, GTO, LRR = (POLICIES.index(name) for name in ("cggty", "gto", "lrr"))


@njit(cache=True, nogil=True)
def in_turn(sub, i, config):
    """The local that a policy looks at i-th (0 to 15), or -1 where there is none."""
    if config.policy == LRR:
        local = (sub.turn + 1 + i) % LOCALS
        return local if sub.warp[local] >= 0 else -1
    if i >= sub.warps:
        return -1
    return sub.order[sub.warps - 1 - i] if config.policy == GTO else sub.order[i]
