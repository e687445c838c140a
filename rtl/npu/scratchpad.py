"""Banks and the crossbar in front of them."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false

from functools import reduce
from operator import or_

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In

from hw.scratchpad import BYTE, ScratchpadSpec
from rtl.emit import SRAM
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
        """Build the banks, an arbiter for each, and the way back."""
        m = Module()
        spec = self._spec
        bank_bits = (spec.banks - 1).bit_length()
        asking = [*(self.write[i] for i in range(self._writers)), *(self.read[i] for i in range(self._readers))]
        ready: list[list[Value]] = [[] for _ in asking]
        read_data = []
        for number in range(spec.banks):
            bank = Memory(shape=spec.word_bits, depth=spec.depth, init=[], attrs={SRAM: "1"})
            m.submodules[f"bank_{number}"] = bank
            writer, reader = bank.write_port(granularity=BYTE), bank.read_port()
            read_data.append(reader.data)
            line, place = divmod(number, spec.line_words)
            mine = Signal(name=f"dma_{number}")
            line_bits = (spec.banks // spec.line_words - 1).bit_length()
            m.d.comb += mine.eq(self.dma.valid & (self.dma.address[:line_bits] == line))
            taken, granted = mine, []
            for index, port in enumerate(asking):
                wanted, grant = (Signal(name=f"{name}_{number}_{index}") for name in ("wanted", "grant"))
                m.d.comb += [
                    wanted.eq(port.valid & (port.address[:bank_bits] == number)),
                    grant.eq(wanted & ~taken),
                ]
                taken |= wanted
                granted.append(grant)
                ready[index].append(grant)
            rows = [(grant, port.address[bank_bits:]) for grant, port in zip(granted, asking, strict=True)]
            row = _chosen([(mine, self.dma.address[line_bits:]), *rows])
            words = [(mine, self.dma.data.word_select(place, spec.word_bits))]
            to_write = granted[: self._writers]
            words += [(grant, self.write[i].data) for i, grant in enumerate(to_write)]
            every = Mux(mine & self.dma.write, (1 << spec.word_bits // BYTE) - 1, 0)
            m.d.comb += [
                reader.addr.eq(row),
                writer.addr.eq(row),
                writer.data.eq(_chosen(words)),
                writer.en.eq(every | _chosen([(grant, self.write[i].bytes) for i, grant in enumerate(to_write)])),
                reader.en.eq((mine & ~self.dma.write) | Cat(granted[self._writers :]).any()),
            ]
        for port, grants in zip(asking, ready, strict=True):
            m.d.comb += port.ready.eq(Cat(grants).any())
        for i in range(self._readers):
            came_from = Signal(bank_bits, name=f"came_from_{i}")
            m.d.sync += came_from.eq(self.read[i].address[:bank_bits])
            m.d.comb += self.read[i].data.eq(Array(read_data)[came_from])
        self._dma_data(m, read_data)
        return m

    def _dma_data(self, m: Module, read_data: list[Value]) -> None:
        width = self._spec.line_words
        lines = [Cat(read_data[at : at + width]) for at in range(0, self._spec.banks, width)]
        line = Signal(range(len(lines)))
        m.d.sync += line.eq(self.dma.address)
        m.d.comb += self.dma.read_data.eq(Array(lines)[line])


def _chosen(choices: list[tuple[Value, Value]]) -> Value:
    """The value whose condition holds, of conditions that exclude each other; 0 if none does."""
    return reduce(or_, (Mux(condition, value, 0) for condition, value in choices))
