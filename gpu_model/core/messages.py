"""What an SM asks of L2."""

from numba import njit


@njit(cache=True, nogil=True)
def send(sm, messages, cycle, line, sectors, request, where, way, kind):
    """Append a message; they are in order of time, so `cycle` is the current one."""
    message = messages[sm.message_count]
    sm.message_count += 1
    message.time = cycle
    message.line = line
    message.sectors = sectors
    message.request = request
    message.set = where
    message.way = way
    message.kind = kind
    message.last = 0
