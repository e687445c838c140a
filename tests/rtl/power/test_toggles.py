# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportInvalidTypeForm=false

import numpy as np
import pytest
from amaranth.hdl import Module, signed
from amaranth.lib.wiring import Component, In, Out

from rtl.power.mapped import GATES, Mapped, map_to_gates
from rtl.power.toggles import SAMPLES, count_toggles
from rtl.tools import ToolError


class Arithmetic(Component):
    """Enough operators that Yosys uses every kind of gate it has."""

    a: In(6)
    b: In(6)
    product: Out(12)
    larger: Out(6)
    shifted: Out(signed(7))

    def elaborate(self, platform):
        from amaranth.hdl import Mux

        m = Module()
        m.d.comb += [
            self.product.eq(self.a * self.b),
            self.larger.eq(Mux(self.a > self.b, self.a, self.b)),
            self.shifted.eq((self.a - self.b) >> self.b[:2]),
        ]
        return m


def chain(*kinds: tuple[str, tuple[int, ...]]) -> Mapped:
    """Gates by hand: nets 0 and 1 are constants, 2 is port `a`, gates follow."""
    inputs = np.zeros((len(kinds), 4), np.int32)
    for row, (_, nets) in enumerate(kinds):
        inputs[row, : len(nets)] = nets
    count = 3 + len(kinds)
    return Mapped(
        kind=np.array([GATES[name].code for name, _ in kinds], np.uint8),
        inputs=inputs,
        transistors=np.array([GATES[name].transistors for name, _ in kinds], np.int32),
        in_ports={"a": np.array([2])},
        out_ports={"y": np.array([count - 1])},
        nets=count,
        pairs=np.zeros(count, np.int32),
        fanout=np.zeros(count, np.int32),
    )


@pytest.mark.parametrize("glitches", [False, True])
def test_the_mapped_netlist_computes_what_the_component_says(glitches: bool) -> None:
    netlist = map_to_gates(Arithmetic(), "arithmetic")
    a, b = (grid.reshape(-1, SAMPLES) for grid in np.meshgrid(np.arange(64), np.arange(64), indexing="ij"))
    found = count_toggles(netlist, {"a": a, "b": b}, glitches=glitches).outputs
    np.testing.assert_array_equal(found["product"], a * b)
    np.testing.assert_array_equal(found["larger"], np.maximum(a, b))
    np.testing.assert_array_equal(found["shifted"], (a - b >> b % 4) & 127)


@pytest.mark.parametrize("kind", GATES)
def test_each_gate_is_its_truth_table(kind: str) -> None:
    rules = {
        "$_NOT_": lambda a: not a,
        "$_AND_": lambda a, b: a and b,
        "$_NAND_": lambda a, b: not (a and b),
        "$_OR_": lambda a, b: a or b,
        "$_NOR_": lambda a, b: not (a or b),
        "$_XOR_": lambda a, b: a != b,
        "$_XNOR_": lambda a, b: a == b,
        "$_MUX_": lambda a, b, s: b if s else a,
        "$_NMUX_": lambda a, b, s: not (b if s else a),
        "$_AOI3_": lambda a, b, c: not ((a and b) or c),
        "$_OAI3_": lambda a, b, c: not ((a or b) and c),
        "$_AOI4_": lambda a, b, c, d: not ((a and b) or (c and d)),
        "$_OAI4_": lambda a, b, c, d: not ((a or b) and (c or d)),
    }
    n = len(GATES[kind].inputs)
    netlist = Mapped(
        kind=np.array([GATES[kind].code], np.uint8), inputs=np.array([[*range(2, 2 + n), *[0] * (4 - n)]], np.int32),
        transistors=np.array([4], np.int32), in_ports={"a": np.arange(2, 2 + n)}, out_ports={"y": np.array([2 + n])},
        nets=3 + n, pairs=np.zeros(3 + n, np.int32), fanout=np.zeros(3 + n, np.int32),
    )  # fmt: skip
    values = np.tile(np.arange(SAMPLES) % (1 << n), (2, 1))
    found = count_toggles(netlist, {"a": values}).outputs["y"][1]
    assert found.tolist() == [int(rules[kind](*(bool(v >> i & 1) for i in range(n)))) for v in values[1].tolist()]


def test_changes_are_counted_once_a_cycle_without_delay() -> None:
    # a' = not a; y = a and a': never true once settled, true for one unit of time after a rises.
    netlist = chain(("$_NOT_", (2,)), ("$_AND_", (2, 3)))
    a = np.array([[0], [1], [0], [1], [1]]) * np.ones(SAMPLES, np.int64)
    settled = count_toggles(netlist, {"a": a})
    assert settled.sample_cycles == 4 * SAMPLES
    assert (settled.changes / SAMPLES).tolist() == [0, 0, 3, 3, 0]
    glitching = count_toggles(netlist, {"a": a}, glitches=True)
    assert (glitching.changes / SAMPLES).tolist() == [0, 0, 3, 3, 4]  # up and down, in the two cycles in which a rises


def test_samples_are_independent() -> None:
    netlist = chain(("$_NOT_", (2,)))
    a = np.zeros((3, SAMPLES), np.int64)
    a[1, 5] = 1
    toggles = count_toggles(netlist, {"a": a})
    assert toggles.changes.tolist() == [0, 0, 2, 2]
    assert toggles.outputs["y"][1].tolist() == [int(sample != 5) for sample in range(SAMPLES)]


def test_bad_values_are_named() -> None:
    netlist = chain(("$_NOT_", (2,)))
    with pytest.raises(ValueError, match=r"got {'b': \(2, 64\)}, must be \[cycles, 64\], two cycles or more, of a"):
        count_toggles(netlist, {"b": np.zeros((2, SAMPLES), np.int64)})
    with pytest.raises(ValueError, match="two cycles"):
        count_toggles(netlist, {"a": np.zeros((1, SAMPLES), np.int64)})


class Register(Component):
    a: In(1)
    y: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.y.eq(self.a)
        return m


def test_a_register_is_refused() -> None:
    with pytest.raises(ToolError, match=r"register: mapped to the cell \$_SDFF_PP0_, known are"):
        map_to_gates(Register(), "register")
