"""Published MX multiply-accumulate units as `ReductionTree`s, their rules completed where the papers are silent.

All take products of one block pair a step, at the scales' exponents. Special values, zeros and overflow are those of
`hw.reduction_tree`; an MX unit that has no subnormal results flushes them to +0.
"""

from hw.mac import EXPONENT_BITS, MacSpec
from hw.reduction_tree import Accumulator, Align, ReductionTree, Rounding, Stage, Window, Zero

# MXDOTP's word for one product: 34 bits below the binary point, 32 above, a sign (arXiv 2505.13159).
LONG_FRACTION_BITS, LONG_INTEGER_BITS = 34, 32


def hybrid_mac(spec: MacSpec) -> ReductionTree:
    """KU Leuven's hybrid MAC in one mode, as `hw.mac` defines it (arXiv 2511.06313, completed)."""
    m = spec.mantissa_bits
    accumulate = Stage(
        1,
        Align.WINDOW,
        m + spec.right_extension,
        Rounding.FLOOR,
        accumulator=True,
        window=Window(spec.left_edge, spec.right_edge),
    )
    name = f"hybrid {spec.element.name} M={m}"
    source = "arXiv 2511.06313, rule completed in hw.mac"
    return ReductionTree(name, (_product_sum(spec), accumulate), _flushing(spec, Rounding.TOWARD_ZERO), 1, source)


def fp32_addition_mac(spec: MacSpec) -> ReductionTree:
    """The hybrid's predecessor (arXiv 2505.22404): the product sum normalised to M bits, then a floating-point adder.

    Stage 1 is the hybrid's. Its sum is cut toward zero to M mantissa bits; the adder aligns to the larger exponent
    with two guard bits, below which the smaller operand is cut toward zero, and cuts the sum toward zero.
    """
    m = spec.mantissa_bits
    accumulator = _flushing(spec, Rounding.TOWARD_ZERO)
    products = _product_sum(spec, result=accumulator)
    add = Stage(1, Align.LARGEST, m + 2, Rounding.TOWARD_ZERO, accumulator=True)
    name = f"FP32-addition {spec.element.name} M={m}"
    source = "arXiv 2505.22404 and 2511.06313: 26-bit significands, 24 and 2 guard bits, at M=23"
    return ReductionTree(name, (products, add), accumulator, 1, source)


def long_integer_mac(spec: MacSpec) -> ReductionTree:
    """The long-integer MAC that KU Leuven compares with: products in one fixed-point word, one rounding to M bits."""
    products = _long_products(spec.lanes)
    join = Stage(1, Align.EXACT, accumulator=True)
    name = f"long-integer {spec.element.name} M={spec.mantissa_bits}"
    source = "arXiv 2511.06313: 67-bit product word, sum rounded to nearest even"
    return ReductionTree(name, (products, join), _flushing(spec, Rounding.NEAREST_EVEN), 1, source)


def mxdotp(products: int = 8) -> ReductionTree:
    """MXDOTP's dot-product unit: exact products and sums, early accumulation, one rounding to IEEE FP32.

    Args:
        products: of one instruction; 8 of MXFP8.
    """
    accumulator = Accumulator(8, 23, Rounding.NEAREST_EVEN, subnormals=True, nan=0x7FC00000, zero=Zero.ROUNDED)
    stages = _long_products(products), Stage(1, Align.EXACT, accumulator=True)
    source = "arXiv 2505.13159; github.com/pulp-platform/cvfpu, fpnew_mxdotp_multi"
    return ReductionTree(f"MXDOTP, {products} products", stages, accumulator, 1, source)


def _product_sum(spec: MacSpec, result: Accumulator | None = None) -> Stage:
    """Stage 1 of `hw.mac`: an exact sum at a fixed anchor, or one aligned to the largest exponent."""
    if spec.fixed:
        return Stage(spec.lanes, Align.ANCHOR, anchor=spec.anchor, result=result)
    return Stage(spec.lanes, Align.LARGEST, spec.mantissa_bits, Rounding.FLOOR, zeros_join=True, result=result)


def _long_products(count: int) -> Stage:
    return Stage(count, Align.ANCHOR, LONG_FRACTION_BITS, anchor=0, integer_bits=LONG_INTEGER_BITS)


def _flushing(spec: MacSpec, rounding: Rounding) -> Accumulator:
    return Accumulator(EXPONENT_BITS, spec.mantissa_bits, rounding, subnormals=False, nan=spec.nan)
