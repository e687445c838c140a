"""How far a sweep is: a bar with the time left on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sim.console import Console

SECONDS_BETWEEN_LINES = 30


@contextmanager
def bar(console: Console, name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show progress while the context lasts; call what it gives with how many more are done."""
    if sys.stderr.isatty():
        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                   TextColumn("left"), TimeRemainingColumn())  # fmt: skip
        with Progress(*columns, console=RichConsole(stderr=True), redirect_stdout=False) as progress:
            task = progress.add_task(name, total=total)
            yield lambda count: progress.advance(task, count)
        return
    start = told = time.monotonic()
    done = 0

    def advance(count: int) -> None:
        nonlocal done, told
        done += count
        now = time.monotonic()
        if now - told > SECONDS_BETWEEN_LINES:
            told = now
            left = (now - start) * (total - done) / max(done, 1)
            console.fact(name, f"{done:,} of {total:,}, about {left:.0f} s left")

    yield advance
    console.fact(name, f"{done:,} of {total:,} in {time.monotonic() - start:.1f} s")
