"""The issue stage's RTL on the instruction streams of the core model: does every instruction issue in the same cycle?

Instructions arrive, and counters of variable-latency units go down, in the cycles of the model; everything else the
RTL does on its own: who issues when, Control, Allocate, register ports, constants.
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from gpu_model.core.opcodes import Action, Path, Pipe
from gpu_model.issue_events import ACCEPT, FETCH, ISSUE, RELEASE, START, WAKE
from gpu_model.issue_stream import IssueStream
from rtl.compiled import PORT_BITS, QUICK_BUILD, WORD_BITS, ClockedRtl
from rtl.issue_stage import IssueDesign, IssueStage
from rtl.issue_stage.cosim import run_cocotb
from rtl.issue_stage.design import COUNTERS, NO_COUNTER, RELEASED_BITS, SLOTS
from rtl.issue_stage.instruction import MOST_REGISTERS, OPERAND, pack
from sim.issue_returns import register_columns, returns

FETCH_TO_ISSUE = 2
_DRAIN = 8  # cycles after the last issue, so that it passes Control


@dataclass(frozen=True)
class Stimulus:
    """One sub-core's run: inputs of `IssueStage` by port, and what must come out.

    Attributes:
        ports: an array for each input, as `ClockedRtl` takes them.
        issue: int64[cycles], warp slot that must issue, -1 for none.
        control: int64[cycles], warp slot whose instruction must enter Control, -1 for none.
        row: int64[cycles], program row that issues, -1 for none.
    """

    ports: dict[str, np.ndarray]
    issue: np.ndarray
    control: np.ndarray
    row: np.ndarray


@dataclass(frozen=True)
class Divergence:
    """The first cycle in which RTL and model differ; warp slots, -1 for none."""

    sub_core: int
    stage: str
    cycle: int
    expected: int
    got: int
    row: int

    def __str__(self) -> str:
        def shown(warp: int) -> str:
            return f"warp slot {warp}" if warp >= 0 else "nothing"

        at = f" (program row {self.row})" if self.row >= 0 else ""
        return (
            f"sub-core {self.sub_core}, cycle {self.cycle}, {self.stage}: the model has {shown(self.expected)}{at}, "
            f"the RTL {shown(self.got)}"
        )


@dataclass(frozen=True)
class Comparison:
    """What a run of the RTL found.

    Attributes:
        instructions: issued by the model.
        cycles: simulated in RTL, over sub-cores.
        divergence: the first of the first sub-core that has one.
    """

    instructions: int
    cycles: int
    divergence: Divergence | None


@cache
def compiled_stage(design: IssueDesign) -> ClockedRtl:
    """`IssueStage` of a design as a function; built on first use (tens of seconds) and kept."""
    return ClockedRtl(IssueStage(design), "issue_stage", QUICK_BUILD)


def compare(stream: IssueStream, design: IssueDesign, stage: ClockedRtl | None = None) -> Comparison:
    """Run each sub-core's stream through a design's RTL, or through `stage` in its place.

    Raises:
        ValueError: an instruction for which there is no RTL.
        ToolError: the tools to build the RTL are missing.
    """
    run = stage or compiled_stage(design)
    instructions = cycles = 0
    for sub_core in np.unique(stream.events["sub_core"]).tolist():
        wanted = stimulus(stream, design, sub_core)
        instructions += int((wanted.issue >= 0).sum())
        cycles += len(wanted.issue)
        if divergence := diverges(wanted, run(**wanted.ports), sub_core):
            return Comparison(instructions, cycles, divergence)
    return Comparison(instructions, cycles, None)


def compare_in_cocotb(
    stream: IssueStream, design: IssueDesign, sub_core: int, cycles: int, component: IssueStage | None = None
) -> Comparison:
    """The same for the first cycles of one sub-core, in Verilator under cocotb, with a reset in flight beside.

    Args:
        stream: what the model did.
        design: with a slot for each warp of the stream.
        sub_core: which.
        cycles: most to run.
        component: RTL to run in place of the design's.

    Raises:
        ValueError: an instruction for which there is no RTL.
        ToolError: as `rtl.issue_stage.cosim.run_cocotb`.
    """
    whole = stimulus(stream, design, sub_core)
    ports = {name: array[:cycles] for name, array in whole.ports.items()}
    wanted = Stimulus(ports, whole.issue[:cycles], whole.control[:cycles], whole.row[:cycles])
    divergence = diverges(wanted, run_cocotb(design, ports, component), sub_core)
    return Comparison(int((wanted.issue >= 0).sum()), len(wanted.issue), divergence)


def slots_for(stream: IssueStream, design: IssueDesign) -> IssueDesign:
    """The design with no more warp slots than a stream uses, or four: it is built much sooner."""
    used = int(stream.events["local"].max()) + 1
    return replace(design, warps=next(warps for warps in (1, 4, design.warps) if warps >= used))


def diverges(wanted: Stimulus, got: dict[str, np.ndarray], sub_core: int) -> Divergence | None:
    """The first difference between what must come out and what came."""
    found = []
    for stage, expected in (("Issue", wanted.issue), ("Control", wanted.control)):
        name = stage.lower()
        warps = np.where(got[name], got[f"{name}_warp"].astype(np.int64), -1)
        if (wrong := warps != expected).any():
            at = int(wrong.argmax())
            row = int(wanted.row[at]) if stage == "Issue" else -1
            found.append(Divergence(sub_core, stage, at, int(expected[at]), int(warps[at]), row))
    if got["overflow"].any():
        at = int(got["overflow"].argmax())
        found.append(Divergence(sub_core, "bookings of read ports or results, beyond their room", at, -1, -1, -1))
    return min(found, key=lambda divergence: divergence.cycle, default=None)


def stimulus(stream: IssueStream, design: IssueDesign, sub_core: int) -> Stimulus:
    """One sub-core's inputs and outputs by cycle.

    Raises:
        ValueError: an instruction for which there is no RTL, or a counter that goes down too far in a cycle.
    """
    count = stream.cycles + _DRAIN
    # What memory still does when the last warp has gone concerns nobody.
    mine = stream.events[(stream.events["sub_core"] == sub_core) & (stream.events["cycle"] < stream.cycles)]
    of = {kind: mine[mine["kind"] == kind] for kind in range(6)}
    issued = of[ISSUE]
    issue, control, row = np.full((3, count), -1, np.int64)
    issue[issued["cycle"]], row[issued["cycle"]] = issued["local"], issued["item"]
    control[issued["control"]] = issued["local"]
    # An input of one cycle shows in the next.
    fetches, pushed = of[FETCH], of[FETCH]["cycle"] + FETCH_TO_ISSUE - 1
    words = instruction_words(stream, design)
    last = instruction_words(stream, design, ends=True)
    instruction = np.zeros((count, words.shape[1]), np.uint32)
    instruction[pushed] = np.where(fetches["last"][:, None] > 0, last[fetches["item"]], words[fetches["item"]])
    push, push_warp, accepted = np.zeros((3, count), np.uint32)
    push[pushed], push_warp[pushed] = 1, fetches["local"]
    accepted[of[ACCEPT]["cycle"] - 1] = 1
    ports = {
        "rst": np.zeros(count, np.uint32),
        "start": _masks(of[START]["cycle"], of[START]["local"], count),
        "wake": _wakes(stream, of[WAKE], issued, count),
        "push": push,
        "push_warp": push_warp,
        "instruction": instruction,
        "released": _released(of[RELEASE], design, count),
        "accepted": accepted,
        "fp64_taken": _fp64_taken(stream, sub_core, count),
    }
    if design.consumers:
        ports |= returns(stream.table, mine, count)
    return Stimulus(ports, issue, control, row)


def _masks(cycle: np.ndarray, local: np.ndarray, count: int) -> np.ndarray:
    """One bit a warp slot, in the cycles given."""
    masks = np.zeros(count, np.uint32)
    np.bitwise_or.at(masks, cycle, np.uint32(1) << local.astype(np.uint32))
    return masks


def _wakes(stream: IssueStream, woken: np.ndarray, issued: np.ndarray, count: int) -> np.ndarray:
    """Barriers that open, and ends of what a MEMBAR takes."""
    membar = issued[stream.table["action"][issued["item"]] == Action.MEMBAR]
    over = membar["cycle"] + np.maximum(stream.table["tail"][membar["item"]], 1)
    cycle = np.concatenate([woken["cycle"], over]) - 1
    return _masks(np.minimum(cycle, count - 1), np.concatenate([woken["local"], membar["local"]]), count)


def _released(released: np.ndarray, design: IssueDesign, count: int) -> np.ndarray:
    """Words of the port `released`."""
    down = np.zeros((count, design.warps, COUNTERS), np.uint8)
    np.add.at(down, (released["cycle"] - 1, released["local"], released["item"]), 1)
    if down.max(initial=0) >> RELEASED_BITS:
        cycle = int(np.unravel_index(down.argmax(), down.shape)[0]) + 1
        raise ValueError(
            f"cycle {cycle}: a dependence counter goes down by {down.max()}, the RTL takes {(1 << RELEASED_BITS) - 1}"
        )
    bits = (down[..., None] >> np.arange(RELEASED_BITS, dtype=np.uint8) & 1).reshape(count, -1)
    one_element = bits.shape[1] <= PORT_BITS
    padded = np.pad(bits, ((0, 0), (0, -bits.shape[1] % PORT_BITS)))
    packed = np.packbits(padded, axis=1, bitorder="little")
    if one_element:
        return packed.view("<u8")[:, 0]
    return packed.view("<u4")[:, : -(-bits.shape[1] // WORD_BITS)]


def _fp64_taken(stream: IssueStream, sub_core: int, count: int) -> np.ndarray:
    """Cycles in which another sub-core keeps the FP64 pipe; within a cycle, lower sub-cores issue first."""
    issued = stream.events[stream.events["kind"] == ISSUE]
    rows = stream.table[issued["item"]]
    users = (rows["path"] != Path.MEMORY) & (rows["pipe"] == Pipe.FP64) & (issued["sub_core"] != sub_core)
    taken = np.zeros(count, np.uint32)
    for event, interval in zip(issued[users], rows["interval"][users], strict=True):
        first = event["cycle"] + (event["sub_core"] > sub_core)
        taken[first : event["cycle"] + interval] = 1
    return taken


def instruction_words(stream: IssueStream, design: IssueDesign, *, ends: bool = False) -> np.ndarray:
    """What the RTL gets for each program row, uint32[rows, words]; `ends` for a warp's last instruction.

    Raises:
        ValueError: an instruction for which there is no RTL.
    """
    table = stream.table
    _check(table, design)
    memory = table["path"] == Path.MEMORY
    columns = {
        "path": table["path"],
        "pipe": np.where(memory, 0, table["pipe"]),
        "or_alu": table["alternative"] == Pipe.ALU,
        "interval": table["interval"],
        "port_cycles": table["port_cycles"],
        "stall": stream.stall,
        "yields": stream.yields,
        "write_counter": np.where(table["write_counter"] < 0, NO_COUNTER, table["write_counter"]),
        "read_counter": np.where(table["read_counter"] < 0, NO_COUNTER, table["read_counter"]),
        "wait_mask": table["wait_mask"],
        "bar": table["bar_counter"] >= 0,
        "bar_counter": np.maximum(table["bar_counter"], 0),
        "bar_limit": table["bar_limit"],
        "bar_mask": table["bar_mask"],
        "blocks": np.isin(table["action"], (Action.BARRIER_WAIT, Action.MEMBAR)),
        "ends": np.full(len(table), ends),
        "constant": ~memory & (table["constant"] >= 0),
        "line": np.where(memory, 0, np.maximum(table["constant"], 0)),
        "reads": table["reads"] > 0,
        "wide": (table["path"] == Path.FIXED) & (table["window"] != design.read_cycles),
    }
    if design.consumers:
        columns |= register_columns(table)
    return pack(design, columns | _operands(table))


def _check(table: np.ndarray, design: IssueDesign) -> None:
    fixed = (table["path"] == Path.FIXED) & (table["reads"] > 0)
    refused = {
        "a warpgroup product or its groups": (table["action"] == Action.PRODUCT) | (table["bar_counter"] >= COUNTERS),
        "a window of reads that is neither narrow nor wide": fixed
        & ~np.isin(table["window"], (design.read_cycles, design.wide_read_cycles)),
    }
    for what, rows in refused.items():
        if rows.any():
            raise ValueError(f"program row {int(rows.argmax())} is {what}, for which the issue stage has no RTL")


def _operands(table: np.ndarray) -> dict[str, np.ndarray]:
    """First register, number of registers and reuse bit of each operand slot of fixed-latency instructions."""
    columns = {f"{key}{slot}": np.zeros(len(table), np.int64) for key, _ in OPERAND for slot in range(SLOTS)}
    for index in np.flatnonzero(table["path"] == Path.FIXED):
        row = table[index]
        for slot in range(SLOTS):
            here = np.flatnonzero(row["read_slot"][: row["reads"]] == slot)
            if not len(here):
                continue
            registers, reuse = row["read_register"][here], row["read_reuse"][here]
            if (np.diff(registers) != 1).any() or np.ptp(reuse) or len(here) > MOST_REGISTERS:
                raise ValueError(
                    f"program row {index} reads {', '.join(f'R{r}' for r in registers)} as operand {slot}; the "
                    f"RTL takes up to {MOST_REGISTERS} registers that follow one another"
                )
            columns[f"register{slot}"][index], columns[f"count{slot}"][index] = registers[0], len(here)
            columns[f"reuse{slot}"][index] = reuse[0]
    return columns
