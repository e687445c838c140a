"""Published datapaths as `ReductionTree`s."""

from hw.mac import EXPONENT_BITS, MacSpec
from hw.reduction_tree import Accumulator, Align, ReductionTree, Rounding, Stage, Window


def hybrid_mac(spec: MacSpec) -> ReductionTree:
    """KU Leuven's hybrid MAC in one mode, as `hw.mac` defines it (arXiv 2511.06313, completed)."""
    m = spec.mantissa_bits
    if spec.fixed:
        products = Stage(spec.lanes, Align.ANCHOR, anchor=spec.anchor)
    else:
        products = Stage(spec.lanes, Align.LARGEST, m, Rounding.FLOOR, zeros_join=True)
    accumulate = Stage(
        1,
        Align.WINDOW,
        m + spec.right_extension,
        Rounding.FLOOR,
        accumulator=True,
        window=Window(spec.left_edge, spec.right_edge),
    )
    return ReductionTree(
        f"hybrid {spec.element.name} M={m}",
        (products, accumulate),
        Accumulator(EXPONENT_BITS, m, Rounding.TOWARD_ZERO, subnormals=False, nan=spec.nan),
        scales_enter=1,
        source="arXiv 2511.06313, rule completed in hw.mac",
    )
