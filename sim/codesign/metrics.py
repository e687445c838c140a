"""What is known of a design once evaluated: names, units, which way is better, and where the numbers come from."""

from dataclasses import dataclass

from sim.provenance import Origin


@dataclass(frozen=True)
class Metric:
    """One number of a design.

    Attributes:
        name: column of the table.
        unit: of its values; "" for a pure number.
        larger_is_better: which way an objective goes.
        meaning: in a few words.
        basis: the rule, model or tool behind it.
        origin: how it came to be.
    """

    name: str
    unit: str
    larger_is_better: bool
    meaning: str
    basis: str
    origin: Origin = Origin.SIMULATED

    def at_least_as_good(self, value: float, other: float) -> bool:
        """Whether `value` is as good as `other` or better."""
        return value >= other if self.larger_is_better else value <= other

    @property
    def bound(self) -> str:
        """How a requirement on it reads."""
        return "at least" if self.larger_is_better else "at most"


_DOTS = (
    "the run's own tensor-core operands, cast and summed bit for bit; against float64 on the operands before casting"
)
_RTL = "generated RTL, Yosys synth -flatten and abc -g cmos, transistors / 4, flip-flops apart, no timing target"
_ARRAY = "output-stationary array, hw.mac_array: partial tiles count whole, no memory stalls"

_TOGGLES = (
    "toggles of the generated RTL's mapped gates, registers and broadcast wires under a sample of the run's operands, "
    "without glitches, charged by hw/technology; no memories, control, clock tree or leakage"
)

_ALL = (
    Metric("qsnr_db", "dB", True, "signal to error of the dot products", _DOTS),
    Metric("cast_qsnr_db", "dB", True, "signal to error with exact sums: what the format alone costs", _DOTS),
    Metric("max_abs_err", "", False, "largest error of a dot product", _DOTS),
    Metric(
        "max_abs_err_tree", "", False, "largest error that summing adds", "tree against float64 of the cast operands"
    ),
    Metric("bits_per_element", "bit", False, "storage of an element, its scale included", "the format's definition"),
    Metric("array_cycles", "cycles", False, "the array's cycles for the recorded dot products", _ARRAY),
    Metric("utilisation", "", True, "products done over those the cycles had room for", _ARRAY),
    Metric("mac_nand2", "NAND2", False, "gates of one MAC", _RTL, Origin.MEASURED),
    Metric("nand2", "NAND2", False, "gates of all MACs of the array", _RTL, Origin.MEASURED),
    Metric("flip_flops", "bit", False, "accumulator registers of the array", _RTL, Origin.MEASURED),
    Metric("nand2_cycles", "NAND2 cycles", False, "gates times cycles", f"{_RTL}; {_ARRAY}"),
    Metric("energy", "nJ", False, "the array's energy for the recorded dot products", _TOGGLES),
    Metric("pj_per_mac", "pJ", False, "the array's energy for one multiply-accumulate", _TOGGLES),
    Metric("pj_per_output", "pJ", False, "the array's energy for one dot product", _TOGGLES),
    Metric("gpu_cycles", "cycles", False, "the GPU's cycles for all launches", "core model of the named GPU"),
)
METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
"""Every metric by its name; those of the GPU do not depend on the datapath."""
