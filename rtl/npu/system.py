"""Engine, streamers, scratchpad and registers as one component."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false

from amaranth.hdl import Array, Cat, Module, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from rtl.engine.tile_engine import Tiles
from rtl.mac.operands import MODE_BITS
from rtl.npu.design import NpuDesign
from rtl.npu.layout import Pack, Unpack
from rtl.npu.ports import LinePort
from rtl.npu.reader import Reader
from rtl.npu.registers import ADDRESS_BITS, DATA_BITS, Registers
from rtl.npu.scales import ScaleHold
from rtl.npu.scratchpad import Scratchpad
from rtl.npu.writer import Writer


class Npu(Component):
    """Matrix products of MX operands in a scratchpad; cycles as `hw.npu_step` counts them.

    Ports:
        csr: writes of registers, see `Registers`.
        busy: from the cycle after a START until the last word of outputs is written.
        dma: lines of the scratchpad, see `LinePort`.
    """

    def __init__(self, design: NpuDesign):
        self._design = design
        super().__init__({
            "csr": In(stream.Signature(data.StructLayout({"address": ADDRESS_BITS, "data": DATA_BITS}))),
            "busy": Out(1),
            "dma": In(LinePort(design.scratchpad)),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Connect the parts."""
        m = Module()
        design = self._design
        m.submodules.registers = registers = Registers(design)
        m.submodules.tiles = tiles = Tiles(design.engine)
        connect(m, flipped(self.csr), registers.csr)
        mode = Signal(MODE_BITS)
        out_mode = Signal(MODE_BITS)
        m.d.comb += [
            registers.busy.eq(self.busy),
            tiles.start.eq(registers.start),
            tiles.steps.eq(registers.steps),
            tiles.tiles.eq(registers.tiles),
            tiles.mode.eq(mode),
            tiles.out_mode.eq(out_mode),
        ]
        with m.If(registers.start):
            m.d.sync += [mode.eq(registers.mode), out_mode.eq(registers.out_mode)]
        readers = {name: self._reader(m, name, registers) for name in ("a", "b", "xa", "xb")}
        valid = Cat(reader.valid for reader in readers.values()).all()
        m.d.comb += tiles.operands.valid.eq(valid)
        for number, side in enumerate(("a", "b")):
            self._codes(m, side, readers[side], mode, tiles)
            self._scales(m, number, side, readers[f"x{side}"], registers, tiles)
        writer = self._writer(m, registers, out_mode, tiles)
        m.d.comb += self.busy.eq(tiles.busy | writer.busy)

        ports = [reader.memory[i] for name, reader in readers.items() for i in range(design.most_channels(name))]
        m.submodules.scratchpad = scratchpad = Scratchpad(
            design.scratchpad, design.most_channels("out") + 1, len(ports)
        )
        connect(m, flipped(self.dma), scratchpad.dma)
        for i, port in enumerate(ports):
            connect(m, port, scratchpad.read[i])
        for i in range(design.most_channels("out") + 1):
            connect(m, writer.memory[i], scratchpad.write[i])
        return m

    def _channels(self, name: str, mode: Signal) -> Value:
        """Of a stream in a mode; a mode that is none has one."""
        modes = range(len(self._design.engine.array.mac.elements))
        return Value.cast(Array([self._design.channels(name, i) for i in modes] + [1])[mode])

    def _reader(self, m: Module, name: str, registers: Registers) -> Reader:
        design = self._design
        reader = Reader(design.scratchpad, design.most_channels(name), design.loops, design.prefetch)
        m.submodules[f"reader_{name}"] = reader
        connect(m, getattr(registers, name), reader.settings)
        m.d.comb += [reader.start.eq(registers.start), reader.channels.eq(self._channels(name, registers.mode))]
        if name in ("xa", "xb"):
            with m.If(registers.shared[("xa", "xb").index(name)]):
                m.d.comb += reader.channels.eq(1)
        return reader

    def _codes(self, m: Module, side: str, reader: Reader, mode: Signal, tiles: Tiles) -> None:
        """From a reader's words to the array's operand words."""
        design, array = self._design, self._design.engine.array
        channels, rows = design.most_channels(side), array.rows if side == "a" else array.columns
        unpack = Unpack(array.mac, rows, design.scratchpad.word_bits, channels)
        m.submodules[f"unpack_{side}"] = unpack
        m.d.comb += [unpack.mode.eq(mode), reader.take.eq(tiles.take)]
        m.d.comb += [unpack.words[i].eq(reader.words[i]) for i in range(channels)]
        m.d.comb += [tiles.operands.payload[side][row].eq(unpack.codes[row]) for row in range(rows)]

    def _scales(self, m: Module, number: int, side: str, reader: Reader, registers: Registers, tiles: Tiles) -> None:
        """From a reader's words to each row's scale."""
        array = self._design.engine.array
        rows = array.rows if side == "a" else array.columns
        m.submodules[f"scales_{side}"] = hold = ScaleHold(rows, self._design.scratchpad.word_bits)
        m.d.comb += [
            hold.start.eq(registers.start),
            hold.steps.eq(registers.scale_steps[number]),
            hold.shared.eq(registers.shared[number]),
            hold.take.eq(tiles.take),
            hold.last.eq(tiles.last),
            reader.take.eq(tiles.take & hold.used_up),
        ]
        m.d.comb += [hold.words[i].eq(reader.words[i]) for i in range(hold.channels)]
        m.d.comb += [tiles.operands.payload[f"x{side}"][row].eq(hold.scale[row]) for row in range(rows)]

    def _writer(self, m: Module, registers: Registers, out_mode: Signal, tiles: Tiles) -> Writer:
        """From the engine's blocks to words."""
        design = self._design
        channels = design.most_channels("out")
        m.submodules.writer = writer = Writer(design.scratchpad, channels, design.loops)
        m.submodules.pack = pack = Pack(design.engine.array, design.scratchpad.word_bits, channels)
        connect(m, registers.out, writer.settings)
        connect(m, registers.xout, writer.scale_settings)
        block = tiles.out.payload
        m.d.comb += [
            writer.start.eq(registers.start),
            writer.channels.eq(self._channels("out", registers.out_mode)),
            writer.valid.eq(tiles.out.valid),
            tiles.out.ready.eq(writer.ready),
            pack.mode.eq(out_mode),
            writer.scale.eq(block.scale),
        ]
        outputs = design.engine.array.rows * design.engine.array.columns
        m.d.comb += [pack.codes[i].eq(block.code[i]) for i in range(outputs)]
        m.d.comb += [writer.words[i].eq(pack.words[i]) for i in range(channels)]
        return writer
