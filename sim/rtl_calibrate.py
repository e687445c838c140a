"""`warptree rtl power --calibrate`: how far a built-in technology table is from a Liberty file.

A table of another node than the file's is compared by the rule by which the built-in ones are made: capacitances go
with the gate pitch, here the root of the NAND2's area, and energies with the supply squared besides.
"""

from collections.abc import Callable, Sequence

from hw.technology import Technology
from rtl.liberty_cells import CellLibrary, technology_of
from rtl.mac import MacDesign
from rtl.power.activity import activity
from rtl.power.array import cycle_energy, full_array
from rtl.power.cells import cell_energy, map_to_cells
from sim.rtl_power import Operands, cast

_CAPACITANCES = ("pair_ff", "internal_ff", "gate_wire_ff", "register_clock_ff", "register_toggle_ff")


def calibrate(
    design: MacDesign,
    names: Sequence[str],
    operands: Operands,
    technology: Technology,
    library: CellLibrary,
    say: Callable[[str], None],
) -> dict[str, float]:
    """Say constants and energies of a table beside a library's.

    Returns:
        By element: energy of an operation by the table, brought to the library's pitch and supply, over that of the
        library's own cells.
    """
    own = technology_of(library)
    pitch = (own.nand2_um2 / technology.nand2_um2) ** 0.5
    scale = pitch * (own.voltage_v / technology.voltage_v) ** 2
    say(f"{technology.name} at {technology.voltage_v} V against {library.name} at {own.voltage_v} V "
        f"({own.sources['cells']})")  # fmt: skip
    say(f"a NAND2 has {technology.nand2_um2:g} um2 and {own.nand2_um2:g} um2: {pitch:.2f} times the gate pitch")
    say("constant             table   at this pitch   library   table / library")
    for name in _CAPACITANCES:
        table, read = getattr(technology, name), getattr(own, name)
        say(f"{name:<18}{table:>8.3f} {table * pitch:>15.3f} {read:>9.3f} {table * pitch / read:>17.2f}")
    mapped = map_to_cells(design, library)
    say("fJ per operation     table   at this pitch and supply   library's constants   library's cells   table / cells")
    ratios = {}
    for name in names:
        pair = [cast(design, name, operands)]
        found = activity(design, pair)
        ours, constants = (full_array(cycle_energy(found, node), found).total for node in (technology, own))
        cells = full_array(*cell_energy(design, mapped, pair, library)).total
        ratios[name] = ours * scale / cells
        say(f"{name:<16}{ours:>10.1f} {ours * scale:>26.1f} {constants:>21.1f} {cells:>17.1f} {ratios[name]:>15.2f}")
    return ratios
