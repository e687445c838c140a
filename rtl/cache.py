"""Content-addressed cache of built RTL: same sources, tools and flags, same folder; nothing is built twice.

A build runs in a temporary folder next to its final place and is renamed there when complete, so that two processes
may build the same thing at once and neither ever sees half of it.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from rtl.tools import ToolError


def root() -> Path:
    """Folder that holds the builds: `$WARPTREE_CACHE/rtl`, or `~/.cache/warptree/rtl`."""
    base = os.environ.get("WARPTREE_CACHE")
    return (Path(base) if base else Path.home() / ".cache" / "warptree") / "rtl"


def key(*parts: object) -> str:
    """Name of the build that depends on `parts` (anything JSON can write), as 32 hex digits."""
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def entry(name: str, fill: Callable[[Path], None]) -> Path:
    """The cached folder `name`; if absent, `fill(folder)` makes its content first.

    What `fill` raises is passed on and leaves nothing behind; `ToolError` if the cache can't be written.
    """
    target = root() / name
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ToolError(f"build cache {root()} can't be made: {error}; set WARPTREE_CACHE to a folder") from error
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".building-") as scratch:
        work = Path(scratch) / "content"
        work.mkdir()
        fill(work)
        try:
            work.rename(target)
        except OSError:
            if not target.is_dir():  # otherwise another process finished the same build first
                raise
    return target
