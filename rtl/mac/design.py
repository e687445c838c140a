"""Which MAC to generate: the accumulator's mantissa and the element formats it understands."""

from dataclasses import dataclass
from enum import Enum

from hw.mac import MacSpec
from hw.mx_macs import fp32_addition_mac, hybrid_mac, long_integer_mac
from hw.reduction_tree import ReductionTree
from mx_formats.element import E2M1, E2M3, E3M2, E4M3, E5M2, INT8, ElementFormat

OCP_ELEMENTS = (E5M2, E4M3, E3M2, E2M3, E2M1, INT8)

LANES = 4  # quadrants of the multiplier grid, each 2 x 2 two-bit multipliers


class Kind(Enum):
    """How a format uses the four quadrants."""

    ALIGNED = "one product a quadrant, aligned by exponent"
    PAIRS = "two 2-bit products a quadrant, or four, fixed point"
    INTEGER = "one product over all quadrants"


class Tree(Enum):
    """How products become a sum: the three published ways that the paper compares, see `hw.mx_macs`."""

    HYBRID = "hybrid"
    FP32_ADDITION = "fp32-addition"
    LONG_INTEGER = "long-integer"


_SPECS = {
    Tree.HYBRID: hybrid_mac,
    Tree.FP32_ADDITION: fp32_addition_mac,
    Tree.LONG_INTEGER: long_integer_mac,
}


@dataclass(frozen=True)
class MacDesign:
    """The MAC that `rtl.mac.step` generates; a mode is the index of an element in `elements`.

    Attributes:
        mantissa_bits: M of the accumulator, in the range `hw.mac.MacSpec` allows for every element (12..23 for all
            six OCP elements).
        elements: formats, each a mode.
        four_bit_products: products of 4-bit codes a cycle: 8, on two multipliers of each quadrant, or 16, on all four.
        tree: how they are summed.

    Raises:
        ValueError: no element, one twice, or one the 4 x 4 grid of 2-bit multipliers can't multiply.
    """

    mantissa_bits: int = 16
    elements: tuple[ElementFormat, ...] = OCP_ELEMENTS
    four_bit_products: int = 8
    tree: Tree = Tree.HYBRID

    def __post_init__(self) -> None:
        if not self.elements or len(set(self.elements)) != len(self.elements):
            raise ValueError(f"MacDesign.elements: got {self.names}, must be one or more, each once")
        for element in self.elements:
            MacSpec(element, self.mantissa_bits, self.four_bit_products)
            if element not in OCP_ELEMENTS:
                legal = ", ".join(e.name for e in OCP_ELEMENTS)
                raise ValueError(f"MacDesign.elements: {element.name} does not fit the multiplier grid, legal: {legal}")

    @property
    def names(self) -> tuple[str, ...]:
        """Element names in mode order."""
        return tuple(element.name for element in self.elements)

    @property
    def accumulator_bits(self) -> int:
        """Width of the accumulator pattern: sign, 8 exponent bits, M mantissa bits."""
        return 9 + self.mantissa_bits

    @property
    def operand_bits(self) -> int:
        """Width of a cycle's codes of one operand; lane i of a format lies in bits i*w, see `lane_bits` for w."""
        return lane_bits(E2M1) * self.four_bit_products

    @property
    def digits(self) -> int:
        """2-bit digits of one operand that a quadrant takes: two that meet crosswise, or one for each multiplier."""
        return self.four_bit_products // LANES

    def mode(self, name: str) -> int:
        """Mode number of the element called `name`; ValueError lists the legal names."""
        if name not in self.names:
            raise ValueError(f"element: got {name!r}, this MAC has the modes {', '.join(self.names)}")
        return self.names.index(name)

    def reduction_tree(self, name: str) -> ReductionTree:
        """The rule of one mode."""
        return _SPECS[self.tree](self.spec(name))

    def spec(self, name: str) -> MacSpec:
        """The model's spec of one mode."""
        return MacSpec(self.elements[self.mode(name)], self.mantissa_bits, self.four_bit_products)


def kind(element: ElementFormat) -> Kind:
    """How `element` uses the quadrants."""
    if element.is_integer:
        return Kind.INTEGER
    return Kind.PAIRS if element.bits == 4 else Kind.ALIGNED


def lane_bits(element: ElementFormat) -> int:
    """Width of one lane in an operand word: 4 for two codes a byte, else 8."""
    return 4 if kind(element) is Kind.PAIRS else 8
