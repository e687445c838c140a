"""A few words between the scratchpad and the array."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out


class WordQueue(Component):
    """First in, first out, in registers.

    Throughput: a word in and a word out a cycle. Latency 1: a word is at the head in the cycle after it came. Whoever
    puts must know that there is room, and whoever takes that there is a word; `rtl.prove.streams` proves they do.

    Ports:
        clear: forget all words, one that is put in the same cycle included.
        put, word: add a word; there must be room.
        take: remove the head; there must be one.
        head: the oldest word; does not change while it is not taken.
        level: how many there are.
    """

    def __init__(self, bits: int, depth: int):
        self._bits, self._depth = bits, depth
        super().__init__({
            "clear": In(1),
            "put": In(1),
            "word": In(bits),
            "take": In(1),
            "head": Out(bits),
            "level": Out(range(depth + 1)),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build a ring of registers."""
        m = Module()
        words = Array(Signal(self._bits, name=f"word_{i}", reset_less=True) for i in range(self._depth))
        first = Signal(range(self._depth))
        free = Signal(range(self._depth))

        def after(place: Signal) -> Mux:
            return Mux(place == self._depth - 1, 0, place + 1)

        m.d.comb += self.head.eq(words[first])
        m.d.sync += self.level.eq(self.level + self.put - self.take)
        with m.If(self.put):
            m.d.sync += [words[free].eq(self.word), free.eq(after(free))]
        with m.If(self.take):
            m.d.sync += first.eq(after(first))
        with m.If(self.clear):
            m.d.sync += [self.level.eq(0), first.eq(0), free.eq(0)]
        return m
