"""Energy of the system around the array: scratchpad, streams, requantiser; what of it we can count or cite.

    array        every MAC's gates, accumulators, operand registers and wires (`rtl.power.array`)
    scratchpad   every bit of operands and scales read, and of outputs written, at a cited energy a bit
    streams      a register in each streamer; the wires from the banks to the array, half the side of a system of which
                 the MACs are the published share; the gates of our RTL that a word passes (`rtl.npu.parts`): a bank's
                 arbiter, the way back and a channel of a reader for each word read, unpacking and scales; the same of
                 the writer for each tile
    requantiser  the gates of our RTL, once an output

Gates around the array are taken to switch as often as the MACs'. Not charged are the core that configures it, the DMA,
the clock tree above the flip-flops' pins, glitches and leakage, so a published total is larger.
"""

from dataclasses import dataclass

from hw.technology import Technology
from mx_formats.block import BlockFormat
from rtl.area_cache import cached_area
from rtl.npu.design import NpuDesign
from rtl.npu.parts import parts
from rtl.power.activity import SIDE, Activity
from rtl.power.array import TRANSISTORS_PER_NAND2, ArrayEnergy, cycle_energy, full_array, mac_side_um

MACS_SHARE = 0.295  # of the system's area (arXiv 2511.06313)


@dataclass(frozen=True)
class Gates:
    """NAND2 equivalents of what is around the array.

    Attributes:
        word: that a word of operands passes from its bank to its streamer's head: codes or scales.
        step: that work in every step, whatever the format: unpacking and holding scales.
        output: of the requantiser, an output.
        tile: of packing and of the writer, a tile.
    """

    word: float
    step: float
    output: float
    tile: float


def gates(design: NpuDesign) -> Gates:
    """Map every part of the NPU once; kept in the cache.

    Raises:
        ToolError: pyosys is missing, or a cache that cannot be written.
    """
    known = parts(design)
    nand2 = {name: cached_area(make(), "part").nand2 for name, (_, make) in known.items()}
    passed = nand2["bank arbiter"] + nand2["way back"]
    outputs = design.most_channels("out")
    return Gates(
        word=passed + nand2["reader of codes"] / design.most_channels("a"),
        step=2 * (nand2["unpacking"] + nand2["scale hold"]) + nand2["tile control"],
        output=nand2["requantiser, element"] + nand2["requantiser, scale"] / (SIDE * SIDE),
        tile=nand2["packing"] + nand2["writer"] + (outputs + 1) * nand2["bank arbiter"],
    )


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


def system_energy(
    found: Activity, block: BlockFormat, technology: Technology, products: int, around: Gates, word_bits: int = 64
) -> SystemEnergy:
    """What a full 8 x 8 array and its surroundings spend on an operation.

    Args:
        found: of the array, on operands in `block`.
        block: format of operands and of outputs.
        technology: what changes and bits cost.
        products: of one output; the longer its dot product, the less an output's own cost counts.
        around: gates of the rest.
        word_bits: of a bank.

    Raises:
        ValueError: fewer than one product.
    """
    if products < 1:
        raise ValueError(f"products: got {products}, must be 1 or more")
    cycle = cycle_energy(found, technology)
    array: ArrayEnergy = full_array(cycle, found)
    macs, operations = SIDE * SIDE, 2 * SIDE * SIDE * found.lanes  # a cycle
    outputs = macs * found.lanes / products
    read = 2 * SIDE * found.lanes * block.bits_per_element
    scratchpad = (read + outputs * block.bits_per_element) * technology.energy_fj(technology.sram_bit_ff)
    registers = SIDE * (cycle.left + cycle.right)
    distance = SIDE * mac_side_um(found, technology) / MACS_SHARE**0.5 / 2
    wires = SIDE * (found.left + found.right) * technology.energy_fj(distance * technology.wire_ff_per_um)
    a_nand2 = cycle.gates / (found.mac_transistors / TRANSISTORS_PER_NAND2)
    # A cycle reads words of codes and, for each block along k, a word with a scale for each row.
    words = 2 * SIDE * found.lanes * (block.element.bits / word_bits + block.scale.bits / word_bits / block.columns)
    switched = (words * around.word + around.step + outputs / macs * around.tile) * a_nand2
    return SystemEnergy(
        array=array.total,
        scratchpad=scratchpad / operations,
        streams=(registers + wires + switched) / operations,
        requantiser=outputs * around.output * a_nand2 / operations,
    )
