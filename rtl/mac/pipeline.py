"""Where the MAC may have registers, and what they do to its timing."""

from dataclasses import dataclass
from enum import Enum

from rtl.mac.design import Tree


class Cut(Enum):
    """A place for registers, in the order values pass them."""

    OPERANDS = "decoded operands"
    PRODUCTS = "quadrant sums"
    SUM = "product sum"
    ALIGNED = "aligned sum"
    NORMALISED = "normalised sum"


IN_LOOP = (Cut.ALIGNED, Cut.NORMALISED)  # between the accumulator and its next value
# Registers that shorten the longest path come first, those that make the accumulator's loop longer last.
PREFERENCE = (Cut.SUM, Cut.PRODUCTS, Cut.OPERANDS, Cut.ALIGNED, Cut.NORMALISED)


@dataclass(frozen=True)
class Pipeline:
    """Registers of a MAC beside its accumulator.

    Attributes:
        cuts: where they are.

    Raises:
        ValueError: a place twice.
    """

    cuts: tuple[Cut, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.cuts)) != len(self.cuts):
            raise ValueError(f"Pipeline.cuts: got {[cut.name for cut in self.cuts]}, must be each once")

    @property
    def latency(self) -> int:
        """Cycles from the one that takes operands to the first that shows their sum in the accumulator."""
        return len(self.cuts) + 1

    @property
    def interval(self) -> int:
        """Cycles between two steps of one accumulator: 1, and one for each register in its loop."""
        return 1 + sum(cut in IN_LOOP for cut in self.cuts)


def pipeline(registers: int) -> Pipeline:
    """So many places of registers, the most useful first; ValueError beyond what there is."""
    if not 0 <= registers <= len(PREFERENCE):
        raise ValueError(f"pipeline: got {registers}, legal 0..{len(PREFERENCE)}")
    return Pipeline(PREFERENCE[:registers])


def check_tree(pipeline: Pipeline, tree: Tree) -> None:
    """ValueError for registers in the accumulator's loop of another tree than the hybrid."""
    if pipeline.interval > 1 and tree is not Tree.HYBRID:
        inside = ", ".join(cut.name for cut in pipeline.cuts if cut in IN_LOOP)
        raise ValueError(f"Pipeline.cuts: got {inside} with {tree.value}, legal with hybrid")
