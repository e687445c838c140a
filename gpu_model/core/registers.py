"""Register file: read ports, the reuse cache and write ports, as Allocate sees them.

Rules: Huerta et al., MICRO 2025 (banks, ports, reuse cache); greedy earliest-first port allocation as in
the simulator released with it.
"""

from numba import njit

from gpu_model.core.state import READ_RING, WRITE_RING

_PORT_BITS = 6


@njit(cache=True, nogil=True, forceinline=True)
def ports_taken(ring, bank, cycle, size):
    """Ports of a bank already booked in a cycle."""
    mark = ring[bank, cycle & (size - 1)]
    return mark & ((1 << _PORT_BITS) - 1) if mark >> _PORT_BITS == cycle else 0


@njit(cache=True, nogil=True, forceinline=True)
def take_port(ring, bank, cycle, size):
    """Book one port of a bank in a cycle."""
    ring[bank, cycle & (size - 1)] = (cycle << _PORT_BITS) | (ports_taken(ring, bank, cycle, size) + 1)


@njit(cache=True, nogil=True, forceinline=True)
def reads_needed(sub, op, local, config):
    """Port reads of an instruction per bank after the reuse cache, which is updated.

    A read of a (slot, bank) replaces that entry if its reuse bit is set and empties it otherwise.
    """
    even = 0
    odd = 0
    owner = ((sub.generation[local] & 15) << 4 | local) << 8
    for i in range(op.reads):
        register = op.read_register[i]
        slot = op.read_slot[i]
        bank = register & 1
        key = (owner | register) + 1
        hit = config.reuse_cache != 0 and sub.reuse[slot, bank] == key
        sub.reuse[slot, bank] = key if op.read_reuse[i] else 0
        if not hit:
            if bank:
                odd += 1
            else:
                even += 1
    return even, odd


@njit(cache=True, nogil=True, forceinline=True)
def free_reads(sub, bank, start, window, ports):
    """Free read-port slots of a bank in a window of cycles."""
    free = 0
    for cycle in range(start, start + window):
        free += ports - ports_taken(sub.read_ring, bank, cycle, READ_RING)
    return free


@njit(cache=True, nogil=True, forceinline=True)
def book_reads(sub, bank, start, count, ports):
    """Take read-port slots of a bank, earliest first."""
    cycle = start
    while count > 0:
        while count > 0 and ports_taken(sub.read_ring, bank, cycle, READ_RING) < ports:
            take_port(sub.read_ring, bank, cycle, READ_RING)
            count -= 1
        cycle += 1


@njit(cache=True, nogil=True, forceinline=True)
def allocate(sub, op, local, cycle, config):
    """Cycle at which an instruction that enters Allocate at `cycle` leaves it, its reads booked."""
    if op.reads == 0:
        return cycle
    even, odd = reads_needed(sub, op, local, config)
    ports = config.read_ports
    while (
        free_reads(sub, 0, cycle + 1, op.window, ports) < even or free_reads(sub, 1, cycle + 1, op.window, ports) < odd
    ):
        cycle += 1
    book_reads(sub, 0, cycle + 1, even, ports)
    book_reads(sub, 1, cycle + 1, odd, ports)
    return cycle


@njit(cache=True, nogil=True, forceinline=True)
def variable_read(sub, cycle, config):
    """First cycle from `cycle` on with a free port in both banks, which a variable-latency read takes."""
    ports = config.read_ports
    while (
        ports_taken(sub.read_ring, 0, cycle, READ_RING) >= ports
        or ports_taken(sub.read_ring, 1, cycle, READ_RING) >= ports
    ):
        cycle += 1
    take_port(sub.read_ring, 0, cycle, READ_RING)
    take_port(sub.read_ring, 1, cycle, READ_RING)
    return cycle


@njit(cache=True, nogil=True, forceinline=True)
def book_writes(sub, op, cycle, config):
    """Book the write ports of a fixed-latency result; the result queue takes what does not fit its cycle."""
    for i in range(op.writes):
        bank = (op.write_register + i) & 1
        at = cycle
        while ports_taken(sub.write_ring, bank, at, WRITE_RING) >= config.write_ports:
            at += 1
        take_port(sub.write_ring, bank, at, WRITE_RING)


@njit(cache=True, nogil=True)
def write_port_busy(sub, op, cycle, config):
    """True if a fixed-latency result takes the last write port that a load's final register needs."""
    bank = (op.write_register + op.writes - 1) & 1
    return op.writes > 0 and ports_taken(sub.write_ring, bank, cycle, WRITE_RING) >= config.write_ports
