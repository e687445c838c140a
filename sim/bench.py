"""The benchmarks by name: each measures one part's speed against its peer or the machine's limit."""

from collections.abc import Iterator
from importlib import import_module

from sim.errors import SimError
from sim.measure import Measurement

# A benchmark is a module of `sim.benches` with `measure(budget_seconds) -> Iterator[Measurement]`.
BENCHES = ("execute", "timing", "trees", "numbers", "rtl", "area")
BUDGET_SECONDS = 3.0  # repeats of one measurement
QUICK_SECONDS = 0.5


def run_benches(name: str | None = None, quick: bool = False) -> Iterator[Measurement]:
    """Measure one benchmark, or all of them in order; yields as measurements come.

    All of them, if quick, are those of speed: areas take as long as mapping takes.

    Raises:
        SimError: no benchmark of that name.
    """
    if name is not None and name not in BENCHES:
        raise SimError(f"no benchmark named {name!r}; there are {', '.join(BENCHES)}")
    chosen = (name,) if name is not None else [bench for bench in BENCHES if not (quick and bench == "area")]
    for bench in chosen:
        yield from import_module(f"sim.benches.{bench}").measure(QUICK_SECONDS if quick else BUDGET_SECONDS)


def render(measurement: Measurement) -> str:
    """One line for people."""
    row = measurement.as_dict()
    line = f"{measurement.bench:<8} {measurement.metric:<42} {_grouped(measurement.value):>14} {measurement.unit:<13}"
    if "ratio" in row:
        line += f" {row['ratio']:.3g} x {measurement.peer} ({_grouped(float(row['peer_value']))})"
    return line.rstrip()


def _grouped(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
