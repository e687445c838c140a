"""The files a study leaves: its page, and its rows as Parquet, CSV and JSON."""

from pathlib import Path

import pandas as pd

from sim.codesign.command import Study
from sim.codesign.page import write_page
from sim.codesign.store import write_table
from sim.output import make_folder


def write_outputs(study: Study, folder: Path) -> Path:
    """Write everything into a folder, over an earlier study's files; returns the page.

    Raises:
        SimError: the folder cannot be made.
    """
    make_folder(folder)
    frame = pd.read_parquet(write_table(study.rows, folder / "designs.parquet"))
    frame.to_csv(folder / "designs.csv", index=False)
    frame.to_json(folder / "designs.json", orient="records", indent=1, double_precision=15)
    return write_page(study, folder / "report.html")
