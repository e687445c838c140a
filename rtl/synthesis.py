"""Area of generated RTL in NAND2 equivalents, technology free.

Recipe: Yosys `synth -flatten`, `abc -g cmos`, and the transistor counts of `stat -tech cmos` divided by the four of a
NAND2; area driven, no timing target. Flip-flops are counted apart, as in the published comparisons.
"""

import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from amaranth.lib.wiring import Component

from rtl import emit, liberty, tools

TRANSISTORS_PER_NAND2 = 4
_MAP = ["abc -g cmos", "opt_clean", "delete t:$scopeinfo"]  # the last are debug records, not gates


@dataclass(frozen=True)
class Area:
    """Size of a mapped netlist.

    Attributes:
        nand2: combinational gates, in NAND2 equivalents (a quarter of their CMOS transistors).
        flip_flops: one-bit registers, not in `nand2`.
        cells: how many of each Yosys gate.
        yosys: version that mapped it; counts move a little between versions.
    """

    nand2: float
    flip_flops: int
    cells: dict[str, int]
    yosys: str


def area(component: Component, name: str) -> Area:
    """Flatten, map and count `component`; seconds for the MAC.

    Raises:
        ToolError: pyosys is missing or refuses the design.
    """
    return _area(_statistics(component, name, ["synth -flatten -top {top}", *_MAP])["design"])


def longest_path(component: Component, name: str) -> int:
    """Gates one after another on the longest way between ports and registers, in the netlist that `area` counts.

    The mapping has no timing target, so this compares designs rather than tells a clock.
    """
    log = emit.longest_path(component, name, ["synth -flatten -top {top}", *_MAP])
    found = re.search(r"Longest topological path in \S+ \(length=(\d+)\)", log)
    if found is None:
        raise tools.ToolError(f"Yosys tells no longest path of {name}: {log[-200:]!r}")
    return int(found[1])


@dataclass(frozen=True)
class LibertyArea:
    """Size in cells of a user's library, area driven.

    Attributes:
        um2: of all cells.
        sequential_um2: of the flip-flops among them.
        cells: how many of each.
    """

    um2: float
    sequential_um2: float
    cells: dict[str, int]


def liberty_area(component: Component, name: str, libraries: Sequence[Path]) -> LibertyArea:
    """Map `component` to the cells of Liberty files and add up their areas.

    Raises:
        ToolError: pyosys is missing or refuses design or library, or there is no cell for a gate that is needed.
    """
    text = liberty.join(libraries)
    with tempfile.TemporaryDirectory(prefix="warptree-liberty-") as scratch:
        file = Path(scratch) / "library.lib"
        file.write_text(text)
        try:
            counts = json.loads(emit.liberty_statistics(component, name, file))["design"]
        except tools.ToolError as error:
            if register := re.search(r"type (\S+)\) cannot be legalized", str(error)):
                raise _no_cell(name, [register[1]], libraries) from None
            raise
    if unknown := sorted(set(counts["num_cells_by_type"]) - liberty.cell_names(text)):
        raise _no_cell(name, unknown, libraries)
    return LibertyArea(counts["area"], counts["sequential_area"], counts["num_cells_by_type"])


def _no_cell(name: str, needed: list[str], libraries: Sequence[Path]) -> tools.ToolError:
    where = ", ".join(map(str, libraries))
    return tools.ToolError(f"{name} needs {', '.join(needed)}, for which {where} has no cell")


def area_of_blocks(component: Component, name: str) -> dict[str, Area]:
    """Area of each module with the hierarchy kept, gates of the modules inside it included.

    Keys are module paths such as "mac.step.align_add". The top module exceeds `area`, which optimises across blocks.
    """
    modules = _statistics(component, name, ["synth -top {top}", *_MAP])["modules"]
    return {path.removeprefix("\\"): _area(counts) for path, counts in modules.items()}


def _statistics(component: Component, name: str, script: list[str]) -> dict:
    return json.loads(emit.statistics(component, name, script))


def _area(counts: dict) -> Area:
    cells = {cell: number for cell, number in counts.get("num_cells_by_type", {}).items() if cell.startswith("$_")}
    flip_flops = sum(number for cell, number in cells.items() if "DFF" in cell)
    if latches := [cell for cell in cells if "LATCH" in cell]:
        raise tools.ToolError(f"synthesis found latches {latches}: generated RTL must have none")
    # Yosys marks a count that leaves out cells without one (flip-flops) with a plus.
    transistors = int(str(counts["estimated_num_transistors"]).rstrip("+"))
    return Area(transistors / TRANSISTORS_PER_NAND2, flip_flops, cells, tools.versions("pyosys")["pyosys"] or "unknown")
