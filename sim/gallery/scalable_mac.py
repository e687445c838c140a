"""The precision-scalable MX MAC: its throughput, and what a narrower accumulator saves in gates."""

from collections.abc import Iterator

from hw.mac import MacSpec
from hw.mac_array import ArraySpec
from mx_formats.element import E2M1, E4M3, INT8
from rtl.area_cache import cached_area
from rtl.mac import Mac, MacDesign
from sim.gallery.claim import Check, Entry, direction, exactly

_GIGAHERTZ = 0.5
_NAMES = ((INT8, "MXINT8", 64, 8), (E4M3, "MXFP8 and MXFP6", 256, 2), (E2M1, "MXFP4", 512, 1))
# Measured, not published: their RTL through the same recipe (`rtl.synthesis`), combinational gates.
_THEIRS = {16: 8024, 23: 10231}


def _checks() -> Iterator[Check]:
    for element, name, rate, cycles in _NAMES:
        array = ArraySpec(MacSpec(element, 16))
        ours = 2 * array.products_per_cycle * _GIGAHERTZ
        yield exactly(f"{name}, 8 x 8 array at 500 MHz", float(rate), ours, "GOPS")
        yield exactly(f"{name}, a tile of 8 x 8 x 8", cycles, array.cycles(8, 8, 8), "cycles")
    ours = {bits: cached_area(Mac(MacDesign(bits)), "mac").nand2 for bits in _THEIRS}
    for bits, theirs in _THEIRS.items():
        yield direction(f"MAC of six formats, M = {bits}", f"{theirs:,} (mapped here)", f"{ours[bits]:,.0f}",
                        ours[bits] < theirs, "NAND2")  # fmt: skip
    saved = {name: 100 * (1 - area[16] / area[23]) for name, area in (("theirs", _THEIRS), ("ours", ours))}
    yield direction("gates that M = 16 saves over M = 23", f"{saved['theirs']:.1f} (mapped here)",
                    f"{saved['ours']:.1f}", saved["ours"] > 0, "%")  # fmt: skip


ENTRY = Entry(
    "scalable-mac",
    "64, 256 and 512 GOPS in MXINT8, MXFP8/6 and MXFP4; a 16-bit mantissa instead of 23 makes the hybrid tree smaller",
    "KU Leuven, arXiv 2511.06313; areas are of their published RTL, which is wrong in some cases, mapped as ours is",
    "the array's cycle model, and our generated RTL through Yosys without a timing target",
    simulated=True,
    checks=_checks,
)
