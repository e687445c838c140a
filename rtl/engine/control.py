"""Steps and tiles of the tile engine, and its two handshakes."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportInvalidTypeForm=false

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import Component, In, Out

COUNT_BITS = 16


class TileControl(Component):
    """Takes `steps` operands for each of `tiles` tiles and offers one output a tile.

    A tile's last operands are taken only if its outputs will find their register free, which takes a cycle to be known
    of the tile before. So a tile of n steps takes max(n, 2) cycles while operands are there and outputs are taken, and
    outputs are offered two cycles after the last operands. Whatever is offered stays until it is taken. Reset forgets
    everything in flight.

    Ports:
        start: begin `tiles` tiles of `steps` steps; not legal, and ignored, while `busy` or if either is zero.
        operands_valid, operands_ready: handshake of operands; `ready` does not depend on `valid`.
        take, first, last: operands are taken in this cycle; they are a tile's first; its last.
        summed: the array holds the outputs of a tile that ended a cycle ago; its output register must take them.
        out_valid, out_ready: handshake of outputs.
        busy: from the cycle after `start` until the last output is taken.
    """

    start: In(1)
    steps: In(COUNT_BITS)
    tiles: In(COUNT_BITS)
    operands_valid: In(1)
    operands_ready: Out(1)
    take: Out(1)
    first: Out(1)
    last: Out(1)
    summed: Out(1)
    out_valid: Out(1)
    out_ready: In(1)
    busy: Out(1)

    def elaborate(self, platform: object) -> Module:
        """Build the counters and the two flags of what is in flight."""
        m = Module()
        step = Signal(COUNT_BITS)
        per_tile = Signal(COUNT_BITS)
        tiles_left = Signal(COUNT_BITS)
        blocked = Signal()
        m.d.comb += [
            blocked.eq((self.out_valid & ~self.out_ready) | self.summed),
            self.first.eq(step == 0),
            self.last.eq(step == per_tile - 1),
            self.operands_ready.eq(tiles_left.any() & ~(self.last & blocked)),
            self.take.eq(self.operands_valid & self.operands_ready),
            self.busy.eq(tiles_left.any() | self.summed | self.out_valid),
        ]
        m.d.sync += [self.summed.eq(self.take & self.last), self.out_valid.eq(blocked)]
        with m.If(self.take):
            m.d.sync += step.eq(step + 1)
            with m.If(self.last):
                m.d.sync += [step.eq(0), tiles_left.eq(tiles_left - 1)]
        with m.If(self.start & ~self.busy & self.steps.any()):
            m.d.sync += [per_tile.eq(self.steps), tiles_left.eq(self.tiles), step.eq(0)]
        return m
