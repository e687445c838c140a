"""Block formats: elements that share one scale."""

from dataclasses import dataclass

from mx_formats.element import E2M1, E2M3, E3M2, E4M3, E5M2, INT4, INT6, INT8, ElementFormat
from mx_formats.scale import E8M0, UE4M3, ScaleFormat


@dataclass(frozen=True)
class BlockFormat:
    """Elements and the scale they share; value = tensor scale * scale * element.

    Attributes:
        element: format of each element.
        scale: format of the shared scale.
        block_size: elements a scale covers: consecutive ones along an axis, or a tile.
        rows: 1 for consecutive elements; otherwise a block is a tile of `rows` x `block_size // rows` in the last
            two axes.
        tensor_scale: a float32 factor per tensor comes on top, so that block scales use their whole range.
    """

    element: ElementFormat
    scale: ScaleFormat
    block_size: int
    rows: int = 1
    tensor_scale: bool = False

    def __post_init__(self) -> None:
        if self.block_size < 1:
            raise ValueError(f"BlockFormat.block_size: got {self.block_size}, must be 1 or more")
        if self.rows < 1 or self.block_size % self.rows:
            raise ValueError(f"BlockFormat.rows: got {self.rows}, must divide the block_size {self.block_size}")
        if self.tensor_scale and (self.scale.magnitudes is None or self.scale.bits > 8):
            raise ValueError(
                f"BlockFormat.tensor_scale: True with {self.scale.name} scales, "
                "legal with scales of up to 8 bits that have a mantissa"
            )
        if not self.scale.is_power_of_two and self.element.mantissa_bits > 10:
            raise ValueError(
                f"BlockFormat.element: {self.element.name} has {self.element.mantissa_bits} mantissa bits, "
                f"legal with {self.scale.name} scales up to 10 (beyond, a quotient in float64 is not exact enough)"
            )

    @property
    def columns(self) -> int:
        """Elements of a block along its axis."""
        return self.block_size // self.rows

    @property
    def name(self) -> str:
        """Name in `BLOCK_FORMATS`, or its parts for a format that has none."""
        size = str(self.block_size) if self.rows == 1 else f"{self.rows}x{self.columns}"
        parts = f"{self.element.name} x {size} / {self.scale.name}" + (" / FP32" if self.tensor_scale else "")
        return next((name for name, known in BLOCK_FORMATS.items() if known == self), parts)

    @property
    def bits_per_element(self) -> float:
        """Storage, the block scale included, in bits."""
        return self.element.bits + self.scale.bits / self.block_size


# The concrete formats of OCP MX 1.0.
MXFP8_E5M2 = BlockFormat(E5M2, E8M0, 32)
MXFP8_E4M3 = BlockFormat(E4M3, E8M0, 32)
MXFP6_E3M2 = BlockFormat(E3M2, E8M0, 32)
MXFP6_E2M3 = BlockFormat(E2M3, E8M0, 32)
MXFP4 = BlockFormat(E2M1, E8M0, 32)
MXINT8 = BlockFormat(INT8, E8M0, 32)
# arXiv 2510.25602 defines the narrower integers and NVINT4; NVIDIA's documentation NVFP4.
MXINT6 = BlockFormat(INT6, E8M0, 32)
MXINT4 = BlockFormat(INT4, E8M0, 32)
NVFP4 = BlockFormat(E2M1, UE4M3, 16, tensor_scale=True)
NVINT4 = BlockFormat(INT4, UE4M3, 16, tensor_scale=True)


def block_floating_point(bits: int, block_size: int) -> BlockFormat:
    """Block floating point: integers of `bits` bits, sign included, under a shared 8-bit exponent.

    BFP12 and BFP16 of arXiv 2403.20137 have 4 and 8 bits.

    Raises:
        ValueError: fewer than 2 or more than 16 bits.
    """
    if not 2 <= bits <= 16:
        raise ValueError(f"bits: got {bits}, legal 2..16")
    return BlockFormat(ElementFormat(f"INT{bits}", 0, bits - 2, 0), E8M0, block_size)


OCP_FORMATS: dict[str, BlockFormat] = {
    "MXFP8_E5M2": MXFP8_E5M2,
    "MXFP8_E4M3": MXFP8_E4M3,
    "MXFP6_E3M2": MXFP6_E3M2,
    "MXFP6_E2M3": MXFP6_E2M3,
    "MXFP4": MXFP4,
    "MXINT8": MXINT8,
}
"""The concrete formats of OCP MX 1.0 by name."""

BLOCK_FORMATS: dict[str, BlockFormat] = {
    **OCP_FORMATS,
    "MXINT6": MXINT6,
    "MXINT4": MXINT4,
    "NVFP4": NVFP4,
    "NVINT4": NVINT4,
}
"""All formats with a name. Squares of 8 x 8 (arXiv 2511.06313) are `replace(format, block_size=64, rows=8)`."""
