"""Fetch: one instruction a cycle per sub-core, L0 and L1 instruction caches, stream-buffer prefetch.

The warp that issued last is fetched for unless its buffer is full, then the youngest with room (Huerta et
al., MICRO 2025). A fetched instruction can issue two cycles later (fetch, decode). Behind a taken branch
the stage goes on fetching the wrong path until the branch issues.
"""

from numba import njit

from gpu_model.core.policy import CGGTY, LRR, in_turn
from gpu_model.core.stalls import StallReason
from gpu_model.core.state import BUFFER, INSTRUCTION_READ, LOCALS, NEVER

FETCH_TO_ISSUE = 2
_FETCH = int(StallReason.INSTRUCTION_FETCH)


@njit(cache=True, nogil=True, forceinline=True)
def has_room(sub, local, config):
    """True if the warp has something to fetch and a free buffer entry."""
    wrong = sub.wrong_path[local]
    if wrong < 0 and sub.fetched[local] >= sub.end[local]:
        return False
    return sub.fetched[local] - sub.position[local] + max(wrong, 0) < config.buffer


@njit(cache=True, nogil=True, forceinline=True)
def fetch(sm, sub, index, entries, instructions, cycle, config):
    """Fetch for one warp; returns the next cycle at which this stage can do something."""
    chosen = sub.fetch_last
    if chosen < 0 or sub.fetch_at[chosen] > cycle or not has_room(sub, chosen, config):
        chosen = -1
        soon = NEVER
        for i in range(LOCALS if config.policy == LRR else sub.warps):
            local = sub.order[i] if config.policy == CGGTY else in_turn(sub, i, config)
            if local >= 0 and has_room(sub, local, config):
                if sub.fetch_at[local] <= cycle:
                    chosen = local
                    break
                soon = min(soon, sub.fetch_at[local])
        if chosen < 0:
            return soon
    if sub.wrong_path[chosen] >= 0:
        sub.wrong_path[chosen] += 1
    else:
        _fetch_entry(sm, sub, index, chosen, entries, instructions, cycle, config)
    return cycle + 1


@njit(cache=True, nogil=True, forceinline=True)
def _fetch_entry(sm, sub, index, local, entries, instructions, cycle, config):
    at = sub.fetched[local]
    if not config.icache_perfect:
        line = entries[at].row // config.line_rows
        if line != sub.line[local]:
            ready = l0_ready(sm, sub, index, line, instructions, cycle, config)
            if ready > cycle:
                sub.fetch_at[local] = ready
                return
            sub.line[local] = line
    sub.available[local, at % BUFFER] = cycle + FETCH_TO_ISSUE
    sub.fetched[local] = at + 1
    if entries[at].taken:
        sub.wrong_path[local] = 0
    if sub.reason[local] == _FETCH and sub.not_before[local] == NEVER:
        sub.not_before[local] = cycle + FETCH_TO_ISSUE


@njit(cache=True, nogil=True)
def l0_ready(sm, sub, index, line, instructions, cycle, config):
    """When a code line is in L0, asking for it (and for the lines behind it) if it is not."""
    ready, used = instructions.l0_ready[index], instructions.l0_used[index]
    if ready[line] < NEVER:
        used[line] = cycle
        return ready[line]
    if sub.stream_count > 0 and sub.stream_line == line:
        arrives = sub.stream_ready[line % 64]
        sub.stream_line += 1
        sub.stream_count -= 1
    else:
        arrives = _request(sm, line, instructions, cycle, config)
        sub.stream_line = line + 1
        sub.stream_count = 0
    while sub.stream_count < config.prefetch_lines and sub.stream_line + sub.stream_count < len(ready):
        ahead = sub.stream_line + sub.stream_count
        sub.stream_ready[ahead % 64] = _request(sm, ahead, instructions, cycle, config)
        sub.stream_count += 1
    _install(ready, used, line, max(arrives, cycle), cycle, config.l0_sets, config.l0_ways)
    return ready[line]


@njit(cache=True, nogil=True)
def _request(sm, line, instructions, cycle, config):
    """Send a line request over the L0-L1 network, one a cycle; returns when the line arrives."""
    sent = max(cycle, sm.network_free)
    sm.network_free = sent + 1
    at_l1 = sent + config.network_cycles
    if instructions.l1_ready[line] == NEVER:
        sm.bytes[INSTRUCTION_READ] += config.line_rows * 16
        _install(
            instructions.l1_ready, instructions.l1_used, line, at_l1 + config.icache_miss_cycles, cycle,
            config.l1_sets, config.l1_ways,
        )  # fmt: skip
    instructions.l1_used[line] = cycle
    return max(at_l1, instructions.l1_ready[line]) + 1 + config.network_cycles


@njit(cache=True, nogil=True)
def _install(ready, used, line, when, cycle, sets, ways):
    """Place a line, evicting the least recently used line of a full set."""
    held = 0
    oldest = -1
    for other in range(line % sets, len(ready), sets):
        if ready[other] < NEVER:
            held += 1
            if oldest < 0 or used[other] < used[oldest]:
                oldest = other
    if held >= ways:
        ready[oldest] = NEVER
    ready[line] = when
    used[line] = cycle
