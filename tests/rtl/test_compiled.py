import numpy as np
import pytest
from amaranth.hdl import Module, signed
from amaranth.lib.wiring import Component, In, Out

from rtl import emit
from rtl.compiled import CompiledRtl

pytestmark = pytest.mark.usefixtures("compiled_rtl")


class Adder(Component):
    left_term: In(16)
    right: In(signed(8))
    total: Out(signed(18))

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.total.eq(self.left_term + self.right)
        return m


class Wide(Component):
    a: In(33)
    y: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.y.eq(self.a.xor())
        return m


def test_equals_numpy() -> None:
    add = CompiledRtl(Adder(), "adder")
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, 1 << 16, 1000, dtype=np.uint32), rng.integers(0, 256, 1000, dtype=np.uint32)
    expected = (left.astype(np.int64) + right.astype(np.uint8).view(np.int8)) & 0x3FFFF
    np.testing.assert_array_equal(add(left_term=left, right=right)["total"], expected)


def test_second_build_comes_from_the_cache() -> None:
    first, second = CompiledRtl(Adder(), "adder").folder, CompiledRtl(Adder(), "adder").folder
    assert first == second


def test_wrong_inputs_are_named() -> None:
    add = CompiledRtl(Adder(), "adder")
    with pytest.raises(ValueError, match=r"got \['left_term'\], must be \['left_term', 'right'\]"):
        add(left_term=np.zeros(1, np.uint32))
    with pytest.raises(ValueError, match="of one length"):
        add(left_term=np.zeros(1, np.uint32), right=np.zeros(2, np.uint32))


def test_wide_ports_are_refused() -> None:
    wide = Wide()
    with pytest.raises(ValueError, match=r"wide\.a: 33 is wider than the 32 bits"):
        CompiledRtl(wide, "wide")
    assert "input [32:0] a" in emit.verilog(wide, "wide")
