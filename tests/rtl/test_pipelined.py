"""Registers inside the MAC change when a sum appears, never which."""

from itertools import combinations

import numpy as np
import pytest

from hw.mac import step as model_step
from rtl.compiled import ClockedRtl
from rtl.mac import Cut, MacDesign, Pipeline, PipelinedMac, pipeline
from rtl.simulate import port_words
from rtl.stimulus import Cycles

pytestmark = pytest.mark.usefixtures("compiled_rtl")

DESIGN = MacDesign()
CYCLES = 1500


def compiled(cuts: Pipeline) -> ClockedRtl:
    return ClockedRtl(PipelinedMac(DESIGN, cuts), "mac")


def taken_cycles(valid: np.ndarray, interval: int) -> list[int]:
    """Cycles in which a step is taken: valid, and the last one long enough ago."""
    taken: list[int] = []
    for cycle in np.flatnonzero(valid).tolist():
        if not taken or cycle - taken[-1] >= interval:
            taken.append(cycle)
    return taken


def drive(name: str, seed: int, density: float) -> tuple[Cycles, dict[str, np.ndarray]]:
    """Operands that change in every cycle, with or without `valid`."""
    rng = np.random.default_rng(seed)
    made = Cycles(DESIGN, name, CYCLES, seed, finite=True)
    ports = port_words(DESIGN, name, made.a, made.b, made.xa, made.xb)
    ports["valid"] = (rng.random(CYCLES) < density).astype(np.uint32)
    ports["clear"] = (rng.random(CYCLES) < 0.1).astype(np.uint32)
    ports["rst"] = np.zeros(CYCLES, np.uint32)
    return made, ports


@pytest.mark.parametrize("registers", [1, 3, 4, 5])
@pytest.mark.parametrize("density", [1.0, 0.6])
def test_sums_are_the_model_s_at_the_stated_cycles(registers: int, density: float) -> None:
    cuts = pipeline(registers)
    assert (cuts.latency, cuts.interval) == (registers + 1, {4: 2, 5: 3}.get(registers, 1))
    mac = compiled(cuts)
    for name in DESIGN.names:
        made, ports = drive(name, registers, density)
        got = mac(**ports)
        taken = taken_cycles(ports["valid"], cuts.interval)
        sums = np.zeros(1, np.uint32)
        acc, done = np.zeros(CYCLES, np.uint32), np.zeros(CYCLES, np.uint32)
        for cycle in taken:
            at = slice(cycle, cycle + 1)
            sums = np.zeros(1, np.uint32) if ports["clear"][cycle] else sums
            sums = model_step(DESIGN.spec(name), made.a[at], made.b[at], made.xa[at], made.xb[at], sums)
            acc[cycle + cuts.latency :] = sums
            done[cycle + cuts.latency : cycle + cuts.latency + 1] = 1
        np.testing.assert_array_equal(got["done"], done)
        np.testing.assert_array_equal(got["acc"], acc)
        accepted = [cycle for cycle in range(CYCLES) if got["ready"][cycle] and ports["valid"][cycle]]
        assert accepted == taken


@pytest.mark.slow
@pytest.mark.parametrize("cuts", [Pipeline(some) for some in combinations(Cut, 2)], ids=str)
def test_any_two_places_give_the_same_sums(cuts: Pipeline) -> None:
    """Against the MAC with its accumulator alone, whose sums are compared with the model elsewhere."""
    _, ports = drive("E5M2", 3, 1.0)
    steps = taken_cycles(ports["valid"], cuts.interval)
    got = compiled(cuts)(**ports)
    only = {key: value[steps] for key, value in ports.items()}
    expected = compiled(Pipeline())(**only)["acc"][1:]
    np.testing.assert_array_equal(got["acc"][got["done"] == 1][: len(expected)], expected[: got["done"].sum()])
    assert abs(int(got["done"].sum()) - len(steps)) <= cuts.latency


@pytest.mark.parametrize("registers", [1, 5])
def test_reset_forgets_what_is_in_flight(registers: int) -> None:
    cuts = pipeline(registers)
    _, ports = drive("E4M3", 9, 1.0)
    reset_at = 700
    ports["rst"][reset_at] = 1
    ports["valid"][reset_at + 1 : reset_at + 20] = 0
    got = compiled(cuts)(**ports)
    assert got["acc"][reset_at] != 0
    assert not got["acc"][reset_at + 1 : reset_at + 21].any()
    assert not got["done"][reset_at + 1 : reset_at + 21].any()


def test_impossible_pipelines_are_refused() -> None:
    with pytest.raises(ValueError, match=r"pipeline: got 6, legal 0\.\.5"):
        pipeline(6)
    with pytest.raises(ValueError, match="must be each once"):
        Pipeline((Cut.SUM, Cut.SUM))
