"""How much memory "on cuda" is held: the sum over living storages, in torch's allocation granularity."""

import threading

GRANULE = 512  # bytes; torch's caching allocator rounds each request up to a multiple


class MemoryMeter:
    """Bytes held now and at most since the last reset."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # an Allocation may be collected while this thread holds the lock
        self.held = self.most = 0

    def change(self, size: int) -> None:
        """Add bytes, or give some back."""
        with self._lock:
            self.held += size
            self.most = max(self.most, self.held)

    def reset_most(self) -> None:
        """Start a new maximum from what is held now."""
        with self._lock:
            self.most = self.held


class Allocation:
    """A storage's claim on the meter, given back when the storage is freed."""

    __slots__ = ("_meter", "_size")

    def __init__(self, meter: MemoryMeter, size: int):
        self._meter, self._size = meter, -(-size // GRANULE) * GRANULE
        meter.change(self._size)

    def __del__(self) -> None:
        self._meter.change(-self._size)
