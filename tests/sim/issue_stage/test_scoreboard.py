"""The scoreboard's RTL beside `gpu_model.core.scoreboard`: at every cycle they agree whether an instruction waits."""

import numpy as np
import pytest

from gpu_model.core.lower import LOWERED
from gpu_model.core.opcodes import Path
from gpu_model.core.scoreboard import clear, expect, reads_done, registers_ready, results_written
from gpu_model.core.state import NEVER, SUB, configuration
from hw.gpu_spec import load_gpu
from rtl.compiled import QUICK_BUILD, ClockedRtl
from rtl.issue_stage.scoreboard import Scoreboard

pytestmark = pytest.mark.usefixtures("compiled_rtl")
CYCLES, ROWS = 3000, 200
PLACES = (0, 2, 7)  # few, so that instructions meet
ENTRIES = 34  # as many as they need: registers are alike


def instructions(rng: np.random.Generator) -> np.ndarray:
    table = np.zeros(ROWS, LOWERED)
    table["path"] = rng.choice([Path.FIXED, Path.VARIABLE, Path.MEMORY], ROWS)
    for row in table:
        for stem, most in (("use", 4), ("make", 3)):
            row[f"{stem}s"] = rng.integers(0, most)
            for i in range(row[f"{stem}s"]):
                # Ranges of an instruction share no register, as in lowered code.
                row[f"{stem}_first"][i] = rng.choice(PLACES) + 12 * i
                row[f"{stem}_count"][i] = rng.integers(1, 4)
    return table


def bits(row: np.void, stem: str) -> int:
    entries = np.zeros(64, np.uint8)
    for i in range(row[f"{stem}s"]):
        entries[row[f"{stem}_first"][i] :][: row[f"{stem}_count"][i]] = 1
    return np.packbits(entries, bitorder="little").view("<u8")[0]


def test_it_waits_when_the_core_model_does() -> None:
    consumers = 2
    rng = np.random.default_rng(consumers)
    table = instructions(rng)
    overrides = {"core.dependence.mechanism": "scoreboard", "core.dependence.consumers": consumers}
    spec = load_gpu("rtx_a6000", overrides)
    config = configuration(spec, l1_data_bytes=128, log_bound=0, check_hazards=False)[0]
    sub = np.zeros(1, SUB)[0]
    clear(sub, 0)
    ports = {name: np.zeros(CYCLES, np.uint64) for name in ("reads", "writes", "written", "read")}
    ports |= {name: np.zeros(CYCLES, np.uint32) for name in ("rst", "clear", "variable", "issue")}
    expected = np.zeros(CYCLES, np.uint32)
    results: list[int] = []
    readers: list[int] = []
    for cycle in range(CYCLES):
        row = int(rng.integers(ROWS))
        op = table[row]
        ports["reads"][cycle], ports["writes"][cycle] = bits(op, "use"), bits(op, "make")
        ports["variable"][cycle] = op["path"] != Path.FIXED
        expected[cycle] = registers_ready(sub, 0, op, config)[0] <= cycle
        finished = results.pop(rng.integers(len(results))) if results and rng.random() < 0.4 else -1
        has_read = readers.pop(rng.integers(len(readers))) if readers and rng.random() < 0.4 else -1
        if expected[cycle] and rng.random() < 0.8:
            ports["issue"][cycle] = 1
            expect(sub, 0, op, NEVER)
            results.append(row)
            if op["path"] != Path.FIXED:
                readers.append(row)
        if finished >= 0:
            ports["written"][cycle] = bits(table[finished], "make")
            results_written(sub, 0, table[finished], cycle + 1)
        if has_read >= 0:
            ports["read"][cycle] = bits(table[has_read], "use")
            sub["reader_row"][0, 0] = has_read
            reads_done(sub, 0, table, 0, cycle + 1)
    ports["read__0"] = ports.pop("read")
    got = ClockedRtl(Scoreboard(consumers, ENTRIES), "scoreboard", QUICK_BUILD)(**ports)["ready"]
    assert 0.2 < expected.mean() < 0.9
    assert got.tolist() == expected.tolist()
