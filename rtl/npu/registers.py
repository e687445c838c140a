"""What the control core writes, and when it counts."""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false

from collections.abc import Iterator

from amaranth.hdl import Cat, Module
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from hw.npu_step import STREAMS, Step
from hw.scratchpad import COUNT_BITS
from rtl.engine.tile_engine import ACCUMULATION_COUNT, OUTPUT_COUNT, PRECISION, START
from rtl.mac.operands import MODE_BITS
from rtl.npu.design import NpuDesign
from rtl.npu.loops import LoopSettings
from rtl.npu.ports import address_bits, byte_address_bits

SCALING = {"xa": 4, "xb": 5}  # steps a scale serves in the low 16 bits, then whether rows share it
FIRST_STREAM, STREAM_SPAN = 16, 16  # of registers: base, channel stride, then a bound and a stride a loop
BASE, CHANNEL_STRIDE, FIRST_LOOP = 0, 1, 2
ADDRESS_BITS, DATA_BITS = 7, 32


class Registers(Component):
    """Registers that may be written at any time, and a START that waits until nothing is going on.

    So the next step is set up while this one runs; its settings are taken in the cycle in which START is.

    Ports:
        csr: address and data of a write; `ready` always but for START while `busy`.
        busy: from outside.
        start: high for the cycle in which START is taken.
        mode, out_mode, steps, tiles: of the engine.
        scale_steps, shared: of the scales of A and of B.
        a, xa, b, xb, out, xout: of the streams.
    """

    def __init__(self, design: NpuDesign):
        self._design = design
        words, in_bytes = address_bits(design.scratchpad), byte_address_bits(design.scratchpad)
        super().__init__({
            "csr": In(stream.Signature(data.StructLayout({"address": ADDRESS_BITS, "data": DATA_BITS}))),
            "busy": In(1),
            "start": Out(1),
            "mode": Out(MODE_BITS),
            "out_mode": Out(MODE_BITS),
            "steps": Out(COUNT_BITS),
            "tiles": Out(COUNT_BITS),
            "scale_steps": Out(COUNT_BITS).array(len(SCALING)),
            "shared": Out(1).array(len(SCALING)),
            **{name: Out(LoopSettings(in_bytes if name == "xout" else words, design.loops)) for name in STREAMS},
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build the registers."""
        m = Module()
        address, given = self.csr.payload.address, self.csr.payload.data
        wanted = self.csr.valid & (address == START)
        m.d.comb += [self.csr.ready.eq(~((address == START) & self.busy)), self.start.eq(wanted & ~self.busy)]
        with m.If(self.csr.valid), m.Switch(address):
            with m.Case(PRECISION):
                m.d.sync += Cat(self.mode, self.out_mode).eq(given)
            with m.Case(ACCUMULATION_COUNT):
                m.d.sync += self.steps.eq(given)
            with m.Case(OUTPUT_COUNT):
                m.d.sync += self.tiles.eq(given)
            for number, place in enumerate(SCALING.values()):
                with m.Case(place):
                    m.d.sync += Cat(self.scale_steps[number], self.shared[number]).eq(given)
            for number, name in enumerate(STREAMS):
                settings, first = getattr(self, name), FIRST_STREAM + number * STREAM_SPAN
                with m.Case(first + BASE):
                    m.d.sync += settings.base.eq(given)
                with m.Case(first + CHANNEL_STRIDE):
                    m.d.sync += settings.channel_stride.eq(given)
                for loop in range(self._design.loops):
                    with m.Case(first + FIRST_LOOP + 2 * loop):
                        m.d.sync += settings.bound[loop].eq(given)
                    with m.Case(first + FIRST_LOOP + 2 * loop + 1):
                        m.d.sync += settings.stride[loop].eq(given)
        return m


def writes(design: NpuDesign, step: Step, mode: int, out_mode: int) -> Iterator[tuple[int, int]]:
    """Addresses and data that set up a step; START is not among them.

    Raises:
        ValueError: a step that `Step.check` refuses, channels of another mode, or more loops than there are.
    """
    step.check(design.scratchpad)
    channels = design.used_channels(mode, out_mode)
    mask = (1 << DATA_BITS) - 1
    yield PRECISION, mode | out_mode << MODE_BITS
    yield ACCUMULATION_COUNT, step.steps
    yield OUTPUT_COUNT, step.tiles
    for name, place in SCALING.items():
        yield place, step.scaling[name].steps | step.scaling[name].shared << COUNT_BITS
        channels[name] = 1 if step.scaling[name].shared else channels[name]
    for number, name in enumerate(STREAMS):
        loops, first = step.loops[name], FIRST_STREAM + number * STREAM_SPAN
        if step.channels[name] != channels[name]:
            raise ValueError(f"Step.channels[{name!r}]: got {step.channels[name]}, the mode has {channels[name]}")
        if len(loops.bounds) > design.loops:
            raise ValueError(f"Step.loops[{name!r}]: got {len(loops.bounds)} loops, the streamer has {design.loops}")
        yield first + BASE, loops.base
        yield first + CHANNEL_STRIDE, loops.channel_stride & mask
        more = design.loops - len(loops.bounds)
        for loop, (bound, stride) in enumerate(
            zip(loops.bounds + (1,) * more, loops.strides + (0,) * more, strict=True)
        ):
            yield first + FIRST_LOOP + 2 * loop, bound
            yield first + FIRST_LOOP + 2 * loop + 1, stride & mask
