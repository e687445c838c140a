"""Trees on the command line: listed, explained, and their conformance vectors written and checked."""

from collections.abc import Callable
from pathlib import Path

from hw.catalogue import catalogue, entry
from hw.explain import draw, explain
from hw.vector_file import check, write
from sim.errors import SimError


def describe(name: str | None, svg: Path | None, say: Callable[[str], object]) -> None:
    """List the catalogue, or explain one entry and draw it.

    Raises:
        SimError: no entry of that name.
    """
    if name is None:
        for known, case in catalogue().items():
            say(f"{known:<32} {case.tree.name}")
        return
    try:
        case = entry(name)
    except ValueError as error:
        raise SimError(str(error)) from None
    say(explain(case.tree, case.element, case.element))
    if svg is not None:
        svg.write_text(draw(case.tree, case.element, case.element))


def write_files(folder: Path, names: list[str] | None, count: int, say: Callable[[str], object]) -> None:
    """Write the files of some catalogue entries, or of all of them.

    Raises:
        SimError: no entry of that name, or fewer than one dot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or catalogue():
        try:
            say(f"{write(name, folder, count)}")
        except ValueError as error:
            raise SimError(str(error)) from None


def check_files(path: Path, say: Callable[[str], object]) -> bool:
    """Evaluate a file, or every .txt file of a folder, again; whether all dots came out the same.

    Raises:
        SimError: no file there, or one that is none of ours.
    """
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise SimError(f"no vector files at {path}; try: warptree vectors {path}")
    wrong = 0
    for file in files:
        try:
            count, bad = check(file)
        except ValueError as error:
            raise SimError(str(error)) from None
        wrong += len(bad)
        lines = ", ".join(str(line) for line in bad[:5])
        say(f"{file}: {count - len(bad)} of {count} dots agree" + (f", not lines {lines}" if bad else ""))
    return wrong == 0
