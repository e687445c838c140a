"""Simulated against measured: run the cases of `gpu_model.hardware` that data files have times for; print the error.

A data file is a CSV with the columns of `measure.COLUMNS`; `published.csv` holds what others published, files made by
`gpu_model/hardware/measure.py` what a machine with a GPU measured. Nothing in the model is fitted to their times: the
GPUs' values come from microbenchmarks and data sheets, as each TOML file says.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gpu_model.device import VirtualGPU
from gpu_model.hardware import measure
from hw.gpu_spec import GpuSpec, gpu_names, load_gpu
from sim.errors import SimError

DATA = Path(measure.__file__).parent
UNITS = ("us", "sm_cycles", "cycles")
_BEST_TILE = ", best tile"  # an autotuned time: the fastest of the cases with this prefix
_SHORTER_CHAIN = measure.CHAIN_LENGTH // 2


@dataclass(frozen=True)
class Reference:
    """One measured value.

    Attributes:
        gpu: a name of `hw.gpu_spec.gpu_names`.
        suite: group that errors are averaged over.
        case: name of a `measure.Case` or of a chain.
        value: in `unit`.
        unit: `us` for a launch with its overhead, on an L2 full of unwritten lines; `sm_cycles` for a launch alone, on
            empty caches; `cycles` for an instruction of a chain.
        source: who measured it, and how.
    """

    gpu: str
    suite: str
    case: str
    value: float
    unit: str
    source: str


@dataclass(frozen=True)
class Comparison:
    """A measured value beside the simulated one, in the reference's unit."""

    reference: Reference
    simulated: float

    @property
    def error_percent(self) -> float:
        """Signed error of the simulation, per cent of the measured value."""
        return 100 * (self.simulated / self.reference.value - 1)


def load_references(files: Iterable[Path]) -> list[Reference]:
    """Read data files.

    Raises:
        SimError: a missing file or column, an unknown GPU, case or unit, or a value that is no positive number.
    """
    references = []
    for file in files:
        if not file.is_file():
            raise SimError(f"no data file {file}; make one with gpu_model/hardware/measure.py on a machine with a GPU")
        with file.open(newline="") as text:
            rows = csv.DictReader(text)
            if tuple(rows.fieldnames or ()) != measure.COLUMNS:
                raise SimError(f"{file.name}: columns {rows.fieldnames}, expected {', '.join(measure.COLUMNS)}")
            references += [_reference(file.name, number, row) for number, row in enumerate(rows, 2)]
    return references


def _reference(file: str, line: int, row: dict[str, str]) -> Reference:
    where = f"{file}, line {line}"
    try:
        value = float(row["value"])
    except (TypeError, ValueError):
        value = float("nan")
    if not 0 < value < float("inf"):
        raise SimError(f"{where}: value {row['value']!r} is no positive number")
    if row["gpu"] not in gpu_names():
        raise SimError(f"{where}: GPU {row['gpu']!r} is not known; known: {', '.join(gpu_names())}")
    if row["unit"] not in UNITS:
        raise SimError(f"{where}: unit {row['unit']!r}, legal: {', '.join(UNITS)}")
    if not (row["case"] in measure.CHAINS if row["unit"] == "cycles" else _cases(row["case"])):
        raise SimError(f"{where}: no case {row['case']!r} in gpu_model/hardware/measure.py")
    return Reference(row["gpu"], row["suite"], row["case"], value, row["unit"], row["source"])


def _cases(name: str) -> list[measure.Case]:
    if name.endswith(_BEST_TILE):
        prefix = name.removesuffix(_BEST_TILE) + ", tile "
        return [case for case in measure.CASES if case.name.startswith(prefix)]
    return [case for case in measure.CASES if case.name == name]


def compare(references: Iterable[Reference], overrides: Mapping[str, Any] | None = None) -> Iterator[Comparison]:
    """Simulate each reference's case on its GPU, with fields of that changed by `overrides`.

    Raises:
        GpuSpecError: an override that a GPU does not have, or an impossible value.
    """
    for reference in references:
        gpu = load_gpu(reference.gpu, dict(overrides or {}))
        if reference.unit == "cycles":
            yield Comparison(reference, chain_cycles(gpu, reference.case))
        else:
            simulate = launch_us if reference.unit == "us" else launch_cycles
            yield Comparison(reference, min(simulate(gpu, case) for case in _cases(reference.case)))


def launch_us(gpu: GpuSpec, case: measure.Case) -> float:
    """Simulated microseconds of a case's launch, launch overhead included, on an L2 full of unwritten lines."""
    with VirtualGPU(gpu, timing=True, dirty_l2=1.0) as device:
        case.make("cpu")()
        timing = device.launches[-1].timing
    return timing.microseconds + timing.launch_overhead_cycles / timing.clock_mhz


def launch_cycles(gpu: GpuSpec, case: measure.Case) -> float:
    """Simulated core cycles of a case's launch on empty caches, as a profiler that clears them counts."""
    with VirtualGPU(gpu, timing=True) as device:
        case.make("cpu")()
        return device.launches[-1].timing.cycles


def chain_cycles(gpu: GpuSpec, name: str) -> float:
    """Simulated cycles of one instruction of a dependent chain: the slope between two lengths."""
    import torch

    cycles = []
    icache = gpu.core.icache.model_copy(update={"perfect": True})
    warm = gpu.model_copy(update={"core": gpu.core.model_copy(update={"icache": icache})})
    with VirtualGPU(warm, timing=True) as device:
        x, out = torch.ones(32, dtype=torch.int32), torch.zeros(32, dtype=torch.int32)
        for length in (_SHORTER_CHAIN, measure.CHAIN_LENGTH):
            text = measure.chain_assembly(measure.CHAINS[name], length)
            measure.launch_chain(x, out, text)
            cycles.append(device.launches[-1].timing.cycles)
    return (cycles[1] - cycles[0]) / (measure.CHAIN_LENGTH - _SHORTER_CHAIN)


def frame(comparisons: Iterable[Comparison]) -> pd.DataFrame:
    """Columns gpu, suite, case, unit, measured, simulated, error_percent, source."""
    return pd.DataFrame(
        [
            {
                "gpu": c.reference.gpu,
                "suite": c.reference.suite,
                "case": c.reference.case,
                "unit": c.reference.unit,
                "measured": c.reference.value,
                "simulated": c.simulated,
                "error_percent": c.error_percent,
                "source": c.reference.source,
            }
            for c in comparisons
        ]
    )


def mean_errors(table: pd.DataFrame) -> pd.DataFrame:
    """Mean absolute error in per cent and count by GPU and suite; the last row, `all`, is over every case."""
    absolute = table.assign(error=table["error_percent"].abs())
    grouped = absolute.groupby(["gpu", "suite"], as_index=False).agg(error=("error", "mean"), cases=("error", "size"))
    overall = {"gpu": "all", "suite": "all", "error": absolute["error"].mean(), "cases": len(absolute)}
    return pd.concat([grouped, pd.DataFrame([overall])], ignore_index=True)
