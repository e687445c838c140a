"""Issue: which warp goes, why the others do not, and what an issued instruction sets in motion.

Policy CGGTY (compiler-guided greedy then youngest), control bits and the Control and Allocate latches:
Huerta et al., MICRO 2025. Control and Allocate are in order, so the cycles at which an instruction passes
them are known when it issues.
"""

from numba import njit

from gpu_model.core.events import BARRIER_OPEN, GROUP_DONE, RELEASE, push, warp_data
from gpu_model.core.memory_unit import enqueue
from gpu_model.core.opcodes import Action, Path, Pipe
from gpu_model.core.policy import CGGTY, GTO, in_turn
from gpu_model.core.products import start_product
from gpu_model.core.registers import allocate, book_writes, variable_read
from gpu_model.core.scoreboard import expect, read_at, registers_ready
from gpu_model.core.stalls import StallReason
from gpu_model.core.state import (
    BUFFER,
    COUNTERS,
    ERROR_GROUPS,
    GROUPS,
    LOCALS,
    NAMED_BARRIERS,
    NEVER,
)

_FIXED, _VARIABLE, _MEMORY = int(Path.FIXED), int(Path.VARIABLE), int(Path.MEMORY)
_FP64 = int(Pipe.FP64)
_BARRIER_WAIT, _BARRIER_ARRIVE = int(Action.BARRIER_WAIT), int(Action.BARRIER_ARRIVE)
_CLOSE_GROUP, _LDGSTS, _MEMBAR = int(Action.CLOSE_GROUP), int(Action.LDGSTS), int(Action.MEMBAR)
_PRODUCT, _COPY_STORE = int(Action.PRODUCT), int(Action.COPY_STORE)
_NOT_SELECTED = int(StallReason.NOT_SELECTED)
_PORTS = int(StallReason.REGISTER_PORTS)
_PORT = int(StallReason.ISSUE_PORT)
_UNIT = int(StallReason.UNIT_BUSY)
_QUEUE = int(StallReason.MEMORY_QUEUE)
_FETCH = int(StallReason.INSTRUCTION_FETCH)
_CONSTANT = int(StallReason.CONSTANT_MISS)
_BARRIER = int(StallReason.BARRIER)
_MEMORY_BARRIER = int(StallReason.MEMORY_BARRIER)


@njit(cache=True, nogil=True, forceinline=True)
def account(sub, local, cycle, stalled):
    """Charge the cycles since the last charge: to the known reason while it held, then to the other warps."""
    held = min(max(sub.not_before[local], sub.since[local]), cycle)
    row = sub.row[local]
    stalled[row, sub.reason[local]] += held - sub.since[local]
    stalled[row, _NOT_SELECTED] += cycle - held
    sub.since[local] = cycle


@njit(cache=True, nogil=True, forceinline=True)
def hold(sub, local, cycle, reason, until, stalled):
    """Note that a warp cannot issue before `until`, and why."""
    account(sub, local, cycle, stalled)
    sub.reason[local] = reason
    sub.not_before[local] = until


@njit(cache=True, nogil=True, forceinline=True)
def counter_value(sub, local, counter, cycle):
    """A dependence counter as Issue sees it: increments show one cycle after Control."""
    value = sub.count[local, counter]
    if sub.visible_at[local] > cycle:
        value -= (sub.pending_write[local] == counter) + (sub.pending_read[local] == counter)
    return value


@njit(cache=True, nogil=True, forceinline=True)
def waiting_reason(sub, local, op, cycle):
    """Reason of the first dependence counter that holds the instruction, or -1."""
    mask = op.wait_mask
    if op.bar_counter >= 0:
        mask |= op.bar_mask
        if counter_value(sub, local, op.bar_counter, cycle) > op.bar_limit:
            return sub.count_reason[local, op.bar_counter]
    for counter in range(COUNTERS):
        if mask >> counter & 1 and counter_value(sub, local, counter, cycle) > 0:
            return sub.count_reason[local, counter]
    return -1


@njit(cache=True, nogil=True, forceinline=True)
def pipe_ready(sm, sub, op):
    """First cycle at which a unit for the instruction is free."""
    if op.pipe == _FP64:
        return max(sm.pipe_free[_FP64], sub.pipe_free[_FP64])
    ready = sub.pipe_free[op.pipe]
    if op.alternative >= 0:
        ready = min(ready, sub.pipe_free[op.alternative])
    return ready


@njit(cache=True, nogil=True)
def constant_ready(sub, line, cycle, config):
    """When a constant operand's line is in L0-FL; a miss starts its fill."""
    where = line % config.constant_sets
    oldest = 0
    for way in range(config.constant_ways):
        if sub.constant_tag[where, way] == line:
            sub.constant_used[where, way] = cycle
            return sub.constant_ready[where, way]
        if sub.constant_used[where, way] < sub.constant_used[where, oldest]:
            oldest = way
    sub.constant_tag[where, oldest] = line
    sub.constant_used[where, oldest] = cycle
    sub.constant_ready[where, oldest] = cycle + config.constant_miss
    return cycle + config.constant_miss


@njit(cache=True, nogil=True, forceinline=True)
def is_candidate(sm, sub, local, table, cycle, config, stalled):
    """True if the warp can issue now; otherwise notes why not and until when."""
    at = sub.position[local]
    if sub.fetched[local] <= at:
        hold(sub, local, cycle, _FETCH, NEVER, stalled)
        return False
    if sub.available[local, at % BUFFER] > cycle:
        hold(sub, local, cycle, _FETCH, sub.available[local, at % BUFFER], stalled)
        return False
    op = table[sub.row[local]]
    if op.wait_mask or op.bar_counter >= 0:
        reason = waiting_reason(sub, local, op, cycle)
        if reason >= 0:
            hold(sub, local, cycle, reason, NEVER, stalled)
            return False
    if config.scoreboard:
        ready, reason = registers_ready(sub, local, op, config)
        if ready > cycle:
            hold(sub, local, cycle, reason, ready, stalled)
            return False
    if op.path == _MEMORY:
        if sub.queue_count >= config.queue_entries:
            hold(sub, local, cycle, _QUEUE, NEVER, stalled)
            return False
        return True
    ready = pipe_ready(sm, sub, op)
    if ready > cycle:
        hold(sub, local, cycle, _UNIT, ready, stalled)
        return False
    if op.constant >= 0 and not config.constant_perfect:
        ready = constant_ready(sub, op.constant, cycle, config)
        if ready > cycle:
            hold(sub, local, cycle, _CONSTANT, ready, stalled)
            sub.hold_until = min(ready, cycle + config.constant_hold)
            return False
    return True


@njit(cache=True, nogil=True, forceinline=True)
def select(sm, sub, table, cycle, config, stalled):
    """The warp to issue: the last one while it can, else the youngest that can; -1 if none."""
    if config.policy != CGGTY:
        return _select_otherwise(sm, sub, table, cycle, config, stalled)
    last = sub.last
    if last >= 0 and sub.not_before[last] <= cycle and is_candidate(sm, sub, last, table, cycle, config, stalled):
        return last
    for i in range(sub.warps):
        if sub.hold_until > cycle:
            return -1
        local = sub.order[i]
        if local == last or sub.not_before[local] > cycle:
            continue
        if is_candidate(sm, sub, local, table, cycle, config, stalled):
            return local
    return -1


@njit(cache=True, nogil=True)
def _select_otherwise(sm, sub, table, cycle, config, stalled):
    """The warp to issue by the two policies GPUs are often modelled with; the last one first if greedy."""
    last = sub.last if config.policy == GTO else -1
    if last >= 0 and sub.not_before[last] <= cycle and is_candidate(sm, sub, last, table, cycle, config, stalled):
        return last
    for i in range(LOCALS):
        if sub.hold_until > cycle:
            return -1
        local = in_turn(sub, i, config)
        if local < 0 or local == last or sub.not_before[local] > cycle:
            continue
        if is_candidate(sm, sub, local, table, cycle, config, stalled):
            sub.turn = local
            return local
    return -1


@njit(cache=True, nogil=True)
def hold_all(sub, cycle, reason, until, stalled):
    """The issue stage as a whole is stopped: charge every warp that could have been looked at."""
    for i in range(sub.warps):
        local = sub.order[i]
        if sub.not_before[local] <= cycle:
            hold(sub, local, cycle, reason, until, stalled)


@njit(cache=True, nogil=True, forceinline=True)
def _count_up(sub, local, op, visible_at):
    sub.visible_at[local] = visible_at
    sub.pending_write[local] = op.write_counter
    sub.pending_read[local] = op.read_counter
    if op.write_counter >= 0:
        sub.count[local, op.write_counter] += 1
        sub.count_reason[local, op.write_counter] = op.wait_reason
    if op.read_counter >= 0:
        sub.count[local, op.read_counter] += 1
        sub.count_reason[local, op.read_counter] = op.wait_reason


@njit(cache=True, nogil=True, forceinline=True)
def _release(sm, sub, index, local, counter, cycle):
    if counter >= 0:
        push(sm, cycle, RELEASE, warp_data(index, local, sub.generation[local], counter))


@njit(cache=True, nogil=True, forceinline=True)
def _take_pipe(sm, sub, op, cycle):
    pipe = op.pipe
    if op.alternative >= 0 and sub.pipe_free[pipe] > cycle:
        pipe = op.alternative
    sub.pipe_free[pipe] = cycle + op.interval
    if pipe == _FP64:
        sm.pipe_free[_FP64] = cycle + op.interval


@njit(cache=True, nogil=True, forceinline=True)
def _issue_fixed(sm, sub, index, local, op, control, cycle, config):
    """Control, Allocate, three reads, the unit; what waits for counters sees the Allocate stalls.

    Returns the cycle at which a consumer of the results may issue.
    """
    entered = max(control + 1, sub.allocate_free)
    left = allocate(sub, op, local, entered, config)
    sub.control_free = entered
    sub.allocate_free = left + 1
    _take_pipe(sm, sub, op, cycle)
    if op.writes:
        book_writes(sub, op, left + 4 + op.latency, config)
    if op.action != _CLOSE_GROUP and op.action != _PRODUCT:
        _release(sm, sub, index, local, op.write_counter, left - 2 + op.latency)
    _release(sm, sub, index, local, op.read_counter, left + op.window + 1)
    return left - 2 + op.latency


@njit(cache=True, nogil=True, forceinline=True)
def _issue_variable(sm, sub, index, local, op, row, control, cycle, config):
    """Control, a read as soon as ports are free, the unit; returns when a consumer of the results may issue."""
    sub.control_free = control + 1
    read = variable_read(sub, control + 1, config) if op.reads else control + 1
    _take_pipe(sm, sub, op, cycle)
    delay = read - (cycle + 2)
    _release(sm, sub, index, local, op.write_counter, cycle + op.latency + delay)
    # Sources are read three cycles before the unit is done (the simulator released with the paper).
    _release(sm, sub, index, local, op.read_counter, cycle + op.latency - 3 + delay)
    if config.scoreboard:
        read_at(sm, sub, index, local, sub.generation[local], row, cycle + op.latency - 3 + delay)
    return cycle + op.latency + delay


@njit(cache=True, nogil=True, forceinline=True)
def _issue_memory(sm, sub, local, op, row, access, control):
    sub.control_free = control + 1
    group = -1
    if op.action == _LDGSTS or op.action == _COPY_STORE:
        group = sub.group[local] % GROUPS
        sub.group_open[local, group] += 1
    enqueue(sub, row, access, local, group, control + 1)


@njit(cache=True, nogil=True)
def close_group(sm, sub, index, local, counter, cycle):
    """LDGDEPBAR, UTMACMDFLUSH: its counter is released when every copy before it is done."""
    group = sub.group[local]
    if group - sub.group_head[local] >= GROUPS - 1:
        sm.error = ERROR_GROUPS
        return
    sub.group_counter[local, group % GROUPS] = counter
    sub.group[local] = group + 1
    push(sm, cycle, GROUP_DONE, warp_data(index, local, sub.generation[local], 0))


@njit(cache=True, nogil=True)
def arrive(sm, subs, index, local, op, access, memory, cycle, config):
    """Arrive at a named barrier, and wait if the instruction does; arrivals at the SM's barrier unit are spaced."""
    sub = subs[index]
    slot, barrier, warps = sub.block[local], op.barrier, op.barrier_warps
    if barrier < 0:
        operands = memory.lines[memory.accesses[access].first]
        barrier, warps = operands.line, operands.sectors
    if op.action == _BARRIER_WAIT:
        sub.reason[local] = _BARRIER
        sub.not_before[local] = NEVER
        sub.barrier[local] = barrier
    sm.barrier_free = max(sm.barrier_free, cycle) + config.barrier_interval
    sm.block_arrived[slot, barrier] += 1
    sm.block_wanted[slot, barrier] = max(sm.block_wanted[slot, barrier], warps)
    open_if_complete(sm, subs, slot, barrier, cycle, config)


@njit(cache=True, nogil=True)
def open_if_complete(sm, subs, slot, barrier, cycle, config):
    """Open a barrier once as many warps have arrived as it wants, or every live warp of the block."""
    needed = sm.block_wanted[slot, barrier] or sm.block_live[slot]
    if sm.block_arrived[slot, barrier] >= needed > 0:
        sm.block_arrived[slot, barrier], sm.block_wanted[slot, barrier] = 0, 0
        for index in range(config.sub_cores):
            sub = subs[index]
            for i in range(sub.warps):
                local = sub.order[i]
                if sub.block[local] == slot and sub.barrier[local] == barrier:
                    sub.barrier[local] = NAMED_BARRIERS + barrier
        opens = max(cycle + 1, sm.barrier_free - config.barrier_interval + config.barrier_cycles)
        push(sm, opens, BARRIER_OPEN, slot << 4 | barrier)


@njit(cache=True, nogil=True)
def check_registers(sub, index, local, op, cycle, account_, warp):
    """Report a consumer that issues before its producer's latency is over; returns hazards found."""
    ready = account_.ready[index * 16 + local]
    extra = 1 if op.path == _MEMORY else 0  # results are not forwarded to the memory unit
    found = 0
    for i in range(op.reads):
        register = op.read_register[i]
        if ready[register] + extra > cycle:
            hazard = account_.hazards[0]
            if hazard.cycle < 0:
                hazard.cycle = cycle
                hazard.ready = ready[register] + extra
                hazard.warp = warp
                hazard.row = sub.row[local]
                hazard.register = register
            found += 1
    # What waited for a variable-latency unit finds the result written back; so does the memory unit.
    early = 1 if op.path == _VARIABLE else 0
    done = NEVER - 1 if op.path == _MEMORY else cycle + op.latency - early
    for i in range(op.writes):
        ready[op.write_register + i] = done
    return found


@njit(cache=True, nogil=True, forceinline=True)
def issue(sm, subs, index, local, table, entries, memory, account_, cycle, config):
    """Issue the warp's next instruction."""
    sub = subs[index]
    at, row = sub.position[local], sub.row[local]
    op = table[row]
    account(sub, local, cycle, account_.stalled)
    account_.issued[row] += 1
    sm.issued += 1
    control = max(cycle + 1, sub.control_free)
    sub.issue_free = max(control, cycle + 1 + op.port_cycles)
    sub.issue_reason = _PORTS if control > cycle + 1 else _PORT
    _count_up(sub, local, op, control + 1)
    if op.path == _FIXED:
        result_at = _issue_fixed(sm, sub, index, local, op, control, cycle, config)
    elif op.path == _MEMORY:
        result_at = NEVER if op.loads else cycle
        _issue_memory(sm, sub, local, op, row, entries[at].access, control)
    else:
        result_at = _issue_variable(sm, sub, index, local, op, row, control, cycle, config)
    if config.scoreboard:
        expect(sub, local, op, result_at)
    _log(sm, sub, index, local, control, cycle, account_)
    if config.check_hazards:
        sm.hazards += check_registers(sub, index, local, op, cycle, account_, sub.warp[local])
    sub.last = local
    sub.since[local] = cycle + 1
    sub.reason[local] = op.distance_reason
    sub.not_before[local] = cycle + op.distance
    if op.action:
        _act(sm, subs, index, local, op, entries[at].access, memory, control, cycle, config)
    _advance(sub, local, entries, cycle, config)


@njit(cache=True, nogil=True, forceinline=True)
def _log(sm, sub, index, local, control, cycle, account_):
    if sm.log_count < len(account_.log):
        event = account_.log[sm.log_count]
        event.cycle = cycle
        event.control = control
        event.sub_core = index
        event.warp = sub.warp[local]
        event.row = sub.row[local]
    sm.log_count += 1


@njit(cache=True, nogil=True)
def _act(sm, subs, index, local, op, access, memory, control, cycle, config):
    sub = subs[index]
    if op.action == _BARRIER_WAIT or op.action == _BARRIER_ARRIVE:
        arrive(sm, subs, index, local, op, access, memory, cycle, config)
    elif op.action == _PRODUCT:
        start_product(sm, sub, index, local, op, control, config)
    elif op.action == _CLOSE_GROUP:
        close_group(sm, sub, index, local, op.write_counter, control + 1)
    elif op.action == _MEMBAR:
        sub.reason[local] = _MEMORY_BARRIER
        sub.not_before[local] = cycle + op.tail


@njit(cache=True, nogil=True, forceinline=True)
def _advance(sub, local, entries, cycle, config):
    """Move to the next trace entry; a taken branch empties the buffer and redirects the fetch."""
    at = sub.position[local]
    sub.position[local] = at + 1
    if entries[at].taken:
        sub.wrong_path[local] = -1
        sub.fetch_at[local] = max(sub.fetch_at[local], cycle + config.branch_redirect)
    if at + 1 < sub.end[local]:
        sub.row[local] = entries[at + 1].row
