"""Capacitances and energies of a Liberty file's cells, in fF and fJ.

An output's energy of a change is its internal power, mean of rising and falling and of all conditions and related pins,
at the middle of the table's input slews, interpolated over the load. Where supply and ground have tables of their own,
each tells the whole energy, since the same charge passes both, and their mean is taken. What charging the load takes
comes on top. Energy of inputs that change without an output is left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw.technology import Technology
from rtl import liberty
from rtl.liberty_groups import Group, read_groups
from rtl.tools import ToolError

_WANTED = {"library", "operating_conditions", "power_lut_template", "cell", "pin", "internal_power", "rise_power",
           "fall_power", "power", "ff"}  # fmt: skip
_PREFIX = {"ff": 1.0, "pf": 1000.0}
_LOAD = "total_output_net_capacitance"
PITCHES_PER_WIRE = (
    4  # as in hw/technology: a mean net of a small block (Donath 1979), a pitch the root of a NAND2's area
)
WIRE_FF_PER_UM = 0.2  # as there (Ho, Mai, Horowitz 2001)
_SRAM_PITCHES_FF = 130 / 0.0583**0.5  # a library has no memories: 7 nm's `sram_bit_ff`, with the gate pitch


@dataclass(frozen=True)
class Output:
    """An output pin: its function of the cell's inputs, and energy in fJ of a change at rising loads in fF."""

    function: str
    loads: tuple[float, ...]
    energies: tuple[float, ...]

    def energy_fj(self, load_ff: float) -> float:
        """Internal energy of a change that drives a load."""
        return float(np.interp(load_ff, self.loads, self.energies))


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        name: in the library.
        area: um2.
        inputs: capacitance of each input pin in fF.
        outputs: output pins with a function.
        clock: pin that clocks it, "" if it is no flip-flop.
        clock_fj: internal energy of both edges of the clock.
        plain: a flip-flop of the rising edge without set or reset.
    """

    name: str
    area: float
    inputs: dict[str, float]
    outputs: dict[str, Output]
    clock: str
    clock_fj: float
    plain: bool


@dataclass(frozen=True)
class CellLibrary:
    """Cells with what they charge.

    Attributes:
        name: of the library.
        voltage_v: supply.
        cells: by name.
        paths: files it came from.
    """

    name: str
    voltage_v: float
    cells: dict[str, Cell]
    paths: tuple[Path, ...]


def load_library(paths: Sequence[Path]) -> CellLibrary:
    """Read the files of one library; units of the first.

    Raises:
        ToolError: files that are no Liberty, a number that is none, or no supply voltage.
    """
    root = read_groups(liberty.join(paths), _WANTED)
    conditions = {group.name: group for group in root.of("operating_conditions")}
    chosen = conditions.get(root.attributes.get("default_operating_conditions", ""))
    voltage = chosen.number("voltage", 0.0) if chosen else root.number("nom_voltage", 0.0)
    if not 0 < voltage < 100:
        raise ToolError(f"{paths[0]}: supply voltage is {voltage}, expected a nom_voltage above 0")
    amount, unit = (root.attributes.get("capacitive_load_unit", "1,pf").replace('"', "").split(",") + [""])[:2]
    if unit.strip().lower() not in _PREFIX:
        raise ToolError(f"{paths[0]}: capacitive_load_unit is in {unit.strip()!r}, expected ff or pf")
    try:
        femtofarad = float(amount) * _PREFIX[unit.strip().lower()]
    except ValueError:
        raise ToolError(f"{paths[0]}: capacitive_load_unit is {amount!r}, expected a number") from None
    # Internal power is in units of capacitance times voltage squared; the voltage unit of every library is the volt.
    templates = {group.name: group for group in root.of("power_lut_template")}
    cells = {group.name: _cell(group, templates, femtofarad) for group in root.of("cell")}
    return CellLibrary(root.name, voltage, cells, tuple(paths))


def _cell(group: Group, templates: dict[str, Group], unit: float) -> Cell:
    inputs: dict[str, float] = {}
    outputs: dict[str, Output] = {}
    pins = {name: pin for pin in group.of("pin") for name in pin.name.replace(",", " ").split()}
    for name, pin in pins.items():
        direction = pin.attributes.get("direction", "")
        if direction == "input":
            inputs[name] = unit * pin.number("capacitance", 0.0)
        elif direction == "output" and "function" in pin.attributes:
            loads, energies = _energies(pin, templates)
            scaled = tuple(unit * load for load in loads), tuple(unit * energy for energy in energies)
            outputs[name] = Output(pin.attributes["function"], *scaled)
    flop = next(group.of("ff"), None)
    clock = flop.attributes.get("clocked_on", "").strip("!'() ") if flop else ""
    clock_fj = 2 * unit * float(np.mean(_energies(pins[clock], templates)[1])) if clock in pins else 0.0
    rising = flop is not None and clock in inputs and flop.attributes.get("clocked_on", "").strip("() ") == clock
    plain = flop is not None and rising and not {"clear", "preset"} & set(flop.attributes)
    return Cell(group.name, group.number("area", 0.0), inputs, outputs, clock, clock_fj, plain)


def _energies(pin: Group, templates: dict[str, Group]) -> tuple[np.ndarray, np.ndarray]:
    """Loads and mean internal energies of a change, in the library's units; zero where there is no table."""
    tables = [_by_load(table, templates) for power in pin.of("internal_power")
              for table in power.of("rise_power", "fall_power", "power")]  # fmt: skip
    if not tables:
        return np.zeros(1), np.zeros(1)
    loads = max((loads for loads, _ in tables), key=len)
    return loads, np.mean([np.interp(loads, *table) for table in tables], axis=0)


def _by_load(table: Group, templates: dict[str, Group]) -> tuple[np.ndarray, np.ndarray]:
    """Loads and energies of a table at its middle slew; one load where it does not depend on it."""
    template = templates.get(table.name, Group("power_lut_template", table.name))
    axes = [table.numbers(name) or template.numbers(name) for name in ("index_1", "index_2")]
    axes = [axis for axis in axes if axis]
    values = np.array(table.numbers("values"))
    if values.size == 1 or not axes:
        axes = []
    if values.size != np.prod([len(axis) for axis in axes], dtype=int):
        raise ToolError(f"Liberty {table.kind} ({table.name}): {values.size} values do not fill its indices")
    values = values.reshape([len(axis) for axis in axes])
    load_first = template.attributes.get("variable_1", "") == _LOAD
    if len(axes) == 2:
        values, loads = (values.T, axes[0]) if load_first else (values, axes[1])
        values = values[len(values) // 2]
    elif len(axes) == 1 and load_first:
        loads = axes[0]
    else:
        values, loads = values.ravel()[values.size // 2 :][:1], [0.0]
    order = np.argsort(loads)
    return np.array(loads)[order], values[order]


def technology_of(library: CellLibrary) -> Technology:
    """The constants of `hw.technology` as a library's smallest inverting gates and flip-flop have them.

    Raises:
        ToolError: no NAND2, or no flip-flop without set and reset.
    """
    nand = _smallest(library, "a NAND2", (cell for cell in library.cells.values() if _is_nand2(cell)))
    flop = _smallest(library, "a flip-flop without set and reset",
                     (cell for cell in library.cells.values() if cell.clock and cell.plain and cell.outputs
                      and len(cell.inputs) == 2))  # fmt: skip
    square, pin_ff = library.voltage_v**2, float(np.mean(list(nand.inputs.values())))
    if not (nand.area > 0 and pin_ff > 0):
        raise ToolError(f"{nand.name}: area is {nand.area} and an input has {pin_ff} fF, expected more than 0")
    (gate,), state = nand.outputs.values(), next(iter(flop.outputs.values()))
    return Technology(
        name=library.name,
        voltage_v=library.voltage_v,
        pair_ff=pin_ff,
        internal_ff=2 * gate.energy_fj(3 * pin_ff) / square / 4,  # over four transistors
        gate_wire_ff=PITCHES_PER_WIRE * WIRE_FF_PER_UM * nand.area**0.5,
        wire_ff_per_um=WIRE_FF_PER_UM,
        register_clock_ff=flop.clock_fj / square + flop.inputs[flop.clock],
        register_toggle_ff=2 * state.energy_fj(3 * pin_ff) / square,
        nand2_um2=nand.area,
        sram_bit_ff=_SRAM_PITCHES_FF * nand.area**0.5,
        sources={"cells": f"{nand.name}, {flop.name} of {library.name}"},
    )


def _smallest(library: CellLibrary, what: str, cells: Iterator[Cell]) -> Cell:
    """Of the smallest the one with the largest transistors: a smaller drive often saves no area."""
    found = min(cells, key=lambda cell: (cell.area, -sum(cell.inputs.values()), cell.name), default=None)
    if found is None:
        raise ToolError(f"{', '.join(map(str, library.paths))} has no cell that is {what}")
    return found


def _is_nand2(cell: Cell) -> bool:
    if len(cell.inputs) != 2 or len(cell.outputs) != 1 or cell.clock:
        return False
    function = next(iter(cell.outputs.values())).function
    first, second = cell.inputs
    return all(_value(function, {first: x, second: y}) == (not (x and y)) for x in (0, 1) for y in (0, 1))


def _value(function: str, pins: dict[str, int]) -> bool:
    """A cell's function for given inputs; False where it cannot be read."""
    from rtl.liberty_function import gates_of

    rules = {"$_NOT_": lambda a, b: 1 - a, "$_AND_": lambda a, b: a & b, "$_OR_": lambda a, b: a | b,
             "$_XOR_": lambda a, b: a ^ b}  # fmt: skip

    def emit(kind: str, nets: dict[str, int | str]) -> int:
        return rules[kind](int(nets["A"]), int(nets.get("B", 0)))

    try:
        return bool(int(gates_of(function, dict(pins), emit)))
    except ToolError:
        return False
