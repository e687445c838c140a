"""A user's Liberty files: read, checked, and joined into the one library that the mapper takes."""

import gzip
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

from rtl.tools import ToolError

LARGEST_BYTES = 1 << 30  # unpacked, of all files together
_CELL = re.compile(r'^\s*cell\s*\(\s*"?([^")\s]+)"?\s*\)', re.MULTILINE)
_LIBRARY = re.compile(r"^\s*library\s*\(", re.MULTILINE)


def join(paths: Sequence[Path]) -> str:
    """Text of one library: the first file's, with the cells of the others added.

    Args:
        paths: .lib or .lib.gz files of one library, with the same units.

    Raises:
        ToolError: a file that cannot be read, is no Liberty file, holds no cell or a cell of another file, or too much.
    """
    texts, known, room = [], {}, LARGEST_BYTES
    for path in paths:
        text = _read(path, room)
        room -= len(text)
        names = _CELL.findall(text)
        if not _LIBRARY.search(text) or not names or text.count("{") != text.count("}"):
            raise ToolError(f"{path} is no Liberty file: expected `library (...) {{`, cells, and every brace closed")
        for name in names:
            if known.setdefault(name, path) != path:
                raise ToolError(f"{path}: cell {name} is in {known[name]} too; give each cell once")
        texts.append(text.rstrip()[:-1])
    first, *others = texts
    return "\n".join([first, *(_cells(text) for text in others), "}\n"])


def cell_names(library: str) -> set[str]:
    """Names of a library's cells."""
    return set(_CELL.findall(library))


def _cells(text: str) -> str:
    match = _CELL.search(text)
    assert match is not None
    return text[match.start() :]


def _read(path: Path, room: int) -> str:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(room + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ToolError(f"Liberty file {path} cannot be read: {error}") from None
    if len(data) > room:
        raise ToolError(f"{path}: more than {LARGEST_BYTES >> 20} MiB of Liberty unpacked")
    return data.decode("utf-8", "replace")
