"""Files that stand under their name whole or not at all, whenever the writer is killed."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, on disk under its name when the context ends; nothing is left of it if that raises."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as scratch:
        part = Path(scratch) / path.name
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
