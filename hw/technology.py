"""What a CMOS node charges for a change of a net, a clock edge and a length of wire: one TOML file a node.

Energies are half C V**2 a change. The capacitances are those of a library's small cells, each with its source in the
file; none is fitted to a design or a format.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "technology"
_CONSTANTS = (
    "voltage_v", "pair_ff", "internal_ff", "gate_wire_ff", "wire_ff_per_um", "register_clock_ff",
    "register_toggle_ff", "nand2_um2", "sram_bit_ff",
)  # fmt: skip


class TechnologyError(Exception):
    """A technology file that cannot be used; the message says which, what is wrong, and what is expected."""


@dataclass(frozen=True)
class Technology:
    """A node.

    Attributes:
        name: as `load_technology` takes it.
        voltage_v: supply.
        pair_ff: capacitance of an NMOS and a PMOS gate, one input of a NAND2, in fF.
        internal_ff: of a gate's own drains and inner nodes, per transistor.
        gate_wire_ff: of the wire to one gate input inside a block.
        wire_ff_per_um: of a longer wire.
        register_clock_ff: switched twice a cycle inside a clocked flip-flop and by its clock pin.
        register_toggle_ff: switched inside a flip-flop when its output changes.
        nand2_um2: area of a NAND2, for the length of wires between blocks.
        sram_bit_ff: switched for one bit read from or written to a scratchpad bank of some KiB.
        sources: of each of them.
    """

    name: str
    voltage_v: float
    pair_ff: float
    internal_ff: float
    gate_wire_ff: float
    wire_ff_per_um: float
    register_clock_ff: float
    register_toggle_ff: float
    nand2_um2: float
    sram_bit_ff: float
    sources: dict[str, str]

    def energy_fj(self, farads_ff: float) -> float:
        """Energy of one change of so much capacitance, in fJ."""
        return 0.5 * farads_ff * self.voltage_v**2


def technology_names() -> list[str]:
    """Names of the built-in nodes."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_technology(name: str) -> Technology:
    """The node called `name`, or read from a TOML file of that path.

    Raises:
        TechnologyError: no such node or file, or a constant missing, unknown, without a source or not positive.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise TechnologyError(f"no technology {name!r}; there are {', '.join(technology_names())}, or give a TOML file")
    try:
        table = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TechnologyError(f"{path} is not TOML: {error}") from None
    if set(table) != set(_CONSTANTS):
        wrong = ", ".join(sorted(set(table) ^ set(_CONSTANTS)))
        raise TechnologyError(f"{path}: missing or unknown: {wrong}; expected are {', '.join(_CONSTANTS)}")
    for key, entry in table.items():
        well_formed = isinstance(entry, dict) and set(entry) == {"value", "source"} and entry["source"]
        if not well_formed or not isinstance(entry["value"], int | float) or not 0 < entry["value"] < 1e6:
            raise TechnologyError(
                f"{path}: {key} is {entry!r}, expected {{ value = a positive number, source = text }}"
            )
    values = {key: float(table[key]["value"]) for key in _CONSTANTS}
    return Technology(path.stem, **values, sources={key: table[key]["source"] for key in _CONSTANTS})
