import pytest

from gpu_model.issue_stream import observe_paths
from gpu_model.sass import assemble
from gpu_model.timing import IssueRecord, issue_cycles
from hw.gpu_spec import load_gpu
from rtl import tools
from rtl.issue_stage import IssueDesign
from sim.issue_stage import compare, slots_for
from tests.gpu_model.core.conftest import clocks

__all__ = ["clocks"]  # the core tests' fixture, on this file's `issued`

WARM = {"core.icache.perfect": True, "core.constant.perfect": True}


@pytest.fixture(scope="session")
def compiled_rtl() -> None:
    """Skips where RTL can't be compiled."""
    if absent := tools.missing("compiled RTL"):
        pytest.skip("; ".join(f"{tool.name} not found, disables {tool.disables}" for tool in absent))


@pytest.fixture(scope="session")
def issued(compiled_rtl):
    """The core tests' fixture, with the RTL beside: every instruction must issue in the same cycle in both."""

    def run(listing: str, *, warps: int = 1, paths=None, **overrides) -> IssueRecord:
        changes = WARM | {name.replace("__", "."): value for name, value in overrides.items()}
        spec, program = load_gpu("rtx_a6000", changes), assemble(listing + "\nEXIT")
        record = issue_cycles(program, spec, warps=warps, paths=paths)
        stream = observe_paths(program, spec, warps=warps, paths=paths)
        compared = compare(stream, slots_for(stream, IssueDesign.from_spec(spec)))
        assert compared.divergence is None, str(compared.divergence)
        assert compared.instructions == len(record.order)
        return record

    return run
