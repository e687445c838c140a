"""Experiments on operands made here: what a run would leave, without the run."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hw.presets import TENSOR_CORES
from mx_formats.element import FP16
from sim.codesign import cost, energy, export, page, recording
from sim.codesign.design import Design
from sim.codesign.experiment import Experiment, load_experiment
from sim.codesign.recording import Operands
from sim.codesign.store import Store
from sim.codesign.sweep import Runs
from sim.console import Console
from sim.dots import Dots, tensor_core_sums
from sim.fragments import Kind
from sim.record import Recording

EXPERIMENT = """
question = "Which of a few?"
[workload]
script = "script.py"
[design]
format = ["MXINT8", "MXFP8_E4M3", "MXFP4"]
tree = ["hybrid", "long-integer"]
mantissa_bits = [11, 16]
array = ["4x4", "8x8"]
[goal]
objectives = ["qsnr_db", "array_cycles"]
prefer = "array_cycles"
"""


def product_tiles(m: int, n: int, k: int, seed: int = 0) -> Dots:
    """Tiles of 16 x 8 outputs of one fp16 matrix product, as tensor-core instructions cut it."""
    rng = np.random.default_rng(seed)
    a, b = (rng.standard_normal(shape).astype(np.float16) for shape in ((m // 16, 16, k), (n // 8, 8, k)))
    left, right = np.repeat(a, n // 8, axis=0), np.tile(b, (m // 16, 1, 1))
    sums = tensor_core_sums(
        Kind(FP16, FP16, 16), left.view(np.uint16), right.view(np.uint16), TENSOR_CORES["ampere", FP16]
    )
    return Dots(left.astype(np.float32), right.astype(np.float32), sums)


def made_operands(*dots: Dots) -> Operands:
    """Operands of one launch of 4 executed tensor-core instructions, 3 of them kept."""
    timing: Any = SimpleNamespace(issued=np.array([7, 4]), cycles=1000, microseconds=0.5, kernel="made")
    program: Any = SimpleNamespace(rows={"opcode": np.array(["FADD", "HMMA"])})
    launches: Any = [SimpleNamespace(timing=timing, program=program)]
    return recording.operands_of(Recording(launches, list(dots), kept=3))


@pytest.fixture
def no_rtl(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no tree had RTL, so that nothing is synthesised."""

    def refuse(design: Design) -> None:
        raise ValueError(f"tree {design.tree} has no RTL")

    for module in (cost, energy, export, page):
        monkeypatch.setattr(module, "mac_design", refuse)


@pytest.fixture
def operands() -> Operands:
    return made_operands(product_tiles(32, 24, 64), product_tiles(16, 8, 32, seed=1))


@pytest.fixture
def study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operands: Operands
) -> Callable[..., tuple[Experiment, Runs]]:
    """An experiment file's content, with replacements, as an experiment and its runs in a store of its own."""
    monkeypatch.setattr(recording, "run_workload", lambda *_: operands)
    (tmp_path / "script.py").write_text("")

    def make(*replacements: tuple[str, str], store: str = "store") -> tuple[Experiment, Runs]:
        text = EXPERIMENT
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "study.toml").write_text(text)
        experiment = load_experiment(tmp_path / "study.toml")
        return experiment, Runs(Store(tmp_path / store), experiment, Console(quiet=True))

    return make
