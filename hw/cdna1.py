"""AMD CDNA1 matrix cores (MI100) as `ReductionTree`s: the rules of MMA-Sim 2.1.1 (arXiv 2511.10909)."""

from hw.reduction_tree import Accumulator, Align, ReductionTree, Rounding, Stage, Zero
from hw.summation import sequential_fma
from mx_formats.element import BF16, FP16, FP32, ElementFormat

_SOURCE = "MMA-Sim 2.1.1, arXiv 2511.10909: v_mfma on CDNA1"
# The pattern of a NaN was not published.
_F32 = Accumulator(8, 23, Rounding.NEAREST_EVEN, subnormals=True, nan=0x7FC00000, zero=Zero.ROUNDED)
PRODUCTS = {FP16: 4, BF16: 2}


def cdna1(element: ElementFormat) -> ReductionTree:
    """One fused step of a matrix core: products and accumulator are summed exactly and rounded once.

    Args:
        element: FP16, BF16 or FP32, of both operands.

    Raises:
        ValueError: CDNA1 has no such operation.
    """
    if element == FP32:
        return sequential_fma()
    if element not in PRODUCTS:
        legal = ", ".join(known.name for known in (*PRODUCTS, FP32))
        raise ValueError(f"element: got {element.name}, legal on CDNA1: {legal}")
    join = Stage(PRODUCTS[element], Align.EXACT, accumulator=True)
    return ReductionTree(f"CDNA1 {element.name}", (join,), _F32, 0, _SOURCE)
