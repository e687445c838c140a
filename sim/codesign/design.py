"""One point of a design space: a number format, how products are summed, on how large an array, beside which GPU."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from hw.mac import MacSpec
from hw.mac_array import ArraySpec
from hw.mx_macs import fp32_addition_mac, hybrid_mac, long_integer_mac
from hw.reduction_tree import ReductionTree
from hw.technology import load_technology
from mx_formats.block import BLOCK_FORMATS, BlockFormat

TREES = {"hybrid": hybrid_mac, "fp32-addition": fp32_addition_mac, "long-integer": long_integer_mac}
MACS = ("dedicated", "six-format")
DEFAULT_TECHNOLOGY = "22nm"


@dataclass(frozen=True)
class Design:
    """What is built, and the GPU it is held against; fields are plain data, checked where they are used.

    Attributes:
        gpu: a name from `warptree gpus`, or a TOML file.
        gpu_fields: "field=value" of the GPU's description, changed for this design; sorted.
        format: name of a block format.
        block_size: elements that share a scale.
        tree: a key of `TREES`.
        mantissa_bits: M of the accumulator.
        four_bit_products: products of 4-bit codes a cycle.
        mac: "dedicated" to this format, or "six-format" as published.
        rows: of the array.
        columns: of the array.
        technology: CMOS node of the array: a name from `hw.technology`, or a TOML file.
    """

    gpu: str
    gpu_fields: tuple[str, ...]
    format: str
    block_size: int
    tree: str
    mantissa_bits: int
    four_bit_products: int
    mac: str
    rows: int
    columns: int
    technology: str

    @property
    def block_format(self) -> BlockFormat:
        """The format with this design's block size."""
        return replace(BLOCK_FORMATS[self.format], block_size=self.block_size)

    @property
    def mac_spec(self) -> MacSpec:
        """One MAC; ValueError, naming the field, if it cannot be."""
        return MacSpec(self.block_format.element, self.mantissa_bits, self.four_bit_products)

    @property
    def array_spec(self) -> ArraySpec:
        """The array; ValueError, naming the field, if it cannot be."""
        return ArraySpec(self.mac_spec, self.rows, self.columns)

    @property
    def reduction_tree(self) -> ReductionTree:
        """How products are summed; ValueError, naming the field, if they cannot be."""
        return TREES[self.tree](self.mac_spec)

    @property
    def datapath(self) -> tuple[str | int, ...]:
        """What the values depend on; designs that share it differ in cost only."""
        return self.format, self.block_size, self.tree, self.mantissa_bits, self.four_bit_products

    @property
    def machine(self) -> tuple[str, tuple[str, ...]]:
        """The GPU whose run gives operands and cycles."""
        return self.gpu, self.gpu_fields

    def as_dict(self) -> dict[str, str | int]:
        """The columns of a table row."""
        return {**asdict(self), "gpu_fields": " ".join(self.gpu_fields)}

    def words(self) -> str:
        """The design in one line."""
        products = f", {self.four_bit_products} 4-bit products" if self.four_bit_products != 8 else ""
        node = f" {Path(self.technology).stem}" if self.technology != DEFAULT_TECHNOLOGY else ""
        return (
            f"{self.format}/{self.block_size} {self.tree} M={self.mantissa_bits}{products} {self.rows}x{self.columns}"
            f"{node}"
        )

    def key(self, operands: str, code: str) -> str:
        """32 hex digits that name the design's row: design, technology's constants, operands it ran on, and our code.

        Raises:
            TechnologyError: a technology that cannot be used.
        """
        node = asdict(load_technology(self.technology))
        text = json.dumps([self.as_dict(), node, operands, code], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


FIELDS = tuple(field.name for field in fields(Design))
