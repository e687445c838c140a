"""Banks behind a crossbar."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false

from amaranth.hdl import Module
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, connect, flipped

from hw.scratchpad import BYTE, ScratchpadSpec
from rtl.emit import SRAM
from rtl.npu.crossbar import Crossbar
from rtl.npu.ports import LinePort, ReadPort, WritePort


class Scratchpad(Component):
    """`banks` memories with one port each; consecutive words in consecutive banks.

    In a cycle a bank serves one of those that ask for it: the DMA, then `write` in order, then `read` in order. All
    others wait. Throughput: a word a bank and cycle, a line of the DMA every cycle. Latency 1: read data comes in the
    cycle after the grant. A bank has a read and a write port, of which at most one is enabled in a cycle, so that a
    single-ported macro can stand for it.

    Ports:
        dma: see `LinePort`.
        write, read: see `WritePort` and `ReadPort`.
    """

    def __init__(self, spec: ScratchpadSpec, writers: int, readers: int):
        self._spec, self._writers, self._readers = spec, writers, readers
        super().__init__({
            "dma": In(LinePort(spec)),
            "write": In(WritePort(spec)).array(writers),
            "read": In(ReadPort(spec)).array(readers),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Connect the banks."""
        m = Module()
        spec = self._spec
        m.submodules.crossbar = crossbar = Crossbar(spec, self._writers, self._readers)
        connect(m, flipped(self.dma), crossbar.dma)
        for i in range(self._writers):
            connect(m, flipped(self.write[i]), crossbar.write[i])
        for i in range(self._readers):
            connect(m, flipped(self.read[i]), crossbar.read[i])
        for number in range(spec.banks):
            bank = Memory(shape=spec.word_bits, depth=spec.depth, init=[], attrs={SRAM: "1"})
            m.submodules[f"bank_{number}"] = bank
            writer, reader, port = bank.write_port(granularity=BYTE), bank.read_port(), crossbar.bank[number]
            m.d.comb += [
                reader.addr.eq(port.address),
                reader.en.eq(port.read),
                port.read_data.eq(reader.data),
                writer.addr.eq(port.address),
                writer.data.eq(port.data),
                writer.en.eq(port.write),
            ]
        return m
