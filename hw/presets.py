"""Published datapaths as `ReductionTree`s."""

from dataclasses import dataclass

from hw.block_scaled import LOWEST_EXPONENT
from hw.mac import EXPONENT_BITS, MacSpec
from hw.reduction_tree import Accumulator, Align, ReductionTree, Rounding, Stage, Window
from hw.tensor_core import lowest_exponent
from mx_formats.element import BF16, E2M1, E2M3, E3M2, E4M3, E5M2, FP16, TF32, ElementFormat

NVIDIA_F32 = Accumulator(8, 23, Rounding.TOWARD_ZERO, subnormals=True, nan=0x7FFFFFFF)
NVIDIA_F16 = Accumulator(5, 10, Rounding.NEAREST_EVEN, subnormals=True, nan=0x7FFF)
# FP8 sums on Ada and Hopper: the upper 22 bits of an FP32 register; the lower 10 are read as zero and written as zero.
NVIDIA_E8M13 = Accumulator(8, 13, Rounding.TOWARD_ZERO, subnormals=True, nan=0x1FFFFF)


@dataclass(frozen=True)
class TensorCore:
    """How one generation sums one operand format (MMA-Sim, arXiv 2511.10909).

    Attributes:
        fraction_bits: F, kept below the largest exponent.
        products: joined in one fused step; a longer instruction runs several steps in order of k.
        result_bits: mantissa bits of a sum that is not FP16.
    """

    fraction_bits: int
    products: int
    result_bits: int = 23


TENSOR_CORES: dict[tuple[str, ElementFormat], TensorCore] = {
    (generation, element): TensorCore(fraction_bits, bytes_a_step // element_bytes)
    for generation, fraction_bits, bytes_a_step in (
        ("volta", 23, 8),
        ("turing", 24, 16),
        ("ampere", 24, 16),
        ("ada", 24, 16),
        ("hopper", 25, 32),
        ("blackwell", 25, 32),
    )
    for element, element_bytes in ((FP16, 2), (BF16, 2), (TF32, 4))
    if generation not in ("volta", "turing") or element is FP16
} | {
    (generation, element): TensorCore(fraction_bits, products, result_bits)
    for generation, elements, fraction_bits, products, result_bits in (
        ("ada", (E4M3, E5M2), 13, 16, 13),
        ("hopper", (E4M3, E5M2), 13, 32, 13),
        ("blackwell", (E4M3, E5M2, E3M2, E2M3, E2M1), 25, 32, 23),
    )
    for element in elements
}


def tensor_core(generation: str, element: ElementFormat, accumulator: Accumulator | None = None) -> ReductionTree:
    """One fused step of an NVIDIA tensor core.

    Args:
        generation: "volta", "turing", "ampere", "ada", "hopper" or "blackwell".
        element: format of both operands (Volta and Turing have FP16 only; 8 bits and fewer from Ada on). Where
            both have 8 bits or fewer they may differ, and either names the same rule.
        accumulator: `NVIDIA_F16` with FP16 or narrower operands; otherwise, and by default, `NVIDIA_F32`, or
            `NVIDIA_E8M13` for FP8 on Ada and Hopper.

    Raises:
        ValueError: the generation has no such operation.
    """
    core = TENSOR_CORES.get((generation, element))
    own = NVIDIA_F32 if core is None or core.result_bits == 23 else NVIDIA_E8M13
    accumulator = own if accumulator is None else accumulator
    to_half = accumulator == NVIDIA_F16 and (element == FP16 or element.bits <= 8)
    if core is None or not (accumulator == own or to_half):
        legal = ", ".join(f"{name} {operand.name}" for name, operand in TENSOR_CORES)
        raise ValueError(
            f"tensor_core: no {element.name} with {accumulator.bits}-bit sums on {generation!r}; "
            f"legal with FP32 sums: {legal}; FP16 sums take FP16 and narrower"
        )
    stage = Stage(
        core.products,
        Align.LARGEST,
        core.fraction_bits,
        Rounding.TOWARD_ZERO,
        lowest=lowest_exponent(core.fraction_bits, accumulator == NVIDIA_F16),
        accumulator=True,
    )
    name = f"{generation} {element.name} tensor core, FP{accumulator.bits} sums"
    return ReductionTree(name, (stage,), accumulator, scales_enter=0, source="MMA-Sim, arXiv 2511.10909")


def block_scaled_core() -> ReductionTree:
    """One `OMMA` of Blackwell: 64 products of E2M1 in groups of 16, each with its own pair of scales.

    A group is summed exactly. Its sum times the significands of its scales (1 for E8M0) presents the exponent of
    the scales alone, also where its products cancel, and is aligned with the accumulator at 35 fraction bits.
    """
    groups = Stage(16, Align.ANCHOR, anchor=0)
    join = Stage(4, Align.LARGEST, 35, Rounding.TOWARD_ZERO, zeros_join=True, lowest=LOWEST_EXPONENT, accumulator=True)
    return ReductionTree(
        "blackwell E2M1 block-scaled tensor core", (groups, join), NVIDIA_F32, scales_enter=1,
        source="MMA-Sim, arXiv 2511.10909",
    )  # fmt: skip


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


def tensor_core_of(tree: ReductionTree, element: ElementFormat) -> TensorCore | None:
    """The row of `TENSOR_CORES` that this tree is a fused step of, None if it is none."""
    for (generation, operand), core in TENSOR_CORES.items():
        takes_half = (operand == FP16 or operand.bits <= 8) and tree.accumulator == NVIDIA_F16
        takes_single = tree.accumulator == NVIDIA_F32 and core.result_bits == 23
        if operand != element or not (takes_half or takes_single):
            continue
        if tree == tensor_core(generation, operand, tree.accumulator):
            return core
    return None
