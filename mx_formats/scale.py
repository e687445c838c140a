"""Scale formats: the exponent a block shares."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ScaleFormat:
    """An unsigned power of two: code c means 2**(c - bias); no zero, no sign, no infinity.

    Attributes:
        name: the name in the standard.
        bits: width of a code.
        bias: the code of 2**0.
        nan: the code that makes every element of its block NaN.
    """

    name: str
    bits: int
    bias: int
    nan: int

    @property
    def emin(self) -> int:
        """Exponent of the smallest scale, code 0."""
        return -self.bias

    @property
    def emax(self) -> int:
        """Exponent of the largest scale."""
        return self.nan - 1 - self.bias


E8M0 = ScaleFormat("E8M0", 8, 127, 255)  # OCP MX 1.0
