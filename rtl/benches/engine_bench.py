"""cocotb bench of `rtl.engine.TileEngine`: operands offered and outputs taken at random, every output compared.

Reads the jobs (JSON) named by `ENGINE_BENCH_JOBS` and writes the cycles each took to `ENGINE_BENCH_RESULT`; both are
set by `rtl.engine.cosim`, which also describes them. Inputs change and outputs are read at falling edges.
"""

import json
import os
import random
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, Timer

PRECISION, ACCUMULATION_COUNT, OUTPUT_COUNT, START = range(4)
PATIENCE = 200  # cycles without any handshake


@cocotb.test()
async def outputs_match_under_back_pressure(dut: Any) -> None:
    """Every job's outputs come in order, once each, and stay while they are not taken."""
    jobs = json.loads(Path(os.environ["ENGINE_BENCH_JOBS"]).read_text())
    await _start(dut)
    cycles = [await _run(dut, job, random.Random(number)) for number, job in enumerate(jobs)]
    Path(os.environ["ENGINE_BENCH_RESULT"]).write_text(json.dumps(cycles))


@cocotb.test()
async def reset_in_flight_leaves_nothing(dut: Any) -> None:
    """Reset at every point of a job; the next one is as if nothing had been."""
    job = json.loads(Path(os.environ["ENGINE_BENCH_JOBS"]).read_text())[0]
    await _start(dut)
    for point in range(1, 3 * job["steps"] + 4):
        await _set_up(dut, job)
        dut.operands__valid.value, dut.out__ready.value = 1, point & 1
        dut.operands__payload.value = int(job["operands"][0], 16)
        for _ in range(point):
            await FallingEdge(dut.clk)
        dut.rst.value = 1
        dut.operands__valid.value = 0
        await FallingEdge(dut.clk)
        dut.rst.value = 0
        for _ in range(3):
            assert not int(dut.busy.value)
            assert not int(dut.out__valid.value)
            assert not int(dut.operands__ready.value)
            await FallingEdge(dut.clk)
        await _run(dut, job, random.Random(point))


@cocotb.test()
async def registers_hold_while_busy(dut: Any) -> None:
    """Writes during a job, a second start included, change nothing."""
    job = json.loads(Path(os.environ["ENGINE_BENCH_JOBS"]).read_text())[0]
    await _start(dut)
    await _run(dut, job, random.Random(1), disturb=True)


async def _start(dut: Any) -> None:
    Clock(dut.clk, 2, unit="ns").start()
    for name in ("csr_write", "csr_address", "csr_data", "operands__valid", "operands__payload", "out__ready"):
        getattr(dut, name).value = 0
    dut.rst.value = 1
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0


async def _write(dut: Any, address: int, value: int) -> None:
    dut.csr_write.value, dut.csr_address.value, dut.csr_data.value = 1, address, value
    await FallingEdge(dut.clk)
    dut.csr_write.value = 0


async def _set_up(dut: Any, job: dict[str, Any]) -> None:
    await _write(dut, PRECISION, job["mode"] | job["out_mode"] << 3)
    await _write(dut, ACCUMULATION_COUNT, job["steps"])
    await _write(dut, OUTPUT_COUNT, job["tiles"])
    await _write(dut, START, 0)


async def _run(dut: Any, job: dict[str, Any], choice: random.Random, *, disturb: bool = False) -> int:
    """Drive one job; returns the cycles from the one after START to the one that takes the last output."""
    operands, expected = ([int(word, 16) for word in job[key]] for key in ("operands", "expected"))
    await _set_up(dut, job)
    given, taken, cycles, idle = 0, 0, 0, 0
    offered, pending = None, False
    while taken < len(expected):
        # What is offered stays until it is taken, on both sides.
        pending = given < len(operands) and (pending or choice.random() < job["offer"])
        dut.operands__valid.value = int(pending)
        dut.operands__payload.value = operands[given] if pending else choice.getrandbits(32)
        ready = choice.random() < job["accept"]
        dut.out__ready.value = int(ready)
        if disturb:
            dut.csr_write.value, dut.csr_address.value = 1, choice.randrange(4)
            dut.csr_data.value = choice.randrange(1 << 16)
        await _settle(dut)
        assert int(dut.busy.value)
        valid, payload = int(dut.out__valid.value), int(dut.out__payload.value)
        if offered is not None:
            assert valid, "an output that was offered has gone"
            assert payload == offered, "an output changed while it was not taken"
        accepted = pending and int(dut.operands__ready.value)
        offered = None
        if valid and ready:
            assert payload == expected[taken], f"output {taken}: {payload:#x}, must be {expected[taken]:#x}"
            taken += 1
        elif valid:
            offered = payload
        idle = 0 if accepted or (valid and ready) else idle + 1
        assert idle < PATIENCE, f"stuck with {given} of {len(operands)} operands taken and {taken} outputs"
        cycles += 1
        if accepted:
            given, pending = given + 1, False
        await FallingEdge(dut.clk)
    dut.csr_write.value = dut.operands__valid.value = dut.out__ready.value = 0
    await _settle(dut)
    assert given == len(operands)
    assert not int(dut.busy.value)
    assert not int(dut.out__valid.value)
    return cycles


async def _settle(dut: Any) -> None:
    """Let combinational outputs follow the inputs just written."""
    await ReadOnly()
    await Timer(1, unit="ps")
