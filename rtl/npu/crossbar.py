"""Between everyone and every bank: an arbiter for each bank, and a way back for each reader."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false

from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.scratchpad import BYTE, ScratchpadSpec
from rtl.npu.ports import BankPort, LinePort, ReadPort, WritePort


class BankArbiter(Component):
    """Chooses whom a bank serves: the DMA, then `write` in order, then `read` in order; combinational.

    Ports:
        dma, write, read: all that ask for a word of any bank; their `ready` says whether this bank serves them.
        bank: it.
    """

    def __init__(self, spec: ScratchpadSpec, number: int, writers: int, readers: int):
        self._spec, self._number, self._writers, self._readers = spec, number, writers, readers
        super().__init__({
            "dma": In(LinePort(spec)),
            "write": In(WritePort(spec)).array(writers),
            "read": In(ReadPort(spec)).array(readers),
            "bank": Out(BankPort(spec)),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build a chain of who is first, and the choice."""
        m = Module()
        spec, bank = self._spec, self.bank
        bank_bits = (spec.banks - 1).bit_length()
        line_bits = (spec.banks // spec.line_words - 1).bit_length()
        line, place = divmod(self._number, spec.line_words)
        asking: list[Any] = [
            *(self.write[i] for i in range(self._writers)),
            *(self.read[i] for i in range(self._readers)),
        ]
        by_dma = Signal()
        m.d.comb += by_dma.eq(self.dma.valid & (self.dma.address[:line_bits] == line))
        taken: Value = by_dma
        for index, port in enumerate(asking):
            wanted = Signal(name=f"wanted_{index}")
            m.d.comb += [
                wanted.eq(port.valid & (port.address[:bank_bits] == self._number)),
                port.ready.eq(wanted & ~taken),
            ]
            taken = taken | wanted
        writes = [self.write[i] for i in range(self._writers)]
        rows = [(port.ready, port.address[bank_bits:]) for port in asking]
        data = [
            (by_dma, self.dma.data.word_select(place, spec.word_bits)),
            *((port.ready, port.data) for port in writes),
        ]
        every_byte = (1 << spec.word_bits // BYTE) - 1
        m.d.comb += [
            bank.address.eq(_chosen([(by_dma, self.dma.address[line_bits:]), *rows])),
            bank.data.eq(_chosen(data)),
            bank.write.eq(
                _chosen([(by_dma & self.dma.write, every_byte), *((port.ready, port.bytes) for port in writes)])
            ),
            bank.read.eq((by_dma & ~self.dma.write) | Cat(self.read[i].ready for i in range(self._readers)).any()),
        ]
        return m


class WayBack(Component):
    """Brings a word that was read to its reader, in the cycle after it was granted.

    Ports:
        address: asked for; its bank is remembered for a cycle.
        words: of every bank.
        data: the remembered bank's.
    """

    def __init__(self, banks: int, word_bits: int):
        self._banks = banks
        super().__init__({
            "address": In(range(banks)),
            "words": In(word_bits).array(banks),
            "data": Out(word_bits),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build a selection by a register."""
        m = Module()
        came_from = Signal(range(self._banks))
        m.d.sync += came_from.eq(self.address)
        m.d.comb += self.data.eq(Array(self.words[i] for i in range(self._banks))[came_from])
        return m


class Crossbar(Component):
    """Connects everyone with every bank; throughput and latency as of `Scratchpad`, whose banks it is given.

    Ports:
        dma: see `LinePort`.
        write, read: see `WritePort` and `ReadPort`.
        bank: see `BankPort`.
    """

    def __init__(self, spec: ScratchpadSpec, writers: int, readers: int):
        self._spec, self._writers, self._readers = spec, writers, readers
        super().__init__({
            "dma": In(LinePort(spec)),
            "write": In(WritePort(spec)).array(writers),
            "read": In(ReadPort(spec)).array(readers),
            "bank": Out(BankPort(spec)).array(spec.banks),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build an arbiter for each bank, and the ways back."""
        m = Module()
        spec = self._spec
        asking = [("write", i) for i in range(self._writers)] + [("read", i) for i in range(self._readers)]
        ready: dict[tuple[str, int], list[Value]] = {port: [] for port in asking}
        for number in range(spec.banks):
            arbiter = BankArbiter(spec, number, self._writers, self._readers)
            m.submodules[f"arbiter_{number}"] = arbiter
            connect(m, arbiter.bank, flipped(self.bank[number]))
            m.d.comb += [
                getattr(arbiter.dma, part).eq(getattr(self.dma, part)) for part in ("valid", "write", "address", "data")
            ]
            for kind, i in asking:
                port, mine = getattr(self, kind)[i], getattr(arbiter, kind)[i]
                parts = ("valid", "address", "data", "bytes") if kind == "write" else ("valid", "address")
                m.d.comb += [getattr(mine, part).eq(getattr(port, part)) for part in parts]
                ready[kind, i].append(mine.ready)
        for (kind, i), grants in ready.items():
            m.d.comb += getattr(self, kind)[i].ready.eq(Cat(grants).any())
        words = [self.bank[i].read_data for i in range(spec.banks)]
        for i in range(self._readers):
            m.submodules[f"back_{i}"] = back = WayBack(spec.banks, spec.word_bits)
            m.d.comb += [back.address.eq(self.read[i].address), self.read[i].data.eq(back.data)]
            m.d.comb += [back.words[bank].eq(word) for bank, word in enumerate(words)]
        lines = [Cat(words[at : at + spec.line_words]) for at in range(0, spec.banks, spec.line_words)]
        line = Signal(range(len(lines)))
        m.d.sync += line.eq(self.dma.address)
        m.d.comb += self.dma.read_data.eq(Array(lines)[line])
        return m


def _chosen(choices: list[tuple[Value, Any]]) -> Value:
    """The value whose condition holds, of conditions that exclude each other; 0 if none does."""
    return reduce(or_, (Mux(condition, value, 0) for condition, value in choices))
