"""The output-stationary array: rows by columns of MACs, each with one output (values and cycles: `hw.mac_array`)."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false

from dataclasses import dataclass

from amaranth.hdl import Module
from amaranth.lib.wiring import Component, In, Out

from hw.mac_array import ArraySpec
from rtl.mac.design import MacDesign
from rtl.mac.operands import MODE_BITS
from rtl.mac.step import SCALE_BITS, Mac


@dataclass(frozen=True)
class ArrayDesign:
    """The array to generate.

    Attributes:
        mac: each of its MACs.
        rows: outputs along m.
        columns: outputs along n.

    Raises:
        ValueError: no row or no column.
    """

    mac: MacDesign = MacDesign()
    rows: int = 8
    columns: int = 8

    def __post_init__(self) -> None:
        self.spec(self.mac.names[0])

    def spec(self, name: str) -> ArraySpec:
        """The model's spec of one mode."""
        return ArraySpec(self.mac.spec(name), self.rows, self.columns)


class MacArray(Component):
    """Rows by columns of MACs; operands are broadcast, row r's codes of A to its MACs, column c's of B to those below.

    Throughput: the next `lanes` products of every output in every cycle with `valid`, so that a tile of length k takes
    k / lanes cycles and the next may follow at once. Latency 1: sums are in `acc` from the cycle after.

    Ports:
        valid: take this cycle's operands; otherwise nothing changes.
        first: with `valid`, a tile starts; sums start from +0.
        last: with `valid`, these are the tile's last operands.
        mode: see `rtl.mac.MacStep`.
        a, xa: words of codes and scale codes, one a row.
        b, xb: one a column.
        acc: accumulator patterns, the MAC of row r and column c at r * columns + c.
        done: `acc` holds a tile's outputs; high for one cycle, the one after `last`, in which the next tile may start.
    """

    def __init__(self, design: ArrayDesign):
        self._design, rows, columns = design, design.rows, design.columns
        super().__init__({
            "valid": In(1),
            "first": In(1),
            "last": In(1),
            "mode": In(MODE_BITS),
            "a": In(design.mac.operand_bits).array(rows),
            "xa": In(SCALE_BITS).array(rows),
            "b": In(design.mac.operand_bits).array(columns),
            "xb": In(SCALE_BITS).array(columns),
            "acc": Out(design.mac.accumulator_bits).array(rows * columns),
            "done": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the MACs and connect them."""
        m = Module()
        for place in range(self._design.rows * self._design.columns):
            row, column = divmod(place, self._design.columns)
            m.submodules[f"mac_{row}_{column}"] = mac = Mac(self._design.mac)
            m.d.comb += [
                mac.valid.eq(self.valid),
                mac.clear.eq(self.first),
                mac.mode.eq(self.mode),
                mac.a.eq(self.a[row]),
                mac.xa.eq(self.xa[row]),
                mac.b.eq(self.b[column]),
                mac.xb.eq(self.xb[column]),
                self.acc[place].eq(mac.acc),
            ]
        m.d.sync += self.done.eq(self.valid & self.last)
        return m
