"""`warptree rtl build`, `test` and `synth`: Verilog, the RTL against the model, and area beside what was published."""

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from amaranth.lib.wiring import Component

from hw.technology import load_technology, technology_names
from rtl import emit, liberty, tools
from rtl.area_cache import cached_area
from rtl.array import ArrayDesign, MacArray
from rtl.cosim import MacVectors, run_cocotb
from rtl.engine import EngineDesign, TileEngine
from rtl.equality import Difference, check_dots, check_product_pairs, check_single_cycles, model_step
from rtl.mac import Mac, MacDesign, PipelinedMac, Tree
from rtl.mac import pipeline as pipeline_of
from rtl.mac.pipeline import check_tree
from rtl.npu import Npu, NpuDesign
from rtl.npu.parts import parts
from rtl.requantise import Requantise
from rtl.stimulus import Cycles
from rtl.synthesis import area, area_of_blocks, liberty_area, longest_path
from sim.errors import SimError

Say = Callable[[str], None]

COCOTB_CYCLES = 400  # of each format
SINGLE_CYCLES = 200_000
# NAND2 equivalents by the recipe of `rtl.synthesis`, of the RTL that KU Leuven published with arXiv 2511.06313.
PUBLISHED_TREES = {
    (Tree.HYBRID, 16): 8024,
    (Tree.HYBRID, 23): 10231,
    (Tree.FP32_ADDITION, 16): 6476,
    (Tree.FP32_ADDITION, 23): 7677,
    (Tree.LONG_INTEGER, 23): 13012,
}
PUBLISHED = (
    ("hybrid, M = 16, not correct", 8024, 25),
    ("hybrid, M = 23, not correct", 10231, 32),
    ("FP32 addition, M = 23, not correct", 7677, 32),
    ("long integer, correct for four formats", 13012, 32),
)


def mac(design: MacDesign, registers: int) -> Mac | PipelinedMac:
    """The MAC with its accumulator, and with so many places of registers inside.

    Raises:
        SimError: the tree has no such registers.
    """
    try:
        check_tree(pipeline_of(registers), design.tree)
    except ValueError as error:
        raise SimError(f"--pipeline {registers}: {error}") from None
    return PipelinedMac(design, pipeline_of(registers)) if registers else Mac(design)


_PARTS: dict[str, Callable[[MacDesign], Component]] = {
    "array": lambda design: MacArray(ArrayDesign(design)),
    "requantiser": lambda design: Requantise(design, 64),
    "engine": lambda design: TileEngine(EngineDesign(ArrayDesign(design))),
    "npu": lambda design: Npu(NpuDesign(EngineDesign(ArrayDesign(design)))),
}


def build(design: MacDesign, path: Path, say: Say, registers: int = 0, part: str = "mac") -> None:
    """Write Verilog of the MAC with its accumulator, or of another part; the same bytes for the same design and Yosys.

    Raises:
        SimError: no such part, registers in another part than the MAC, or a file that cannot be written.
    """
    if part not in ("mac", *_PARTS):
        raise SimError(f"--part: got {part!r}, legal mac, {', '.join(_PARTS)}")
    if part != "mac" and registers:
        raise SimError(f"--pipeline: got {registers} with --part {part}, legal 0 but for the MAC")
    text = emit.verilog(mac(design, registers) if part == "mac" else _PARTS[part](design), part)
    try:
        path.write_text(text)
    except OSError as error:
        raise SimError(f"{path} cannot be written: {error}; try another --output") from None
    digest = hashlib.sha256(text.encode()).hexdigest()
    say(f"{path}: module {part}, M = {design.mantissa_bits}, modes {', '.join(design.names)}; sha256 {digest[:16]}")
    if registers:
        say(_timing(registers))


def compare(design: MacDesign, names: Sequence[str], dots: int, say: Say) -> bool:
    """Compare RTL and model for each format and say how it went; False where they differ.

    What cannot run for want of a tool is named with its remedy, and the rest runs.
    """
    parts = (("compiled RTL", lambda: _test_compiled(design, names, dots, say)),
             ("cocotb", lambda: _test_cocotb(design, names, say)))  # fmt: skip
    ran = False
    for purpose, run in parts:
        if absent := tools.missing(purpose):
            wants = "; ".join(f"{tool.name} not found, try: {tool.how_to_get}" for tool in absent)
            say(f"skipped {purpose}: {wants}")
            continue
        ran = True
        try:
            if not run():
                return False
        except Difference as difference:
            say(f"FAILED  {difference}")
            return False
    if not ran:
        raise SimError("nothing could be compared: see the tools named above")
    return True


def _test_compiled(design: MacDesign, names: Sequence[str], dots: int, say: Say) -> bool:
    for name in names:
        started = time.perf_counter()
        done = [check_product_pairs(design, name), check_single_cycles(design, name, SINGLE_CYCLES)]
        done += check_dots(design, name, dots)
        cycles, seconds = sum(part.cycles for part in done), time.perf_counter() - started
        say(f"equal   {name:<5} compiled RTL: every product pair, {SINGLE_CYCLES:,} single cycles, {dots:,} dots; "
            f"{cycles:,} cycles, {seconds:.1f} s")  # fmt: skip
    return True


def _test_cocotb(design: MacDesign, names: Sequence[str], say: Say) -> bool:
    """On Verilator, and on Icarus where it is installed."""
    vectors = {name: _vectors(design, name) for name in names}
    simulators = ["verilator"] + ([] if tools.missing("cocotb on Icarus") else ["icarus"])
    for simulator in simulators:
        result = run_cocotb(design, vectors, simulator=simulator)
        for name, mismatch in result.first_mismatch.items():
            say(f"FAILED  {name} in cocotb on {simulator.capitalize()}: {mismatch}")
        if not result.ok:
            return False
        say(f"equal   cocotb on {simulator.capitalize()}: {sum(result.vectors.values()):,} cycles, hold and reset, "
            f"{result.build_seconds + result.seconds:.1f} s")  # fmt: skip
    return True


def _vectors(design: MacDesign, name: str) -> MacVectors:
    """Dot products of eight cycles one after another."""
    made = Cycles(design, name, COCOTB_CYCLES, seed=1)
    sums, expected = np.zeros(1, np.uint32), []
    clear = np.arange(COCOTB_CYCLES) % 8 == 0
    for cycle in range(COCOTB_CYCLES):
        at = slice(cycle, cycle + 1)
        before = np.zeros(1, np.uint32) if clear[cycle] else sums
        sums = model_step(design, name, made.a[at], made.b[at], made.xa[at], made.xb[at], before)
        expected.append(sums)
    return MacVectors(made.a, made.b, made.xa, made.xb, clear, np.concatenate(expected))


def _timing(registers: int) -> str:
    cuts = pipeline_of(registers)
    places = ", ".join(cut.value for cut in cuts.cuts)
    return f"registers after {places}: latency {cuts.latency} cycles, a step every {cuts.interval}"


def synth(design: MacDesign, blocks: bool, libraries: Sequence[Path], say: Say, registers: int = 0) -> None:
    """Say the MAC's area in NAND2 equivalents beside the published ones, of each block and in um2 if asked."""
    if libraries:
        liberty.join(libraries)  # what is wrong with a file is told before anything is mapped
    say("synth -flatten, abc -g cmos; transistors / 4, flip-flops apart   NAND2   flip-flops")
    made = mac(design, registers)
    mine = area(made, "mac")
    formats = "six formats, correct" if len(design.elements) == 6 else f"{', '.join(design.names)}, correct"
    title = f"warptree, {design.tree.value}, M = {design.mantissa_bits}, {formats}"
    say(f"{title:<62} {mine.nand2:>8,.0f} {mine.flip_flops:>8}")
    for title, nand2, flip_flops in PUBLISHED:
        say(f"{f'published: {title}':<62} {nand2:>8,} {flip_flops:>8}   x {nand2 / mine.nand2:.2f}")
    say(f"longest path {longest_path(made, 'mac')} gates{'; ' + _timing(registers) if registers else ''}")
    if libraries:
        _say_um2(made, mine.nand2, libraries, say)
    if blocks:
        say("blocks, hierarchy kept, what lies inside included:")
        for path, size in sorted(area_of_blocks(made, "mac").items(), key=lambda item: -item[1].nand2):
            say(f"  {path:<60} {size.nand2:>8,.0f} {size.flip_flops:>8}")


def synth_npu(design: MacDesign, say: Say) -> None:
    """Say the area of the MACs and of everything around them, banks apart, in NAND2 equivalents."""
    npu = NpuDesign(EngineDesign(ArrayDesign(design)))
    known = {"MAC": (npu.engine.array.rows * npu.engine.array.columns, lambda: Mac(design))} | parts(npu)
    say("synth -flatten, abc -g cmos; transistors / 4    how many      NAND2 each   in all   flip-flops each")
    total = 0.0
    for name, (count, make) in known.items():
        found = cached_area(make(), "mac" if name == "MAC" else "part")
        total += count * found.nand2
        say(f"{name:<48}{count:>8}{found.nand2:>16,.0f}{count * found.nand2:>9,.0f}{found.flip_flops:>18,}")
    pad = npu.scratchpad
    say(f"{total:,.0f} NAND2 in all, and {pad.banks} banks of {pad.bytes // pad.banks:,} bytes")


def _say_um2(made: Mac | PipelinedMac, nand2: float, libraries: Sequence[Path], say: Say) -> None:
    """Area in a user's cells, and what that makes of a NAND2 equivalent beside the built-in nodes."""
    found = liberty_area(made, "mac", libraries)
    logic = found.um2 - found.sequential_um2
    say(f"{', '.join(path.name for path in libraries)}: {found.um2:,.1f} um2, of which flip-flops "
        f"{found.sequential_um2:,.1f}; {sum(found.cells.values()):,} cells of {len(found.cells)} kinds")  # fmt: skip
    nodes = ", ".join(f"{node.name} {node.nand2_um2:.4f}" for node in map(load_technology, technology_names()))
    say(f"{logic / nand2:.4f} um2 a NAND2 equivalent; the built-in nodes have {nodes}")
