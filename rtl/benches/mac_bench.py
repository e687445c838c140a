"""cocotb bench of `rtl.mac.Mac`: plays recorded MAC cycles and checks the accumulator after every one.

Reads the vector file named by `MAC_BENCH_VECTORS` and writes `MAC_BENCH_RESULT` (JSON) and, while it works, one line
a batch to `MAC_BENCH_PROGRESS`; all three are set by `rtl.cosim`, which also describes the files.

Inputs change and the accumulator is read at falling edges, half a period from the edge that loads the register.
"""

import json
import os
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

PORTS = ("mode", "a", "b", "xa", "xb", "clear")
BATCH = 1024  # cycles between two lines of progress


@cocotb.test()
async def accumulator_matches(dut: Any) -> None:
    """Every recorded cycle leaves the recorded accumulator."""
    await _start(dut)
    vectors = np.load(os.environ["MAC_BENCH_VECTORS"], allow_pickle=False)
    names = sorted({key.partition("/")[0] for key in vectors.files})
    result = {name: await _play(dut, name, {p: vectors[f"{name}/{p}"] for p in (*PORTS, "expected")}) for name in names}
    Path(os.environ["MAC_BENCH_RESULT"]).write_text(json.dumps(result))


@cocotb.test()
async def holds_while_not_valid(dut: Any) -> None:
    """Without `valid` nothing at the other inputs, `clear` included, moves the accumulator."""
    await _start(dut)
    before = await _load_nonzero(dut)
    dut.valid.value = 0
    for word in (0, 0x7F7F7F7F, 0xFFFFFFFF):
        dut.a.value, dut.b.value, dut.xa.value, dut.clear.value = word, word, word & 0xFF, word & 1
        await FallingEdge(dut.clk)
        assert int(dut.acc.value) == before, f"accumulator moved without valid, operands {word:#x}"


@cocotb.test()
async def reset_wins_over_valid(dut: Any) -> None:
    """Reset in the middle of a dot product leaves +0, and nothing of it is in flight afterwards."""
    await _start(dut)
    await _load_nonzero(dut)
    dut.rst.value = 1
    await FallingEdge(dut.clk)
    assert int(dut.acc.value) == 0
    dut.rst.value = dut.valid.value = 0
    await FallingEdge(dut.clk)
    assert int(dut.acc.value) == 0


async def _start(dut: Any) -> None:
    Clock(dut.clk, 2, unit="ns").start()
    for name in (*PORTS, "valid"):
        getattr(dut, name).value = 0
    dut.rst.value = 1
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0


async def _load_nonzero(dut: Any) -> int:
    """One valid cycle in mode 0 whose sum is not zero in any format; returns the accumulator."""
    dut.valid.value, dut.clear.value, dut.mode.value = 1, 1, 0
    dut.a.value = dut.b.value = 0x11111111
    dut.xa.value = dut.xb.value = 127
    await FallingEdge(dut.clk)
    value = int(dut.acc.value)
    assert value != 0
    return value


async def _play(dut: Any, name: str, columns: dict[str, np.ndarray]) -> dict[str, Any]:
    """Drive one format's cycles back to back; returns counts and the first mismatch."""
    expected = columns["expected"].tolist()
    # A port is written only in cycles where it changes: each write costs as much as a clock edge.
    writes = {port: _changes(columns[port]) for port in PORTS}
    handles = {port: getattr(dut, port) for port in PORTS}
    progress = Path(os.environ["MAC_BENCH_PROGRESS"])
    mismatches, first = 0, None
    dut.valid.value = 1
    for index, wanted in enumerate(expected):
        for port, handle in handles.items():
            if index in writes[port]:
                handle.value = writes[port][index]
        await FallingEdge(dut.clk)
        got = int(dut.acc.value)
        if got != wanted:
            mismatches += 1
            first = first or {"index": index, "got": got}
        if (index + 1) % BATCH == 0 or index + 1 == len(expected):
            with progress.open("a") as file:
                file.write(f"{name} {index + 1} {len(expected)}\n")
    dut.valid.value = 0
    return {"vectors": len(expected), "mismatches": mismatches, "first": first}


def _changes(column: np.ndarray) -> dict[int, int]:
    at = np.flatnonzero(np.concatenate([[True], column[1:] != column[:-1]]))
    return dict(zip(at.tolist(), column[at].tolist(), strict=True))
