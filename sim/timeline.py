"""A launch as a Chrome trace (chrome://tracing, ui.perfetto.dev): a process per SM, a track per warp slot.

Time is counted in cycles: one microsecond on screen is one cycle, because the format's own resolution of a
nanosecond is coarser than a GPU clock. Format: "Trace Event Format", the JSON both viewers read.
"""

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gpu_model.program import Program
from gpu_model.timing import Timing

MAX_WARPS = 20_000
MAX_ISSUES = 100_000  # about 1 MB compressed


def write_timeline(path: Path, launches: Iterable[tuple[Program, Timing]]) -> Path:
    """Write launches one after another on a common axis; returns `path` (gzip-compressed JSON).

    A launch contributes its first `MAX_WARPS` warps and `MAX_ISSUES` issue events; how many were left out is stated
    in the trace's `otherData`.
    """
    origin = 0
    left_out = {"warps": 0, "issues": 0}
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=6) as file:
        file.write('{"displayTimeUnit":"ns","traceEvents":[\n')
        file.write(json.dumps(_instant("start", 0)))
        for program, timing in launches:
            for event in _launch_events(program, timing, origin):
                file.write(",\n" + json.dumps(event, separators=(",", ":")))
            left_out["warps"] += max(0, len(timing.warps) - MAX_WARPS)
            left_out["issues"] += max(0, len(timing.events) - MAX_ISSUES)
            origin += timing.launch_overhead_cycles + timing.cycles
        file.write(f'\n],"otherData":{json.dumps({"unit": "1 us shown = 1 cycle", "left_out": left_out})}}}\n')
    return path


def _launch_events(program: Program, timing: Timing, origin: int) -> Iterator[dict[str, Any]]:
    warps, issues = timing.warps[:MAX_WARPS], timing.events[:MAX_ISSUES]
    yield _instant(f"launch {timing.kernel}", origin)
    yield from _track_names(warps)
    for warp in warps:
        cycles = int(warp["end_cycle"] - warp["start_cycle"])
        arguments = {"kernel": timing.kernel, "issued": int(warp["issued"])}
        name = f"block {warp['block']} warp {warp['warp']}"
        yield _slice(name, warp, origin + int(warp["start_cycle"]), cycles, arguments)
    for issue in issues:
        if issue["warp"] < len(warps):
            row, warp = int(issue["row"]), warps[issue["warp"]]
            arguments = {"sass": program.text[row], "line": int(program.rows[row]["line"])}
            yield _slice(str(program.rows[row]["opcode"]), warp, origin + int(issue["cycle"]), 1, arguments)


def _slice(name: str, warp: np.ndarray | np.void, start: int, cycles: int, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "ph": "X", "ts": start, "dur": cycles, "pid": int(warp["sm"]), "tid": _track(warp),
            "args": arguments}  # fmt: skip


def _track(warp: np.ndarray | np.void) -> int:
    return int(warp["sub_core"]) * 64 + int(warp["slot"]) + 1


def _track_names(warps: np.ndarray) -> Iterator[dict[str, Any]]:
    tracks = {(int(warp["sm"]), _track(warp)): warp for warp in warps}
    for sm in sorted({sm for sm, _ in tracks}):
        yield _metadata("process_name", sm, 0, f"SM {sm}")
    for (sm, track), warp in sorted(tracks.items(), key=lambda entry: entry[0]):
        yield _metadata("thread_name", sm, track, f"sub-core {warp['sub_core']} slot {warp['slot']}")


def _metadata(name: str, sm: int, track: int, value: str) -> dict[str, Any]:
    return {"name": name, "ph": "M", "pid": sm, "tid": track, "args": {"name": value}}


def _instant(name: str, cycle: int) -> dict[str, Any]:
    return {"name": name, "ph": "i", "s": "g", "ts": cycle, "pid": 0, "tid": 0}
