"""AMD CDNA3 matrix cores (MI300) as `ReductionTree`s: the rules of MMA-Sim 2.1.1 (arXiv 2511.10909)."""

from hw.reduction_tree import Accumulator, Align, IntegerAccumulator, ReductionTree, Rounding, Stage, Window, Zero
from hw.summation import IEEE_F32, sequential_fma
from mx_formats.element import BF16, E4M3_FNUZ, E5M2_FNUZ, FP16, FP32, INT8, TF32, ElementFormat

_SOURCE = "MMA-Sim 2.1.1, arXiv 2511.10909: v_mfma on CDNA3"
_F32 = Accumulator(8, 23, Rounding.NEAREST_EVEN, subnormals=True, nan=0x7FFFFFFF, zero=Zero.ROUNDED)
# A sum is cut downward to 31 bits before it is rounded to FP32.
_NORMALISED = Accumulator(8, 31, Rounding.FLOOR, subnormals=True, nan=0x7FFFFFFFFF, zero=Zero.ROUNDED)
_FRACTION_BITS, _DOT_BITS = 24, 32
_OVERFLOW = 128  # a product from here on is an infinity
_LOWEST = -126  # exponent of a zero or subnormal accumulator
PRODUCTS = {FP16: 8, BF16: 8, TF32: 4, E4M3_FNUZ: 16, E5M2_FNUZ: 16}


def cdna3(element: ElementFormat) -> ReductionTree:
    """One fused step of a matrix core.

    Products are aligned to the largest exponent and cut toward zero at 24 fraction bits; FP8 sums even and odd terms
    apart and aligns the two again. The dot, at 32 bits, and the accumulator, at 24, are aligned and cut downward.

    Args:
        element: FP16, BF16, TF32 (xf32), E4M3_FNUZ or E5M2_FNUZ, of both operands (the last two mix), FP32, or INT8
            into 32-bit integers.

    Raises:
        ValueError: CDNA3 has no such operation.
    """
    if element == FP32:
        return sequential_fma(IEEE_F32)
    name = f"CDNA3 {element.name}"
    if element == INT8:
        stages = (Stage(16, Align.EXACT, accumulator=True),)
        return ReductionTree(
            name, stages, IntegerAccumulator(32, 2 * INT8.mantissa_bits), 0, "AMD CDNA3 ISA, V_MFMA_I32"
        )
    if element not in PRODUCTS:
        legal = ", ".join(known.name for known in (*PRODUCTS, FP32, INT8))
        raise ValueError(f"element: got {element.name}, legal on CDNA3: {legal}")
    narrow = element.bits == 8
    products = Stage(
        PRODUCTS[element] // (2 if narrow else 1),
        Align.LARGEST,
        _FRACTION_BITS,
        Rounding.TOWARD_ZERO,
        overflow=None if narrow else _OVERFLOW,
        interleaved=narrow,
    )
    halves = Stage(2, Align.LARGEST, _FRACTION_BITS, Rounding.FLOOR, zeros_join=True)
    join = Stage(
        1,
        Align.LARGEST,
        _DOT_BITS,
        Rounding.FLOOR,
        zeros_join=True,
        lowest=_LOWEST,
        accumulator=True,
        accumulator_bits=_FRACTION_BITS,
        window=Window(None, _FRACTION_BITS + 2) if narrow else None,
        result=_NORMALISED,
    )
    return ReductionTree(name, (products, halves, join) if narrow else (products, join), _F32, 0, _SOURCE)
