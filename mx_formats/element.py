"""Element formats: what one code means. A format is a row of `ELEMENTS`; code elsewhere never names one."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np


class NanCodes(Enum):
    """Which codes are NaN."""

    NONE = "none"
    ALL_ONES = "exponent and mantissa all ones"  # OFP8 E4M3
    IEEE = "largest exponent, non-zero mantissa"
    NEGATIVE_ZERO = "the code of -0, the only one"  # AMD's FNUZ formats


FINITE, INFINITE, NAN = 0, 1, 2  # what `Decoded.kind` holds


@dataclass(frozen=True)
class ElementFormat:
    """A sign, an exponent field and a mantissa, or a two's complement integer with an implied scale.

    Attributes:
        name: the name in the standard.
        exponent_bits: width of the exponent field; 0 makes it a two's complement integer.
        mantissa_bits: stored fraction bits. An integer counts the bits below its one integer bit, so that
            MXINT8 (sign, one integer bit, implied factor 2**-6) has 6.
        bias: exponent bias; field f > 0 means 2**(f - bias), field 0 is subnormal with exponent 1 - bias.
        infinity: the largest exponent with mantissa 0 is infinity.
        nan: which codes are NaN.
        symmetric: conversion never produces the most negative code (integers only).
    """

    name: str
    exponent_bits: int
    mantissa_bits: int
    bias: int
    infinity: bool = False
    nan: NanCodes = NanCodes.NONE
    symmetric: bool = True

    @property
    def is_integer(self) -> bool:
        """Codes are two's complement."""
        return self.exponent_bits == 0

    @property
    def bits(self) -> int:
        """Width of a code; an integer spends one bit where a float has its exponent field."""
        return 1 + max(self.exponent_bits, 1) + self.mantissa_bits

    @property
    def emin(self) -> int:
        """Exponent of subnormals and of the smallest normal number."""
        return 0 if self.is_integer else 1 - self.bias

    @property
    def emax(self) -> int:
        """Exponent of the largest finite number; 0 for an integer (OCP MX 1.0, element format table)."""
        if self.is_integer:
            return 0
        top_field = (1 << self.exponent_bits) - 1
        return top_field - self.bias - (1 if self._top_field_special else 0)

    @property
    def max_significand(self) -> int:
        """Significand of the largest finite number, an integer with `mantissa_bits` fraction bits."""
        largest = (2 << self.mantissa_bits) - 1
        return largest - 1 if self.nan is NanCodes.ALL_ONES else largest

    @property
    def max_value(self) -> float:
        """Largest finite number."""
        return self.max_significand * 2.0 ** (self.emax - self.mantissa_bits)

    @property
    def largest_code(self) -> int:
        """Code of the largest finite number."""
        fields = 0 if self.is_integer else (self.emax - self.emin) << self.mantissa_bits
        return fields + self.max_significand

    @property
    def nan_code(self) -> int | None:
        """The NaN that conversion produces: all bits but the sign set, or -0; None if the format has none."""
        if self.nan is NanCodes.NEGATIVE_ZERO:
            return 1 << (self.bits - 1)
        return None if self.nan is NanCodes.NONE else (1 << (self.bits - 1)) - 1

    @property
    def code_dtype(self) -> np.dtype:
        """Smallest unsigned dtype that holds a code."""
        return np.dtype(np.uint8 if self.bits <= 8 else np.uint16 if self.bits <= 16 else np.uint32)

    @property
    def _top_field_special(self) -> bool:
        return self.infinity or self.nan is NanCodes.IEEE


class Decoded(NamedTuple):
    """Exact values: `significand * 2**(exponent - mantissa_bits)`.

    Attributes:
        significand: int32, signed, not normalised; subnormals keep their leading zeros, specials hold +-1.
        exponent: int32, of a significand in [0, 2); the smallest exponent (`emin`) for zero and subnormals.
        kind: uint8, `FINITE`, `INFINITE` or `NAN`.
    """

    significand: np.ndarray
    exponent: np.ndarray
    kind: np.ndarray


def decode(codes: np.ndarray, element: ElementFormat) -> Decoded:
    """Split codes into exact significands and exponents.

    Args:
        codes: unsigned integers of any shape, right aligned in `element.bits` bits.
        element: their format.

    Raises:
        ValueError: a code has bits above the format's width.
    """
    codes = check_codes(codes, element).astype(np.int64)
    if element.is_integer:
        half = 1 << (element.bits - 1)
        significand = (codes ^ half) - half
        zeros = np.zeros(codes.shape, np.int32)
        return Decoded(significand.astype(np.int32), zeros, zeros.astype(np.uint8))

    m = element.mantissa_bits
    top_field = (1 << element.exponent_bits) - 1
    mantissa = codes & ((1 << m) - 1)
    field = (codes >> m) & top_field
    sign = 1 - 2 * (codes >> (m + element.exponent_bits))

    kind = _kind(field == top_field, mantissa, element)
    if element.nan is NanCodes.NEGATIVE_ZERO:
        kind[codes == element.nan_code] = NAN
    significand = np.where(kind == FINITE, mantissa | ((field > 0).astype(np.int64) << m), 1)
    exponent = np.maximum(field, 1) - element.bias
    return Decoded((sign * significand).astype(np.int32), exponent.astype(np.int32), kind)


def _kind(top: np.ndarray, mantissa: np.ndarray, element: ElementFormat) -> np.ndarray:
    kind = np.zeros(mantissa.shape, np.uint8)
    if element.infinity:
        kind[top & (mantissa == 0)] = INFINITE
    if element.nan is NanCodes.IEEE:
        kind[top & (mantissa != 0)] = NAN
    elif element.nan is NanCodes.ALL_ONES:
        kind[top & (mantissa == (1 << element.mantissa_bits) - 1)] = NAN
    return kind


def decode_to_float(codes: np.ndarray, element: ElementFormat) -> np.ndarray:
    """Value of each code as float64 (exact for every format here; NaN and infinities as themselves)."""
    significand, exponent, kind = decode(codes, element)
    value = np.ldexp(significand.astype(np.float64), exponent - element.mantissa_bits)
    # Keep the sign of zero, which an integer significand cannot carry.
    if not element.is_integer:
        value = np.copysign(value, 1.0 - 2.0 * (np.asarray(codes).astype(np.int64) >> (element.bits - 1)))
    value = np.where(kind == INFINITE, np.copysign(np.inf, value), value)
    return np.where(kind == NAN, np.nan, value)


def check_codes(codes: np.ndarray, element: ElementFormat) -> np.ndarray:
    """Return `codes` as an array; ValueError if one does not fit in the format's width."""
    codes = np.asarray(codes)
    if codes.dtype.kind != "u":
        raise ValueError(f"codes: dtype is {codes.dtype}, must be an unsigned integer for {element.name}")
    if codes.dtype.itemsize * 8 > element.bits and codes.size and int(codes.max()) >> element.bits:
        worst = int(codes.max())
        raise ValueError(f"codes: {worst:#x} does not fit in the {element.bits} bits of {element.name}")
    return codes


# OFP8 1.0 and OCP MX 1.0 for the first six; arXiv 2510.25602 for the narrower integers; IEEE 754 and vendor
# documentation for the rest.
E5M2 = ElementFormat("E5M2", 5, 2, 15, infinity=True, nan=NanCodes.IEEE)
E4M3 = ElementFormat("E4M3", 4, 3, 7, nan=NanCodes.ALL_ONES)
E3M2 = ElementFormat("E3M2", 3, 2, 3)
E2M3 = ElementFormat("E2M3", 2, 3, 1)
E2M1 = ElementFormat("E2M1", 2, 1, 1)
INT8 = ElementFormat("INT8", 0, 6, 0)
INT6 = ElementFormat("INT6", 0, 4, 0)
INT4 = ElementFormat("INT4", 0, 2, 0)
INT8_FULL = ElementFormat("INT8_FULL", 0, 6, 0, symmetric=False)
INT6_FULL = ElementFormat("INT6_FULL", 0, 4, 0, symmetric=False)
INT4_FULL = ElementFormat("INT4_FULL", 0, 2, 0, symmetric=False)
FP16 = ElementFormat("FP16", 5, 10, 15, infinity=True, nan=NanCodes.IEEE)
BF16 = ElementFormat("BF16", 8, 7, 127, infinity=True, nan=NanCodes.IEEE)
TF32 = ElementFormat("TF32", 8, 10, 127, infinity=True, nan=NanCodes.IEEE)
FP32 = ElementFormat("FP32", 8, 23, 127, infinity=True, nan=NanCodes.IEEE)
# AMD CDNA3 ISA; read only, as operands of its matrix cores: nothing converts to them.
E4M3_FNUZ = ElementFormat("E4M3_FNUZ", 4, 3, 8, nan=NanCodes.NEGATIVE_ZERO)
E5M2_FNUZ = ElementFormat("E5M2_FNUZ", 5, 2, 16, nan=NanCodes.NEGATIVE_ZERO)

_FLOATS = (E5M2, E4M3, E3M2, E2M3, E2M1, FP16, BF16, TF32, FP32)
_INTEGERS = (INT8, INT6, INT4, INT8_FULL, INT6_FULL, INT4_FULL)
ELEMENTS: dict[str, ElementFormat] = {element.name: element for element in (*_FLOATS, *_INTEGERS)}
