"""The tile engine in cocotb: outputs, handshakes, resets and cycles."""

import pytest

from hw.npu import engine_cycles
from rtl.array import ArrayDesign
from rtl.engine import EngineDesign, TileEngine, Tiles, tile_engine
from rtl.engine.cosim import Job, random_job, run_engine
from rtl.mac import MacDesign
from rtl.mac.design import OCP_ELEMENTS
from rtl.tools import ToolError

pytestmark = pytest.mark.usefixtures("cocotb_tools")

DESIGN = EngineDesign(ArrayDesign(MacDesign(), 2, 2))
NAMES = [element.name for element in OCP_ELEMENTS]
PRESSURE = ((1.0, 1.0), (0.5, 1.0), (1.0, 0.3), (0.6, 0.5), (0.1, 0.1))


def jobs() -> list[Job]:
    """Each format in and out, each kind of pressure, tiles of one step and more."""
    made = []
    for index, name in enumerate(NAMES):
        for steps in (1, 2, 5):
            offer, accept = PRESSURE[(index + steps) % len(PRESSURE)]
            out = NAMES[(index + steps) % len(NAMES)]
            made.append(random_job(DESIGN, name, out, 9, steps, 31 * index + steps, offer, accept))
    return made


def test_outputs_under_back_pressure_and_after_resets() -> None:
    cycles = run_engine(DESIGN, jobs())
    assert len(cycles) == 3 * len(NAMES)
    assert all(count >= 9 * max(steps, 2) for count, steps in zip(cycles, (1, 2, 5) * len(NAMES), strict=True))


def test_cycles_are_the_documented_ones() -> None:
    """Operands always there and outputs always taken: the cycles that the NPU's model counts on."""
    shapes = [(tiles, steps) for tiles in (1, 4) for steps in (1, 2, 3, 8)]
    free = [random_job(DESIGN, "E4M3", "E4M3", tiles, steps, 5, 1.0, 1.0) for tiles, steps in shapes]
    assert run_engine(DESIGN, free) == [engine_cycles(tiles, steps) for tiles, steps in shapes]


class Overwrites(Tiles):
    """Offers what the array shows, not what it held when the tile ended."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        requantise = m.submodules.requantise
        m.d.comb += self.out.payload.scale.eq(requantise.scale)
        return m


@pytest.mark.slow
def test_an_output_that_changes_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tile_engine, "Tiles", Overwrites)
    with pytest.raises(ToolError, match="an output changed|must be 0x"):
        run_engine(DESIGN, [random_job(DESIGN, "E4M3", "E4M3", 12, 3, 1, 1.0, 0.2)], TileEngine(DESIGN))


def test_no_jobs_are_refused() -> None:
    with pytest.raises(ValueError, match="jobs: got none"):
        run_engine(DESIGN, [])
