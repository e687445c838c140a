"""A MAC mapped to the cells of a Liberty file, its toggles charged with the file's own capacitances and energies."""

import json
import re
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np

from rtl import emit, liberty
from rtl.liberty_cells import CellLibrary, technology_of
from rtl.liberty_function import Bit, gates_of
from rtl.mac import MacDesign, MacStep
from rtl.power.activity import Activity, Operands, activity, switching
from rtl.power.array import CycleEnergy, cycle_energy
from rtl.power.mapped import Mapped, assemble
from rtl.tools import ToolError

SLOW_PS = 1_000_000  # a period that every path keeps


@dataclass(frozen=True)
class CellNetlist:
    """A MAC in cells.

    Attributes:
        netlist: gates that compute what the cells do; several may stand for one cell.
        energy_fj: float64[nets], of a change of each net; 0 inside a cell.
        cells: how many of each.
        area_um2: of all of them.
        delay_ps: longest path by the mapper's timing (cells and their loads, no wires), inputs at once.
    """

    netlist: Mapped
    energy_fj: np.ndarray
    cells: dict[str, int]
    area_um2: float
    delay_ps: float


# abc's mapping for a library, with buffers for large fan-outs; then cells grow where a path is too long for the period,
# and shrink where none is.
_ABC = "+strash;&get,-n;&dch,-f;&nf;&put;buffer,-c,-N,16;topo;upsize,-D,{ps};dnsize,-D,{ps};stime"
_DELAY = re.compile(r"Delay =\s*([\d.]+) ps")


def map_to_cells(design: MacDesign, library: CellLibrary, period_ps: int = SLOW_PS) -> CellNetlist:
    """Map a MAC's combinational logic to a library.

    Args:
        design: the MAC.
        library: its cells.
        period_ps: that the longest path should keep; area alone counts once it does.

    Raises:
        ToolError: Yosys is missing or refuses the library; a cell without a function or not in the library.
    """
    with tempfile.TemporaryDirectory(prefix="warptree-liberty-") as scratch:
        file = Path(scratch) / "library.lib"
        file.write_text(liberty.join(library.paths))
        log = Path(scratch) / "abc.log"
        mapping = f"tee -q -o {log} abc -liberty {file} -script {_ABC.format(ps=period_ps)}"
        script = ["synth -flatten -top {top}", mapping, "opt_clean -purge", "delete t:$scopeinfo"]
        module = json.loads(emit.mapped(MacStep(design), "mac_step", script))["modules"]["mac_step"]
        delay = _DELAY.search(log.read_text())
    if delay is None:
        raise ToolError(f"abc tells no delay of the mapped MAC; are cells of {library.name} without timing?")
    instances = list(module["cells"].values())
    gates: list[dict] = []
    inner = count()
    loads: dict[Bit, float] = defaultdict(float)
    driven: list[tuple[Bit, str, str]] = []
    for instance in instances:
        cell = library.cells.get(instance["type"])
        if cell is None or not cell.outputs:
            raise ToolError(f"mac_step is mapped to {instance['type']}, which {library.name} has no function for")
        pins = {name: bits[0] for name, bits in instance["connections"].items()}
        for name, capacitance in cell.inputs.items():
            loads[pins[name]] += capacitance
        for name, output in cell.outputs.items():
            if name in pins:
                driven.append((pins[name], cell.name, name))
                _expand(output.function, {pin: pins[pin] for pin in cell.inputs}, pins[name], gates, inner)
    netlist, numbers = assemble("mac_step", module, gates)
    wire = technology_of(library).gate_wire_ff
    fanout = Counter(bit for instance in instances for pin, bits in instance["connections"].items() for bit in bits
                     if pin in library.cells[instance["type"]].inputs)  # fmt: skip
    energy = np.zeros(netlist.nets)
    for bit, capacitance in loads.items():
        energy[numbers[bit]] += 0.5 * (capacitance + wire * fanout[bit]) * library.voltage_v**2
    for bit, cell, pin in driven:
        energy[numbers[bit]] += library.cells[cell].outputs[pin].energy_fj(loads[bit] + wire * fanout[bit])
    used = Counter(instance["type"] for instance in instances)
    area = sum(library.cells[name].area * number for name, number in used.items())
    return CellNetlist(netlist, energy, dict(used), area, float(delay[1]))


def _expand(function: str, pins: dict[str, Bit], output: Bit, gates: list[dict], inner: count) -> None:
    """Gates of a cell's function, the last of which drives its output."""

    def emit_gate(kind: str, nets: dict[str, Bit]) -> Bit:
        net = f"inside {next(inner)}"
        gates.append({"type": kind, "connections": {**{pin: [bit] for pin, bit in nets.items()}, "Y": [net]}})
        return net

    result = gates_of(function, pins, emit_gate)
    gates.append({"type": "$_AND_", "connections": {"A": [result], "B": [result], "Y": [output]}})


def cell_energy(
    design: MacDesign, mapped: CellNetlist, operands: Operands, library: CellLibrary
) -> tuple[CycleEnergy, Activity]:
    """Energy of an array's parts in one cycle, gates in the library's cells, registers in its flip-flops.

    Args:
        design: the MACs.
        mapped: `map_to_cells(design, library)`.
        operands: as `rtl.power.activity.activity` takes them.
        library: whose cells they are.

    Returns:
        The energies, and the activity of simple gates on the same operands, for comparison.

    Raises:
        ValueError, ToolError: as `rtl.power.activity.activity`.
    """
    found = switching(design, mapped.netlist, operands)
    simple = activity(design, operands)
    parts = cycle_energy(simple, technology_of(library))
    gates = float(found.changes @ mapped.energy_fj) / found.mac_cycles
    return replace(parts, gates=gates), simple
