"""Closed forms of the error of a block format on normal data: arXiv 2510.25602, sections on INT and FP.

kappa is the crest factor of a block, its largest magnitude over its root mean square; rho in [1, 2) is how much larger
a power-of-two scale is than the ideal one. A result is the QSNR in dB. Decibel constants are the paper's, two decimals
as printed: unrounded ones move the first crossover from 7.546 to 7.542.
"""

import math
from collections.abc import Callable

from mx_formats.block import BlockFormat
from mx_formats.element import ElementFormat

POWER_OF_TWO_OVERHEAD = 1.5  # rho, as the paper draws its curves


def qsnr_of(block_format: BlockFormat, kappa: float, rho: float = POWER_OF_TWO_OVERHEAD) -> float:
    """QSNR in dB of a block format at a crest factor; rho counts for power-of-two scales only.

    Raises:
        ValueError: kappa below 1 or rho outside [1, 2).
    """
    if kappa < 1:
        raise ValueError(f"kappa: got {kappa}, must be 1 or more (a largest value is no smaller than the mean)")
    if not 1 <= rho < 2:
        raise ValueError(f"rho: got {rho}, legal 1 up to but not 2")
    element, scale = block_format.element, block_format.scale
    if scale.is_power_of_two:
        return integer_qsnr(element, rho * kappa) if element.is_integer else float_qsnr(element, kappa, rho)
    # An exact scale stores the largest element of each block without error.
    if element.is_integer:
        size = block_format.block_size
        return integer_qsnr(element, kappa) + 10 * math.log10(size / (size - 1))
    return float_qsnr(element, kappa, 1.0, exact_energy=kappa**2 / block_format.block_size)


def integer_qsnr(element: ElementFormat, kappa: float) -> float:
    """Uniform steps of kappa / 2**(b - 1) root mean squares: noise is step**2 / 12."""
    return 4.78 + 6.02 * element.bits - 20 * math.log10(kappa)


def float_qsnr(element: ElementFormat, kappa: float, rho: float = 1.0, exact_energy: float = 0.0) -> float:
    """Noise relative to the value among normal numbers, of constant steps among subnormals.

    Args:
        element: a float format.
        kappa: crest factor.
        rho: overhead of the scale.
        exact_energy: fraction of the energy that is stored without error.
    """
    m, bias = element.mantissa_bits, element.bias
    threshold = rho * kappa * 2.0 ** (1 - bias) / element.max_value
    subnormal = math.erf(threshold / math.sqrt(2))
    density = threshold * math.sqrt(2 / math.pi) * math.exp(-(threshold**2) / 2)
    normal_energy = 1 - subnormal + density
    relative = 1 / (24 * 4**m)
    absolute = 4.0 ** (1 - bias - m) / (12 * element.max_value**2)
    noise = relative * (normal_energy - exact_energy) + absolute * (rho * kappa) ** 2 * subnormal
    return -10 * math.log10(noise)


def float_ceiling(element: ElementFormat) -> float:
    """QSNR in dB that no crest factor lets a float format exceed: all values normal."""
    return 13.80 + 6.02 * element.mantissa_bits


def crossover(integer: BlockFormat, floating: BlockFormat, rho: float = POWER_OF_TWO_OVERHEAD) -> tuple[float, float]:
    """Crest factor below which the integer format is the better of two, and the QSNR in dB there.

    Raises:
        ValueError: the two do not cross between 1 and 1000.
    """

    def lead(kappa: float) -> float:
        return qsnr_of(integer, kappa, rho) - qsnr_of(floating, kappa, rho)

    kappa = _root(lead, 1.0, 1000.0)
    if kappa is None:
        raise ValueError(f"crossover: {integer.name} and {floating.name} do not cross for kappa in 1..1000")
    return kappa, qsnr_of(integer, kappa, rho)


def _root(function: Callable[[float], float], low: float, high: float) -> float | None:
    """The first sign change, found on a fine grid and halved down to float64."""
    ratio = 1.01
    while low * ratio < high and function(low) * function(low * ratio) > 0:
        low *= ratio
    high = low * ratio
    if function(low) * function(high) > 0:
        return None
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if function(low) * function(middle) <= 0 else (middle, high)
    return low
