"""A run's numbers as tables: pandas frames in memory, Parquet on disk."""

from pathlib import Path

import pandas as pd

from sim.results import RunResult
from sim.roofline import Roofline, roofline


def launches_frame(run: RunResult) -> pd.DataFrame:
    """One row per launch: cycles, IPC, occupancy, roofline, bytes by level (columns `<level>_bytes`)."""
    return pd.DataFrame([_launch_row(i, run) for i in range(len(run.launches))])


def stalls_frame(run: RunResult) -> pd.DataFrame:
    """One row per launch and stall reason: warp-cycles."""
    return _concatenate([launch.timing.stalls_frame().assign(launch=i) for i, launch in enumerate(run.launches)])


def lines_frame(run: RunResult) -> pd.DataFrame:
    """One row per launch and source line: what was issued and how long warps waited there."""
    frames = [launch.timing.lines_frame(launch.program).assign(launch=i) for i, launch in enumerate(run.launches)]
    return _concatenate(frames)


def accuracy_frame(run: RunResult) -> pd.DataFrame:
    """One row per format: the errors of `sim.dots.FormatAccuracy`."""
    return pd.DataFrame([accuracy.as_dict() for accuracy in run.accuracy])


def write_tables(run: RunResult, folder: Path) -> list[Path]:
    """Write each table that has rows as `<name>.parquet` (zstd) with the configuration hash in every row."""
    frames = {
        "launches": launches_frame(run),
        "stalls": stalls_frame(run),
        "lines": lines_frame(run),
        "accuracy": accuracy_frame(run),
    }
    paths = []
    for name, frame in frames.items():
        if not frame.empty:
            path = folder / f"{name}.parquet"
            frame.assign(configuration=run.configuration).to_parquet(path, index=False, compression="zstd")
            paths.append(path)
    return paths


def _launch_row(index: int, run: RunResult) -> dict[str, object]:
    launch = run.launches[index]
    timing = launch.timing
    return {
        "launch": index,
        "kernel": timing.kernel,
        "gpu": timing.gpu,
        "grid": "x".join(map(str, timing.grid)),
        "compiled_for": launch.configuration,
        "block_threads": launch.block_threads,
        "cycles": timing.cycles,
        "launch_overhead_cycles": timing.launch_overhead_cycles,
        "clock_mhz": timing.clock_mhz,
        "warp_instructions": timing.warp_instructions,
        "ipc": timing.ipc,
        "sm_cycles": timing.sm_cycles,
        "warps_per_sm": timing.occupancy.warps,
        "limited_by": timing.occupancy.limited_by,
        **_roofline_columns(roofline(launch, run.gpu)),
        **{f"{level}_bytes": count for level, count in timing.traffic_bytes.items()},
    }


def _roofline_columns(line: Roofline) -> dict[str, object]:
    columns = line.as_dict()
    columns.pop("operations_by_kind")
    return columns


def _concatenate(frames: list[pd.DataFrame]) -> pd.DataFrame:
    frames = [frame for frame in frames if not frame.empty]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
