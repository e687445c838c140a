"""Which MAC to generate: the accumulator's mantissa and the element formats it understands."""

from dataclasses import dataclass
from enum import Enum

from hw.mac import MacSpec
from mx_formats.element import E2M1, E2M3, E3M2, E4M3, E5M2, INT8, ElementFormat

OCP_ELEMENTS = (E5M2, E4M3, E3M2, E2M3, E2M1, INT8)

LANES = 4  # quadrants of the multiplier grid, each 2 x 2 two-bit multipliers
OPERAND_BITS = 32  # a cycle's codes of one operand: lane i of a format in bits i*w, w = 32 / products rounded to a byte


class Kind(Enum):
    """How a format uses the four quadrants."""

    ALIGNED = "one product a quadrant, aligned by exponent"
    PAIRS = "two 2-bit products a quadrant, fixed point"
    INTEGER = "one product over all quadrants"


@dataclass(frozen=True)
class MacDesign:
    """The MAC that `rtl.mac.step` generates; a mode is the index of an element in `elements`.

    Attributes:
        mantissa_bits: M of the accumulator, in the range `hw.mac.MacSpec` allows for every element (12..23 for all
            six OCP elements).
        elements: formats, each a mode.

    Raises:
        ValueError: no element, one twice, or one the 4 x 4 grid of 2-bit multipliers can't multiply.
    """

    mantissa_bits: int = 16
    elements: tuple[ElementFormat, ...] = OCP_ELEMENTS

    def __post_init__(self) -> None:
        if not self.elements or len(set(self.elements)) != len(self.elements):
            raise ValueError(f"MacDesign.elements: got {self.names}, must be one or more, each once")
        for element in self.elements:
            MacSpec(element, self.mantissa_bits)
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

    def mode(self, name: str) -> int:
        """Mode number of the element called `name`; ValueError lists the legal names."""
        if name not in self.names:
            raise ValueError(f"element: got {name!r}, this MAC has the modes {', '.join(self.names)}")
        return self.names.index(name)

    def spec(self, name: str) -> MacSpec:
        """The model's spec of one mode."""
        return MacSpec(self.elements[self.mode(name)], self.mantissa_bits)


def kind(element: ElementFormat) -> Kind:
    """How `element` uses the quadrants."""
    if element.is_integer:
        return Kind.INTEGER
    return Kind.PAIRS if element.bits == 4 else Kind.ALIGNED


def lane_bits(element: ElementFormat) -> int:
    """Width of one lane in a 32-bit operand word: 4 for two codes a byte, else 8."""
    return 4 if kind(element) is Kind.PAIRS else 8
