"""Floats to element codes without a scale: plain casts."""

import numpy as np

from mx_formats.conversion import Overflow, Rounding, check_seed
from mx_formats.element import ElementFormat
from mx_formats.general_kernel import encode_values
from mx_formats.lane_code import lane_rule


def encode(
    values: np.ndarray,
    element: ElementFormat,
    rounding: Rounding = Rounding.NEAREST_EVEN,
    overflow: Overflow = Overflow.SATURATE,
    seed: int = 0,
) -> np.ndarray:
    """Convert float32 to element codes.

    Args:
        values: float32 of any shape.
        element: target format. The sign of zero is kept where there is one, NaN becomes the NaN code with all
            mantissa bits set and sign 0.
        rounding: of values between two codes.
        overflow: of values that round beyond the largest finite number, infinity among them.
        seed: of STOCHASTIC rounding, 0 to 2**64 - 1; value i in C order draws word i of Philox4x32-10 under it.

    Returns:
        Codes of the same shape, uint8 (formats up to 8 bits), uint16 or uint32.

    Raises:
        ValueError: not float32, a NaN or an overflow to a special value and the format has none, or a bad seed.
    """
    values = np.asarray(values)
    if values.dtype != np.float32:
        raise ValueError(f"encode: values are {values.dtype}, must be float32; convert explicitly first")
    check_seed(seed)
    rule = lane_rule(element, rounding, overflow)
    if rule.nan < 0 and np.isnan(values).any():
        raise ValueError(f"encode: values hold NaN, which has no code in {element.name}; remove it first")
    flat = np.ascontiguousarray(values).reshape(-1)
    codes = np.empty(flat.size, element.code_dtype)
    encode_values(flat, codes, rule, np.uint64(seed))
    return codes.reshape(values.shape)
