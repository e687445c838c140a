"""Rows of the language study on disk: one JSON file each, named by all that the row depends on.

A file appears under its name only when complete, so a study that was killed goes on where it was and ends with the
rows of one that was not. Nothing is ever changed or removed.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from hw.technology import load_technology
from sim.codesign.design import Design
from sim.codesign.fingerprint import fingerprint
from sim.errors import SimError
from sim.language.model import ModelSpec
from sim.language.row import Row
from sim.language.training import TrainingSpec
from sim.whole_file import whole_file

_CODE = ("mx_formats", "hw", "rtl", "sim/language", "sim/codesign/cost.py", "sim/codesign/design.py",
         "sim/codesign/energy.py", "sim/codesign/mapping.py")  # fmt: skip


class RowStore:
    """Rows in a folder.

    Args:
        folder: made if it is not there.

    Raises:
        SimError: it cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise SimError(f"store {folder}: {error.strerror}; choose another with --store DIR") from None

    def row(self, key: str, make: Callable[[], Row]) -> Row:
        """The row of this key, made and kept if it is not there.

        Raises:
            SimError: a file that is none of ours.
        """
        path = self._folder / f"{key}.json"
        if path.exists():
            return _read(path)
        made = make()
        with whole_file(path) as file:
            file.write(json.dumps(made.as_dict(), indent=1).encode())
        return made


def row_key(mode: str, design: Design | None, spec: ModelSpec, training: TrainingSpec) -> str:
    """32 hex digits that name a row: mode, design with its technology's constants, sizes, training, torch and code."""
    what: list[Any] = [mode, None, None]
    if design is not None:
        what = [mode, design.as_dict(), asdict(load_technology(design.technology))]
    text = json.dumps([what, asdict(spec), asdict(training), torch.__version__, fingerprint(*_CODE)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _read(path: Path) -> Row:
    try:
        # A float's shortest decimal is read back as the same float.
        return TypeAdapter(Row).validate_json(path.read_bytes(), strict=True)
    except (OSError, ValidationError) as error:
        why = str(error).splitlines()[0]
        raise SimError(
            f"store {path} holds no row of the language study ({why}); delete it, it is computed again"
        ) from None
