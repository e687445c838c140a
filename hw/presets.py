"""NVIDIA tensor cores as `ReductionTree`s, by generation and operand format."""

from dataclasses import dataclass

from hw.block_scaled import LOWEST_EXPONENT
from hw.reduction_tree import Accumulator, Align, IntegerAccumulator, ReductionTree, Rounding, Stage
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


def integer_tensor_core(element: ElementFormat, products: int = 32, saturate: bool = False) -> ReductionTree:
    """`IMMA`: exact 32-bit integer sums from Turing on, wrapping, or clamped with `.satfinite`.

    Args:
        element: an integer format; its implied scale becomes that of the register.
        products: of one instruction.
        saturate: clamp to 32 bits.

    Raises:
        ValueError: not an integer format.
    """
    if not element.is_integer:
        raise ValueError(f"element: got {element.name}, must be an integer format")
    register = IntegerAccumulator(32, 2 * element.mantissa_bits, saturate)
    stage = Stage(products, Align.EXACT, accumulator=True)
    name = f"{element.name} tensor core, {'saturating' if saturate else 'wrapping'} 32-bit sums"
    return ReductionTree(name, (stage,), register, 0, "PTX ISA, mma.sync .s32")


def tensor_core_of(tree: ReductionTree, a: ElementFormat, b: ElementFormat) -> TensorCore | None:
    """The row of `TENSOR_CORES` that this tree is a fused step of, None if it is none."""
    narrow = a.bits <= 8 and b.bits <= 8
    for (generation, operand), core in TENSOR_CORES.items():
        if operand != a or not (a == b or (narrow and (generation, b) in TENSOR_CORES)):
            continue
        for accumulator in (NVIDIA_F32, NVIDIA_E8M13, NVIDIA_F16):
            if tree.accumulator == accumulator and tree == _tensor_core(generation, operand, accumulator):
                return core
    return None


def _tensor_core(generation: str, element: ElementFormat, accumulator: Accumulator) -> ReductionTree | None:
    try:
        return tensor_core(generation, element, accumulator)
    except ValueError:
        return None
