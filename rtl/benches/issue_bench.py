"""cocotb bench of `rtl.issue_stage.IssueStage`: plays recorded cycles and writes down what issues in each.

Reads the inputs (npz, an array of N cycles a port) named by `ISSUE_BENCH_INPUTS` and writes the outputs of every cycle
to `ISSUE_BENCH_OUTPUTS`; both are set by `rtl.issue_stage.cosim`, which also describes them. Inputs change at falling
edges, and outputs are read once they have settled, before the rising edge.
"""

import os
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, Timer

OUTPUTS = ("issue", "issue_warp", "control", "control_warp", "overflow")


@cocotb.test()
async def what_issues_is_written_down(dut: Any) -> None:
    """The whole run, for who wrote the inputs to compare."""
    changes, cycles = _inputs()
    await _start(dut)
    got = await _play(dut, changes, cycles)
    np.savez(os.environ["ISSUE_BENCH_OUTPUTS"], allow_pickle=False, **got)


@cocotb.test()
async def reset_in_flight_leaves_nothing(dut: Any) -> None:
    """A run broken off by reset at some point; the next one is as if it had not been."""
    changes, cycles = _inputs()
    with np.load(os.environ["ISSUE_BENCH_OUTPUTS"], allow_pickle=False) as file:
        before = {name: file[name] for name in OUTPUTS}
    await _start(dut)
    await _play(dut, changes, cycles // 2)
    await _reset(dut)
    after = await _play(dut, changes, cycles)
    for name in OUTPUTS:
        assert (after[name] == before[name]).all(), f"{name} differs after a reset in flight"


def _inputs() -> tuple[dict[str, dict[int, int]], int]:
    """New values of each port by cycle, and how many cycles there are."""
    with np.load(os.environ["ISSUE_BENCH_INPUTS"], allow_pickle=False) as file:
        columns = {name: file[name] for name in file.files}
    return {name: _changes(column) for name, column in columns.items()}, len(next(iter(columns.values())))


def _changes(column: np.ndarray) -> dict[int, int]:
    words = column.reshape(len(column), -1)
    at = np.flatnonzero(np.concatenate([[True], (words[1:] != words[:-1]).any(axis=1)]))
    return {int(i): int.from_bytes(words[i].tobytes(), "little") for i in at}


async def _start(dut: Any) -> None:
    Clock(dut.clk, 2, unit="ns").start()
    for name in _inputs()[0]:
        getattr(dut, name).value = 0
    await _reset(dut)


async def _reset(dut: Any) -> None:
    dut.rst.value = 1
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0


async def _play(dut: Any, changes: dict[str, dict[int, int]], cycles: int) -> dict[str, np.ndarray]:
    """Drive the inputs of so many cycles; what came out in each."""
    got = np.zeros((cycles, len(OUTPUTS)), np.uint32)
    handles, outputs = {name: getattr(dut, name) for name in changes}, [getattr(dut, name) for name in OUTPUTS]
    for cycle in range(cycles):
        for name, values in changes.items():
            if cycle in values:
                handles[name].value = values[cycle]
        await ReadOnly()
        got[cycle] = [int(output.value) for output in outputs]
        await Timer(1, unit="ps")
        await FallingEdge(dut.clk)
    return {name: got[:, i] for i, name in enumerate(OUTPUTS)}
