"""The files a run leaves: report, tables, timeline."""

from dataclasses import dataclass
from pathlib import Path

from sim.errors import SimError
from sim.report import write_report
from sim.results import RunResult
from sim.run_folder import write_summary
from sim.tables import write_tables
from sim.timeline import write_timeline


@dataclass(frozen=True)
class Outputs:
    """Paths of what was written."""

    report: Path
    tables: tuple[Path, ...]
    timeline: Path


def make_folder(folder: Path) -> Path:
    """Create the output folder, before the work whose results it is to hold.

    Raises:
        SimError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise SimError(f"report folder {folder}: {error.strerror}; choose another with --report DIR") from error
    return folder


def write_outputs(run: RunResult, folder: Path) -> Outputs:
    """Write everything into `folder`, over an earlier run's files."""
    write_summary(run, folder)
    tables = write_tables(run, folder)
    timeline = write_timeline(folder / "timeline.json.gz", [(launch.program, launch.timing) for launch in run.launches])
    return Outputs(write_report(run, folder / "report.html"), tuple(tables), timeline)
