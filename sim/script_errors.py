"""What a script's own failure looks like: the traceback it would have by itself, and a remedy for a missing package."""

import importlib.util
import sys
import traceback
from types import TracebackType

RUNNER = "<frozen runpy>"  # the last of its frames calls the script


def script_part(error: BaseException) -> TracebackType | None:
    """The traceback of `error` from the script's first frame on; None if no script was running."""
    part, step = None, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == RUNNER:
            part = step.tb_next
        step = step.tb_next
    return part


def told(error: BaseException, part: TracebackType) -> str:
    """`error` as Python would print it had the script run by itself, and a remedy where there is one."""
    text = "".join(traceback.format_exception(type(error), error, part))
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        if importlib.util.find_spec(package) is None:
            text += f"warptree: there is no module {package!r} where warptree runs; install its package there: "
            text += f"{sys.executable} -m pip install ...\n"
    return text
