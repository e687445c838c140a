"""Block formats: elements that share one scale."""

from dataclasses import dataclass

from mx_formats.element import E2M1, E2M3, E3M2, E4M3, E5M2, INT8, ElementFormat
from mx_formats.scale import E8M0, ScaleFormat


@dataclass(frozen=True)
class BlockFormat:
    """`block_size` consecutive elements and the scale they share; value = 2**(scale - bias) * element.

    Attributes:
        element: format of each element.
        scale: format of the shared scale.
        block_size: elements a scale covers.
    """

    element: ElementFormat
    scale: ScaleFormat
    block_size: int

    def __post_init__(self) -> None:
        if self.block_size < 1:
            raise ValueError(f"BlockFormat.block_size: got {self.block_size}, must be 1 or more")

    @property
    def name(self) -> str:
        """Name in `BLOCK_FORMATS`, or its parts for a format that has none."""
        parts = f"{self.element.name} x {self.block_size} / {self.scale.name}"
        return next((name for name, known in BLOCK_FORMATS.items() if known == self), parts)

    @property
    def bits_per_element(self) -> float:
        """Storage, the scale included, in bits."""
        return self.element.bits + self.scale.bits / self.block_size


# The concrete formats of OCP MX 1.0.
MXFP8_E5M2 = BlockFormat(E5M2, E8M0, 32)
MXFP8_E4M3 = BlockFormat(E4M3, E8M0, 32)
MXFP6_E3M2 = BlockFormat(E3M2, E8M0, 32)
MXFP6_E2M3 = BlockFormat(E2M3, E8M0, 32)
MXFP4 = BlockFormat(E2M1, E8M0, 32)
MXINT8 = BlockFormat(INT8, E8M0, 32)

BLOCK_FORMATS: dict[str, BlockFormat] = {
    "MXFP8_E5M2": MXFP8_E5M2,
    "MXFP8_E4M3": MXFP8_E4M3,
    "MXFP6_E3M2": MXFP6_E3M2,
    "MXFP6_E2M3": MXFP6_E2M3,
    "MXFP4": MXFP4,
    "MXINT8": MXINT8,
}
