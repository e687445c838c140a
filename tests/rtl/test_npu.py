"""The whole NPU in cocotb: products through the DMA port, outputs bit for bit, cycles by integers."""

from dataclasses import replace

import numpy as np
import pytest

from hw.mac import MacSpec
from hw.mac_array import ArraySpec
from hw.npu import NpuSpec, Product, ProductRun, engine_cycles, run
from hw.npu_step import Step
from hw.scratchpad import Loops, ScratchpadSpec
from mx_formats import E8M0, OCP_FORMATS, quantize
from mx_formats.block import BlockFormat
from mx_formats.quantize import Quantized
from rtl.array import ArrayDesign
from rtl.engine import EngineDesign
from rtl.mac import MacDesign
from rtl.npu import NpuDesign
from rtl.npu.cosim import Job, expected_cycles, run_npu
from rtl.npu.product import Region, expected_words, product_jobs

pytestmark = pytest.mark.usefixtures("cocotb_tools")

DESIGN = NpuDesign(EngineDesign(ArrayDesign(MacDesign(), 2, 2)), ScratchpadSpec(16, 64, 32, 4))
LINES_ASIDE = DESIGN.scratchpad.banks // DESIGN.scratchpad.line_words
OVERHEAD = 3  # cycles of a step beside the engine's: two until its first operands are there, one to write its outputs
NAMES = ("a", "xa", "b", "xb", "out", "xout")
ELEMENTS = {known.element.name: known.element for known in OCP_FORMATS.values()}
Work = tuple[list[Job], list[tuple]]


def regions(lines: tuple[int, ...], odd: tuple[int, ...], apart: int = 1) -> tuple[dict[str, Region], ...]:
    """First lines of every stream in even steps, and of those that have other ones in odd steps."""
    even = {name: Region(line, apart, name in ("xa", "xb")) for name, line in zip(NAMES, lines, strict=True)}
    other = {name: replace(even[name], line=line) for name, line in zip(NAMES[2:], odd, strict=True)}
    return even, {**even, **other}


DENSE = regions((0, 16, 32, 48, 96, 112), (64, 80, 104, 120))
# A, B of even and B of odd steps, each with its scales, and outputs in banks of their own.
APART = regions((0, 64, 1, 65, 3, 67), (2, 66, 35, 99), LINES_ASIDE)
TOGETHER = regions((0, 32, 64, 96, 192, 224), (128, 160, 208, 240), LINES_ASIDE)


def operand(element: str, rows: int, k: int, seed: int, block: int, tile: int = 0) -> Quantized:
    """Normal values; squares of `tile` rows share a scale, if given."""
    values = np.random.default_rng(seed).standard_normal((rows, k)).astype(np.float32)
    if not tile:
        return quantize(values, BlockFormat(ELEMENTS[element], E8M0, block))
    square = quantize(values, BlockFormat(ELEMENTS[element], E8M0, tile * block, rows=tile))
    return Quantized(square.codes, np.repeat(square.scales, tile, axis=0), BlockFormat(ELEMENTS[element], E8M0, block))


def work(element: str, out: str, k: int, places: tuple, *, block: int = 32, shared: bool = False, n: int = 8) -> Work:
    """A product of 4 x n outputs in steps of 4 columns, and what its steps must give."""
    tile = 2 if shared else 0
    a, b = operand(element, 4, k, 0, block, tile), operand(element, n, k, 1, block, tile)
    jobs = product_jobs(DESIGN, a, b, out, 4, places, shared=shared)
    return jobs, expected_words(DESIGN, a, b, out, 4)


def check(design: NpuDesign, works: list[Work], resets: tuple[int, ...] = ()) -> list[list[int]]:
    """Outputs and cycles of every run; returns the cycles of each work's steps."""
    counted = [expected_cycles(design, jobs) for jobs, _ in works]
    ran = run_npu(design, [jobs for jobs, _ in works], resets)
    order = [*range(len(works)), *[0] * len(resets)]
    assert len(ran) == len(order)
    for found, number in zip(ran, order, strict=True):
        assert (found.cycles, found.busy) == counted[number]
        for step, (codes, scales) in enumerate(works[number][1]):
            np.testing.assert_array_equal(found.scales[step], scales)
            np.testing.assert_array_equal(found.codes[step], codes)
    return [busy for _, busy in counted]


def test_products_in_every_format_and_after_resets() -> None:
    """Double buffered; each format in and out, scales of rows and shared ones, and resets at many points."""
    made = [work("E4M3", "E2M1", 64, DENSE), work("INT8", "E4M3", 32, DENSE), work("E2M1", "E3M2", 64, DENSE),
            work("E2M3", "INT8", 32, DENSE), work("E3M2", "E5M2", 32, DENSE, block=8, shared=True),
            work("E5M2", "E2M3", 40, DENSE, block=8, shared=True, n=16)]  # fmt: skip
    check(DESIGN, made, (1, 2, 3, 4, 5, 9, 17, 18, 19, 20, 40))


def test_operands_in_banks_of_their_own_cost_nothing() -> None:
    """The cycles that `hw.npu` counts on."""
    made = [work("E4M3", "E4M3", 64, APART), work("INT8", "E2M1", 32, APART, block=16), work("E2M1", "E2M3", 64, APART)]
    for busy, steps in zip(check(DESIGN, made), (16, 32, 8), strict=True):
        assert busy == [engine_cycles(4, steps) + OVERHEAD] * 2


def moved(job: Job, **loops: Loops) -> Job:
    """The job with its operands elsewhere."""
    step = job.step
    return replace(job, step=Step(step.tiles, step.steps, step.channels, {**step.loops, **loops}, step.scaling))


def test_conflicts_cost_what_the_model_counts() -> None:
    """Streams in the same banks; a step's channels all in one bank; backwards; and a DMA that takes banks away."""
    together, expected = work("E4M3", "E4M3", 32, TOGETHER)
    (one, *_), (first, *_) = work("E4M3", "E4M3", 64, DENSE)
    serial = moved(one, a=Loops(0, (16, 2, 2), (1, 0, 32), 16))
    backwards = moved(one, b=Loops(1023, (16, 2, 2), (-2, -32, 0), -1))
    lines = np.random.default_rng(0).integers(0, 16, 60).tolist()
    disturbed = [replace(job, extra=lines[: 40 + i]) for i, job in enumerate(together)]
    made = [(together, expected), ([serial], [first]), ([backwards], [first]), (disturbed, expected)]
    busy = check(DESIGN, made)
    free, serialised = engine_cycles(4, 8) + OVERHEAD, 4 * 16 * 2  # 2 cycles for every address
    assert all(count > free for count in busy[0])
    assert busy[1][0] >= serialised
    assert sum(busy[3]) > sum(busy[0])


WHOLE = NpuDesign()
# As `APART`; scales of outputs lie with B, of which nothing is read any more when a step's only tile is written.
WHOLE_APART = regions((0, 256, 1, 257, 3, 261), (2, 258, 67, 262), 4)


def product(element: str, m: int, n: int, k: int) -> tuple[ProductRun, Work]:
    """A product of 8 x 8 squares: what `hw.npu` says, and the steps it means."""
    spec = NpuSpec(ArraySpec(MacSpec(ELEMENTS[element])), output_bits=ELEMENTS[element].bits)
    told = run(spec, Product(element, m, n, k))
    assert told.panels[0] == m
    a, b = operand(element, m, k, 0, 8, 8), operand(element, n, k, 1, 8, 8)
    jobs = product_jobs(WHOLE, a, b, element, told.panels[1], WHOLE_APART, shared=True)
    return told, (jobs, expected_words(WHOLE, a, b, element, told.panels[1]))


def test_whole_products_take_the_cycles_of_the_npu_s_model() -> None:
    """From the first load to the last store, double buffered; the cycle-by-cycle count is the model's sum."""
    for element, n in (("INT8", 32), ("E4M3", 64), ("E2M1", 64)):
        told, (jobs, _) = product(element, 8, n, 512)
        assert len(jobs) > 2
        assert expected_cycles(WHOLE, jobs)[0] == told.cycles


@pytest.mark.slow
def test_the_whole_npu_multiplies_in_the_cycles_of_its_model() -> None:
    """8 x 8 MACs and 128 KiB in 32 banks: outputs bit for bit, cycles those of `hw.npu`."""
    made = [product(element, 8, n, 512) for element, n in (("INT8", 32), ("E4M3", 64), ("E2M1", 64))]
    check(WHOLE, [steps for _, steps in made])
    assert [expected_cycles(WHOLE, jobs)[0] for _, (jobs, _) in made] == [told.cycles for told, _ in made]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: replace(DESIGN, loops=0), "NpuDesign.loops: got 0, must be 1 to 6"),
        (lambda: replace(DESIGN, prefetch=65), "NpuDesign.prefetch: got 65, must be 1 to 64"),
        (lambda: run_npu(DESIGN, [[]]), "works: got none, or one without jobs"),
        (lambda: work("E4M3", "E4M3", 64, DENSE, block=2), "product: block is 2, must be a multiple of 4"),
        (lambda: run_npu(DESIGN, [work("INT8", "INT8", 32, (DENSE[0], DENSE[0]))[0]]), r"jobs\[1\]: brings lines \[32"),
        (lambda: run_npu(replace(DESIGN, loops=2), [work("INT8", "INT8", 32, DENSE)[0]]), "got 4 loops, .* has 2"),
    ],
)
def test_what_cannot_be_is_refused(build, message) -> None:
    with pytest.raises(ValueError, match=message):
        build()
