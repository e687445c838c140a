"""Energy of the system around the array: scratchpad, streams, requantiser; what of it we can count or cite.

    array        every MAC's gates, accumulators, operand registers and wires (`rtl.power.array`)
    scratchpad   every bit of operands and scales read, and of outputs written, at a cited energy a bit
    streams      a register in each streamer, and the wires from the banks to the array: half the side of a system of
                 which the MACs are the published share
    requantiser  the published one's gates, switching as often as the MACs', once an output

Not charged are the core that configures it, the DMA, the clock tree above the flip-flops' pins, the crossbar's gates,
glitches and leakage, so a published total is larger.
"""

from dataclasses import dataclass

from hw.technology import Technology
from mx_formats.block import BlockFormat
from rtl.power.activity import SIDE, Activity
from rtl.power.array import TRANSISTORS_PER_NAND2, ArrayEnergy, cycle_energy, full_array, mac_side_um

MACS_SHARE = 0.295  # of the system's area (arXiv 2511.06313)
REQUANTISER_NAND2 = 510  # an output: 32,667 for 64 in the published RTL, mapped as `rtl.synthesis` does


@dataclass(frozen=True)
class SystemEnergy:
    """Mean energy of one operation in fJ, by where it is spent.

    Attributes:
        array: of the 8 x 8 array.
        scratchpad: reads and writes.
        streams: registers and wires between scratchpad and array.
        requantiser: of the outputs.
    """

    array: float
    scratchpad: float
    streams: float
    requantiser: float

    @property
    def total(self) -> float:
        """Of all of them, in fJ."""
        return self.array + self.scratchpad + self.streams + self.requantiser

    @property
    def gops_per_watt(self) -> float:
        """The same as operations a second and watt."""
        return 1e6 / self.total


def system_energy(found: Activity, block: BlockFormat, technology: Technology, products: int) -> SystemEnergy:
    """What a full 8 x 8 array and its surroundings spend on an operation.

    Args:
        found: of the array, on operands in `block`.
        block: format of operands and of outputs.
        technology: what changes and bits cost.
        products: of one output; the longer its dot product, the less an output's own cost counts.

    Raises:
        ValueError: fewer than one product.
    """
    if products < 1:
        raise ValueError(f"products: got {products}, must be 1 or more")
    parts = cycle_energy(found, technology)
    array: ArrayEnergy = full_array(parts, found)
    macs, operations = SIDE * SIDE, 2 * SIDE * SIDE * found.lanes  # a cycle
    outputs = macs * found.lanes / products
    read = 2 * SIDE * found.lanes * block.bits_per_element
    scratchpad = (read + outputs * block.bits_per_element) * technology.energy_fj(technology.sram_bit_ff)
    registers = SIDE * (parts.left + parts.right)
    distance = SIDE * mac_side_um(found, technology) / MACS_SHARE**0.5 / 2
    wires = SIDE * (found.left + found.right) * technology.energy_fj(distance * technology.wire_ff_per_um)
    a_nand2 = parts.gates / (found.mac_transistors / TRANSISTORS_PER_NAND2)
    return SystemEnergy(
        array=array.total,
        scratchpad=scratchpad / operations,
        streams=(registers + wires) / operations,
        requantiser=outputs * REQUANTISER_NAND2 * a_nand2 / operations,
    )
