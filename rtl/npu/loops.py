"""Addresses of nested loops, one after another."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out, Signature

from hw.scratchpad import COUNT_BITS


class LoopSettings(Signature):
    """What a streamer is set to; see `hw.scratchpad.Loops`.

    Members, as the one who sets them sees them:
        base: address of the first step.
        channel_stride: between the addresses of neighbouring channels.
        bound: rounds of each loop, innermost first; 0 is 65536.
        stride: what a round of each adds, modulo the address range.
    """

    def __init__(self, address_bits: int, loops: int):
        super().__init__({
            "base": Out(address_bits),
            "channel_stride": Out(address_bits),
            "bound": Out(COUNT_BITS).array(loops),
            "stride": Out(address_bits).array(loops),
        })  # fmt: skip


class AddressLoops(Component):
    """Walks as `hw.scratchpad.Loops` says: the innermost loop is loop 0.

    Throughput: an address a cycle. Latency: the first is there in the cycle after `start`. No multiplier: each loop
    keeps the address at which its present round started, so that one adder serves all of them.

    Ports:
        start: take the settings, and begin; also in the middle of a walk.
        settings: see `LoopSettings`; each channel's address is `channel_stride` above that of the one before.
        valid: there is an address; it stays until `next`.
        address: it, of each channel.
        next: with `valid`, go on.
    """

    def __init__(self, address_bits: int, loops: int, channels: int):
        self._address_bits, self._loops, self._channels = address_bits, loops, channels
        super().__init__({
            "start": In(1),
            "settings": In(LoopSettings(address_bits, loops)),
            "valid": Out(1),
            "address": Out(address_bits).array(channels),
            "next": In(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build a counter, a bound, a stride and a starting address a loop."""
        m = Module()
        loops = range(self._loops)
        bound, count = ([Signal(COUNT_BITS, name=f"{name}_{i}") for i in loops] for name in ("rounds", "count"))
        stride, origin = ([Signal(self._address_bits, name=f"{name}_{i}") for i in loops] for name in ("add", "origin"))
        ended = [Signal(name=f"ended_{i}") for i in loops]  # this loop and all inside it are in their last round
        for i in loops:
            inside = ended[i - 1] if i else 1
            m.d.comb += ended[i].eq(inside & (count[i] == (bound[i] - 1)[:COUNT_BITS]))
        moved, step = origin[-1], stride[-1]  # of the innermost loop that goes on
        for i in reversed(loops[:-1]):
            moved, step = Mux(ended[i], moved, origin[i]), Mux(ended[i], step, stride[i])
        new = Signal(self._address_bits)
        m.d.comb += new.eq(moved + step)
        apart = Signal(self._address_bits)
        address = origin[0]
        for i in range(self._channels):
            m.d.comb += self.address[i].eq(address)
            address = self.address[i] + apart
        with m.If(self.next & self.valid):
            m.d.sync += self.valid.eq(~ended[-1])
            for i in loops:
                inside = ended[i - 1] if i else 1
                with m.If(inside):  # it goes on, or starts anew where a loop around it has got to
                    m.d.sync += [count[i].eq(Mux(ended[i], 0, count[i] + 1)), origin[i].eq(new)]
        with m.If(self.start):
            given = self.settings
            m.d.sync += [self.valid.eq(1), apart.eq(given.channel_stride)]
            for i in loops:
                m.d.sync += [bound[i].eq(given.bound[i]), stride[i].eq(given.stride[i]),
                             count[i].eq(0), origin[i].eq(given.base)]  # fmt: skip
        return m
