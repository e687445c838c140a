"""Asymmetric integers in groups: a scale and a zero point for each run of values, as caches of activations store them.

A group's range, widened to hold 0, is cut into 2**bits - 1 steps. The step is a float16; the zero point is one of the
codes, so that 0 is stored exactly. A group of `size` values takes `size * bits + 16 + bits` bits: 4 bits in groups of
128 are 4 + 20/128 a value.
"""

from dataclasses import dataclass

import numpy as np

_STEP_BITS = 16
_FLOAT16 = np.finfo(np.float16)


@dataclass(frozen=True)
class AsymmetricGroups:
    """A tensor of integer codes.

    Attributes:
        codes: uint8[..., n], each below 2**bits.
        step: float16[..., n / size], above 0.
        zero: uint8[..., n / size], the code of 0.
        bits: of a code.
    """

    codes: np.ndarray
    step: np.ndarray
    zero: np.ndarray
    bits: int

    @property
    def bits_per_value(self) -> float:
        """Storage: codes, steps and zero points."""
        return bits_per_value(self.bits, self.codes.shape[-1] // self.step.shape[-1])

    def decode(self) -> np.ndarray:
        """The values that the codes stand for, float32[..., n]: (code - zero) * step, exact."""
        size = self.codes.shape[-1] // self.step.shape[-1]
        zero, step = (np.repeat(part, size, -1) for part in (self.zero.astype(np.int32), self.step.astype(np.float32)))
        return (self.codes.astype(np.int32) - zero).astype(np.float32) * step


def bits_per_value(bits: int, size: int) -> float:
    """Bits that a value takes in a group of `size`, its share of step and zero point included."""
    return bits + (_STEP_BITS + bits) / size


def asymmetric_groups(x: np.ndarray, bits: int, size: int) -> AsymmetricGroups:
    """Encode the last axis of a tensor in groups.

    Args:
        x: float32[..., n], finite.
        bits: of a code, 1 to 8.
        size: values of a group, a divisor of n.

    Returns:
        The nearest codes, ties to even, clamped to the range.

    Raises:
        ValueError: bits or size out of range, a value that is not finite, or a range whose step float16 cannot hold.
    """
    x = np.asarray(x, np.float32)
    if not 1 <= bits <= 8:
        raise ValueError(f"bits: got {bits}, legal 1 to 8")
    if size < 1 or x.shape[-1] % size:
        raise ValueError(f"size: got {size}, must divide the last axis, {x.shape[-1]}")
    if not np.isfinite(x).all():
        raise ValueError("x: holds values that are not finite")
    groups = x.reshape(*x.shape[:-1], -1, size).astype(np.float64)
    low, high = np.minimum(groups.min(-1), 0), np.maximum(groups.max(-1), 0)
    most = 2**bits - 1
    exact = (high - low) / most
    if exact.max(initial=0) > _FLOAT16.max:
        raise ValueError(f"x: a group spans {(high - low).max():g}, its step must be at most {_FLOAT16.max:g}, float16")
    step = np.where(exact > 0, np.maximum(exact.astype(np.float16), _FLOAT16.smallest_subnormal), np.float16(1))
    wide = step.astype(np.float64)
    zero = np.clip(np.rint(-low / wide), 0, most)
    codes = np.clip(np.rint(groups / wide[..., None]) + zero[..., None], 0, most)
    return AsymmetricGroups(codes.reshape(x.shape).astype(np.uint8), step, zero.astype(np.uint8), bits)
