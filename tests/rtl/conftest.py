import pytest

from rtl import tools
from rtl.stimulus import Cycles


def _skip_without(purpose: str) -> None:
    if absent := tools.missing(purpose):
        pytest.skip("; ".join(f"{tool.name} not found, disables {tool.disables}" for tool in absent))


@pytest.fixture(scope="session")
def compiled_rtl() -> None:
    """Skips where RTL can't be compiled."""
    _skip_without("compiled RTL")


@pytest.fixture(scope="session")
def cocotb_tools() -> None:
    """Skips where the cocotb benches can't run."""
    _skip_without("cocotb")


@pytest.fixture(scope="session")
def icarus_tools() -> None:
    """Skips where the cocotb benches can't run on Icarus."""
    _skip_without("cocotb on Icarus")


@pytest.fixture
def cycles() -> type[Cycles]:
    return Cycles
