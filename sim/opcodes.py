"""The coverage table of the machine: what `warptree opcodes` prints."""

import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

import gpu_model
from gpu_model.machine.coverage import opcode_table
from sim.errors import SimError

_OWN = Path(gpu_model.__file__).with_name("opcode_counts.csv")


@dataclass(frozen=True)
class Coverage:
    """An opcode of the table, and where it was seen.

    Attributes:
        opcode, modifiers, families, result, bound: as `gpu_model.machine.coverage.OpcodeRow`.
        seen: architecture to the number of kernels that had the opcode, in any form.
        forms: full names seen, such as LDG.E.128.
    """

    opcode: str
    modifiers: tuple[str, ...]
    families: tuple[str, ...]
    result: str
    bound: str
    seen: dict[int, int]
    forms: tuple[str, ...]


def architecture(name: str | None) -> int | None:
    """The number of an architecture named sm_90 or 90.

    Raises:
        SimError: it is named in no such way.
    """
    digits = (name or "").removeprefix("sm_")
    if name is not None and not digits.isdecimal():
        raise SimError(f"--arch: got {name!r}, expected an architecture such as sm_90")
    return int(digits) if digits else None


def counted(path: Path | None) -> dict[int, dict[str, int]]:
    """Counts of a test run: architecture to full opcode name to kernels, at least one.

    Args:
        path: what `--opcode-counts` wrote; without it, the counts of this project's own tests.

    Raises:
        SimError: the file holds something else, or can't be read.
    """
    try:
        header, *rows = csv.reader((path or _OWN).read_text().splitlines())
        counts: dict[int, dict[str, int]] = {int(name.removeprefix("sm_")): {} for name in header[1:]}
        for opcode, *numbers in rows:
            for names, number in zip(counts.values(), numbers, strict=True):
                if number != "0":
                    names[opcode] = int(number)
        return counts
    except (OSError, ValueError) as error:
        how = "write them with `pytest -p gpu_model.opcode_counts --opcode-counts FILE`"
        raise SimError(f"{path} holds no opcode counts ({error}); {how}") from error


def coverage(counts: dict[int, dict[str, int]], arch: int | None) -> list[Coverage]:
    """The table; only what was seen on an architecture if one is named.

    Raises:
        SimError: nothing was counted on that architecture.
    """
    if arch is not None and arch not in counts:
        known = ", ".join(f"sm_{number}" for number in sorted(counts))
        raise SimError(f"--arch: sm_{arch} was not counted, legal are {known}")
    rows = []
    for row in opcode_table():
        seen, forms = _seen(row.opcode, counts, arch)
        if arch is None or seen:
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
    for column in ("opcode", "becomes", "result", "seen in test kernels", "modifiers"):
        table.add_column(column, overflow="fold")
    for row in rows:
        seen = ", ".join(f"sm_{a}: {n}" for a, n in row.seen.items()) or "never"
        result = f"bounded: {row.bound}" if row.bound else row.result
        table.add_row(row.opcode, ", ".join(row.families), result, seen, " ".join(row.modifiers))
    Console().print(table)
