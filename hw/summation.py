"""Ways to sum that software and textbooks use, as `ReductionTree`s."""

from hw.reduction_tree import Accumulator, Align, ReductionTree, Rounding, Stage, Zero

IEEE_F32 = Accumulator(8, 23, Rounding.NEAREST_EVEN, subnormals=True, nan=0x7FC00000, zero=Zero.IEEE)
IEEE_F64 = Accumulator(11, 52, Rounding.NEAREST_EVEN, subnormals=True, nan=0x7FF8000000000000, zero=Zero.IEEE)
IEEE_F16 = Accumulator(5, 10, Rounding.NEAREST_EVEN, subnormals=True, nan=0x7E00, zero=Zero.IEEE)
IEEE_BF16 = Accumulator(8, 7, Rounding.NEAREST_EVEN, subnormals=True, nan=0x7FC0, zero=Zero.IEEE)


def sequential_fma(accumulator: Accumulator = IEEE_F32) -> ReductionTree:
    """One fused multiply-add after the other, in order of k: every product exact, every sum rounded."""
    join = Stage(1, Align.EXACT, accumulator=True)
    return ReductionTree(f"sequential FP{accumulator.bits} FMA", (join,), accumulator, 0, "IEEE 754-2019, 5.4.1")


def pairwise(products: int, accumulator: Accumulator = IEEE_F32) -> ReductionTree:
    """Products rounded, neighbours added, their sums added likewise; one more addition joins the accumulator.

    Args:
        products: of one step, a power of two.
        accumulator: the format of products, sums and accumulator.

    Raises:
        ValueError: `products` is no power of two.
    """
    levels = _levels("products", products)
    multiply = Stage(1, Align.EXACT, result=accumulator)
    add = Stage(2, Align.EXACT, result=accumulator)
    join = Stage(1, Align.EXACT, accumulator=True)
    name = f"pairwise FP{accumulator.bits}, {products} products"
    source = "Higham, Accuracy and Stability of Numerical Algorithms, 4.1; additions of IEEE 754-2019"
    return ReductionTree(name, (multiply, *[add] * levels, join), accumulator, 0, source)


def exact(products: int, blocks: int = 1, accumulator: Accumulator = IEEE_F32) -> ReductionTree:
    """The whole dot in one long accumulator, rounded once; a step is the dot.

    Args:
        products: of the dot.
        blocks: equal parts of it that each have scales of their own.
        accumulator: the format of the result.

    Raises:
        ValueError: `blocks` does not divide `products`.
    """
    if blocks < 1 or products % blocks:
        raise ValueError(f"blocks: got {blocks}, must divide the {products} products")
    stages = Stage(products // blocks, Align.EXACT), Stage(blocks, Align.EXACT, accumulator=True)
    name = f"exact long accumulator, {products} products, FP{accumulator.bits}"
    return ReductionTree(name, stages, accumulator, 1, "Kulisch, Computer Arithmetic and Validity, ch. 8")


def binary_tree(leaf: Stage, first_level: int, levels: int, accumulator: Accumulator) -> ReductionTree:
    """TBIK's tree-based invariant sum: leaves of consecutive products, added up a binary tree.

    Each leaf is a chain of fused steps over one block of k, rounded to `accumulator`; the first level adds
    `first_level` leaves in order, the levels above add pairs. Every addition rounds to `accumulator`, so that
    splitting k over 2, 4, ... 2**levels devices and adding up the same tree changes no bit.

    Args:
        leaf: how a leaf is summed; `chain` steps of `fan_in / chain` products.
        first_level: leaves added in sequence.
        levels: of the binary tree above.
        accumulator: the format of the additions, the input's or FP32.

    Raises:
        ValueError: fewer than one leaf, or fewer than no level.
    """
    if first_level < 1 or levels < 0:
        raise ValueError(f"first_level and levels: got {first_level} and {levels}, legal from 1 and from 0")
    first = Stage(first_level, Align.EXACT, chain=first_level, result=accumulator)
    stages = (
        leaf,
        Stage(1, Align.EXACT, result=accumulator),
        first,
        *[Stage(2, Align.EXACT, result=accumulator)] * levels,
        Stage(1, Align.EXACT, accumulator=True),
    )
    name = f"binary tree of {first_level << levels} leaves, {accumulator.bits}-bit additions"
    return ReductionTree(name, stages, accumulator, 0, "TBIK, github.com/nanomaoli/llm_reproducibility")


def _levels(name: str, count: int) -> int:
    if count < 1 or count & (count - 1):
        raise ValueError(f"{name}: got {count}, must be a power of two")
    return count.bit_length() - 1
