"""What the checks found, in words."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from gpu_model.check.layout import (
    ADDRESS,
    KIND,
    LANES,
    OTHER_LANE,
    OTHER_ROW,
    OTHER_WARP,
    ROW,
    SIZE,
    TIMES,
    WARP,
    Kind,
)
from gpu_model.launch import Launch
from gpu_model.program import Program

NAMES = {
    Kind.UNWRITTEN_SHARED: "uninitialised shared read",
    Kind.UNWRITTEN_LOCAL: "uninitialised local read",
    Kind.READ_AFTER_WRITE: "shared race, read after write",
    Kind.WRITE_AFTER_READ: "shared race, write after read",
    Kind.WRITE_AFTER_WRITE: "shared race, write after write",
    Kind.UNFENCED: "missing proxy fence",
    Kind.INACTIVE_SOURCE: "shuffle from an inactive lane",
    Kind.NOT_CONVERGED: "lanes not converged",
    Kind.OUTSIDE_MASK: "lane outside its mask",
}
_ASYNCHRONOUS = ("LDGSTS", "UTMALDG", "UBLKCP")
_WITHOUT_ADDRESS = (Kind.INACTIVE_SOURCE, Kind.NOT_CONVERGED, Kind.OUTSIDE_MASK)


@dataclass(frozen=True)
class Place:
    """An instruction of a kernel.

    Attributes:
        row: index in `Program.rows`.
        pc: byte offset in the kernel.
        text: its disassembly.
        line: "file:line" of the Triton source, "" if the compiler gave none. Code that the compiler shares
            between callers has none of its own; it is named by the lines that call it.
    """

    row: int
    pc: int
    text: str
    line: str


@dataclass(frozen=True)
class Finding:
    """One kind of error at one instruction, or between two.

    Attributes:
        kind: one of `NAMES`.
        kernel: name.
        block: coordinates of the first block it was seen in.
        warp: warp of the block.
        lanes: lanes concerned when it was first seen.
        address: offset in the block's shared memory or the thread's local memory; -1 where none is concerned.
        size: bytes a lane accessed.
        about: what of it is wrong, in a sentence.
        place: the instruction that was found wrong.
        other: of a race, the access before it.
        other_warp: its warp and lane, -1 without another access.
        other_lane: see above.
        times: lane accesses that were found wrong like this.
    """

    kind: str
    kernel: str
    block: tuple[int, int, int]
    warp: int
    lanes: tuple[int, ...]
    address: int
    size: int
    about: str
    place: Place
    other: Place | None
    other_warp: int
    other_lane: int
    times: int

    def __str__(self) -> str:
        where = f"kernel {self.kernel}, PC {self.place.pc:#06x}" + (f", {self.place.line}" if self.place.line else "")
        who = f"block {self.block}, warp {self.warp}, {lane_ranges(self.lanes)}"
        return f"{self.kind}: {where}; {who}; {self.place.text}; {self.about}"

    def as_dict(self) -> dict:
        """The finding as JSON takes it."""
        other = self.other and {
            "line": self.other.line, "pc": self.other.pc, "instruction": self.other.text,
            "warp": self.other_warp, "lane": self.other_lane,
        }  # fmt: skip
        return {
            "kind": self.kind, "kernel": self.kernel, "line": self.place.line, "pc": self.place.pc,
            "instruction": self.place.text, "block": list(self.block), "warp": self.warp, "lanes": list(self.lanes),
            "address": self.address, "size": self.size, "about": self.about, "other": other, "times": self.times,
        }  # fmt: skip


def lane_ranges(lanes: Iterable[int]) -> str:
    """ "lane 3", "lanes 0-15, 17"."""
    ranges: list[list[int]] = []
    for lane in sorted(lanes):
        if ranges and lane == ranges[-1][1] + 1:
            ranges[-1][1] = lane
        else:
            ranges.append([lane, lane])
    text = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
    return f"lane {text}" if text.isdigit() else f"lanes {text}"


def place_of(program: Program, row: int) -> Place:
    """An instruction by its row."""
    instruction = program.rows[row]
    return Place(row, int(instruction["pc"]), program.text[row], _line(program, row))


def _line(program: Program, row: int) -> str:
    rows = program.rows
    if not rows["line"][row]:
        return " or ".join(dict.fromkeys(_line_of(program, caller) for caller in _callers(program, row)))
    return _line_of(program, row)


def _line_of(program: Program, row: int) -> str:
    line = int(program.rows["line"][row])
    return f"{program.files[program.rows['file'][row]]}:{line}" if line else ""


def _callers(program: Program, row: int) -> list[int]:
    """Calls of the function that a row without a line belongs to: the nearest one that begins at or before it."""
    calls = np.flatnonzero(program.rows["opcode"] == "CALL")
    targets = {int(call): _target(program, int(call)) for call in calls}
    begins = max((target for target in targets.values() if 0 <= target <= row), default=-1)
    return [call for call, target in targets.items() if target == begins and program.rows["line"][call]]


def _target(program: Program, call: int) -> int:
    """Row that a call goes to, -1 if the host provides it."""
    values = [int(operand["value"]) for operand in program.rows["operands"][call] if operand["value"]]
    rows = np.flatnonzero(program.rows["pc"] == values[-1]) if values else []
    return int(rows[0]) if len(rows) else -1


def describe(launch: Launch, block: int, row: np.ndarray) -> Finding:
    """A row of the checker's table as a `Finding`."""
    program, kind = launch.program, Kind(int(row[KIND]))
    other = place_of(program, int(row[OTHER_ROW])) if row[OTHER_ROW] >= 0 else None
    return Finding(
        kind=NAMES[kind],
        kernel=program.name,
        block=launch.block_index(block),
        warp=int(row[WARP]),
        lanes=tuple(lane for lane in range(32) if int(row[LANES]) >> lane & 1),
        address=-1 if kind in _WITHOUT_ADDRESS else int(row[ADDRESS]),
        size=int(row[SIZE]),
        about=_about(kind, row, other),
        place=place_of(program, int(row[ROW])),
        other=other,
        other_warp=int(row[OTHER_WARP]),
        other_lane=int(row[OTHER_LANE]),
        times=int(row[TIMES]),
    )


def _about(kind: Kind, row: np.ndarray, other: Place | None) -> str:
    if kind == Kind.INACTIVE_SOURCE:
        return f"the value of lane {row[ADDRESS]}, which does not execute this, is undefined"
    if kind == Kind.NOT_CONVERGED:
        return f"nothing makes the lanes meet with lane {row[ADDRESS]} here; a WARPSYNC (__syncwarp) is missing"
    if kind == Kind.OUTSIDE_MASK:
        return f"the mask {int(row[ADDRESS]):#x} does not name every lane that executes this"
    space = "local" if kind == Kind.UNWRITTEN_LOCAL else "shared"
    where = f"{row[SIZE]} bytes at {space} {int(row[ADDRESS]):#x}"
    if other is None:
        return f"{where}, of which some were never written"
    party = f"warp {row[OTHER_WARP]}, lane {row[OTHER_LANE]}, PC {other.pc:#06x}" + (other.line and f", {other.line}")
    if kind == Kind.UNFENCED:
        return f"{where} were written by {party}: {other.text}, and no fence.proxy.async followed"
    if kind == Kind.WRITE_AFTER_WRITE and row[ROW] == row[OTHER_ROW] and row[WARP] == row[OTHER_WARP]:
        return (
            f"{where}: lane {row[OTHER_LANE]} stores another value there in the same instruction, and either may stay"
        )
    done = "read" if kind == Kind.WRITE_AFTER_READ else "written"
    late = other.text.split()[0].startswith(_ASYNCHRONOUS) or any(f" {name}" in other.text for name in _ASYNCHRONOUS)
    missing = "nothing waits for that copy" if late and done == "written" else "no barrier is between"
    return f"{where} were {done} by {party}: {other.text}; {missing}"


def merge(found: dict[tuple, Finding], more: Iterable[Finding]) -> None:
    """Add findings to those before, counting what was seen already."""
    for finding in more:
        key = (finding.kernel, finding.kind, finding.place, finding.other)
        first = found.get(key)
        found[key] = replace(first, times=first.times + finding.times) if first else finding
