"""How codes lie in words: as the array takes them, step after step, without holes.

A step of an operand is `lanes` codes of each row, those of row 0 first, each as wide as its format (6 bits in FP6).
Outputs lie as the operand would of which they are a tile, its columns being along k: `lanes` columns of each row, then
the next, so that a product's outputs can be the next one's A.
"""

# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false

from amaranth.hdl import Cat, Module
from amaranth.lib.wiring import Component, In, Out

from rtl.array import ArrayDesign
from rtl.mac.design import MacDesign, lane_bits
from rtl.mac.operands import MODE_BITS
from rtl.requantise import CODE_BITS


def operand_bits(design: MacDesign, mode: int, rows: int) -> int:
    """Of a step's codes in one mode."""
    spec = design.spec(design.names[mode])
    return rows * spec.lanes * spec.element.bits


def output_place(design: ArrayDesign, mode: int, row: int, column: int) -> int:
    """Where an output's code lies among a tile's, in codes."""
    lanes = min(design.mac.spec(design.mac.names[mode]).lanes, design.columns)
    group, lane = divmod(column, lanes)
    width = min(lanes, design.columns - group * lanes)  # of the last group, where columns are no multiple
    return design.rows * group * lanes + row * width + lane


class Unpack(Component):
    """Words of a step to the array's operand words; combinational.

    Ports:
        mode: see `rtl.mac.MacStep`.
        words: of the step.
        codes: an operand word for each row.
    """

    def __init__(self, design: MacDesign, rows: int, word_bits: int, channels: int):
        self._design, self._rows, self._channels = design, rows, channels
        super().__init__({
            "mode": In(MODE_BITS),
            "words": In(word_bits).array(channels),
            "codes": Out(design.operand_bits).array(rows),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build a selection by mode."""
        m = Module()
        packed = Cat(self.words[i] for i in range(self._channels))
        with m.Switch(self.mode):
            for mode, element in enumerate(self._design.elements):
                lanes, bits, room = self._design.spec(element.name).lanes, element.bits, lane_bits(element)
                with m.Case(mode):
                    for row in range(self._rows):
                        for lane in range(lanes):
                            at = (row * lanes + lane) * bits
                            m.d.comb += self.codes[row][lane * room : lane * room + bits].eq(packed[at : at + bits])
        return m


class Pack(Component):
    """A tile's codes to words; combinational.

    Ports:
        mode: of the outputs.
        codes: right aligned, row by row.
        words: packed; what is left over of the last is 0.
    """

    def __init__(self, design: ArrayDesign, word_bits: int, channels: int):
        self._design, self._word_bits, self._channels = design, word_bits, channels
        super().__init__({
            "mode": In(MODE_BITS),
            "codes": In(CODE_BITS).array(design.rows * design.columns),
            "words": Out(word_bits).array(channels),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Build a selection by mode."""
        m = Module()
        design = self._design
        with m.Switch(self.mode):
            for mode, element in enumerate(design.mac.elements):
                outputs = [divmod(place, design.columns) for place in range(design.rows * design.columns)]
                order = sorted(outputs, key=lambda output, mode=mode: output_place(design, mode, *output))
                packed = Cat(self.codes[row * design.columns + column][: element.bits] for row, column in order)
                with m.Case(mode):
                    for i in range(self._channels):
                        m.d.comb += self.words[i].eq(packed[i * self._word_bits : (i + 1) * self._word_bits])
        return m
