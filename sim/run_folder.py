"""A run as it lies in its folder: `run.json` and the Parquet tables beside it, to be read again later."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gpu_model.core.state import TRAFFIC
from hw.gpu_settings import flatten
from sim.errors import SimError
from sim.results import RunResult

SUMMARY = "run.json"
_REQUIRED = {
    "launches": ("launch", "kernel", "cycles", "warp_instructions", "ipc", "sm_cycles", "operations", "dram_intensity",
                 "l2_intensity", "tera_per_second", "bound_by", "attained", *(f"{level}_bytes" for level in TRAFFIC)),
    "stalls": ("launch", "reason", "warp_cycles"),
    "lines": ("launch", "file", "line", "issued", "warp_cycles", "conflicts", "uncoalesced"),
}  # fmt: skip
_FIELDS = {"title": str, "command": str, "product": str, "configuration": str, "clock_mhz": int, "gpu": dict}


@dataclass(frozen=True)
class StoredRun:
    """A run read back.

    Attributes:
        folder: where it lies.
        title: what ran.
        command: the command that repeats it.
        product: the GPU's name on the box.
        configuration: hash of the specs behind it.
        clock_mhz: core clock, MHz.
        gpu: the GPU's fields by dotted name.
        launches: the tables of `sim.tables`.
        stalls: likewise.
        lines: likewise.
    """

    folder: Path
    title: str
    command: str
    product: str
    configuration: str
    clock_mhz: int
    gpu: dict[str, Any]
    launches: pd.DataFrame
    stalls: pd.DataFrame
    lines: pd.DataFrame


def write_summary(run: RunResult, folder: Path) -> Path:
    """Write what the tables do not say of a run."""
    content = {
        "title": run.title,
        "command": run.command,
        "product": run.gpu.product,
        "configuration": run.configuration,
        "clock_mhz": run.gpu.core_clock_mhz,
        "gpu": dict(flatten(run.gpu.model_dump(mode="json"))),
    }
    path = folder / SUMMARY
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def read_run(folder: Path) -> StoredRun:
    """Read a run's folder.

    Raises:
        SimError: no such folder, or a file in it that is missing, damaged or of another version.
    """
    path = folder / SUMMARY
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SimError(f"{folder} holds no {SUMMARY}; `warptree run --report {folder} SCRIPT` writes one") from None
    except (OSError, ValueError) as error:
        raise SimError(f"{path} cannot be read: {error}; run again to write it anew") from error
    fields = content if isinstance(content, dict) else {}
    for name, kind in _FIELDS.items():
        if not isinstance(fields.get(name), kind):
            raise SimError(f"{path}: field {name!r} is {fields.get(name)!r}, expected a {kind.__name__}; run again")
    known: dict[str, Any] = {name: fields[name] for name in _FIELDS}
    tables: dict[str, Any] = {name: _table(folder, name) for name in _REQUIRED}
    return StoredRun(folder=folder, **known, **tables)


def _table(folder: Path, name: str) -> pd.DataFrame:
    path = folder / f"{name}.parquet"
    if not path.is_file():
        raise SimError(f"{folder} holds no {path.name}; `warptree run --report {folder} SCRIPT` writes it")
    try:
        frame = pd.read_parquet(path)
    except Exception as error:  # pyarrow names a damaged file by errors of many types
        raise SimError(f"{path} cannot be read: {error}; run again to write it anew") from error
    missing = [column for column in _REQUIRED[name] if column not in frame]
    if missing:
        raise SimError(f"{path} has no column {', '.join(missing)}; it is of another version: run again")
    return frame
