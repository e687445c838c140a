"""OliVe: an outlier takes the place of its neighbour (ISCA 2023; rules as in its authors' repository).

Values come in pairs (2i, 2i + 1). A pair with an outlier stores it in 4-bit abfloat, and its neighbour, the victim,
becomes 0 and holds the identifier code 1000b, which int4 leaves free; of two outliers the first is kept. Normal values
are int4 in -7..7. The tensor is scaled so that 32 is where outliers begin, and 7 steps of 32 / 7 reach it.
"""

from typing import NamedTuple

import numpy as np

IDENTIFIER = 0b1000
THRESHOLD = 32.0
EXPONENT_BASE = 5
# abfloat E2M1: 2**(base + e) * (1 + m / 2); the first magnitude, 32, is a normal value's, so code 0 stays unused.
ABFLOAT = np.array([2.0 ** (EXPONENT_BASE + (code >> 1)) * (1 + (code & 1) / 2) for code in range(8)])


class OlivePairs(NamedTuple):
    """A tensor in OliVe's code.

    Attributes:
        codes: uint8 of the tensor's shape, 4 bits each.
        scale: float64; value = scale * decoded.
    """

    codes: np.ndarray
    scale: float


def encode_pairs(x: np.ndarray, scale: float) -> OlivePairs:
    """Code a tensor at a scale, outliers being the magnitudes above 32 * scale.

    Raises:
        ValueError: an odd last axis, a scale that is not positive, or a value that is not finite.
    """
    if x.shape[-1] % 2:
        raise ValueError(f"x: last axis has length {x.shape[-1]}, must be even for pairs")
    if not (scale > 0 and np.isfinite(scale)):
        raise ValueError(f"scale: got {scale}, must be positive and finite")
    if not np.isfinite(x).all():
        raise ValueError("x: a value is NaN or infinite, must all be finite")
    scaled = x.astype(np.float64).reshape(*x.shape[:-1], -1, 2) / scale
    outlier = np.abs(scaled) > THRESHOLD
    outlier[..., 1] &= ~outlier[..., 0]
    steps = np.clip(np.rint(scaled * 7 / THRESHOLD), -7, 7).astype(np.int8).view(np.uint8) & 15
    codes = np.where(outlier, _abfloat_codes(scaled), np.where(outlier[..., ::-1], IDENTIFIER, steps))
    return OlivePairs(codes.astype(np.uint8).reshape(x.shape), scale)


def decode_pairs(pairs: OlivePairs) -> np.ndarray:
    """float64 values."""
    codes = pairs.codes.reshape(*pairs.codes.shape[:-1], -1, 2)
    outlier = (codes == IDENTIFIER)[..., ::-1]
    signed = ((codes.astype(np.int8) ^ 8) - 8) * (THRESHOLD / 7)
    large = ABFLOAT[codes & 7] * np.where(codes & 8, -1.0, 1.0)
    values = np.where(outlier, large, np.where(codes == IDENTIFIER, 0.0, signed))
    return values.reshape(pairs.codes.shape) * pairs.scale


def best_pairs(x: np.ndarray) -> OlivePairs:
    """The code with the least squared error: limits from |mean +- 3 sigma| in steps of 2 %, from half to twice that."""
    start = float(np.abs(x.mean() + np.array([-3, 3]) * x.std()).max()) or 1.0
    tried = (encode_pairs(x, start * factor / THRESHOLD) for factor in np.arange(0.5, 2.0001, 0.02))
    return min(tried, key=lambda pairs: float(np.square(decode_pairs(pairs) - x).sum()))


def _abfloat_codes(scaled: np.ndarray) -> np.ndarray:
    """The nearest of the seven magnitudes above 32, of equals the larger, with the sign in bit 3."""
    magnitudes = ABFLOAT[1:]
    middle = (magnitudes[1:] + magnitudes[:-1]) / 2
    codes = 1 + np.searchsorted(middle, np.abs(scaled), side="right")
    # An abfloat -1 would be 1000b only for code 0, which is never produced.
    return codes | np.where(scaled < 0, 8, 0)
