"""What an SM stores to know which registers are ready: control bits beside scoreboards."""

from collections.abc import Iterator

from hw.dependence_area import dependence_areas
from hw.gpu_spec import load_gpu
from rtl.area_cache import cached_area
from rtl.issue_stage.control_bits import ControlBits
from rtl.issue_stage.scoreboard import Scoreboard
from sim.gallery.claim import Check, Entry, counted, direction, exactly, within

_PERCENT = {0: 0.09, 1: 1.52, 3: 2.28, 63: 5.32}  # consumers a scoreboard counts, 0 for control bits


def _checks() -> Iterator[Check]:
    spec = load_gpu("rtx_a6000")
    areas = dependence_areas(spec, tuple(_PERCENT)[1:])
    gates = []
    for (consumers, published), area in zip(_PERCENT.items(), areas, strict=True):
        yield exactly(f"{area.mechanism}: bits, of the register file's", published, round(area.percent, 2), "%")
        size = cached_area(Scoreboard(consumers) if consumers else ControlBits(), "dependences")
        bits = spec.limits.warps * size.flip_flops
        what = f"{area.mechanism}: flip-flops of our RTL in an SM, beside those bits"
        # A stall of up to 45 cycles takes our control bits one more than the paper's counters.
        yield counted(what, area.bits, bits, "bit") if consumers else within(what, area.bits, bits, 3, "bit")
        gates.append(size.nand2)
    least = min(gates[1:]) / gates[0]
    yield direction(
        "gates of our RTL, the smallest scoreboard over control bits", "more", f"{least:.1f} times", least > 1
    )


ENTRY = Entry(
    "control-bits",
    "dependences that the compiler writes into instructions take 0.09 % of the register file's bits, a scoreboard "
    "1.5 to 5.3 %",
    "Huerta et al., Dissecting and Modeling the Architecture of Modern GPU Cores, MICRO 2025: 48 warps an SM",
    "the paper's count of bits, and our generated RTL through Yosys; decoders from register numbers are left out, in "
    "the scoreboards' favour",
    simulated=False,
    checks=_checks,
)
