"""Speed measurements: what one is, and how to take one."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    """One measured speed.

    Attributes:
        bench: name of the benchmark, as `warptree bench NAME` takes it.
        metric: what was measured.
        value: in `unit`, larger is better.
        unit: e.g. "warp-instr/s".
        peer: what it is compared with, and where that figure comes from; "" where there is nothing.
        peer_value: the peer's figure in `unit`.
    """

    bench: str
    metric: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None

    def as_dict(self) -> dict[str, str | float]:
        """The JSON form: `peer`, `peer_value` and `ratio` are there only where there is a peer."""
        row: dict[str, str | float] = {
            "bench": self.bench,
            "metric": self.metric,
            "value": self.value,
            "unit": self.unit,
        }
        if self.peer_value is not None:
            row |= {"peer": self.peer, "peer_value": self.peer_value, "ratio": self.value / self.peer_value}
        return row


def best_seconds(work: Callable[[], object], budget_seconds: float) -> float:
    """Shortest wall time of `work` over repeats that fill the budget; one extra run first compiles and warms caches."""
    work()
    best = float("inf")
    end = time.perf_counter() + budget_seconds
    while best == float("inf") or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best
