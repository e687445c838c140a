import pytest
from amaranth.hdl import Module
from amaranth.lib.wiring import Component, In, Out

from rtl.mac import Mac, MacDesign, PipelinedMac, pipeline
from rtl.synthesis import area, area_of_blocks, longest_path


class Nand(Component):
    a: In(8)
    b: In(8)
    y: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.y.eq(~(self.a & self.b))
        return m


def test_a_nand_is_one_nand_equivalent() -> None:
    # Eight two-input gates; the synchronous reset is part of the eight flip-flops.
    result = area(Nand(), "nand8")
    assert result.nand2 == 8
    assert result.flip_flops == 8


@pytest.mark.parametrize(("m", "published"), [(16, 8024), (23, 10231)])
def test_the_correct_mac_is_smaller_than_the_published_one(m: int, published: int) -> None:
    # Published: KU Leuven's RTL through the same recipe, combinational gates; register = accumulator pattern.
    result = area(Mac(MacDesign(m)), "mac")
    assert result.nand2 < published
    assert result.flip_flops == 9 + m


def test_blocks_add_up() -> None:
    blocks = area_of_blocks(Mac(MacDesign()), "mac")
    parts = [size.nand2 for path, size in blocks.items() if path.count(".") == 2]
    assert len(parts) == 11
    assert sum(parts) < blocks["mac.step"].nand2 <= blocks["mac"].nand2


def test_registers_shorten_the_longest_path() -> None:
    assert longest_path(Nand(), "nand8") == 1
    plain, cut = (longest_path(PipelinedMac(MacDesign(), pipeline(registers)), "mac") for registers in (0, 4))
    assert 0 < cut < plain
