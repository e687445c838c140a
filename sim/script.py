"""Run a Python script as `python script.py arguments` would, inside this process."""

import runpy
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from sim.errors import ScriptError


def run_script(script: Path, arguments: Sequence[str]) -> int:
    """Run `script` with `__name__ == "__main__"` and return its exit status.

    Raises:
        ScriptError: no such file.
        Exception: whatever the script lets escape, other than `SystemExit`.
    """
    if not script.is_file():
        raise ScriptError(
            f"script {script} is not a file; give the path of a Python script that launches Triton kernels"
        )
    try:
        with _as_main(script, arguments):
            runpy.run_path(str(script), run_name="__main__")
    except SystemExit as stop:
        return _status(stop.code)
    except KeyError as error:
        raise _without_a_type(error) or error from error
    return 0


def _without_a_type(error: KeyError) -> ScriptError | None:
    """Triton looks a tensor's dtype up by name and lets the failure escape as a bare KeyError."""
    name = error.args[0] if error.args else None
    if not isinstance(name, str) or not isinstance(getattr(torch, name, None), torch.dtype):
        return None
    return ScriptError(
        f"a kernel argument is a tensor of dtype {name}, for which Triton has no type; cast it, for example to "
        "float32, or pass a view of a supported dtype"
    )


@contextmanager
def _as_main(script: Path, arguments: Sequence[str]) -> Iterator[None]:
    """Give the script the arguments and the import path it would have of its own."""
    argv, path = sys.argv, sys.path[:]
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.resolve().parent))
    try:
        yield
    finally:
        sys.argv, sys.path[:] = argv, path


def _status(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code
    print(code, file=sys.stderr)
    return 1
