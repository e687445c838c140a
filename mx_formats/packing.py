"""Codes narrower than a byte, packed: bit j of code n is bit n * bits + j of a little-endian stream.

So FP4 puts the first of two codes in the low nibble (as torch.float4_e2m1fn_x2 does), and four FP6 codes fill three
bytes. Each row of the last axis starts on a byte of its own.
"""

import math

import numpy as np

from mx_formats.element import ElementFormat, check_codes


def pack(codes: np.ndarray, element: ElementFormat) -> np.ndarray:
    """Pack uint8[..., n] codes of `element.bits` bits into uint8[..., n * bits / 8].

    Raises:
        ValueError: a code or format wider than 8 bits, or a row that does not fill its last byte.
    """
    codes = check_codes(codes, element)
    group, size = _group(element, codes.shape[-1], "codes")
    words = codes.reshape(*codes.shape[:-1], -1, group).astype(np.uint64)
    shifts = np.arange(group, dtype=np.uint64) * np.uint64(element.bits)
    packed = np.bitwise_or.reduce(words << shifts, axis=-1, keepdims=True).astype("<u8").view(np.uint8)
    return np.ascontiguousarray(packed[..., :size]).reshape(*codes.shape[:-1], -1)


def unpack(packed: np.ndarray, element: ElementFormat) -> np.ndarray:
    """The inverse: uint8[..., bytes] to uint8[..., bytes * 8 / bits].

    Raises:
        ValueError: not uint8, a format wider than 8 bits, or bytes that hold no whole number of codes.
    """
    packed = np.asarray(packed)
    if packed.dtype != np.uint8:
        raise ValueError(f"packed: dtype is {packed.dtype}, must be uint8")
    if packed.shape[-1] * 8 % element.bits:
        raise ValueError(f"packed: {packed.shape[-1]} bytes hold no whole number of {element.bits}-bit codes")
    count = packed.shape[-1] * 8 // element.bits
    group, size = _group(element, count, "packed")
    padded = np.zeros((*packed.shape[:-1], count // group, 8), np.uint8)
    padded[..., :size] = packed.reshape(*packed.shape[:-1], -1, size)
    shifts = np.arange(group, dtype=np.uint64) * np.uint64(element.bits)
    codes = (padded.view("<u8") >> shifts) & np.uint64((1 << element.bits) - 1)
    return codes.astype(np.uint8).reshape(*packed.shape[:-1], count)


def _group(element: ElementFormat, count: int, field: str) -> tuple[int, int]:
    """Fewest codes that fill whole bytes, and how many bytes."""
    if element.bits > 8:
        raise ValueError(f"element: {element.name} has {element.bits} bits, legal up to 8")
    group = math.lcm(8, element.bits) // element.bits
    if count % group:
        raise ValueError(f"{field}: {count} codes of {element.name} in a row, must be a multiple of {group}")
    return group, group * element.bits // 8
