import numpy as np
import pytest
from amaranth.hdl import Module, signed
from amaranth.lib.wiring import Component, In, Out

from rtl import emit
from rtl.compiled import ClockedRtl, CompiledRtl

pytestmark = pytest.mark.usefixtures("compiled_rtl")


class Adder(Component):
    left_term: In(16)
    right: In(signed(8))
    total: Out(signed(18))

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.total.eq(self.left_term + self.right)
        return m


class Delays(Component):
    """Ports of both widths, as plain ports and as an array; a count of the cycles since reset."""

    word: In(40).array(2)
    later: Out(40).array(2)
    count: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += [self.later[i].eq(self.word[i]) for i in range(2)]
        m.d.sync += self.count.eq(self.count + 1)
        return m


class Wide(Component):
    a: In(80)
    b: In(1)
    y: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.y.eq(self.a.xor() ^ self.b)
        return m


class WideOutput(Component):
    y: Out(65)

    def elaborate(self, platform):
        return Module()


def test_equals_numpy() -> None:
    add = CompiledRtl(Adder(), "adder")
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, 1 << 16, 1000, dtype=np.uint32), rng.integers(0, 256, 1000, dtype=np.uint32)
    expected = (left.astype(np.int64) + right.astype(np.uint8).view(np.int8)) & 0x3FFFF
    np.testing.assert_array_equal(add(left_term=left, right=right)["total"], expected)


def test_a_clocked_component_runs_cycle_by_cycle() -> None:
    delays = ClockedRtl(Delays(), "delays")
    words = np.random.default_rng(1).integers(0, 1 << 40, (2, 300), dtype=np.uint64)
    reset = np.zeros(300, np.uint32)
    reset[100] = 1
    for _ in range(2):  # each call starts anew
        got = delays(word__0=words[0], word__1=words[1], rst=reset)
        for i in range(2):
            assert got[f"later__{i}"].dtype == np.uint64
            np.testing.assert_array_equal(got[f"later__{i}"][1:], np.where(reset[:-1], 0, words[i][:-1]))
        cycles = np.arange(300)
        np.testing.assert_array_equal(got["count"], np.where(cycles > 100, cycles - 101, cycles) & 0xFF)


def test_second_build_comes_from_the_cache() -> None:
    first, second = CompiledRtl(Adder(), "adder").folder, CompiledRtl(Adder(), "adder").folder
    assert first == second


def test_wrong_inputs_are_named() -> None:
    add = CompiledRtl(Adder(), "adder")
    with pytest.raises(ValueError, match=r"got \['left_term'\], must be \['left_term', 'right'\]"):
        add(left_term=np.zeros(1, np.uint32))
    with pytest.raises(ValueError, match="of one length"):
        add(left_term=np.zeros(1, np.uint32), right=np.zeros(2, np.uint32))


def test_a_wide_input_takes_words() -> None:
    parity = CompiledRtl(Wide(), "wide")
    words = np.random.default_rng(2).integers(0, 1 << 32, (500, 3), dtype=np.uint32)
    words[:, 2] &= 0xFFFF
    b = words[:, 0] >> 31
    expected = (np.bitwise_count(words).sum(axis=1) + b) & 1
    np.testing.assert_array_equal(parity(a=words, b=b)["y"], expected)
    with pytest.raises(ValueError, match=r"one-dimensional but \{'a': 3\} words a row"):
        parity(a=words[:, :2], b=b)


def test_wide_outputs_are_refused() -> None:
    wide = WideOutput()
    with pytest.raises(ValueError, match=r"wide\.y: 65 bits, an array element has 64"):
        CompiledRtl(wide, "wide")
    assert "output [64:0] y" in emit.verilog(wide, "wide")
