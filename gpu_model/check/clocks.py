"""Vector clocks: what each warp knows to have happened, and how barriers pass that on.

A clock has an entry for each agent (`layout`) and, behind them, one for the threads and one for the copies of each
warp: what a proxy fence made visible to the asynchronous units. Passing knowledge on is the element-wise maximum of
two clocks.
"""

import numpy as np
from numba import njit

from gpu_model.check.convergence import LANE_WORDS, NOW, begin_warp, lane_knows, meet_everybody
from gpu_model.check.layout import AGENT_KINDS, ATOMIC, BLOCK_BARRIERS, MAX_BARRIERS, Check
from gpu_model.machine.lanes import load_i64, load_u32, store_i64, store_u32
from gpu_model.machine.splits import WARP_BYTES, Warp

_FENCED_KINDS = 2  # threads and copies write as ordinary instructions do


@njit
def lanes_of(chk, warp):
    """Address of a warp's convergence state."""
    return load_i64(chk, Check.LANES) + 8 * LANE_WORDS * warp


@njit
def _words(chk):
    return load_i64(chk, Check.AGENTS) + _FENCED_KINDS * load_i64(chk, Check.WARPS)


@njit
def _clock(chk, row):
    return load_i64(chk, Check.CLOCKS) + 4 * _words(chk) * row


@njit
def _pass_on(chk, source, target):
    """Raise each entry of one clock to that of another."""
    for entry in range(_words(chk)):
        store_u32(target, entry, max(load_u32(source, entry), load_u32(target, entry)))


@njit
def _raise(clock, entry, value):
    store_u32(clock, entry, max(load_u32(clock, entry), np.uint32(value)))


@njit
def _signal(chk, warp, target):
    """Pass on all that a warp knows and did, and begin its next epoch."""
    lanes = lanes_of(chk, warp)
    _pass_on(chk, _clock(chk, warp), target)
    _raise(target, warp, load_i64(lanes, NOW))
    store_i64(lanes, NOW, load_i64(lanes, NOW) + 1)


@njit(nogil=True, cache=True)
def begin_block(chk, threads, barriers):
    """Order all that an earlier block did before what each warp does next; its open groups and phases are closed."""
    warps, phases, committed = load_i64(chk, Check.WARPS), load_i64(chk, Check.PHASES), load_i64(chk, Check.COMMITTED)
    for row in range(warps + BLOCK_BARRIERS + 2 * barriers):
        _forget(chk, _clock(chk, row))
    for barrier in range(barriers):
        store_i64(phases, barrier, load_i64(phases, barrier) + 1)
    for warp in range(warps):
        for kind in range(1, AGENT_KINDS):
            close_group(chk, kind, warp)
        begin_warp(lanes_of(chk, warp), (np.int64(1) << min(threads - 32 * warp, 32)) - 1)
    for warp in range(warps):
        clock = _clock(chk, warp)
        for other in range(warps):
            store_u32(clock, other, np.uint32(load_i64(lanes_of(chk, other), NOW) - 1))
        for entry in range(warps, AGENT_KINDS * warps):
            store_u32(clock, entry, np.uint32(load_i64(committed, entry)))
        for barrier in range(barriers):
            store_u32(clock, phase_agent(chk, barrier), np.uint32(load_i64(phases, barrier)))


@njit
def note_arrival(chk, warp, barrier):
    """A warp arrived at a block or cluster barrier and goes on."""
    _signal(chk, warp, _clock(chk, load_i64(chk, Check.WARPS) + barrier))


@njit
def _forget(chk, clock):
    for entry in range(_words(chk)):
        store_u32(clock, entry, np.uint32(0))


@njit
def meet(chk, states, barrier, warps):
    """The warps of a bit mask, and those that arrived before, completed a block or cluster barrier."""
    count = load_i64(chk, Check.WARPS)
    meeting = _clock(chk, count + barrier)
    for warp in range(count):
        if (warps >> warp) & 1:
            _signal(chk, warp, meeting)
    for warp in range(count):
        if (warps >> warp) & 1:
            _pass_on(chk, meeting, _clock(chk, warp))
            meet_everybody(lanes_of(chk, warp), load_i64(states + WARP_BYTES * warp, Warp.ACTIVE))
    _forget(chk, meeting)


@njit
def knows(chk, warp, lane, agent, epoch, other_lane):
    """Whether an agent's epoch happened before what a lane does now; `agent` may carry the atomic flag."""
    agent &= ~ATOMIC
    if agent == warp:
        return lane_knows(lanes_of(chk, warp), lane, other_lane, epoch)
    return load_u32(_clock(chk, warp), agent) >= epoch


@njit
def fenced(chk, warp, agent, epoch):
    """Whether a proxy fence known to a warp comes after an agent's epoch; only threads and copies need one."""
    agents = load_i64(chk, Check.AGENTS)
    return agent >= _FENCED_KINDS * load_i64(chk, Check.WARPS) or load_u32(_clock(chk, warp), agents + agent) >= epoch


@njit
def fence(chk, warp):
    """All that a warp knows of is visible to the asynchronous units."""
    clock, agents, lanes = _clock(chk, warp), load_i64(chk, Check.AGENTS), lanes_of(chk, warp)
    for other in range(_FENCED_KINDS * load_i64(chk, Check.WARPS)):
        _raise(clock, agents + other, load_u32(clock, other))
    _raise(clock, agents + warp, load_i64(lanes, NOW))
    store_i64(lanes, NOW, load_i64(lanes, NOW) + 1)


@njit
def epoch_of(chk, kind, warp):
    """The epoch in which a warp's threads, or its open asynchronous group of a kind, act now."""
    if kind == 0:
        return load_i64(lanes_of(chk, warp), NOW)
    return load_i64(load_i64(chk, Check.COMMITTED), kind * load_i64(chk, Check.WARPS) + warp) + 1


@njit
def close_group(chk, kind, warp):
    """Later asynchronous operations of a kind belong to the warp's next group."""
    entry = kind * load_i64(chk, Check.WARPS) + warp
    committed = load_i64(chk, Check.COMMITTED)
    store_i64(committed, entry, load_i64(committed, entry) + 1)


@njit
def wait_groups(chk, kind, warp, pending):
    """At most `pending` of the warp's closed groups of a kind are under way."""
    done = epoch_of(chk, kind, warp) - 1 - pending
    if done > 0:
        _raise(_clock(chk, warp), kind * load_i64(chk, Check.WARPS) + warp, done)


@njit
def barrier_number(chk, address):
    """Number of the mbarrier at a shared address; the count goes past the bound to say that there were too many."""
    entry, numbers = address >> 3, load_i64(chk, Check.BARRIER_NUMBER)
    if load_u32(numbers, entry) == 0:
        count = load_i64(chk, Check.BARRIERS) + 1
        store_i64(chk, Check.BARRIERS, count)
        store_u32(numbers, entry, np.uint32(min(count, MAX_BARRIERS)))
    return np.int64(load_u32(numbers, entry)) - 1


@njit
def phase_agent(chk, barrier):
    """The agent that stands for what completes on an mbarrier."""
    return AGENT_KINDS * load_i64(chk, Check.WARPS) + barrier


@njit
def open_phase(chk, barrier):
    """The epoch of copies that complete in an mbarrier's current phase."""
    return load_i64(load_i64(chk, Check.PHASES), barrier) + 1


@njit
def _pending(chk, barrier):
    return _clock(chk, load_i64(chk, Check.WARPS) + BLOCK_BARRIERS + 2 * barrier)


@njit
def arrive(chk, warp, barrier):
    """A warp's arrival carries what it knows and did into the current phase."""
    _signal(chk, warp, _pending(chk, barrier))


@njit
def arrive_copies(chk, kind, warp, barrier):
    """A warp's asynchronous copies so far complete in the current phase."""
    agent = kind * load_i64(chk, Check.WARPS) + warp
    _raise(_pending(chk, barrier), agent, epoch_of(chk, kind, warp))
    close_group(chk, kind, warp)


@njit
def complete_phase(chk, barrier):
    """The current phase of an mbarrier is over: who waits for it learns what arrived."""
    pending = _pending(chk, barrier)
    done = pending + 4 * _words(chk)
    phases = load_i64(chk, Check.PHASES)
    store_i64(phases, barrier, load_i64(phases, barrier) + 1)
    _raise(pending, phase_agent(chk, barrier), load_i64(phases, barrier))
    _pass_on(chk, pending, done)
    _forget(chk, pending)


@njit
def wait_phase(chk, warp, barrier):
    """A warp saw a phase of an mbarrier complete."""
    _pass_on(chk, _clock(chk, load_i64(chk, Check.WARPS) + BLOCK_BARRIERS + 1 + 2 * barrier), _clock(chk, warp))
