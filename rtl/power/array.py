"""Energy of an 8 x 8 output-stationary array of MACs on given operands, from what switches in it.

The 64 MACs are the 64 samples of a machine word. Charged are, per cycle: every net of every MAC's gates; the clock and
the changes of the accumulators and of the operand registers, which a row or a column shares and of which only the bytes
that a format uses are clocked; and the wires that carry a register's bits across the array. Memories, streamers, the
clock tree above the flip-flops' pins and leakage are not.

The netlist's results are compared with the value model in every cycle.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from hw.mac import step
from hw.technology import Technology
from mx_formats.quantize import Quantized
from rtl.mac import MacDesign, MacStep
from rtl.mac.design import lane_bits
from rtl.power.mapped import Mapped, map_to_gates
from rtl.power.toggles import count_toggles
from rtl.simulate import port_words
from rtl.tools import ToolError

SIDE = 8  # rows and columns
SCALE_BITS = 8
NAND2_PER_REGISTER = 5  # area of a flip-flop, for the length of wires: 0.2916 um2 over 0.0583 in ASAP7
TRANSISTORS_PER_NAND2 = 4


@dataclass(frozen=True)
class ArrayEnergy:
    """Mean energy of one operation (a multiplication or an addition) in fJ, by where it is spent.

    Attributes:
        gates: of the MACs' combinational logic.
        accumulators: registers of the sums, clock included.
        operands: registers that feed rows and columns, clock included.
        wires: across the array.
        operations: how many were averaged.
    """

    gates: float
    accumulators: float
    operands: float
    wires: float
    operations: int

    @property
    def total(self) -> float:
        """Of all of them, in fJ."""
        return self.gates + self.accumulators + self.operands + self.wires

    @property
    def gops_per_watt(self) -> float:
        """The same as operations a second and watt."""
        return 1e6 / self.total


@cache
def mapped_mac(design: MacDesign) -> Mapped:
    """The gates of `MacStep(design)`; mapped once a process."""
    return map_to_gates(MacStep(design), "mac_step")


def array_energy(
    design: MacDesign, a: Quantized, b: Quantized, technology: Technology, *, glitches: bool = False
) -> ArrayEnergy:
    """Run tiles of dot products on the array.

    Args:
        design: its MACs.
        a: [8 t, k]; tile t multiplies its rows 8t to 8t+7 ...
        b: [8 t, k]: ... with the same rows of `b`, k a multiple of the block.
        technology: what a change costs.
        glitches: see `rtl.power.toggles`.

    Raises:
        ValueError: shapes that do not fit, or an element the MAC does not have.
        ToolError: tools are missing, or the mapped netlist computes something else than the model.
    """
    name = a.format.element.name
    if a.codes.shape != b.codes.shape or a.format != b.format or a.codes.ndim != 2 or len(a.codes) % SIDE:
        raise ValueError(f"operands: got {a.codes.shape} and {b.codes.shape}, must be of one shape [8 t, k] and format")
    spec, netlist = design.spec(name), mapped_mac(design)
    ports, expected = _cycles(design, name, a, b)
    toggles = count_toggles(netlist, ports, glitches=glitches)
    if (wrong := toggles.outputs["result"] != expected).any():
        cycle, sample = np.argwhere(wrong)[0]
        raise ToolError(f"the mapped netlist of {name} differs from the model in cycle {cycle}, MAC {sample}")
    cycles = len(expected) - 1
    operations = 2 * spec.lanes * toggles.sample_cycles
    energy = technology.energy_fj
    gates = energy(float(toggles.changes @ _capacitance(netlist, technology)))
    macs, clock = SIDE * SIDE, 2 * energy(technology.register_clock_ff)
    toggle = energy(technology.register_toggle_ff)
    accumulators = cycles * macs * design.accumulator_bits * clock + _changes(ports["acc"]) * toggle
    # The first MAC of a row or column stands for the register that all of it shares.
    shared = {port: ports[port][:, ::SIDE] for port in ("a", "xa")} | {p: ports[p][:, :SIDE] for p in ("b", "xb")}
    clocked = 2 * SIDE * (spec.lanes * lane_bits(spec.element) * _used_share(spec.element.bits) + SCALE_BITS)
    changes = sum(map(_changes, shared.values()))
    wire = SIDE * _pitch_um(design, netlist, technology) * technology.wire_ff_per_um
    return ArrayEnergy(
        gates=gates / operations,
        accumulators=accumulators / operations,
        operands=(cycles * clocked * clock + changes * toggle) / operations,
        wires=changes * energy(wire) / operations,
        operations=operations,
    )


def _cycles(design: MacDesign, name: str, a: Quantized, b: Quantized) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What every MAC takes in every cycle, and the accumulators it must leave; MAC 8r + c is in row r, column c."""
    spec, k = design.spec(name), a.codes.shape[1]
    rows, columns = np.divmod(np.arange(SIDE * SIDE), SIDE)
    taken: list[dict[str, np.ndarray]] = []
    expected = []
    for tile in range(len(a.codes) // SIDE):
        accumulator = np.zeros(SIDE * SIDE, np.uint32)
        for first in range(0, k, spec.lanes):
            lanes, block = slice(first, first + spec.lanes), first // a.format.block_size
            left, right = SIDE * tile + rows, SIDE * tile + columns
            codes = a.codes[left, lanes], b.codes[right, lanes]
            scales = a.scales[left, block], b.scales[right, block]
            taken.append({**port_words(design, name, *codes, *scales), "acc": accumulator})
            accumulator = step(spec, *codes, *scales, accumulator)
            expected.append(accumulator)
    return {port: np.stack([cycle[port] for cycle in taken]) for port in taken[0]}, np.stack(expected)


def _capacitance(netlist: Mapped, technology: Technology) -> np.ndarray:
    """Of every net, in fF: what it drives, the wire there, and the gate that drives it."""
    load = netlist.pairs * technology.pair_ff + netlist.fanout * technology.gate_wire_ff
    load[netlist.first_gate_net :] += netlist.transistors * technology.internal_ff
    return load


def _changes(words: np.ndarray) -> int:
    """Bits that change from one cycle to the next, all columns together."""
    return int(np.bitwise_count(words[1:] ^ words[:-1]).sum())


def _used_share(bits: int) -> float:
    """FP6 codes lie in bytes of which six bits are clocked."""
    return bits / 8 if bits > 4 else 1.0


def _pitch_um(design: MacDesign, netlist: Mapped, technology: Technology) -> float:
    """Side of a square MAC."""
    nand2 = netlist.transistors.sum() / TRANSISTORS_PER_NAND2 + NAND2_PER_REGISTER * design.accumulator_bits
    return float(np.sqrt(nand2 * technology.nand2_um2))
