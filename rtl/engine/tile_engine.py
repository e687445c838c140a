"""The array between two streams, set up through control and status registers as in SNAX."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false

from dataclasses import dataclass, field

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from rtl.array import ArrayDesign, MacArray
from rtl.engine.control import COUNT_BITS, TileControl
from rtl.mac.operands import MODE_BITS
from rtl.mac.step import SCALE_BITS
from rtl.requantise import CODE_BITS, Requantise

# Control and status registers by address, as in the published integration (arXiv 2511.06313), and a start.
PRECISION, ACCUMULATION_COUNT, OUTPUT_COUNT, START = range(4)


@dataclass(frozen=True)
class EngineDesign:
    """The engine to generate: its array; a tile's outputs become one block with one scale."""

    array: ArrayDesign = field(default_factory=ArrayDesign)

    @property
    def operands(self) -> data.StructLayout:
        """What one step takes: words of codes and scale codes, one a row of A and one a column of B."""
        word = self.array.mac.operand_bits
        return data.StructLayout({
            "a": data.ArrayLayout(word, self.array.rows),
            "xa": data.ArrayLayout(SCALE_BITS, self.array.rows),
            "b": data.ArrayLayout(word, self.array.columns),
            "xb": data.ArrayLayout(SCALE_BITS, self.array.columns),
        })  # fmt: skip

    @property
    def outputs(self) -> data.StructLayout:
        """What one tile gives: the block's scale and the codes of its outputs, row by row."""
        codes = data.ArrayLayout(CODE_BITS, self.array.rows * self.array.columns)
        return data.StructLayout({"scale": SCALE_BITS, "code": codes})


class Tiles(Component):
    """Streams of operands through the array and its requantiser; cycles as `TileControl` documents.

    Ports:
        start, steps, tiles: begin so many tiles of so many steps; see `TileControl`.
        mode, out_mode: of operands and outputs; must hold while `busy`.
        busy: from the cycle after a start until the last output is taken.
        operands: steps, in the order of k and tile after tile.
        take, last: operands are taken in this cycle; with `take`, they are a tile's last.
        out: one block a tile.
    """

    def __init__(self, design: EngineDesign):
        self._design = design
        super().__init__({
            "start": In(1),
            "steps": In(COUNT_BITS),
            "tiles": In(COUNT_BITS),
            "mode": In(MODE_BITS),
            "out_mode": In(MODE_BITS),
            "busy": Out(1),
            "operands": In(stream.Signature(design.operands)),
            "take": Out(1),
            "last": Out(1),
            "out": Out(stream.Signature(design.outputs)),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Connect control, array and requantiser."""
        m = Module()
        array = self._design.array
        m.submodules.control = control = TileControl()
        m.submodules.array = macs = MacArray(array)
        m.submodules.requantise = requantise = Requantise(array.mac, array.rows * array.columns)
        given = self.operands.payload
        m.d.comb += [
            control.start.eq(self.start),
            control.steps.eq(self.steps),
            control.tiles.eq(self.tiles),
            self.busy.eq(control.busy),
            control.operands_valid.eq(self.operands.valid),
            self.operands.ready.eq(control.operands_ready),
            self.take.eq(control.take),
            self.last.eq(control.last),
            macs.valid.eq(control.take),
            macs.first.eq(control.first),
            macs.last.eq(control.last),
            macs.mode.eq(self.mode),
            requantise.mode.eq(self.out_mode),
            control.out_ready.eq(self.out.ready),
            self.out.valid.eq(control.out_valid),
        ]
        for row in range(array.rows):
            m.d.comb += [macs.a[row].eq(given.a[row]), macs.xa[row].eq(given.xa[row])]
        for column in range(array.columns):
            m.d.comb += [macs.b[column].eq(given.b[column]), macs.xb[column].eq(given.xb[column])]

        held = Signal(self._design.outputs)
        m.d.comb += self.out.payload.eq(held)
        for place in range(array.rows * array.columns):
            m.d.comb += requantise.value[place].eq(macs.acc[place])
        with m.If(control.summed):
            m.d.sync += held.scale.eq(requantise.scale)
            m.d.sync += [held.code[i].eq(requantise.code[i]) for i in range(array.rows * array.columns)]
        return m


class TileEngine(Component):
    """`Tiles` set up through registers.

    Ports:
        csr_write, csr_address, csr_data: write a register while not `busy`: PRECISION (mode of the operands in the low
            three bits, of the outputs in the next), ACCUMULATION_COUNT (steps a tile), OUTPUT_COUNT (tiles), START
            (any data).
        busy: from the cycle after a START until the last output is taken; registers hold.
        operands: steps, in the order of k and tile after tile.
        out: one block a tile.
    """

    def __init__(self, design: EngineDesign):
        self._design = design
        super().__init__({
            "csr_write": In(1),
            "csr_address": In(2),
            "csr_data": In(COUNT_BITS),
            "busy": Out(1),
            "operands": In(stream.Signature(design.operands)),
            "out": Out(stream.Signature(design.outputs)),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Connect registers and tiles."""
        m = Module()
        m.submodules.tiles = tiles = Tiles(self._design)
        connect(m, flipped(self.operands), tiles.operands)
        connect(m, flipped(self.out), tiles.out)
        m.d.comb += self.busy.eq(tiles.busy)
        write = self.csr_write & ~self.busy
        with m.If(write), m.Switch(self.csr_address):
            with m.Case(PRECISION):
                m.d.sync += Cat(tiles.mode, tiles.out_mode).eq(self.csr_data)
            with m.Case(ACCUMULATION_COUNT):
                m.d.sync += tiles.steps.eq(self.csr_data)
            with m.Case(OUTPUT_COUNT):
                m.d.sync += tiles.tiles.eq(self.csr_data)
        m.d.comb += tiles.start.eq(write & (self.csr_address == START))
        return m
