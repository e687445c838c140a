from pathlib import Path

import pytest

from hw.technology import TechnologyError, load_technology, technology_names


def test_every_node_loads_and_cites() -> None:
    assert technology_names() == ["12nm", "16nm", "22nm", "5nm", "7nm"]
    for name in technology_names():
        node = load_technology(name)
        assert all(len(source) > 10 for source in node.sources.values())
        assert 0.5 <= node.voltage_v <= 1.0


def test_energy_is_half_c_v_squared() -> None:
    node = load_technology("7nm")
    assert node.energy_fj(2.0) == pytest.approx(0.7**2)


def test_what_does_not_change_with_the_node_does_not() -> None:
    assert len({load_technology(name).wire_ff_per_um for name in technology_names()}) == 1
    larger, smaller = load_technology("22nm"), load_technology("5nm")
    assert larger.energy_fj(larger.pair_ff) > smaller.energy_fj(smaller.pair_ff)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pair_ff =", "pare_ff =", "missing or unknown: pair_ff, pare_ff"),
        ("value = 0.7,", "value = -1,", "voltage_v is .* expected { value = a positive number"),
        ('value = 0.7, source = "', 'value = 0.7, sauce = "', "voltage_v is"),
        ("voltage_v", "[voltage_v", "is not TOML"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (Path(__file__).parents[2] / "hw/technology/7nm.toml").read_text()
    assert old in text
    (tmp_path / "mine.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(TechnologyError, match=message):
        load_technology(str(tmp_path / "mine.toml"))


def test_an_unknown_node_lists_the_known() -> None:
    with pytest.raises(TechnologyError, match="no technology '3nm'; there are 12nm, 16nm"):
        load_technology("3nm")
