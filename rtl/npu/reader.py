"""A streamer towards the array: nested loops, as many words side by side as it has channels, a queue for each."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportOperatorIssue=false

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.scratchpad import ScratchpadSpec
from rtl.npu.loops import AddressLoops, LoopSettings
from rtl.npu.ports import ReadPort, address_bits
from rtl.npu.queue import WordQueue


class Reader(Component):
    """Fetches ahead while its queues have room.

    An address stays until all its channels have been granted, each when its bank is free; then the next has its turn.
    Throughput: a step a cycle with queues of three words or more. Latency: the first step is valid in the third cycle
    after `start`.

    Ports:
        start: begin, and forget what was fetched before; the settings are taken then.
        settings: see `LoopSettings`.
        channels: how many are in use, at least one.
        memory: one port a channel.
        valid: every channel in use has a word.
        words: they; the others' are 0.
        take: with `valid`, go on to the next.
    """

    def __init__(self, spec: ScratchpadSpec, channels: int, loops: int, prefetch: int):
        self._spec, self._channels, self._loops, self._prefetch = spec, channels, loops, prefetch
        super().__init__({
            "start": In(1),
            "settings": In(LoopSettings(address_bits(spec), loops)),
            "channels": In(range(channels + 1)),
            "memory": Out(ReadPort(spec)).array(channels),
            "valid": Out(1),
            "words": Out(spec.word_bits).array(channels),
            "take": In(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the loops, the queues, and what is still to be granted of the present address."""
        m = Module()
        m.submodules.loops = loops = AddressLoops(address_bits(self._spec), self._loops, self._channels)
        connect(m, flipped(self.settings), loops.settings)
        used, granted, done = (Signal(self._channels, name=name) for name in ("used", "granted", "done"))
        has_word = Signal(self._channels)
        m.d.comb += [
            loops.start.eq(self.start),
            loops.next.eq((done | granted | ~used).all()),
            self.valid.eq((has_word | ~used).all() & used.any()),
        ]
        for i in range(self._channels):
            m.submodules[f"queue_{i}"] = queue = WordQueue(self._spec.word_bits, self._prefetch)
            port, coming = self.memory[i], Signal(name=f"coming_{i}")
            m.d.comb += [
                port.valid.eq(loops.valid & used[i] & ~done[i] & (queue.level + coming < self._prefetch)),
                port.address.eq(loops.address[i]),
                granted[i].eq(port.valid & port.ready),
                has_word[i].eq(queue.level.any()),
                queue.clear.eq(self.start),
                queue.put.eq(coming),
                queue.word.eq(port.data),
                queue.take.eq(self.valid & self.take & used[i]),
            ]
            with m.If(used[i]):
                m.d.comb += self.words[i].eq(queue.head)
            m.d.sync += coming.eq(granted[i] & ~self.start)
        m.d.sync += done.eq((done | granted) & ~loops.next.replicate(self._channels))
        with m.If(self.start):
            m.d.sync += [done.eq(0), used.eq(_first(self.channels))]
        return m


def _first(count: Signal) -> Cat:
    """A mask of so many ones, lowest first."""
    return Cat(count > i for i in range((1 << len(count)) - 1))
