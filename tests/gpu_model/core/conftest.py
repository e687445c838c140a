import pytest

from gpu_model.sass import assemble
from gpu_model.timing import IssueRecord, issue_cycles
from hw.gpu_spec import load_gpu

WARM = {"core.icache.perfect": True, "core.constant.perfect": True}


@pytest.fixture(scope="session")
def issued():
    """Run a listing on one SM of an RTX A6000 with warm caches, or with the overrides given."""

    def run(listing: str, *, warps: int = 1, paths=None, **overrides) -> IssueRecord:
        changes = WARM | {name.replace("__", "."): value for name, value in overrides.items()}
        return issue_cycles(assemble(listing + "\nEXIT"), load_gpu("rtx_a6000", changes), warps=warps, paths=paths)

    return run


@pytest.fixture(scope="session")
def clocks(issued):
    """Cycles between the first and the last CS2R of a listing, which read the clock in Control."""

    def run(listing: str, **overrides) -> int:
        record = issued(listing, **overrides)
        rows = [i for i, line in enumerate(listing.splitlines()) if "CS2R" in line]
        return int(record.control[0][rows[-1]] - record.control[0][rows[0]])

    return run
