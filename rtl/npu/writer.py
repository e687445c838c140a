"""The streamer of outputs: a block's packed codes and its scale, each in its own nested loops."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.scratchpad import BYTE, ScratchpadSpec
from rtl.npu.loops import AddressLoops, LoopSettings
from rtl.npu.ports import WritePort, address_bits, byte_address_bits


class Writer(Component):
    """Holds a block until all its words are written, each when its bank is free; the last channel is the scale's.

    Throughput: a block a cycle. Latency: its words are asked for in the cycle after it was taken, and written at the
    end of that if no bank is busy. Scales lie in single bytes.

    Ports:
        start: begin both loops; the settings are taken then.
        settings: of the codes' words, see `LoopSettings`.
        scale_settings: of the scales' bytes.
        channels: words of a block.
        valid, ready: a block is there; it is taken.
        words, scale: packed codes, and the scale.
        memory: one port a word, and one for the scale.
        busy: a block is held.
    """

    def __init__(self, spec: ScratchpadSpec, channels: int, loops: int):
        self._spec, self._channels, self._loops = spec, channels, loops
        super().__init__({
            "start": In(1),
            "settings": In(LoopSettings(address_bits(spec), loops)),
            "scale_settings": In(LoopSettings(byte_address_bits(spec), loops)),
            "channels": In(range(channels + 1)),
            "valid": In(1),
            "ready": Out(1),
            "words": In(spec.word_bits).array(channels),
            "scale": In(BYTE),
            "memory": Out(WritePort(spec)).array(channels + 1),
            "busy": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build both loops, the held block, and which of its words are still to be written."""
        m = Module()
        spec, channels = self._spec, self._channels
        m.submodules.loops = loops = AddressLoops(address_bits(spec), self._loops, channels)
        m.submodules.scale_loops = scale_loops = AddressLoops(byte_address_bits(spec), self._loops, 1)
        connect(m, flipped(self.settings), loops.settings)
        connect(m, flipped(self.scale_settings), scale_loops.settings)
        used, waiting, granted = (Signal(channels + 1, name=name) for name in ("used", "waiting", "granted"))
        last = Signal()
        m.d.comb += [walk.start.eq(self.start) for walk in (loops, scale_loops)]
        m.d.comb += [walk.next.eq(last) for walk in (loops, scale_loops)]
        m.d.comb += [
            self.busy.eq(waiting.any()),
            last.eq(self.busy & ~(waiting & ~granted).any()),
            self.ready.eq(~self.busy | last),
        ]
        held = [Signal(spec.word_bits, name=f"word_{i}", reset_less=True) for i in range(channels)]
        scale = Signal(BYTE, reset_less=True)
        m.d.sync += waiting.eq(waiting & ~granted)
        with m.If(self.valid & self.ready):
            m.d.sync += [waiting.eq(used), scale.eq(self.scale), *(held[i].eq(self.words[i]) for i in range(channels))]
        with m.If(self.start):
            m.d.sync += used.eq(Cat(*(self.channels > i for i in range(channels)), 1))

        for i in range(channels + 1):
            port = self.memory[i]
            m.d.comb += [port.valid.eq(waiting[i]), granted[i].eq(port.valid & port.ready)]
            if i < channels:
                m.d.comb += [port.address.eq(loops.address[i]), port.data.eq(held[i]), port.bytes.eq(-1)]
        byte_bits = (spec.word_bits // BYTE - 1).bit_length()
        port, where = self.memory[channels], scale_loops.address[0]
        m.d.comb += [
            port.address.eq(where >> byte_bits),
            port.data.eq(scale.replicate(spec.word_bits // BYTE)),
            port.bytes.eq(1 << where[:byte_bits]),
        ]
        return m
