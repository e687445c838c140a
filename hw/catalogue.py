"""The published trees by name, each with an operand format: what can be listed, explained and made vectors of."""

import re
from dataclasses import dataclass, replace

from hw.cdna1 import cdna1
from hw.cdna3 import PRODUCTS as CDNA3_PRODUCTS
from hw.cdna3 import cdna3
from hw.mac import MacSpec
from hw.mx_macs import fp32_addition_mac, hybrid_mac, long_integer_mac, mxdotp
from hw.presets import (
    NVIDIA_E8M13,
    NVIDIA_F16,
    NVIDIA_F32,
    TENSOR_CORES,
    block_scaled_core,
    integer_tensor_core,
    tensor_core,
)
from hw.reduction_tree import ReductionTree
from hw.summation import IEEE_BF16, IEEE_F32, binary_tree, exact, pairwise, sequential_fma
from mx_formats.element import BF16, E2M1, E2M3, E3M2, E4M3, E5M2, FP16, FP32, INT8, ElementFormat
from mx_formats.scale import E8M0, UE4M3, ScaleFormat

MX_ELEMENTS = (E5M2, E4M3, E3M2, E2M3, E2M1, INT8)
_MX_UNITS = {"hybrid": hybrid_mac, "fp32-addition": fp32_addition_mac, "long-integer": long_integer_mac}
_NARROW = (E5M2, E4M3, E3M2, E2M3, E2M1)


@dataclass(frozen=True)
class Entry:
    """A tree and the operands it is shown with.

    Attributes:
        tree: the datapath.
        element: format of both operands.
        scale: format of their shared scales; None where the operands have none.
    """

    tree: ReductionTree
    element: ElementFormat
    scale: ScaleFormat | None


def catalogue() -> dict[str, Entry]:
    """Every entry by its name, "tree/format"."""
    return {**_software(), **_mx_units(), **_tensor_cores(), **_cdna()}


def entry(name: str) -> Entry:
    """One entry, or an MX unit with any accumulator it can have; ValueError lists names like it if there is none."""
    known = catalogue() | _mx_unit(name)
    if name not in known:
        near = [other for other in known if other.split("/")[0] == name.split("/")[0]]
        trees = sorted({other.split("/")[0] for other in known})
        raise ValueError(f"tree: got {name!r}, legal: {', '.join(near or [f'{tree}/FORMAT' for tree in trees])}")
    return known[name]


def _software() -> dict[str, Entry]:
    leaf = replace(
        tensor_core("ampere", BF16).stages[0], fan_in=64, chain=8, accumulator=False, result=NVIDIA_F32
    )  # a leaf as `tl.dot` on Ampere sums it
    entries = {
        "tbik-bf16/BF16": Entry(binary_tree(leaf, 2, 1, IEEE_BF16), BF16, None),
        "tbik-fp32/BF16": Entry(binary_tree(leaf, 2, 1, IEEE_F32), BF16, None),
    }
    for element in (*MX_ELEMENTS, FP16, BF16, FP32):
        scale = E8M0 if element in MX_ELEMENTS else None
        entries[f"sequential-fma/{element.name}"] = Entry(sequential_fma(), element, scale)
        entries[f"pairwise-32/{element.name}"] = Entry(pairwise(32), element, scale)
        entries[f"exact-32/{element.name}"] = Entry(exact(32), element, scale)
    return entries


def _mx_units() -> dict[str, Entry]:
    entries = {}
    for element in MX_ELEMENTS:
        for bits in (16, 23):
            spec = MacSpec(element, bits)
            for unit, tree in _MX_UNITS.items():
                entries[f"{unit}-m{bits}/{element.name}"] = Entry(tree(spec), element, E8M0)
        entries[f"mxdotp/{element.name}"] = Entry(mxdotp(), element, E8M0)
    entries["hybrid-m16-all-multipliers/E2M1"] = Entry(hybrid_mac(MacSpec(E2M1, 16, 16)), E2M1, E8M0)
    return entries


def _mx_unit(name: str) -> dict[str, Entry]:
    """The unit called "tree-mBITS/format"; empty if it is none."""
    parts = re.fullmatch(r"(.*)-m(\d\d)/(.*)", name)
    element = next((element for element in MX_ELEMENTS if parts and element.name == parts[3]), None)
    if parts is None or element is None or parts[1] not in _MX_UNITS:
        return {}
    return {name: Entry(_MX_UNITS[parts[1]](MacSpec(element, int(parts[2]))), element, E8M0)}


def _tensor_cores() -> dict[str, Entry]:
    entries = {
        "imma/INT8": Entry(integer_tensor_core(INT8), INT8, None),
        "imma-satfinite/INT8": Entry(integer_tensor_core(INT8, saturate=True), INT8, None),
        "mxf4/E2M1": Entry(block_scaled_core(), E2M1, E8M0),
        "nvf4/E2M1": Entry(block_scaled_core(), E2M1, UE4M3),
    }
    for element in _NARROW:
        entries[f"mxf8f6f4/{element.name}"] = Entry(tensor_core("blackwell", element), element, E8M0)
    for generation, element in TENSOR_CORES:
        for suffix, accumulator in (("", NVIDIA_F32), ("", NVIDIA_E8M13), ("-f16", NVIDIA_F16)):
            try:
                tree = tensor_core(generation, element, accumulator)
            except ValueError:  # that generation has no such sum
                continue
            entries[f"{generation}{suffix}/{element.name}"] = Entry(tree, element, None)
    return entries


def _cdna() -> dict[str, Entry]:
    first = {f"cdna1/{element.name}": Entry(cdna1(element), element, None) for element in (FP16, BF16, FP32)}
    elements = (*CDNA3_PRODUCTS, FP32, INT8)
    return first | {f"cdna3/{element.name}": Entry(cdna3(element), element, None) for element in elements}
