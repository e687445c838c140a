"""What a design costs in gates, from its own RTL; nothing where there is no RTL to synthesise."""

from dataclasses import dataclass

from rtl.area_cache import cached_area
from rtl.mac import Mac, MacDesign, Tree
from sim.codesign.design import Design


@dataclass(frozen=True)
class Cost:
    """Size of a MAC and of the array's MACs; broadcast wires, buffers and control are not counted.

    Attributes:
        mac_nand2: combinational gates of one MAC in NAND2 equivalents; None where there is no RTL.
        mac_flip_flops: its register bits.
        note: why there is no RTL, "" if there is.
    """

    mac_nand2: float | None
    mac_flip_flops: int | None
    note: str


def mac_design(design: Design) -> MacDesign:
    """The MAC to generate; ValueError says why there is no RTL for this design."""
    if not design.block_format.scale.is_power_of_two:
        raise ValueError(f"format {design.format} has no RTL: the MAC's scales are powers of two")
    if design.mac == "six-format":
        mac = MacDesign(design.mantissa_bits, four_bit_products=design.four_bit_products, tree=Tree(design.tree))
        mac.mode(design.block_format.element.name)
        return mac
    return MacDesign(design.mantissa_bits, (design.block_format.element,), design.four_bit_products, Tree(design.tree))


def cost(design: Design) -> Cost:
    """Area of a design's MAC; seconds, once for each distinct MAC.

    Raises:
        ToolError: Yosys is missing or fails.
    """
    try:
        mac = mac_design(design)
    except ValueError as error:
        return Cost(None, None, str(error))
    area = cached_area(Mac(mac), "mac")
    return Cost(area.nand2, area.flip_flops, "")
