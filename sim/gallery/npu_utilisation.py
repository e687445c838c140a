"""The NPU around the precision-scalable array: its peak, and how much of it networks use."""

from collections.abc import Iterator

from sim.gallery.claim import Check, Entry, exactly, within
from sim.npu.command import machine, run_network

_PEAKS = (("MXINT8", 64), ("MXFP8_E4M3", 256), ("MXFP6_E2M3", 256), ("MXFP4", 512))
_LOWEST, _HIGHEST = 94.41, 99.51
_BATCH = 32


def _checks() -> Iterator[Check]:
    for name, peak in _PEAKS:
        yield exactly(f"{name} at 500 MHz", float(peak), machine(name).peak_gops, "GOPS")
    used = []
    for network in ("resnet18", "vit_base"):
        for name, train in (("MXINT8", False), ("MXFP8_E4M3", True)):
            used += [100 * taken.utilisation for _, taken in run_network(network, name, _BATCH, train=train).layers]
    yield within("least used product, inference in MXINT8 and training in MXFP8", _LOWEST, min(used), 1, "%")
    yield within("most used product", _HIGHEST, max(used), 1, "%")


ENTRY = Entry(
    "npu-utilisation",
    "an 8 x 8 array with streamers, 128 KiB scratchpad and a DMA of 512 bits keeps 94.4 to 99.5 % of its MACs busy",
    "KU Leuven, arXiv 2511.06313: ResNet-18 and ViT, batch 32, inference in MXINT8 and training in MXFP8",
    "products of ResNet-18 and ViT-B/16 on the cycle model of hw/npu.py, which has no bank conflicts; the published "
    "range is read as one over products",
    simulated=True,
    checks=_checks,
)
