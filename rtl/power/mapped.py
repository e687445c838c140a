"""A combinational component mapped to CMOS gates by Yosys, as arrays that a simulator can walk."""

import json
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from amaranth.lib.wiring import Component

from rtl import emit
from rtl.tools import ToolError


class Gate(NamedTuple):
    """A Yosys gate: its input ports in order, transistors in static CMOS, and transistor pairs behind each input.

    Transistor counts are those of Yosys' `stat -tech cmos`; a pair is what one input of a NAND2 drives.
    """

    code: int
    inputs: tuple[str, ...]
    transistors: int
    pairs: tuple[int, ...]


GATES = {
    "$_NOT_": Gate(0, ("A",), 2, (1,)),
    "$_AND_": Gate(1, ("A", "B"), 6, (1, 1)),
    "$_NAND_": Gate(2, ("A", "B"), 4, (1, 1)),
    "$_OR_": Gate(3, ("A", "B"), 6, (1, 1)),
    "$_NOR_": Gate(4, ("A", "B"), 4, (1, 1)),
    "$_XOR_": Gate(5, ("A", "B"), 12, (2, 2)),
    "$_XNOR_": Gate(6, ("A", "B"), 12, (2, 2)),
    "$_MUX_": Gate(7, ("A", "B", "S"), 12, (1, 1, 2)),
    "$_NMUX_": Gate(8, ("A", "B", "S"), 10, (1, 1, 2)),
    "$_AOI3_": Gate(9, ("A", "B", "C"), 6, (1, 1, 1)),
    "$_OAI3_": Gate(10, ("A", "B", "C"), 6, (1, 1, 1)),
    "$_AOI4_": Gate(11, ("A", "B", "C", "D"), 8, (1, 1, 1, 1)),
    "$_OAI4_": Gate(12, ("A", "B", "C", "D"), 8, (1, 1, 1, 1)),
}
MAX_INPUTS = 4
ZERO, ONE = 0, 1  # nets that hold constants
_MAP = ["synth -flatten -top {top}", "abc -g cmos", "opt_clean -purge", "delete t:$scopeinfo"]


@dataclass(frozen=True)
class Mapped:
    """Gates in an order in which every input comes before its user; gate g drives net `first_gate_net + g`.

    Attributes:
        kind: uint8[gates], codes of `GATES`.
        inputs: int32[gates, 4], nets; unused places hold net 0.
        transistors: int32[gates].
        in_ports: nets of each input port, lowest bit first.
        out_ports: the same of each output.
        nets: how many, the two constants included.
        pairs: int32[nets], transistor pairs of the gates a net drives.
        fanout: int32[nets], gate inputs it drives.
    """

    kind: np.ndarray
    inputs: np.ndarray
    transistors: np.ndarray
    in_ports: dict[str, np.ndarray]
    out_ports: dict[str, np.ndarray]
    nets: int
    pairs: np.ndarray
    fanout: np.ndarray

    @property
    def first_gate_net(self) -> int:
        """Net of the first gate; constants and ports come before."""
        return self.nets - len(self.kind)


def map_to_gates(component: Component, name: str) -> Mapped:
    """Flatten `component` and map it to gates.

    Raises:
        ToolError: pyosys is missing or refuses the design; a cell is not a simple gate; a loop of gates.
    """
    module = json.loads(emit.mapped(component, name, _MAP))["modules"][name]
    cells = list(module["cells"].values())
    for cell in cells:
        if cell["type"] not in GATES:
            raise ToolError(f"{name}: mapped to the cell {cell['type']}, known are {', '.join(GATES)}; "
                            "a design with registers must be given as its combinational part")  # fmt: skip
    return assemble(name, module, cells)[0]


def assemble(name: str, module: dict, cells: list[dict]) -> tuple[Mapped, dict[int | str, int]]:
    """Arrays of a netlist, and the net of each of its bits.

    Args:
        name: of the design, for errors.
        module: as Yosys' `write_json` gives it; its ports are used.
        cells: its gates, all of `GATES`, each with its type and connections.

    Raises:
        ToolError: a loop of gates, or a net nothing drives.
    """
    numbers: dict[int | str, int] = {"0": ZERO, "1": ONE, "x": ZERO}
    inputs = [bits["bits"] for bits in module["ports"].values() if bits["direction"] == "input"]
    for bit in (bit for bits in inputs for bit in bits):
        numbers[bit] = len(numbers) - 1  # "x" shares a net with "0"
    ordered = _in_order(name, cells, set(numbers))
    for cell in ordered:
        numbers[cell["connections"]["Y"][0]] = len(numbers) - 1
    gates = [GATES[cell["type"]] for cell in ordered]
    table = np.zeros((len(ordered), MAX_INPUTS), np.int32)
    nets = len(numbers) - 1
    pairs, fanout = np.zeros((2, nets), np.int32)
    for row, (cell, gate) in enumerate(zip(ordered, gates, strict=True)):
        for place, port in enumerate(gate.inputs):
            net = numbers[cell["connections"][port][0]]
            table[row, place] = net
            pairs[net] += gate.pairs[place]
            fanout[net] += 1
    found = Mapped(
        kind=np.array([gate.code for gate in gates], np.uint8),
        inputs=table,
        transistors=np.array([gate.transistors for gate in gates], np.int32),
        in_ports=_port_nets(module, "input", numbers),
        out_ports=_port_nets(module, "output", numbers),
        nets=nets,
        pairs=pairs,
        fanout=fanout,
    )
    return found, numbers


def _port_nets(module: dict, direction: str, numbers: dict[int | str, int]) -> dict[str, np.ndarray]:
    entries = {port: entry["bits"] for port, entry in module["ports"].items() if entry["direction"] == direction}
    return {port: np.array([numbers[bit] for bit in bits]) for port, bits in entries.items()}


def _in_order(name: str, cells: list[dict], known: set) -> list[dict]:
    """Cells so that drivers come before users (Kahn)."""
    users: dict[int | str, list[int]] = {}
    missing = []
    for index, cell in enumerate(cells):
        needed = {cell["connections"][port][0] for port in GATES[cell["type"]].inputs} - known
        missing.append(len(needed))
        for bit in needed:
            users.setdefault(bit, []).append(index)
    ready = [index for index, count in enumerate(missing) if not count]
    for index in ready:  # grows while it is walked
        for user in users.get(cells[index]["connections"]["Y"][0], ()):
            missing[user] -= 1
            if not missing[user]:
                ready.append(user)
    if len(ready) != len(cells):
        raise ToolError(f"{name}: {len(cells) - len(ready)} gates wait for each other or for a net nothing drives")
    return [cells[index] for index in ready]
