"""Liberty's grammar, functions and energies on a library small enough to work out by hand, and on rubbish."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.technology import load_technology
from rtl.liberty_cells import load_library, technology_of
from rtl.liberty_function import gates_of
from rtl.liberty_groups import read_groups
from rtl.tools import ToolError

# 2 pF a unit; energies in 2 pF V**2 = 2000 fJ. Rows of a table are slews, columns loads of 0 and 1 unit.
LIBRARY = """
/* a comment with { and } in it */
library ("tiny") {
  nom_voltage : 2.0;
  capacitive_load_unit (2, pf);
  power_lut_template (energy) {
    variable_1 : input_transition_time; variable_2 : total_output_net_capacitance;
    index_1 ("1, 2, 3"); index_2 ("0, 1");
  }
  power_lut_template (turned) { variable_1 : total_output_net_capacitance; variable_2 : input_transition_time; }
  cell (NAND) { area : 4
    leakage_power () { value : 7; when : "A { B }"; }
    pin (A, B) { direction : input; capacitance : 0.001; }
    pin (Y) { direction : output; function : "!(A & B)";
      internal_power () { related_pin : "A";
        rise_power (energy) { values ("9, 9", \\
                                     "0.001, 0.003", "9, 9"); }
        fall_power (energy) { values ("9, 9", "0.003, 0.005", "9, 9"); } }
      internal_power () { related_pin : "B";
        power (turned) { index_1 ("0, 1"); index_2 ("1, 2, 3"); values ("9, 0.004, 9", "9, 0.006, 9"); } } } }
  cell (SMALLER) { area : 4; pin (A) { direction : input; capacitance : 0.0005; }
    pin (B) { direction : input; capacitance : 0.0005; }
    pin (Y) { direction : output; function : "(A B)'"; } }
  cell (FF) { area : 20; ff (IQ, IQN) { clocked_on : "CK"; next_state : "D"; }
    pin (CK) { direction : input; clock : true; capacitance : 0.002;
      internal_power () { rise_power (scalar) { values ("0.001"); } fall_power (scalar) { values ("0.003"); } } }
    pin (D) { direction : input; capacitance : 0.001; }
    pin (Q) { direction : output; function : "IQ"; internal_power () { power (scalar) { values ("0.004"); } } } }
  cell (FALLING) { area : 10; ff (IQ, IQN) { clocked_on : "!CK"; next_state : "D"; }
    pin (CK) { direction : input; capacitance : 0.002; } pin (D) { direction : input; capacitance : 0.001; }
    pin (Q) { direction : output; function : "IQ"; } }
}
"""


def load(folder: Path, text: str):
    (folder / "tiny.lib").write_text(text)
    return load_library([folder / "tiny.lib"])


def test_capacitances_and_energies_have_their_units(tmp_path: Path) -> None:
    library = load(tmp_path, LIBRARY)
    nand, flop = library.cells["NAND"], library.cells["FF"]
    assert (library.voltage_v, nand.area, nand.inputs) == (2.0, 4.0, {"A": 2.0, "B": 2.0})
    # Middle slew. At no load (1 + 3) / 2 and 4 of 2 J a thousand: the mean of the three tables is 8 / 3.
    assert nand.outputs["Y"].energy_fj(0) == pytest.approx(2000 * 0.008 / 3)
    assert nand.outputs["Y"].energy_fj(1000) == pytest.approx(2000 * (0.002 + 0.004 + 0.005) / 3)
    assert nand.outputs["Y"].energy_fj(9000) == pytest.approx(2000 * 0.014 / 3)
    assert (flop.clock, flop.plain, flop.clock_fj) == ("CK", True, pytest.approx(2000 * 0.004))
    assert not library.cells["FALLING"].plain


def test_constants_of_a_technology(tmp_path: Path) -> None:
    """Half C V**2 at 2 V is 2 C: what `Technology.energy_fj` charges must be what the tables say."""
    node = technology_of(load(tmp_path, LIBRARY))
    assert (node.voltage_v, node.pair_ff, node.nand2_um2) == (2.0, 2.0, 4.0)
    gate = 2000 * (0.008 + 0.006 * 6 / 2000) / 3  # three loads of 2 fF
    assert node.energy_fj(4 * node.internal_ff) == pytest.approx(gate)
    assert 2 * node.energy_fj(node.register_clock_ff) == pytest.approx(2000 * 0.004 + 4.0 * 4)
    assert node.energy_fj(node.register_toggle_ff) == pytest.approx(2000 * 0.004)
    assert node.gate_wire_ff == pytest.approx(4 * 0.2 * 2)
    seven = load_technology("7nm")
    assert node.sram_bit_ff == pytest.approx(seven.sram_bit_ff * (4.0 / seven.nand2_um2) ** 0.5)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("nom_voltage : 2.0;", "", "supply voltage is 0.0"),
        ("(2, pf)", "(2, nf)", "capacitive_load_unit is in 'nf', expected ff or pf"),
        ("(2, pf)", "(two, pf)", "capacitive_load_unit is 'two', expected a number"),
        ("area : 20", "area : big", "cell FF: area is 'big', expected a number"),
        ('"0.001, 0.003", "9, 9"', '"0.001, 0.003"', r"rise_power \(energy\): 4 values do not fill its indices"),
        ("0.001, 0.003", "0.001, x", "values holds something that is no number"),
    ],
)
def test_bad_libraries_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in LIBRARY
    with pytest.raises(ToolError, match=message):
        load(tmp_path, LIBRARY.replace(old, new, 1))


def test_what_a_technology_needs_is_named(tmp_path: Path) -> None:
    without = LIBRARY.replace('"!(A & B)"', '"A & B"').replace('"(A B)\'"', '"A + B"')
    with pytest.raises(ToolError, match=r"tiny\.lib has no cell that is a NAND2"):
        technology_of(load(tmp_path, without))
    with pytest.raises(ToolError, match="a flip-flop without set and reset"):
        technology_of(load(tmp_path, LIBRARY.replace('next_state : "D"', 'next_state : "D"; clear : "!R"')))


# Liberty's words to Python's, in which ^ binds tighter than &, and & tighter than |, too.
FUNCTIONS = st.recursive(
    st.sampled_from(["A", "B", "C1", "0", "1"]),
    lambda inner: st.one_of(
        inner.map(lambda x: f"!({x})"), inner.map(lambda x: f"({x})'"),
        st.tuples(inner, st.sampled_from([" & ", "*", " ", " | ", "+", "^"]), inner).map(
            lambda parts: f"({parts[0]}{parts[1]}{parts[2]})")),
    max_leaves=8,
)  # fmt: skip


def evaluate(function: str, pins: dict[str, int]) -> int:
    rules = {"$_NOT_": lambda a, b: 1 - a, "$_AND_": lambda a, b: a & b, "$_OR_": lambda a, b: a | b,
             "$_XOR_": lambda a, b: a ^ b}  # fmt: skip
    nets: dict[str, int | str] = dict(pins)
    return int(gates_of(function, nets, lambda kind, bits: rules[kind](int(bits["A"]), int(bits.get("B", 0)))))


@given(FUNCTIONS)
def test_functions_are_what_they_say(function: str) -> None:
    def python(text: str) -> str:
        while "'" in text:
            end = text.index("'")
            start, depth = end - 1, 1
            while depth:
                start -= 1
                depth += {")": 1, "(": -1}.get(text[start], 0)
            text = f"{text[:start]}(1 - {text[start:end]}){text[end + 1 :]}"
        return text.replace("!", "1 - ").replace("+", "|").replace("*", "&").replace(" ", " ")

    spaced = function.replace(") (", ")&(")
    for left, right in itertools.product(("A", "B", "C1", "0", "1", ")", "'"), ("A", "B", "C1", "0", "1", "(", "!")):
        spaced = spaced.replace(f"{left} {right}", f"{left}&{right}")
    for values in itertools.product((0, 1), repeat=3):
        pins = dict(zip(("A", "B", "C1"), values, strict=True))
        assert evaluate(function, pins) == eval(python(spaced), {}, pins)  # our own text


def test_precedence() -> None:
    for a, b, c in itertools.product((0, 1), repeat=3):
        pins = {"A": a, "B": b, "C": c}
        assert evaluate("A | B & C", pins) == a | (b & c)
        assert evaluate("A & B ^ C", pins) == a & (b ^ c)
        assert evaluate("!A B'", pins) == (1 - a) & (1 - b)


@pytest.mark.parametrize("function", ["", "A +", "(A", "A)", "A & & B", "D", "A $ B", "!" * 99 + "A", "(" * 99 + "A"])
def test_bad_functions_are_named(function: str) -> None:
    with pytest.raises(ToolError, match="Liberty function"):
        evaluate(function, {"A": 0, "B": 0})


PIECES = st.sampled_from(["{", "}", ";", '"', "\\\n", "\n", "(", ")", "/*", "*/", "//", "library (x)", "cell (y)",
                          "pin (z)", "area : 1", "area", ":", "values (", '"1, 2"', "x", " ", "\0", "é"])  # fmt: skip


@given(st.lists(PIECES, max_size=40).map("".join))
def test_rubbish_is_refused_or_read(text: str) -> None:
    try:
        found = read_groups(text, {"library", "cell", "pin"})
    except ToolError:
        return
    assert found.kind == "library"


@given(st.data())
def test_a_damaged_library_is_refused_or_read(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(LIBRARY)))
    last = data.draw(st.integers(first, min(len(LIBRARY), first + 60)))
    text = LIBRARY[:first] + data.draw(PIECES) + LIBRARY[last:]
    try:
        technology_of(load(tmp_path_factory.mktemp("lib"), text))
    except ToolError:
        return
