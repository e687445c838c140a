"""Saving launches as they happen, each to a numbered file of a folder."""

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from gpu_model.errors import LaunchFileError
from gpu_model.launch import Launch
from gpu_model.launch_file import MAX_BYTES, SUFFIX, LaunchWriter, Origin

_NUMBERED = re.compile(rf"(\d+)-.*{re.escape(SUFFIX)}")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.-]")


class LaunchRecorder:
    """Writes `0001-kernel.launch`, `0002-...` into a folder, after the numbers that are there already.

    Args:
        folder: made if it is not there.
        origin: of the outputs.
        kernel: pattern of the kernels to save, such as `add*`; None for all.
        limit: most launches to save; None for no limit.
        max_bytes: launches with more memory than this are skipped.

    Attributes:
        files: what was written.
        skipped: launches that were not, and why.

    Raises:
        LaunchFileError: the folder cannot be made.
    """

    def __init__(
        self, folder: Path, origin: Origin, *, kernel: str | None = None, limit: int | None = None,
        max_bytes: int = MAX_BYTES,
    ):  # fmt: skip
        try:
            folder.mkdir(parents=True, exist_ok=True)
            numbers = [int(match[1]) for path in folder.iterdir() if (match := _NUMBERED.fullmatch(path.name))]
        except OSError as error:
            raise LaunchFileError(f"folder {folder} for launch files: {error.strerror}") from error
        self._folder, self._origin, self._next = folder, origin, max(numbers, default=0) + 1
        self._kernel, self._limit, self._max_bytes = kernel, limit, max_bytes
        self.files: list[Path] = []
        self.skipped: list[str] = []

    def wants(self, kernel: str) -> bool:
        """Whether a launch of this kernel would be saved."""
        chosen = self._kernel is None or fnmatchcase(kernel, self._kernel)
        return chosen and (self._limit is None or len(self.files) < self._limit)

    def skip(self, kernel: str, reason: str) -> None:
        """Note a launch that cannot be saved."""
        self.skipped.append(f"{kernel}: {reason}")

    @contextmanager
    def recording(
        self, launch: Launch, *, refresh: Callable[[], None] | None = None, known: Collection[int] | None = None
    ) -> Iterator[None]:
        """Save a launch that runs inside this context; without outputs if it fails.

        Args:
            launch: about to run.
            refresh: called after it ran, to bring the launch's memory up to date.
            known: addresses of the segments whose contents are known after the launch; None for all.
        """
        writer = self._begin(launch)
        if writer is None:
            yield
            return
        try:
            yield
            if refresh is not None:
                refresh()
            writer.outputs(self._origin, known)
        finally:
            path = self._folder / f"{self._next:04d}-{_NOT_IN_A_NAME.sub('_', launch.program.name)[:80]}{SUFFIX}"
            writer.write(path)
            self._next += 1
            self.files.append(path)

    def _begin(self, launch: Launch) -> LaunchWriter | None:
        kernel = launch.program.name
        if not self.wants(kernel):
            return None
        size = sum(segment.size for segment in launch.segments)
        if 2 * size > self._max_bytes:
            self.skip(kernel, f"{size} bytes of memory before and as many after, at most {self._max_bytes} are saved")
            return None
        try:
            return LaunchWriter(launch)
        except LaunchFileError as error:
            self.skip(kernel, str(error))
            return None
