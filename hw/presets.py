"""Published datapaths as `ReductionTree`s."""

from dataclasses import dataclass

from hw.mac import EXPONENT_BITS, MacSpec
from hw.reduction_tree import Accumulator, Align, ReductionTree, Rounding, Stage, Window
from hw.tensor_core import LOWEST_EXPONENT
from mx_formats.element import BF16, FP16, TF32, ElementFormat

NVIDIA_F32 = Accumulator(8, 23, Rounding.TOWARD_ZERO, subnormals=True, nan=0x7FFFFFFF)
NVIDIA_F16 = Accumulator(5, 10, Rounding.NEAREST_EVEN, subnormals=True, nan=0x7FFF)


@dataclass(frozen=True)
class TensorCore:
    """How one generation sums one operand format (MMA-Sim, arXiv 2511.10909).

    Attributes:
        fraction_bits: F, kept below the largest exponent.
        products: joined in one fused step; a longer instruction runs several steps in order of k.
    """

    fraction_bits: int
    products: int


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
}


def tensor_core(generation: str, element: ElementFormat, accumulator: Accumulator = NVIDIA_F32) -> ReductionTree:
    """One fused step of an NVIDIA tensor core.

    Args:
        generation: "volta", "turing", "ampere", "ada", "hopper" or "blackwell".
        element: format of both operands, FP16, BF16 or TF32 (Volta and Turing have FP16 only).
        accumulator: `NVIDIA_F32`, or `NVIDIA_F16` with FP16 operands.

    Raises:
        ValueError: the generation has no such operation.
    """
    core = TENSOR_CORES.get((generation, element))
    if core is None or (accumulator == NVIDIA_F16 and element != FP16):
        legal = ", ".join(f"{name} {operand.name}" for name, operand in TENSOR_CORES)
        raise ValueError(
            f"tensor_core: no {element.name} with {accumulator.bits}-bit sums on {generation!r}; "
            f"legal with FP32 sums: {legal}; FP16 sums take FP16"
        )
    stage = Stage(
        core.products,
        Align.LARGEST,
        core.fraction_bits,
        Rounding.TOWARD_ZERO,
        lowest=LOWEST_EXPONENT,
        accumulator=True,
    )
    name = f"{generation} {element.name} tensor core, FP{accumulator.bits} sums"
    return ReductionTree(name, (stage,), accumulator, scales_enter=0, source="MMA-Sim, arXiv 2511.10909")


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
        takes_half = operand == FP16 and tree.accumulator == NVIDIA_F16
        if operand != element or not (takes_half or tree.accumulator == NVIDIA_F32):
            continue
        if tree == tensor_core(generation, operand, tree.accumulator):
            return core
    return None
