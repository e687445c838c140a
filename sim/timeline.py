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
MAX_ISSUES = 100_000  # about 0.5 MB compressed


def write_timeline(path: Path, launches: Iterable[tuple[Program, Timing]]) -> Path:
    """Write launches one after another on a common axis; returns `path` (gzip-compressed JSON).

    A launch contributes its first `MAX_WARPS` warps and `MAX_ISSUES` issue events; what was left out is stated in
    the trace's metadata.
    """
    origin = 0
    left_out = {"warps": 0, "issues": 0}
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=6) as file:
        file.write('{"displayTimeUnit":"ns","traceEvents":[\n')
        file.write(json.dumps(_instant("start of timeline", 0)))
        for program, timing in launches:
            for event in _launch_events(program, timing, origin):
                file.write(",\n" + json.dumps(event, separators=(",", ":")))
            left_out["warps"] += max(0, len(timing.warps) - MAX_WARPS)
            left_out["issues"] += max(0, len(timing.issues) - MAX_ISSUES)
            origin += timing.launch_overhead_cycles + timing.cycles
        file.write(f'\n],"otherData":{json.dumps({"unit": "1 us shown = 1 cycle", "left_out": left_out})}}}\n')
    return path


def _launch_events(program: Program, timing: Timing, origin: int) -> Iterator[dict[str, Any]]:
    warps, issues = timing.warps[:MAX_WARPS], timing.issues[:MAX_ISSUES]
    yield _instant(f"launch {timing.kernel}", origin)
    yield from _track_names(warps)
    for warp in warps:
        name = f"block {warp['block']} warp {warp['warp']}"
        start, end = int(warp["start_cycle"]), int(warp["end_cycle"])
        arguments = {"kernel": timing.kernel, "issued": int(warp["issued"])}
        yield _slice(name, warp, origin + start, end - start, arguments)
    slots = {_key(warp): warp["slot"] for warp in warps}
    for issue in issues:
        if _key(issue) in slots:
            yield _issue(program, issue, int(slots[_key(issue)]), origin)


def _key(record: np.void) -> tuple[int, int, int]:
    return int(record["sm"]), int(record["block"]), int(record["warp"])


def _track(sub_core: int, slot: int) -> int:
    return sub_core * 64 + slot + 1


def _slice(name: str, warp: np.void, start: int, cycles: int, arguments: dict[str, Any]) -> dict[str, Any]:
    track = _track(int(warp["sub_core"]), int(warp["slot"]))
    return {
        "name": name,
        "ph": "X",
        "ts": start,
        "dur": cycles,
        "pid": int(warp["sm"]),
        "tid": track,
        "args": arguments,
    }


def _issue(program: Program, issue: np.void, slot: int, origin: int) -> dict[str, Any]:
    row = int(issue["row"])
    arguments = {"sass": program.text[row], "line": int(program.rows[row]["line"])}
    return {
        "name": str(program.rows[row]["opcode"]),
        "ph": "X",
        "ts": origin + int(issue["cycle"]),
        "dur": 1,
        "pid": int(issue["sm"]),
        "tid": _track(int(issue["sub_core"]), slot),
        "args": arguments,
    }


def _track_names(warps: np.ndarray) -> Iterator[dict[str, Any]]:
    for sm, sub_core, slot in sorted({(int(w["sm"]), int(w["sub_core"]), int(w["slot"])) for w in warps}):
        track = _track(sub_core, slot)
        yield _metadata("process_name", sm, 0, f"SM {sm}")
        yield _metadata("thread_name", sm, track, f"sub-core {sub_core} slot {slot}")


def _metadata(name: str, sm: int, track: int, value: str) -> dict[str, Any]:
    return {"name": name, "ph": "M", "pid": sm, "tid": track, "args": {"name": value}}


def _instant(name: str, cycle: int) -> dict[str, Any]:
    return {"name": name, "ph": "i", "s": "g", "ts": cycle, "pid": 0, "tid": 0}
