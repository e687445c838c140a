"""Scale formats: the factor a block shares. A format is a row; code elsewhere never names one."""

from dataclasses import dataclass

import numpy as np

from mx_formats.element import E4M3, FP32, ElementFormat, decode_to_float


@dataclass(frozen=True)
class ScaleFormat:
    """An unsigned factor: a power of two 2**(code - bias), or the magnitudes of an element format.

    Attributes:
        name: the name in the standard.
        bits: width of a code as stored.
        bias: of the exponent.
        nan: the code that makes every element of its block NaN.
        magnitudes: the format whose codes from 0 up these are, its sign bit ignored; None for a power of two,
            which has no zero and no infinity.
    """

    name: str
    bits: int
    bias: int
    nan: int
    magnitudes: ElementFormat | None = None

    @property
    def is_power_of_two(self) -> bool:
        """Scales are powers of two, their codes the exponents."""
        return self.magnitudes is None

    @property
    def largest(self) -> int:
        """Code of the largest finite scale."""
        return self.nan - 1 if self.magnitudes is None else self.magnitudes.largest_code

    @property
    def max_value(self) -> float:
        """Largest finite scale."""
        return 2.0**self.emax if self.magnitudes is None else self.magnitudes.max_value

    @property
    def emin(self) -> int:
        """Exponent of the smallest power of two, or of the smallest normal scale."""
        return -self.bias if self.magnitudes is None else self.magnitudes.emin

    @property
    def emax(self) -> int:
        """Exponent of the largest finite scale."""
        return self.nan - 1 - self.bias if self.magnitudes is None else self.magnitudes.emax

    @property
    def code_dtype(self) -> np.dtype:
        """Unsigned dtype of stored codes."""
        return np.dtype(np.uint8 if self.bits <= 8 else np.uint32)


def decode_scale(codes: np.ndarray, scale: ScaleFormat) -> np.ndarray:
    """Exact value of each scale code as float64; NaN codes are NaN."""
    codes = np.asarray(codes)
    if scale.magnitudes is not None:
        return decode_to_float(codes & codes.dtype.type((1 << (scale.magnitudes.bits - 1)) - 1), scale.magnitudes)
    values = np.ldexp(1.0, codes.astype(np.int64) - scale.bias)
    return np.where(codes == scale.nan, np.nan, values)


E8M0 = ScaleFormat("E8M0", 8, 127, 255)  # OCP MX 1.0
UE4M3 = ScaleFormat("UE4M3", 8, 7, 0x7F, E4M3)  # PTX ISA, mma.block_scale: NVFP4's block scale
FP32_SCALE = ScaleFormat("FP32", 32, 127, 0x7FC00000, FP32)

SCALES: dict[str, ScaleFormat] = {scale.name: scale for scale in (E8M0, UE4M3, FP32_SCALE)}
