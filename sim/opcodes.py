"""The coverage table of the machine: what `warptree opcodes` prints."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gpu_model.machine.coverage import opcode_table
from sim.errors import SimError

_HOW = "write them with `pytest -p gpu_model.opcode_counts --opcode-counts FILE`"


@dataclass(frozen=True)
class Coverage:
    """An opcode of the table, and where it was seen.

    Attributes:
        opcode, modifiers, families, result, bound: as `gpu_model.machine.coverage.OpcodeRow`.
        seen: architecture to the number of kernels that had the opcode; None where nothing was counted.
        forms: full names seen, such as LDG.E.128.
    """

    opcode: str
    modifiers: tuple[str, ...]
    families: tuple[str, ...]
    result: str
    bound: str
    seen: dict[int, int] | None
    forms: tuple[str, ...]


def read_counts(path: Path) -> dict[int, dict[str, int]]:
    """Counts of a test run: architecture to full opcode name to kernels.

    Raises:
        SimError: the file is not one that `--opcode-counts` wrote.
    """
    try:
        data = json.loads(path.read_text())
        return {int(arch): {str(name): int(count) for name, count in names.items()} for arch, names in data.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise SimError(f"{path} holds no opcode counts ({error}); {_HOW}") from error


def coverage(counts: dict[int, dict[str, int]] | None, arch: int | None) -> list[Coverage]:
    """The table; with counts, only what was seen on an architecture if one is named."""
    rows = []
    for row in opcode_table():
        seen, forms = _seen(row.opcode, counts, arch) if counts is not None else (None, ())
        if arch is None or seen is None or seen:
            rows.append(Coverage(row.opcode, row.modifiers, row.families, row.result, row.bound, seen, forms))
    return rows


def _seen(opcode: str, counts: dict[int, dict[str, int]], arch: int | None) -> tuple[dict[int, int], tuple[str, ...]]:
    seen, forms = {}, set()
    for number in sorted(counts) if arch is None else [arch]:
        full = {name: count for name, count in counts.get(number, {}).items() if name.split(".")[0] == opcode}
        if full:
            seen[number] = sum(full.values())
            forms |= full.keys()
    return seen, tuple(sorted(forms))


def print_coverage(rows: list[Coverage], *, as_json: bool) -> None:
    """Print the table to standard output."""
    if as_json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    table = Table(title=f"{len(rows)} opcodes")
    for column in ("opcode", "becomes", "result", "seen in kernels", "modifiers"):
        table.add_column(column, overflow="fold")
    for row in rows:
        seen = "not counted" if row.seen is None else ", ".join(f"sm_{a}: {n}" for a, n in row.seen.items()) or "never"
        result = f"bounded: {row.bound}" if row.bound else row.result
        table.add_row(row.opcode, ", ".join(row.families), result, seen, " ".join(row.modifiers))
    Console().print(table)
