"""Scales for the array: each is held for as many steps as it serves."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from hw.scratchpad import BYTE, COUNT_BITS


class ScaleHold(Component):
    """Chooses the scales of every row out of the words at the head of a reader, and says when they are used up.

    Throughput: a step a cycle. Combinational from `words` to `scale`.

    Ports:
        start: begin a new word; the settings are taken then.
        steps: that one scale serves; 0 is 65536.
        shared: a byte of word 0 is the scale of all rows, and its bytes serve one after another; otherwise byte i of
            the words is the scale of row i.
        words: at the head of the reader.
        take, last: the array takes a step; it is a tile's last, after which a new word begins.
        used_up: with `take`, the words have served.
        scale: of each row.
    """

    def __init__(self, rows: int, word_bits: int):
        self._rows, self._word_bits = rows, word_bits
        self.channels = -(-rows * BYTE // word_bits)
        super().__init__({
            "start": In(1),
            "steps": In(COUNT_BITS),
            "shared": In(1),
            "words": In(word_bits).array(self.channels),
            "take": In(1),
            "last": In(1),
            "used_up": Out(1),
            "scale": Out(BYTE).array(rows),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the count of steps and the place in a word."""
        m = Module()
        places = self._word_bits // BYTE
        steps = Signal(COUNT_BITS)
        shared = Signal()
        used = Signal(COUNT_BITS)
        place = Signal(range(places))
        served = Signal()
        m.d.comb += [
            served.eq(self.last | (used == (steps - 1)[:COUNT_BITS])),
            self.used_up.eq(served & (self.last | ~shared | (place == places - 1))),
        ]
        with m.If(self.take):
            m.d.sync += [used.eq(Mux(served, 0, used + 1)), place.eq(Mux(self.used_up, 0, place + (served & shared)))]
        with m.If(self.start):
            m.d.sync += [steps.eq(self.steps), shared.eq(self.shared), used.eq(0), place.eq(0)]
        every = Cat(self.words[i] for i in range(self.channels))
        for row in range(self._rows):
            m.d.comb += self.scale[row].eq(
                Mux(shared, self.words[0].word_select(place, BYTE), every[BYTE * row : BYTE * (row + 1)])
            )
        return m
