"""Rows of evaluated designs on disk: content-addressed, written whole or not at all, read with DuckDB.

A folder holds `runs/` (operands, see `sim.codesign.recording`) and `rows/`, Parquet files of a few rows each, named by
the keys in them. A file appears under its name only when complete, so a kill at any moment leaves whole rows or none,
and two sweeps may share a folder. Nothing is ever changed or removed.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from sim.codesign.evaluate import SCHEMA
from sim.errors import SimError
from sim.whole_file import whole_file

Row = dict[str, Any]


class Store:
    """Rows in a folder, by key.

    Args:
        folder: made if it is not there.

    Raises:
        SimError: the folder cannot be made, or a file in it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._rows = folder, folder / "rows"
        try:
            self._rows.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SimError(f"store {folder}: {error.strerror}; choose another with --store DIR") from error

    def read(self, keys: Iterable[str]) -> dict[str, Row]:
        """The rows among these keys that are there."""
        wanted = pa.table({"key": pa.array(list(keys), pa.string())})
        files = [str(path) for path in sorted(self._rows.glob("*.parquet"))]
        if not files or not len(wanted):
            return {}
        columns = ", ".join(f'"{name}"' for name in SCHEMA.names)
        try:
            with duckdb.connect() as connection:
                connection.register("wanted", wanted)
                query = f"SELECT DISTINCT ON (key) {columns} FROM read_parquet($files) SEMI JOIN wanted USING (key)"
                found = connection.sql(query, params={"files": files}).to_arrow_table()
        except duckdb.Error as error:
            first = str(error).splitlines()[0]
            raise SimError(
                f"store {self.folder}: {first}; delete the damaged file, its rows are computed again"
            ) from None
        return {row["key"]: row for row in found.to_pylist()}

    def write(self, rows: list[Row]) -> None:
        """Add rows; they are on disk when this returns."""
        name = hashlib.sha256("".join(row["key"] for row in rows).encode()).hexdigest()[:32]
        write_table(rows, self._rows / f"{name}.parquet")


def write_table(rows: list[Row], path: Path) -> Path:
    """Rows of `SCHEMA` as one Parquet file (zstd), put under its name when complete; returns the path."""
    with whole_file(path) as file:
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), file, compression="zstd")
    return path
