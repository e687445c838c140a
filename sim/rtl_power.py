"""`warptree rtl power`: energy per operation of the MAC array, format by format, on a script's own dot products."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hw.technology import Technology
from mx_formats.block import BlockFormat
from mx_formats.quantize import Quantized, quantize
from mx_formats.scale import E8M0
from rtl.array import ArrayDesign
from rtl.engine import EngineDesign
from rtl.liberty_cells import CellLibrary, technology_of
from rtl.mac import MacDesign
from rtl.npu import NpuDesign
from rtl.power.activity import SIDE, activity
from rtl.power.array import ArrayEnergy, array_energy, full_array
from rtl.power.cells import SLOW_PS, cell_energy, map_to_cells
from rtl.power.system import SystemEnergy, gates, system_energy
from sim.console import Console
from sim.dots import BLOCK, Dots
from sim.errors import SimError

# Ratios of energy per operation to INT8's, arXiv 2511.06313, whole system: 657 / 1438 to 1675 / 4065 GOPS/W.
PUBLISHED_GOPS_PER_WATT = {"INT8": (657.0, 657.0), "E2M1": (4065.0, 4065.0)} | dict.fromkeys(
    ("E5M2", "E4M3", "E3M2", "E2M3"), (1438.0, 1675.0)
)
PUBLISHED = {name: (low / 657, high / 657) for name, (low, high) in PUBLISHED_GOPS_PER_WATT.items()}
MEGAHERTZ = 500  # of the published system
K = 128  # length of the dot products where no script gives them
Operands = tuple[np.ndarray, np.ndarray]  # float32[8 t, k] twice, tiles of eight rows


def gaussian_tiles(tiles: int) -> Operands:
    """Independent normal operands, the same every time."""
    a, b = np.random.default_rng(0).standard_normal((2, tiles * SIDE, K)).astype(np.float32)
    return a, b


def script_tiles(script: Path, arguments: Sequence[str], gpu_name: str, tiles: int, console: Console) -> Operands:
    """Tiles of the longest dot products that a script's tensor-core instructions make, spread evenly over them.

    Raises:
        SimError: the script has no such instruction, or cannot be run.
    """
    from hw.gpu_spec import load_gpu
    from sim.record import record
    from sim.script import run_script

    with console.stage("run", live=False) as stage:
        _, recording = record(lambda: run_script(script, arguments), load_gpu(gpu_name), stage, cuda=True)
        stage.done(f"{sum(dots.count for dots in recording.dots):,} dot products")
    if not recording.dots:
        raise SimError(f"{script} ran no tensor-core product whose operands could be recorded; "
                       "try one with tl.dot, or no script for normal operands")  # fmt: skip
    return tiles_of_dots(max(recording.dots, key=lambda dots: dots.length), tiles)


def tiles_of_dots(dots: Dots, tiles: int) -> Operands:
    """Eight rows of A and eight of B a tile; at most as many tiles as there are."""
    halves = dots.a.reshape(-1, SIDE, dots.length)  # two tiles an instruction's 16 x 8 outputs
    chosen = np.unique(np.linspace(0, len(halves) - 1, tiles).astype(np.int64))
    return halves[chosen].reshape(-1, dots.length), dots.b[chosen // 2].reshape(-1, dots.length)


def report_power(
    design: MacDesign,
    names: Sequence[str],
    operands: Operands,
    technology: Technology | CellLibrary,
    say: Callable[[str], None],
    *,
    glitches: bool = False,
    megahertz: float | None = None,
) -> dict[str, ArrayEnergy]:
    """Say energy per operation of each format, its parts, and its ratio to INT8's beside the published one.

    Args:
        design: the MACs.
        names: elements; INT8 comes first, asked for or not.
        operands: float32[8 t, k] twice.
        technology: charges simple gates; a library charges the MAC in its own cells.
        say: told of each line.
        glitches: see `rtl.power.toggles`; not with a library.
        megahertz: a clock that the MAC in a library's cells is mapped for; the smallest MAC where there is none.
    """
    delays = "one unit of delay a gate" if glitches else "no delay: every net changes at most once a cycle"
    say(f"8 x 8 {design.tree.value} MACs, M = {design.mantissa_bits}, {technology.name} at {technology.voltage_v} V, "
        f"{delays}; simulated")  # fmt: skip
    if isinstance(technology, CellLibrary):
        mapped = map_to_cells(design, technology, SLOW_PS if megahertz is None else max(1, round(1e6 / megahertz)))
        registers = technology_of(technology).sources["cells"].split(",")[1].split()[0]
        say(f"{sum(mapped.cells.values()):,} cells of {len(mapped.cells)} kinds a MAC, {mapped.area_um2:,.1f} um2; "
            f"registers {registers}")  # fmt: skip
        say(f"longest path {mapped.delay_ps:,.0f} ps without wires, up to {1e6 / mapped.delay_ps:,.0f} MHz"
            + ("" if megahertz is None else f"; asked for {megahertz:g} MHz"))  # fmt: skip
    say("fJ per operation        gates  accum.  operands  wires   total   GOPS/W   INT8 / this   published")
    energies: dict[str, ArrayEnergy] = {}
    for name in ("INT8", *(name for name in names if name != "INT8")):
        a, b = cast(design, name, operands)
        if isinstance(technology, CellLibrary):
            found = full_array(*cell_energy(design, mapped, [(a, b)], technology))
        else:
            found = array_energy(design, a, b, technology, glitches=glitches)
        energies[name] = found
        ratio, (low, high) = energies["INT8"].total / found.total, PUBLISHED[name]
        published = f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"
        say(f"{name:<22}{found.gates:>7.1f} {found.accumulators:>7.1f} {found.operands:>9.1f} {found.wires:>6.1f} "
            f"{found.total:>7.1f} {found.gops_per_watt:>8.0f} {ratio:>13.2f}   {published}")  # fmt: skip
    return energies


def report_system(
    design: MacDesign, names: Sequence[str], operands: Operands, technology: Technology, say: Callable[[str], None]
) -> dict[str, SystemEnergy]:
    """Say energy per operation of the array and what is around it, and the throughput, beside the published system."""
    products = operands[0].shape[1]
    say(f"system at {MEGAHERTZ} MHz, {technology.name}, outputs of {products} products; simulated, beside the "
        "published system, synthesised at 22 nm")  # fmt: skip
    say("fJ per operation       array  scratchpad  streams  requant.   total   GOPS     mW   GOPS/W  published   "
        "INT8 / this  published")  # fmt: skip
    found: dict[str, SystemEnergy] = {}
    around = gates(NpuDesign(EngineDesign(ArrayDesign(design))))
    for name in ("INT8", *(name for name in names if name != "INT8")):
        a, b = cast(design, name, operands)
        counted = activity(design, [(a, b)])
        one = found[name] = system_energy(counted, a.format, technology, products, around)
        gops = 2 * SIDE * SIDE * counted.lanes * MEGAHERTZ / 1000
        low, high = PUBLISHED_GOPS_PER_WATT[name]
        ratio, (least, most) = found["INT8"].total / one.total, PUBLISHED[name]
        say(f"{name:<20}{one.array:>8.1f} {one.scratchpad:>11.1f} {one.streams:>8.1f} {one.requantiser:>9.1f} "
            f"{one.total:>7.1f} {gops:>6.0f} {gops / one.gops_per_watt * 1000:>6.1f} {one.gops_per_watt:>8.0f} "
            f"{_span(low, high, 0):>10} {ratio:>13.2f}  {_span(least, most, 2)}")  # fmt: skip
    return found


def _span(low: float, high: float, digits: int) -> str:
    return f"{low:.{digits}f}" if low == high else f"{low:.{digits}f}-{high:.{digits}f}"


def cast(design: MacDesign, name: str, operands: Operands) -> tuple[Quantized, Quantized]:
    """Operands in the OCP format of an element."""
    block = BlockFormat(design.elements[design.mode(name)], E8M0, BLOCK)
    a, b = (quantize(side, block) for side in operands)
    return a, b
