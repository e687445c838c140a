import os
from pathlib import Path

import numpy as np
import pytest

from hw.mac import step as model_step
from rtl.cosim import MacVectors, run_cocotb
from rtl.mac import Mac, MacDesign, step
from rtl.mac.normalise import Normalise

DESIGN = MacDesign()
NAMES = ("INT8", "E4M3", "E2M1")

pytestmark = pytest.mark.usefixtures("cocotb_tools")


def dots(cycles, name: str, n: int, length: int) -> MacVectors:
    """`n` dot products of `length` cycles, one after another, with the accumulators of the model."""
    made = cycles(DESIGN, name, n * length, seed=2)
    operands = made.a, made.b, made.xa, made.xb
    by_cycle = [array.reshape(n, length, *array.shape[1:]).swapaxes(0, 1) for array in operands]
    acc, expected = np.zeros(n, np.uint32), []
    for cycle in zip(*by_cycle, strict=True):
        acc = model_step(DESIGN.spec(name), *map(np.ascontiguousarray, cycle), acc)
        expected.append(acc)
    return MacVectors(*operands, np.tile(np.arange(length) == 0, n), np.stack(expected, axis=1).ravel())


def test_registered_mac_follows_the_model(cycles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen = []
    vectors = {name: dots(cycles, name, 150, 8) for name in NAMES}
    result = run_cocotb(DESIGN, vectors, on_progress=lambda *report: seen.append(report))
    assert result.ok
    assert result.vectors == dict.fromkeys(NAMES, 1200)
    assert result.mismatches == dict.fromkeys(NAMES, 0)
    assert result.first_mismatch == {}
    assert all(0 < done <= total == 1200 and name in NAMES for name, done, total in seen)
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("icarus_tools")
def test_icarus_agrees(cycles) -> None:
    """No undefined value reaches the accumulator, which Verilator could not tell."""
    vectors = {name: dots(cycles, name, 20, 8) for name in DESIGN.names}
    result = run_cocotb(DESIGN, vectors, simulator="icarus")
    assert result.ok
    assert result.vectors == dict.fromkeys(DESIGN.names, 160)


def test_an_unknown_simulator_is_refused(cycles) -> None:
    with pytest.raises(ValueError, match="simulator: got 'vcs', legal verilator, icarus"):
        run_cocotb(DESIGN, {"INT8": dots(cycles, "INT8", 1, 8)}, simulator="vcs")


def test_a_wrong_vector_is_shown(cycles) -> None:
    vectors = dots(cycles, "E4M3", 4, 8)
    vectors.expected[11] ^= 1
    result = run_cocotb(DESIGN, {"E4M3": vectors})
    assert not result.ok
    assert result.mismatches == {"E4M3": 1}
    first = result.first_mismatch["E4M3"]
    assert (first.index, first.expected, first.got) == (11, first.got ^ 1, int(vectors.expected[11]) ^ 1)
    assert first.acc == vectors.expected[10]
    assert f"E4M3 vector 11: a=[{vectors.a[11, 0]:#04x}" in str(first)


class SignLost(Normalise):
    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.sign.eq(0)
        return m


def test_broken_rtl_is_caught(cycles, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = {name: dots(cycles, name, 8, 8) for name in NAMES}
    monkeypatch.setattr(step, "Normalise", SignLost)
    result = run_cocotb(DESIGN, vectors, component=Mac(DESIGN))
    assert all(result.mismatches[name] > 0 for name in NAMES)
    first = result.first_mismatch["INT8"]
    assert (first.expected >> 24, first.got >> 24) == (1, 0)


def test_an_interruption_passes_through(cycles) -> None:
    def interrupt(*report: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cocotb(DESIGN, {"INT8": dots(cycles, "INT8", 100, 32)}, on_progress=interrupt)


def test_bad_vectors_are_named(cycles) -> None:
    good = dots(cycles, "INT8", 1, 4)
    with pytest.raises(ValueError, match="got none"):
        run_cocotb(DESIGN, {})
    unstarted = MacVectors(good.a, good.b, good.xa, good.xb, np.zeros(4, bool), good.expected)
    with pytest.raises(
        ValueError, match=r"vectors\['INT8'\].clear: must be bool\[4\], at least one, the first one set"
    ):
        run_cocotb(DESIGN, {"INT8": unstarted})
