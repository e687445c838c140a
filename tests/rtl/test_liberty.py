# Amaranth makes ports when a component is constructed, which pyright cannot see.
# pyright: reportInvalidTypeForm=false, reportAttributeAccessIssue=false

import gzip
from pathlib import Path

import pytest
from amaranth.hdl import Module
from amaranth.lib.wiring import Component, In, Out

from rtl import liberty
from rtl.synthesis import liberty_area
from rtl.tools import ToolError

GATE = """
  cell ({name}) {{ area : {area};
    pin (A) {{ direction : input; capacitance : 1; }} {b}
    pin (Y) {{ direction : output; function : "{function}";
      timing () {{ related_pin : "A"; cell_rise (scalar) {{ values ("1"); }} cell_fall (scalar) {{ values ("1"); }}
        rise_transition (scalar) {{ values ("1"); }} fall_transition (scalar) {{ values ("1"); }} }} }} }}
"""
B = "pin (B) { direction : input; capacitance : 1; }"
FLIP_FLOP = """
  cell (FF) { area : 10; ff (IQ, IQN) { clocked_on : "CK"; next_state : "D"; }
    pin (CK) { direction : input; clock : true; capacitance : 1; } pin (D) { direction : input; capacitance : 1; }
    pin (Q) { direction : output; function : "IQ"; } }
"""
GATES = [("INV", 1, "", "!A"), ("BUF", 2, "", "A"), ("NAND", 3, B, "!(A*B)"), ("NOR", 3.5, B, "!(A+B)")]


def library(*cells: str) -> str:
    return "library (tiny) {\n  delay_model : table_lookup;\n" + "".join(cells) + "}\n"


def gates() -> list[str]:
    return [GATE.format(name=name, area=area, b=b, function=function) for name, area, b, function in GATES]


class Nand(Component):
    """Eight gates and eight flip-flops without reset."""

    a: In(8)
    b: In(8)
    y: Out(8)

    def elaborate(self, platform):
        from amaranth.hdl import Signal

        m = Module()
        state = Signal(8, reset_less=True)
        m.d.sync += state.eq(~(self.a & self.b))
        m.d.comb += self.y.eq(state)
        return m


def test_areas_are_the_library_s(tmp_path: Path) -> None:
    (tmp_path / "all.lib").write_text(library(*gates(), FLIP_FLOP))
    found = liberty_area(Nand(), "nand8", [tmp_path / "all.lib"])
    assert (found.um2, found.sequential_um2) == (8 * 3 + 8 * 10, 8 * 10)
    assert found.cells == {"NAND": 8, "FF": 8}


def test_cells_may_be_spread_over_files_and_packed(tmp_path: Path) -> None:
    (tmp_path / "logic.lib.gz").write_bytes(gzip.compress(library(*gates()).encode()))
    (tmp_path / "seq.lib").write_text(library(FLIP_FLOP))
    assert liberty_area(Nand(), "nand8", [tmp_path / "logic.lib.gz", tmp_path / "seq.lib"]).um2 == 104


def test_a_missing_cell_is_named(tmp_path: Path) -> None:
    (tmp_path / "logic.lib").write_text(library(*gates()))
    with pytest.raises(ToolError, match=r"nand8 needs \$_DFF_P_, for which .*logic.lib has no cell"):
        liberty_area(Nand(), "nand8", [tmp_path / "logic.lib"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.lib", b"hello", "text.lib is no Liberty file"),
        ("empty.lib", b"library (x) { }", "is no Liberty file"),
        ("cut.lib", library(*gates()).encode()[:-3], "is no Liberty file"),
        ("bad.lib.gz", b"not gzip", "bad.lib.gz cannot be read"),
        ("cut.lib.gz", gzip.compress(library(*gates()).encode())[:-9], "cut.lib.gz cannot be read"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ToolError, match=message):
        liberty.join([tmp_path / name])


def test_a_file_that_is_not_there_or_too_large_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ToolError, match=r"none.lib cannot be read"):
        liberty.join([tmp_path / "none.lib"])
    (tmp_path / "bomb.lib.gz").write_bytes(gzip.compress(bytes(5 << 20)))
    monkeypatch.setattr(liberty, "LARGEST_BYTES", 1 << 20)
    with pytest.raises(ToolError, match="more than 1 MiB of Liberty unpacked"):
        liberty.join([tmp_path / "bomb.lib.gz"])


def test_a_cell_given_twice_is_named(tmp_path: Path) -> None:
    for name in ("a.lib", "b.lib"):
        (tmp_path / name).write_text(library(*gates()))
    with pytest.raises(ToolError, match=r"b.lib: cell INV is in .*a.lib too"):
        liberty.join([tmp_path / "a.lib", tmp_path / "b.lib"])
