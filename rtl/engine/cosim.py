"""The tile engine in Verilator under back-pressure, driven by cocotb and compared with the value models."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw.evaluate import accumulator_values
from hw.mac_array import trace
from mx_formats import E8M0
from mx_formats.block import BlockFormat
from mx_formats.quantize import quantize
from rtl import verilated
from rtl.engine.tile_engine import CODE_BITS, EngineDesign, TileEngine
from rtl.mac.step import SCALE_BITS
from rtl.simulate import pack_lanes

TOPLEVEL = "tile_engine"
BENCH = "rtl.benches.engine_bench"


@dataclass(frozen=True)
class Job:
    """Tiles for the engine.

    Attributes:
        element: name of the operands' format.
        out: name of the outputs' format.
        a: codes uint8[tiles, rows, k], k a multiple of the lanes.
        b: codes uint8[tiles, columns, k].
        xa: scale codes uint8[tiles, rows], one for the whole of k.
        xb: scale codes uint8[tiles, columns].
        offer: probability that new operands are offered in a cycle.
        accept: probability that outputs are taken in a cycle.
    """

    element: str
    out: str
    a: np.ndarray
    b: np.ndarray
    xa: np.ndarray
    xb: np.ndarray
    offer: float = 1.0
    accept: float = 1.0


def random_job(
    design: EngineDesign, element: str, out: str, tiles: int, steps: int, seed: int, offer: float, accept: float
) -> Job:
    """Codes of finite numbers; scales around one."""
    rng, array = np.random.default_rng(seed), design.array
    spec = array.mac.spec(element)
    k = steps * spec.lanes
    top = 1 << (spec.element.bits - 1)

    def codes(rows: int) -> np.ndarray:
        magnitude = rng.integers(0, min(spec.element.largest_code, top - 1) + 1, (tiles, rows, k))
        return (magnitude | rng.integers(0, 2, magnitude.shape) * top).astype(np.uint8)

    a, b = codes(array.rows), codes(array.columns)
    xa, xb = (rng.integers(120, 135, (tiles, rows)).astype(np.uint8) for rows in (array.rows, array.columns))
    return Job(element, out, a, b, xa, xb, offer, accept)


def expected_outputs(design: EngineDesign, job: Job) -> tuple[np.ndarray, np.ndarray]:
    """Scales uint8[tiles] and codes uint8[tiles, outputs] by `hw.mac_array` and `mx_formats.quantize`."""
    array, mac = design.array, design.array.mac
    spec = array.spec(job.element)
    sums = np.stack([trace(spec, *tile)[-1].ravel() for tile in zip(job.a, job.b, job.xa, job.xb, strict=True)])
    block = BlockFormat(mac.elements[mac.mode(job.out)], E8M0, array.rows * array.columns)
    found = quantize(accumulator_values(mac.reduction_tree(job.element), sums), block)
    return found.scales[:, 0], found.codes


def run_engine(design: EngineDesign, jobs: Sequence[Job], component: TileEngine | None = None) -> list[int]:
    """Run jobs one after another, then reset in flight and writes while busy; every output is compared.

    Args:
        design: the engine; its Verilator model is built on first use and cached.
        jobs: at least one.
        component: RTL to run in place of `TileEngine(design)`, with the same ports.

    Returns:
        Cycles of each job, from the one after START to the one that takes its last output.

    Raises:
        ToolError: a tool is missing, or an output, a handshake or a reset was wrong; the message ends with the log.
    """
    if not jobs:
        raise ValueError("jobs: got none, must have at least one")
    model = verilated.build(component or TileEngine(design), TOPLEVEL)
    with tempfile.TemporaryDirectory(prefix="warptree-engine-") as scratch:
        files = {"ENGINE_BENCH_JOBS": Path(scratch) / "jobs.json", "ENGINE_BENCH_RESULT": Path(scratch) / "cycles.json"}
        files["ENGINE_BENCH_JOBS"].write_text(json.dumps([_described(design, job) for job in jobs]))
        environment = {key: str(path) for key, path in files.items()}
        verilated.run(model, TOPLEVEL, BENCH, environment, Path(scratch))
        return json.loads(files["ENGINE_BENCH_RESULT"].read_text())


def _described(design: EngineDesign, job: Job) -> dict:
    """What the bench drives: settings, and payloads as hexadecimal words."""
    mac = design.array.mac
    lanes, tiles = mac.spec(job.element).lanes, len(job.a)
    steps = job.a.shape[2] // lanes
    operands = []
    for tile in range(tiles):
        for step in range(steps):
            part = slice(step * lanes, (step + 1) * lanes)
            words = [(pack_lanes(mac, job.element, "a", job.a[tile, :, part]), mac.operand_bits),
                     (job.xa[tile], SCALE_BITS),
                     (pack_lanes(mac, job.element, "b", job.b[tile, :, part]), mac.operand_bits),
                     (job.xb[tile], SCALE_BITS)]  # fmt: skip
            operands.append(_word([(int(value), bits) for column, bits in words for value in column]))
    scales, codes = expected_outputs(design, job)
    outputs = [_word([(int(scale), SCALE_BITS), *((int(code), CODE_BITS) for code in row)])
               for scale, row in zip(scales, codes, strict=True)]  # fmt: skip
    return {"mode": mac.mode(job.element), "out_mode": mac.mode(job.out), "steps": steps, "tiles": tiles,
            "operands": operands, "expected": outputs, "offer": job.offer, "accept": job.accept}  # fmt: skip


def _word(fields: list[tuple[int, int]]) -> str:
    """Values and widths, the first lowest, to one hexadecimal number."""
    word, place = 0, 0
    for value, bits in fields:
        word |= value << place
        place += bits
    return f"{word:x}"
