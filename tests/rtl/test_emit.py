import pytest

from rtl import emit
from rtl.mac import Mac, MacDesign
from rtl.tools import ToolError


def test_verilog_is_reproducible_and_names_no_path() -> None:
    first, second = (emit.verilog(Mac(MacDesign()), "mac") for _ in range(2))
    assert first == second
    assert "module mac(" in first
    assert ".py" not in first
    for block in ("align_add", "accumulate", "normalise", "specials", "quadrant_3"):
        assert f"\\mac.step.{block} " in first


def test_a_yosys_error_is_reported() -> None:
    with pytest.raises(ToolError, match="No such command: no_such_pass"):
        emit.run_yosys(["no_such_pass"])
