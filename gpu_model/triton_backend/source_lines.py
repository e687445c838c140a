"""Honest source lines for loads and stores.

Triton emits memory accesses as inline assembly, and its PTX then counts one source line for each line of
that assembly, so that a load is reported some lines below the `tl.load` it came from. Keeping only the first
line mark of each inline block changes no instruction.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_INLINE = re.compile(r"(// begin inline asm\n)(.*?)(// end inline asm)", re.DOTALL)
_LINE_MARK = re.compile(r"^\t\.loc\t.*\n", re.MULTILINE)


def keep_first_line_mark(ptx: str) -> str:
    """Drop every `.loc` after the first inside each inline-assembly block of a PTX text."""

    def one(block: re.Match) -> str:
        first = _LINE_MARK.search(block[2])
        return block[1] + (first[0] if first else "") + _LINE_MARK.sub("", block[2]) + block[3]

    return _INLINE.sub(one, ptx)


def _with_line_marks(previous: Callable | None) -> Callable:
    """A Triton stage hook that repairs the PTX stage, after the hook that was set before."""

    def hook(self: Any = None, stages: Any = None, options: Any = None, language: Any = None,
             capability: Any = None) -> Any:  # fmt: skip
        if stages is None:  # Triton asks what to add to its cache key
            key, digest = previous() if previous else ("", "")
            return f"{key}warptree-lines", f"{digest}1"
        if previous:
            previous(self, stages, options, language, capability)
        make_ptx = stages["ptx"]
        stages["ptx"] = lambda source, metadata: keep_first_line_mark(make_ptx(source, metadata))
        return None

    return hook


def install() -> Callable | None:
    """Repair line marks of everything compiled from now on; returns the hook that was set before."""
    from triton import knobs

    previous = knobs.runtime.add_stages_inspection_hook
    knobs.runtime.add_stages_inspection_hook = _with_line_marks(previous)
    return previous


@contextmanager
def repaired() -> Iterator[None]:
    """Repair line marks for the time of a context."""
    from triton import knobs

    previous = install()
    try:
        yield
    finally:
        knobs.runtime.add_stages_inspection_hook = previous
