"""Bits that an SM spends on knowing which registers are ready, beside its register file.

Huerta et al., MICRO 2025, compare the two mechanisms by the bits they store. Control bits: six 6-bit counters, a
4-bit stall counter and a yield bit a warp. A scoreboard: for each of 255 regular and 63 uniform registers and 7
predicates of either kind, a bit for a result under way and a counter of the instructions that have yet to read it.
"""

from dataclasses import dataclass

from hw.gpu_spec import GpuSpec

COUNTERS, COUNTER_BITS = 6, 6
STALL_BITS, YIELD_BITS = 4, 1
ENTRIES = 255 + 63 + 7 + 7
REGISTER_BITS = 32


@dataclass(frozen=True)
class DependenceArea:
    """Storage of one mechanism in one SM.

    Attributes:
        mechanism: in words.
        bits: of all warps together.
        register_file_bits: of the register file.
    """

    mechanism: str
    bits: int
    register_file_bits: int

    @property
    def percent(self) -> float:
        """Of the register file."""
        return 100 * self.bits / self.register_file_bits


def control_bits_per_warp() -> int:
    """Bits of state that control bits need in hardware, a warp."""
    return COUNTERS * COUNTER_BITS + STALL_BITS + YIELD_BITS


def scoreboard_bits_per_warp(consumers: int) -> int:
    """Bits of a scoreboard that counts up to `consumers` readers of a register, a warp.

    Raises:
        ValueError: fewer than one consumer.
    """
    if consumers < 1:
        raise ValueError(f"consumers is {consumers}, legal 1 or more")
    return ENTRIES + ENTRIES * consumers.bit_length()


def dependence_areas(spec: GpuSpec, consumers: tuple[int, ...] = (1, 3, 63)) -> list[DependenceArea]:
    """Control bits, then scoreboards of so many consumers, in one SM of a GPU."""
    file = spec.limits.registers * REGISTER_BITS
    areas = [DependenceArea("control bits", control_bits_per_warp() * spec.limits.warps, file)]
    for count in consumers:
        name = f"scoreboard, {count} consumer{'s' if count > 1 else ''}"
        areas.append(DependenceArea(name, scoreboard_bits_per_warp(count) * spec.limits.warps, file))
    return areas
