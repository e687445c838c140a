"""Progress for people: a live spinner on a terminal, plain lines elsewhere. It goes to stderr, answers to stdout."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console as RichConsole
from rich.table import Table


def plural(count: int, noun: str) -> str:
    """ "1 launch", "2 launches"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}{'es' if noun.endswith('ch') else 's'}"


class Stage:
    """One step of a run, while it works."""

    def __init__(self, update: Callable[[str], None] | None = None) -> None:
        self._update = update
        self.result = ""

    def say(self, text: str) -> None:
        """Show what the stage is doing now; only on a terminal."""
        if self._update is not None:
            self._update(text)

    def done(self, result: str) -> None:
        """State the stage's outcome, printed when it ends."""
        self.result = result


class Console:
    """Prints stages as `name  outcome  seconds`; to stderr, unless what it prints is the command's result."""

    def __init__(self, quiet: bool = False, to_stdout: bool = False) -> None:
        width = 160 if to_stdout and not sys.stdout.isatty() else None  # tables in files and pipes keep their columns
        self._rich = RichConsole(stderr=not to_stdout, quiet=quiet, highlight=False, soft_wrap=True, width=width)

    def line(self, text: str = "") -> None:
        """Print one line of plain text."""
        self._rich.print(text, markup=False)

    def fact(self, name: str, text: str) -> None:
        """Print an outcome that belongs to the stage before it."""
        self.line(f"  {name:<9} {text}")

    def show(self, table: Table) -> None:
        """Print a table."""
        self._rich.print(table, soft_wrap=False)

    @contextmanager
    def stage(self, name: str, live: bool = True) -> Iterator[Stage]:
        """Show that `name` is under way; print its outcome and wall time when it ends.

        A live display takes over stdout, so it is not for a stage in which a user's script prints.
        """
        start = time.perf_counter()
        if live and self._rich.is_terminal:
            with self._rich.status(name) as status:
                stage = Stage(lambda text: status.update(f"{name}: {text}"))
                yield stage
        else:
            stage = Stage()
            yield stage
        self.line(f"  {name:<9} {stage.result:<78} {time.perf_counter() - start:6.1f} s")
