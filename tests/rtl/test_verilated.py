from pathlib import Path

import pytest

from rtl import emit, tools, verilated
from rtl.mac import Mac, MacDesign

pytestmark = pytest.mark.usefixtures("cocotb_tools")

FAILING = """
import cocotb

@cocotb.test()
async def wants_a_wrong_width(dut):
    assert len(dut.acc) == 24, "accumulator is not 24 bits"
"""


def run_bench(folder: Path, source: str) -> None:
    (folder / "own_bench.py").write_text(source)
    model = verilated.build(Mac(MacDesign()), "mac")
    verilated.run(model, "mac", "own_bench", {"PYTHONPATH": str(folder)}, folder)


def test_a_passing_bench(tmp_path: Path) -> None:
    run_bench(tmp_path, FAILING.replace("24", "25"))


def test_a_failing_bench_is_an_error_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(tools.ToolError, match="own_bench failed or broke off(.|\n)*accumulator is not 24 bits"):
        run_bench(tmp_path, FAILING)


def test_a_bench_that_does_not_load_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(tools.ToolError, match="no_such_package"):
        run_bench(tmp_path, "import no_such_package")


def test_build_is_cached() -> None:
    first, second = (verilated.build(Mac(MacDesign()), "mac") for _ in range(2))
    assert first == second
    assert sorted(path.name for path in first.iterdir()) == ["mac", "mac.v"]


def test_a_design_verilator_refuses_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emit, "verilog", lambda component, name: "module mac(input a); assign b.c = a;")
    component = Mac(MacDesign())
    with pytest.raises(tools.ToolError, match="cocotb's verilator runner failed in build(.|\n)*syntax error"):
        verilated.build(component, "mac")
    monkeypatch.undo()
    verilated.build(component, "mac")
