"""The choices a conversion makes: scale rule, rounding, overflow, NaN and infinity. Defaults are OCP MX 1.0's."""

from dataclasses import dataclass
from enum import Enum


class ScaleRule(Enum):
    """How a block's largest magnitude `amax` sets its scale.

    The element format's largest number is `max = significand * 2**emax`. The first five need a power-of-two scale;
    NEAREST needs one with a mantissa.
    """

    FLOOR = "2**(floor(log2 amax) - emax)"  # OCP MX 1.0, section 6.3
    CEIL = "2**(ceil(log2 amax) - emax)"  # torchao
    EVEN = "amax rounded to the element's mantissa bits, half away from zero; then FLOOR"  # torchao, Quark
    DOUBLE_FLOOR = "twice FLOOR"  # AWS Neuron quantize_mx
    ROUND_UP = "amax / max, rounded up to a scale"  # cuBLAS, PTX cvt.rp.ue8m0x2, torchao RCEIL, arXiv 2510.25602
    NEAREST = "amax / max, rounded to the nearest scale, ties to even"  # NVFP4
    LEAST_SQUARES = "the scale with the least sum of squared errors, the smaller of equals"  # ModelOpt's sweep


class Rounding(Enum):
    """Which of the two neighbours a value between them becomes."""

    NEAREST_EVEN = "the nearer; of equals the even code"
    NEAREST_AWAY = "the nearer; of equals the larger magnitude"
    TOWARD_ZERO = "the smaller magnitude"
    UP = "the larger"
    DOWN = "the smaller"
    STOCHASTIC = "the larger magnitude with the probability of its nearness"


class Overflow(Enum):
    """What a value that rounds beyond the largest finite number becomes (OFP8 1.0, conversion)."""

    SATURATE = "the largest finite number of its sign"
    SPECIAL = "infinity where the format has it, else NaN; by IEEE 754 the largest number if rounded toward zero"


class Specials(Enum):
    """What NaN and infinity among a block's values do."""

    NAN_BLOCK = "the whole block is NaN: NaN scale, element codes 0"
    ELEMENTS = "only that element: NaN is NaN, infinity overflows; the scale comes from the finite values"
    REJECT = "ValueError"


@dataclass(frozen=True)
class Conversion:
    """How floats become a block format.

    Attributes:
        scale_rule: None is FLOOR for power-of-two scales and NEAREST for those with a mantissa.
        rounding: of elements.
        overflow: of elements.
        specials: NaN and infinity among the values.
        seed: of STOCHASTIC rounding, 0 to 2**64 - 1. Place i of block n draws word `n * block_size + i` of
            Philox4x32-10 under this key, so results depend on nothing else.
    """

    scale_rule: ScaleRule | None = None
    rounding: Rounding = Rounding.NEAREST_EVEN
    overflow: Overflow = Overflow.SATURATE
    specials: Specials = Specials.NAN_BLOCK
    seed: int = 0

    def __post_init__(self) -> None:
        legal = {"scale_rule": ScaleRule, "rounding": Rounding, "overflow": Overflow, "specials": Specials}
        for name, kind in legal.items():
            value = getattr(self, name)
            if not (isinstance(value, kind) or (value is None and name == "scale_rule")):
                names = ", ".join(f"{kind.__name__}.{member.name}" for member in kind)
                raise ValueError(f"Conversion.{name}: got {value!r}, legal {names}")
        check_seed(self.seed)


def check_seed(seed: int) -> None:
    """ValueError for a seed that is no 64-bit word."""
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"seed: got {seed}, legal 0..2**64 - 1")


OCP = Conversion()
"""OCP MX 1.0: FLOOR, nearest even, saturating; a block with a NaN or infinity is NaN."""
