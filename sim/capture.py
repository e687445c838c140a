"""A user's script on a real GPU, its launches saved with what the GPU made of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_model.capture import capturing
from gpu_model.launch_file import MAX_BYTES, Origin
from gpu_model.recorder import LaunchRecorder
from sim.console import Console, plural
from sim.errors import ScriptError
from sim.script import run_script


@dataclass(frozen=True)
class SaveLaunches:
    """Which launches to save, and where.

    Attributes:
        folder: for the files.
        kernel: pattern of the kernels, such as `add*`; None for all.
        limit: most launches; None for no limit.
        max_bytes: launches with more memory than this, before and after together, are skipped.
    """

    folder: Path
    kernel: str | None = None
    limit: int | None = None
    max_bytes: int = MAX_BYTES

    def recorder(self, origin: Origin) -> LaunchRecorder:
        """Make the recorder of outputs from one origin.

        Raises:
            LaunchFileError: the folder cannot be made.
        """
        return LaunchRecorder(self.folder, origin, kernel=self.kernel, limit=self.limit, max_bytes=self.max_bytes)


def tell_saved(console: Console, recorder: LaunchRecorder, folder: Path) -> None:
    """Say what was saved, and what was not and why."""
    console.fact("saved", f"{plural(len(recorder.files), 'launch')} in {folder}")
    for line in recorder.skipped:
        console.fact("skipped", line)


def capture_script(
    script: Path, arguments: Sequence[str], gpu: tuple[Any, Origin], save: SaveLaunches, console: Console
) -> int:
    """Run `script` on a GPU and save its launches; returns its exit status.

    Args:
        script: path.
        arguments: of the script.
        gpu: Triton's driver of the GPU, and what its outputs are labelled with.
        save: which launches, and where.
        console: for progress.

    Raises:
        ScriptError: no such script, or none of its launches could be saved.
        LaunchFileError: the folder cannot be written.
    """
    driver, origin = gpu
    recorder = save.recorder(origin)
    with capturing(driver, recorder):
        status = run_script(script, arguments)
    tell_saved(console, recorder, save.folder)
    if not recorder.files:
        raise ScriptError(f"{script} ended with status {status}, and no launch was saved")
    return status
