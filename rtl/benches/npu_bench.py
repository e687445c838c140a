"""cocotb bench of `rtl.npu.Npu`: loads by DMA, steps one after another, and stores; every cycle is counted.

Reads the work (JSON) named by `NPU_BENCH_WORK` and writes what was read back, and the cycles, to `NPU_BENCH_RESULT`;
both are set by `rtl.npu.cosim`, which also describes them. Inputs change and outputs are read at falling edges.
"""

import json
import os
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, Timer

START = 3
PATIENCE = 20_000  # cycles of a step


@cocotb.test()
async def steps_one_after_another(dut: Any) -> None:
    """All works, and the first again after a reset at every point asked for."""
    work = json.loads(Path(os.environ["NPU_BENCH_WORK"]).read_text())
    Clock(dut.clk, 2, unit="ns").start()
    machine = Machine(dut)
    await machine.reset()
    found = [await machine.run(one) for one in work["works"]]
    for point in work["resets"]:
        await machine.abandon(work["works"][0], point)
        found.append(await machine.run(work["works"][0]))
    Path(os.environ["NPU_BENCH_RESULT"]).write_text(json.dumps(found))


class Machine:
    """The component's pins, a cycle at a time."""

    def __init__(self, dut: Any):
        self.dut, self.cycles = dut, 0
        self.lines: list[str] = []  # read so far
        self.quiet()

    def quiet(self) -> None:
        """Nothing asked for."""
        for name in ("csr__valid", "csr__payload", "dma__valid", "dma__write", "dma__address", "dma__data"):
            getattr(self.dut, name).value = 0

    async def reset(self) -> None:
        """A cycle in reset."""
        self.dut.rst.value = 1
        await FallingEdge(self.dut.clk)
        self.dut.rst.value = 0

    async def settle(self) -> None:
        """Let combinational outputs follow the inputs just written."""
        await ReadOnly()
        await Timer(1, unit="ps")

    async def next(self, transfer: list[Any] | None) -> None:
        """End the cycle; in it the DMA does a transfer: a line, and the data to write or None to read."""
        dut = self.dut
        dut.dma__valid.value = int(transfer is not None)
        if transfer is not None:
            line, data = transfer
            dut.dma__address.value, dut.dma__write.value = line, int(data is not None)
            dut.dma__data.value = int(data or "0", 16)
        await self.finish()
        if transfer is not None and transfer[1] is None:
            self.lines.append(f"{int(dut.dma__read_data.value):x}")

    async def finish(self) -> None:
        """To the next falling edge."""
        self.cycles += 1
        await FallingEdge(self.dut.clk)

    def write(self, address: int, value: int) -> None:
        """Offer a register write."""
        self.dut.csr__valid.value, self.dut.csr__payload.value = 1, address | value << 7

    async def set_up(self, step: dict[str, Any]) -> None:
        """All of a step's registers."""
        for address, value in step["writes"]:
            self.write(address, value)
            await self.finish()
        self.dut.csr__valid.value = 0

    async def run(self, work: dict[str, Any]) -> dict[str, Any]:
        """The whole work: cycles from the first load to the last store, those of each step, and lines read."""
        self.lines = []
        await self.set_up(work["steps"][0])
        assert not int(self.dut.busy.value)
        self.cycles = 0
        for transfer in work["loads"]:
            await self.next(transfer)
        self.dut.dma__valid.value = 0
        busy = [await self.step(work["steps"], number) for number in range(len(work["steps"]))]
        for line in work["stores"]:
            await self.next([line, None])
        cycles = self.cycles
        self.dut.dma__valid.value = 0
        return {"cycles": cycles, "busy": busy, "lines": self.lines}

    async def step(self, steps: list[dict[str, Any]], number: int) -> int:
        """One step, with what the DMA does meanwhile and the registers of the next; returns its busy cycles."""
        dut, transfers = self.dut, steps[number]["dma"]
        writes = steps[number + 1]["writes"] if number + 1 < len(steps) else []
        self.write(START, 0)
        await self.settle()
        assert int(dut.csr__ready.value), "START is not taken although nothing is going on"
        cycle = busy = 0
        while True:
            await self.next(transfers[cycle] if cycle < len(transfers) else None)
            cycle += 1
            assert cycle < PATIENCE, f"step {number} does not end"
            dut.csr__valid.value = 0
            done = cycle > len(writes) and cycle >= len(transfers)
            if cycle <= len(writes):
                self.write(*writes[cycle - 1])
            elif done and number + 1 < len(steps):
                self.write(START, 0)  # waits until this step has ended
            await self.settle()
            going_on = int(dut.busy.value)
            if done and number + 1 < len(steps):
                assert int(dut.csr__ready.value) == 1 - going_on, "START is taken while busy, or not when it is over"
            busy += going_on
            if not going_on and done:
                return busy

    async def abandon(self, work: dict[str, Any], point: int) -> None:
        """Reset so many cycles after a start; nothing of it is left."""
        await self.set_up(work["steps"][0])
        for transfer in work["loads"]:
            await self.next(transfer)
        self.write(START, 0)
        for _ in range(point):
            await self.next(None)
            self.dut.csr__valid.value = 0
        await self.reset()
        self.quiet()
        for _ in range(3):
            await self.settle()
            assert not int(self.dut.busy.value)
            await FallingEdge(self.dut.clk)
