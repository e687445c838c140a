"""The registered MAC in Verilator or Icarus, driven by cocotb with recorded vectors and compared cycle by cycle."""

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from amaranth.lib.wiring import Component

from rtl import icarus, verilated
from rtl.mac import Mac, MacDesign
from rtl.simulate import checked, port_words

TOPLEVEL = "mac"
BENCH = "rtl.benches.mac_bench"

SIMULATORS = {"verilator": verilated, "icarus": icarus}

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class MacVectors:
    """N consecutive cycles of one mode, each with the accumulator it must leave.

    Attributes:
        a: codes uint8[N, lanes] of the left operand.
        b: codes uint8[N, lanes] of the right operand.
        xa: E8M0 scale codes uint8[N] of `a`'s blocks.
        xb: E8M0 scale codes uint8[N] of `b`'s blocks.
        clear: bool[N], this cycle starts a dot product from +0.
        expected: accumulator patterns uint32[N] after each cycle.
    """

    a: np.ndarray
    b: np.ndarray
    xa: np.ndarray
    xb: np.ndarray
    clear: np.ndarray
    expected: np.ndarray


@dataclass(frozen=True)
class Mismatch:
    """The first cycle of a mode whose accumulator differs: its inputs, and both patterns."""

    element: str
    index: int
    a: tuple[int, ...]
    b: tuple[int, ...]
    xa: int
    xb: int
    acc: int
    expected: int
    got: int

    def __str__(self) -> str:
        a, b = ([f"{code:#04x}" for code in codes] for codes in (self.a, self.b))
        return (
            f"{self.element} vector {self.index}: a=[{' '.join(a)}] b=[{' '.join(b)}] xa={self.xa} xb={self.xb} "
            f"acc={self.acc:#x}: expected {self.expected:#x}, RTL gave {self.got:#x}"
        )


@dataclass(frozen=True)
class CosimResult:
    """What a cocotb run found.

    Attributes:
        vectors: cycles checked, per element name.
        mismatches: of those, cycles whose accumulator differed.
        first_mismatch: the first of each element that has one.
        seconds: wall time of the simulation, build not included.
        build_seconds: wall time until the simulator was ready; near zero from the cache.
    """

    vectors: dict[str, int]
    mismatches: dict[str, int]
    first_mismatch: dict[str, Mismatch]
    seconds: float
    build_seconds: float

    @property
    def ok(self) -> bool:
        """No mismatch in any mode."""
        return not any(self.mismatches.values())


def run_cocotb(
    design: MacDesign,
    vectors: Mapping[str, MacVectors],
    *,
    on_progress: Progress | None = None,
    component: Component | None = None,
    simulator: str = "verilator",
) -> CosimResult:
    """Simulate the MAC's RTL on every vector and compare the accumulator after each cycle.

    The bench also checks that the accumulator holds without `valid` and that reset clears it. Nothing is written
    outside the build cache and a temporary folder.

    Args:
        design: the MAC; its model is built on first use (tens of seconds) and cached.
        vectors: per element name, at least one cycle; the first cycle must have `clear` set.
        on_progress: called with element, cycles done, cycles in all, as the simulation advances.
        component: RTL to run in place of `Mac(design)`, with the same ports.
        simulator: a name in `SIMULATORS`; Icarus knows undefined values, and is much slower.

    Raises:
        ValueError: unknown simulator, no vectors, unknown element, wrong shapes, values out of range.
        ToolError: a tool is missing, the build failed, or the simulation broke off or failed its protocol checks.
    """
    if simulator not in SIMULATORS:
        raise ValueError(f"simulator: got {simulator!r}, legal {', '.join(SIMULATORS)}")
    columns = _columns(design, vectors)
    started = time.perf_counter()
    model = SIMULATORS[simulator].build(component or Mac(design), TOPLEVEL)
    built = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="warptree-cosim-") as scratch:
        raw = _simulate(simulator, model, columns, Path(scratch), on_progress)
    seconds = time.perf_counter() - built
    first = {
        name: _mismatch(name, vectors[name], **raw[name]["first"]) for name in vectors if raw[name]["first"] is not None
    }
    return CosimResult(
        vectors={name: raw[name]["vectors"] for name in vectors},
        mismatches={name: raw[name]["mismatches"] for name in vectors},
        first_mismatch=first,
        seconds=seconds,
        build_seconds=built - started,
    )


def _columns(design: MacDesign, vectors: Mapping[str, MacVectors]) -> dict[str, np.ndarray]:
    """The vector file: `<element>/<port>` and `<element>/expected`, uint32[N] each."""
    if not vectors:
        raise ValueError("vectors: got none, must have at least one element's")
    columns = {}
    for name, given in vectors.items():
        ports = port_words(design, name, given.a, given.b, given.xa, given.xb)
        n = len(ports["a"])
        if given.clear.shape != (n,) or given.clear.dtype != bool or not n or not given.clear[0]:
            raise ValueError(f"vectors[{name!r}].clear: must be bool[{n}], at least one, the first one set")
        ports["clear"] = given.clear.astype(np.uint32)
        ports["expected"] = checked(f"vectors[{name!r}].expected", given.expected, design.accumulator_bits, (n,))
        columns |= {f"{name}/{port}": column for port, column in ports.items()}
    return columns


def _simulate(
    simulator: str, model: Path, columns: dict[str, np.ndarray], scratch: Path, on_progress: Progress | None
) -> dict[str, dict]:
    np.savez(scratch / "vectors.npz", allow_pickle=False, **columns)
    files = {
        "MAC_BENCH_VECTORS": scratch / "vectors.npz",
        "MAC_BENCH_RESULT": scratch / "result.json",
        "MAC_BENCH_PROGRESS": scratch / "progress.txt",
    }
    environment = {key: str(path) for key, path in files.items()}
    SIMULATORS[simulator].run(model, TOPLEVEL, BENCH, environment, scratch,
                              poll=lambda: _report(files["MAC_BENCH_PROGRESS"], on_progress))  # fmt: skip
    return json.loads(files["MAC_BENCH_RESULT"].read_text())


def _report(progress: Path, on_progress: Progress | None) -> None:
    if on_progress is None or not progress.exists():
        return
    lines = [line for line in progress.read_text().splitlines(keepends=True) if line.endswith("\n")]
    if lines:
        name, done, total = lines[-1].split()
        on_progress(name, int(done), int(total))


def _mismatch(name: str, vectors: MacVectors, index: int, got: int) -> Mismatch:
    return Mismatch(
        element=name,
        index=index,
        a=tuple(vectors.a[index].tolist()),
        b=tuple(vectors.b[index].tolist()),
        xa=int(vectors.xa[index]),
        xb=int(vectors.xb[index]),
        acc=0 if vectors.clear[index] else int(vectors.expected[index - 1]),
        expected=int(vectors.expected[index]),
        got=got,
    )
