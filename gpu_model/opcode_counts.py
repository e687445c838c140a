"""Count the opcodes of the kernels a test run executes: `pytest -p gpu_model.opcode_counts --opcode-counts FILE`.

The file is a CSV: a row for each full opcode name, a column for each architecture, the number of kernels that had it.
With xdist the workers' counts are added up. `opcode_counts.csv`, the counts of this project's own tests, is what
`warptree opcodes` shows unless it is given another file.
"""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gpu_model import execute
from gpu_model.program import Program

Counts = dict[str, Counter[str]]
_COUNTS = pytest.StashKey[Counts]()
_SENT = "opcode_counts"


def opcodes_of(program: Program) -> set[str]:
    """Full names of a kernel's opcodes, such as LDG.E.128."""
    names = {(str(row["opcode"]), str(row["modifiers"])) for row in program.rows}
    return {f"{opcode}.{modifiers}" if modifiers else opcode for opcode, modifiers in names}


def _add(counts: Counts, more: dict[str, dict[str, int]]) -> None:
    for arch, names in more.items():
        counts.setdefault(arch, Counter()).update(names)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--opcode-counts`."""
    parser.getgroup("warptree").addoption("--opcode-counts", metavar="FILE", type=Path, help="count opcodes into FILE")


def pytest_configure(config: pytest.Config) -> None:
    """Look at every kernel on its way to the machine."""
    counts: Counts = {}
    config.stash[_COUNTS] = counts
    lower, programs = execute.lower, []  # the programs are kept, so that no two have the same identity

    def counted(program: Program) -> Any:
        if not any(program is known for known in programs):
            programs.append(program)
            _add(counts, {str(program.arch): dict.fromkeys(opcodes_of(program), 1)})
        return lower(program)

    execute.lower = counted


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Add a worker's counts to the controller's."""
    _add(node.config.stash[_COUNTS], getattr(node, "workeroutput", {}).get(_SENT, {}))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the counts to the controller, or write them."""
    counts = session.config.stash[_COUNTS]
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_SENT] = {arch: dict(names) for arch, names in counts.items()}
    elif session.config.option.opcode_counts:
        write_counts(session.config.option.opcode_counts, counts)


def write_counts(path: Path, counts: Counts) -> None:
    """Write counts, architectures and names in order."""
    arches = sorted(counts, key=int)
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["opcode", *(f"sm_{arch}" for arch in arches)])
        for name in sorted({name for names in counts.values() for name in names}):
            table.writerow([name, *(counts[arch][name] for arch in arches)])
