"""A MAC in a library's cells: charged by hand, and beside the same constants on simple gates."""

from pathlib import Path

import numpy as np
import pytest

from mx_formats.block import MXFP4
from mx_formats.quantize import quantize
from rtl.liberty_cells import load_library, technology_of
from rtl.mac import MacDesign
from rtl.power.activity import activity, switching
from rtl.power.array import cycle_energy
from rtl.power.cells import cell_energy, map_to_cells

FLIP_FLOP = """
  cell (FF) { area : 20; ff (IQ, IQN) { clocked_on : "CK"; next_state : "D"; }
    pin (CK) { direction : input; clock : true; capacitance : 1; } pin (D) { direction : input; capacitance : 1; }
    pin (Q) { direction : output; function : "IQ"; } }
"""


def cell(name: str, function: str, area: float, energy: float) -> str:
    """A gate whose inputs load 1 fF, with NLDM tables for the mapper."""
    pins = "".join(f"pin ({pin}) {{ direction : input; capacitance : 1; }}" for pin in "AB" if pin in function)
    kinds = ("cell_rise", "cell_fall", "rise_transition", "fall_transition")
    tables = " ".join(f'{kind} (scalar) {{ values ("1"); }}' for kind in kinds)
    timing = "".join(f'timing () {{ related_pin : "{pin}"; {tables} }}' for pin in "AB" if pin in function)
    power = f'internal_power () {{ power (scalar) {{ values ("{energy}"); }} }}'
    output = f'pin (Y) {{ direction : output; function : "{function}"; {timing} {power} }}'
    return f"cell ({name}) {{ area : {area}; {pins} {output} }}"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory):
    """Inverter and NAND2 whose inner nets are charged with 0.5 fJ at 1 V."""
    text = "".join([cell("INV", "!A", 1, 0.25), cell("NAND", "!(A*B)", 2, 0.5), cell("BUF", "A", 2, 0.5), FLIP_FLOP])
    head = "library (tiny) { delay_model : table_lookup; nom_voltage : 1; capacitive_load_unit (1, ff);\n"
    file: Path = tmp_path_factory.mktemp("lib") / "tiny.lib"
    file.write_text(head + text + "}\n")
    return load_library([file])


@pytest.fixture(scope="module")
def operands():
    a, b = np.random.default_rng(3).standard_normal((2, 16, 64)).astype(np.float32)
    return [(quantize(a, MXFP4), quantize(b, MXFP4))]


def test_cells_are_charged_net_by_net(library, operands) -> None:
    """The netlist computes the MAC (checked in every cycle), and a net costs its pins, its wire and its driver."""
    design = MacDesign(16, (MXFP4.element,))
    mapped = map_to_cells(design, library)
    assert set(mapped.cells) <= {"INV", "NAND", "BUF"}
    assert mapped.area_um2 == sum(library.cells[name].area * count for name, count in mapped.cells.items())
    wire = technology_of(library).gate_wire_ff
    pins = 2 * mapped.cells["NAND"] + mapped.cells["INV"] + mapped.cells.get("BUF", 0)
    inner = 0.5 * (mapped.cells["NAND"] + mapped.cells.get("BUF", 0)) + 0.25 * mapped.cells["INV"]
    assert mapped.energy_fj.sum() == pytest.approx(0.5 * pins * (1 + wire) + inner)
    assert mapped.delay_ps > 0
    parts, _ = cell_energy(design, mapped, operands, library)
    found = switching(design, mapped.netlist, operands)
    assert parts.gates == pytest.approx(found.changes @ mapped.energy_fj / found.mac_cycles)


def test_registers_and_wires_are_the_library_s(library, operands) -> None:
    design = MacDesign(16, (MXFP4.element,))
    parts, simple = cell_energy(design, map_to_cells(design, library), operands, library)
    expected = cycle_energy(activity(design, operands), technology_of(library))
    assert (parts.accumulator, parts.left, parts.right_wire) == (
        expected.accumulator, expected.left, expected.right_wire,
    )  # fmt: skip
    assert simple == activity(design, operands)
    assert parts.gates != expected.gates
