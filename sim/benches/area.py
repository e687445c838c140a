"""Gates of the MAC with each way to sum, beside those of the published RTL, and of the NPU's other parts."""

from collections.abc import Iterator

from rtl.area_cache import cached_area
from rtl.mac import Mac, MacDesign, Tree
from rtl.npu import NpuDesign
from rtl.npu.parts import parts
from sim.measure import Measurement
from sim.rtl_checks import PUBLISHED_TREES

MANTISSAS = (16, 23)


def measure(budget_seconds: float) -> Iterator[Measurement]:
    """Yield NAND2 equivalents of combinational gates, six formats; a netlist is mapped once and kept.

    A ratio below one says that ours, which is correct, is the smaller.
    """
    for tree in Tree:
        for bits in MANTISSAS:
            found = cached_area(Mac(MacDesign(bits, tree=tree)), "mac")
            published = PUBLISHED_TREES.get((tree, bits))
            yield Measurement("area", f"{tree.value} MAC, M = {bits}", found.nand2, "NAND2",
                              "published RTL" if published else "", published)  # fmt: skip
    for bits in MANTISSAS:
        found = cached_area(Mac(MacDesign(bits, four_bit_products=16)), "mac")
        yield Measurement("area", f"hybrid MAC, 16 FP4 products, M = {bits}", found.nand2, "NAND2")
    for name, (count, make) in parts(NpuDesign()).items():
        yield Measurement("area", f"NPU, {count} x {name}", cached_area(make(), "part").nand2, "NAND2")
