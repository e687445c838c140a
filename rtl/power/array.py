"""Energy of an output-stationary array of MACs, from what switches in it and what a technology charges for that.

Charged are, per cycle: every net of every MAC's gates; the clock and the changes of the accumulators and of the operand
registers, which a row or a column shares and of which only the bytes that a format uses are clocked; and the wires that
carry a register's bits across the array. Memories, streamers, the clock tree above the flip-flops' pins and leakage are
not.
"""

from dataclasses import dataclass

import numpy as np

from hw.technology import Technology
from mx_formats.quantize import Quantized
from rtl.mac import MacDesign
from rtl.power.activity import SIDE, Activity, activity

NAND2_PER_REGISTER = 5  # area of a flip-flop, for the length of wires: 0.2916 um2 over 0.0583 in ASAP7
TRANSISTORS_PER_NAND2 = 4


@dataclass(frozen=True)
class CycleEnergy:
    """Mean energy of an array's parts in one cycle, in fJ.

    Attributes:
        gates: of one MAC's combinational logic.
        accumulator: of one MAC's register of the sum, clock included.
        left: of the registers that feed one row, clock included.
        right: of those that feed one column.
        left_wire: of the wires of one row, across one MAC.
        right_wire: of the wires of one column, across one MAC.
    """

    gates: float
    accumulator: float
    left: float
    right: float
    left_wire: float
    right_wire: float


def cycle_energy(found: Activity, technology: Technology) -> CycleEnergy:
    """What a technology charges for an activity."""
    energy = technology.energy_fj
    clock = 2 * technology.register_clock_ff  # both edges
    gates = (found.pairs * technology.pair_ff + found.fanout * technology.gate_wire_ff
             + found.transistors * technology.internal_ff)  # fmt: skip

    def register(bits: float, changes: float) -> float:
        return energy(bits * clock + changes * technology.register_toggle_ff)

    across = mac_side_um(found, technology) * technology.wire_ff_per_um
    return CycleEnergy(
        gates=energy(gates),
        accumulator=register(found.accumulator_bits, found.accumulator),
        left=register(found.clocked, found.left),
        right=register(found.clocked, found.right),
        left_wire=energy(found.left * across),
        right_wire=energy(found.right * across),
    )


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


def full_array(parts: CycleEnergy, found: Activity, rows: int = SIDE, columns: int = SIDE) -> ArrayEnergy:
    """Energy of an operation on an array all of whose MACs work."""
    macs = rows * columns
    operations = 2 * found.lanes
    return ArrayEnergy(
        gates=parts.gates / operations,
        accumulators=parts.accumulator / operations,
        operands=(rows * parts.left + columns * parts.right) / (operations * macs),
        wires=(parts.left_wire + parts.right_wire) / operations,
        operations=operations * found.mac_cycles,
    )


def array_energy(
    design: MacDesign, a: Quantized, b: Quantized, technology: Technology, *, glitches: bool = False
) -> ArrayEnergy:
    """Run tiles of dot products on an 8 x 8 array; arguments and errors as `rtl.power.activity.activity`."""
    found = activity(design, [(a, b)], glitches=glitches)
    return full_array(cycle_energy(found, technology), found)


def mac_side_um(found: Activity, technology: Technology) -> float:
    """Side of a square MAC."""
    nand2 = found.mac_transistors / TRANSISTORS_PER_NAND2 + NAND2_PER_REGISTER * found.accumulator_bits
    return float(np.sqrt(nand2 * technology.nand2_um2))
