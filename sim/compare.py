"""Two runs side by side: cycles, stall reasons, source lines and place under the roofs."""

import linecache
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gpu_model.core.state import TRAFFIC
from sim.run_folder import StoredRun

MAX_LINES = 12
SIDES = ("a", "b")


@dataclass(frozen=True)
class Comparison:
    """Run A and run B.

    Attributes:
        runs: A, then B.
        differences: fields of the GPU that differ: name, value in A, value in B; None where a GPU lacks the field.
        totals: columns quantity, a, b, ratio (b over a; none where a is zero).
        kernels: columns kernel, launches_a, launches_b, cycles_a, cycles_b, ratio; by kernel name.
        stalls: columns reason, a, b (warp-cycles), change; by size of the change.
        lines: columns file, line, source, a, b (warp-cycles), change, and conflicts and uncoalesced of either, such as
            `conflicts_a`; by size of the change.
        roofs: columns run, kernel, operations, dram_intensity, l2_intensity, tera_per_second, bound_by, attained; the
            longest launch of each kernel.
    """

    runs: tuple[StoredRun, StoredRun]
    differences: tuple[tuple[str, Any, Any], ...]
    totals: pd.DataFrame
    kernels: pd.DataFrame
    stalls: pd.DataFrame
    lines: pd.DataFrame
    roofs: pd.DataFrame

    def as_dict(self) -> dict[str, Any]:
        """For JSON; NaN becomes null."""
        frames = {name: getattr(self, name) for name in ("totals", "kernels", "stalls", "lines", "roofs")}
        return {
            **{side: {"title": r.title, "command": r.command, "configuration": r.configuration, "gpu": r.product}
               for side, r in zip(SIDES, self.runs, strict=True)},
            "differences": [{"field": field, "a": a, "b": b} for field, a, b in self.differences],
            **{name: _records(frame) for name, frame in frames.items()},
        }  # fmt: skip


def compare(a: StoredRun, b: StoredRun) -> Comparison:
    """Put two runs side by side."""
    names = list(dict.fromkeys([*a.gpu, *b.gpu]))
    return Comparison(
        runs=(a, b),
        differences=tuple((n, a.gpu.get(n), b.gpu.get(n)) for n in names if a.gpu.get(n) != b.gpu.get(n)),
        totals=_totals(a, b),
        kernels=_kernels(a, b),
        stalls=_stalls(a, b),
        lines=_lines(a, b),
        roofs=pd.concat([_roofs(run, side) for run, side in zip((a, b), "AB", strict=True)], ignore_index=True),
    )


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def _totals(a: StoredRun, b: StoredRun) -> pd.DataFrame:
    quantities = ["cycles", "microseconds", "warp_instructions", "ipc", "operations"]
    quantities += [f"{level}_bytes" for level in TRAFFIC]
    rows = [(quantity, _total(a, quantity), _total(b, quantity)) for quantity in quantities]
    rows += [(count, _sum(a.lines, count), _sum(b.lines, count)) for count in ("conflicts", "uncoalesced")]
    return _with_ratio(pd.DataFrame(rows, columns=["quantity", "a", "b"]), "a", "b")


def _sum(frame: pd.DataFrame, column: str) -> float:
    return float(frame[column].to_numpy().sum())


def _total(run: StoredRun, quantity: str) -> float:
    if quantity == "microseconds":
        return _sum(run.launches, "cycles") / run.clock_mhz
    if quantity == "ipc":
        return _sum(run.launches, "warp_instructions") / max(1.0, _sum(run.launches, "sm_cycles"))
    return _sum(run.launches, quantity)


def _with_ratio(frame: pd.DataFrame, a: str, b: str) -> pd.DataFrame:
    return frame.assign(ratio=frame[b] / frame[a].where(frame[a] != 0))


def _kernels(a: StoredRun, b: StoredRun) -> pd.DataFrame:
    counted = [run.launches.assign(launches=1) for run in (a, b)]
    joined = _joined(*counted, keys=["kernel"], sums=["launches", "cycles"])
    return _with_ratio(joined, "cycles_a", "cycles_b")


def _joined(a: pd.DataFrame, b: pd.DataFrame, keys: list[str], sums: list[str]) -> pd.DataFrame:
    """Sums of two tables by key, in columns `<sum>_a` and `<sum>_b`, zero where a table lacks the key."""
    parts = [
        pd.DataFrame(frame.groupby(keys, sort=False)[sums].sum()).add_suffix(f"_{side}")
        for frame, side in ((a, "a"), (b, "b"))
    ]
    joined = parts[0].join(parts[1], how="outer", sort=False).fillna(0).astype(int).reset_index()
    return joined.reindex(columns=[*keys, *(f"{name}_{side}" for name in sums for side in SIDES)])


def _changes(joined: pd.DataFrame) -> pd.DataFrame:
    """Columns a, b and change for those of the warp-cycles, the largest change first."""
    named = joined.rename(columns={f"warp_cycles_{side}": side for side in SIDES})
    change = named["b"] - named["a"]
    named.insert(list(named.columns).index("b") + 1, "change", change)
    return named.iloc[np.argsort(-np.abs(change.to_numpy()), kind="stable")].reset_index(drop=True)


def _stalls(a: StoredRun, b: StoredRun) -> pd.DataFrame:
    joined = _changes(_joined(a.stalls, b.stalls, ["reason"], ["warp_cycles"]))
    return joined.loc[(joined["a"] != 0) | (joined["b"] != 0)].reset_index(drop=True)


def _lines(a: StoredRun, b: StoredRun) -> pd.DataFrame:
    joined = _changes(_joined(a.lines, b.lines, ["file", "line"], ["warp_cycles", "conflicts", "uncoalesced"]))
    source = [
        linecache.getline(str(file), int(line)).strip()
        for file, line in zip(joined["file"], joined["line"], strict=True)
    ]
    joined.insert(2, "source", source)
    return joined


def _roofs(run: StoredRun, side: str) -> pd.DataFrame:
    ordered = run.launches.sort_values("cycles", ascending=False, kind="stable").drop_duplicates("kernel").sort_index()
    columns = ["kernel", "operations", "dram_intensity", "l2_intensity", "tera_per_second", "bound_by", "attained"]
    return ordered.assign(run=side).reindex(columns=["run", *columns])


def place(file: str, line: int) -> str:
    """A source line as people name it."""
    return f"{Path(file).name}:{line}" if line else "no line"
