"""`warptree rtl`: what the commands print and how they end."""

import pytest
from typer.testing import CliRunner

import rtl.mac.align_add
from rtl.prove import stages
from sim import cli

runner = CliRunner()


def test_a_proof_that_fails_shows_an_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtl.mac.align_add, "PAIR_SHIFT", 0)
    stages.netlist.cache_clear()
    result = runner.invoke(cli.app, ["rtl", "prove", "--element", "E2M1"])
    stages.netlist.cache_clear()
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert any(line.startswith("proven  E2M1: products") for line in lines)
    assert "FAILED  E2M1: product sum: product sum" in lines
    assert "wrong for E2M1: mode=0x4 a=" in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--element", "FP9"], "--element: element: got 'FP9', this MAC has the modes E5M2, E4M3"),
        (["--mantissa-bits", "11"], "MacSpec.mantissa_bits: got 11, legal 12..23"),
    ],
)
def test_bad_options_are_one_sentence(arguments: list[str], message: str) -> None:
    result = runner.invoke(cli.app, ["rtl", "prove", *arguments])
    assert result.exit_code == cli.USER_ERROR
    assert message in result.stderr
