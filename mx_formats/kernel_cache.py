"""Numba's disk cache, made to notice edits in the modules a kernel calls.

Numba keys a cached kernel by the file it stands in, so an edit to a function that it inlines from another
file goes unseen. Importing this module gives every kernel of this project a stamp made from the contents of
its module and of all project modules that module imports, directly or not. Every room with kernels imports
it before it compiles any.
"""

import ast
import functools
import hashlib
from pathlib import Path
from typing import Any

from numba.core.caching import CacheImpl, InTreeCacheLocator, UserProvidedCacheLocator, UserWideCacheLocator

_ROOT = Path(__file__).resolve().parent.parent
_ROOMS = ("mx_formats", "hw", "gpu_model", "rtl", "workloads", "sim")


def _module_file(name: str) -> Path | None:
    """Source file of a project module, or None."""
    if name.split(".")[0] not in _ROOMS:
        return None
    path = _ROOT.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@functools.cache
def _imports(path: Path) -> frozenset[Path]:
    """Project files that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        found.update(file for name in names if (file := _module_file(name)))
    return frozenset(found)


@functools.cache
def content_stamp(path: Path) -> str:
    """Hash of a project file and of every project file it depends on."""
    seen: set[Path] = set()
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen.add(file)
            waiting.extend(_imports(file))
    digest = hashlib.sha256()
    for file in sorted(seen):
        digest.update(file.relative_to(_ROOT).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _stamped(locator: Any) -> Any:
    """A Numba cache locator for files of this project, stamped by content."""

    class Stamped(locator):
        @classmethod
        def from_function(cls, py_func: Any, py_file: str) -> Any:
            file = Path(py_file).resolve()
            if not file.is_relative_to(_ROOT) or file.relative_to(_ROOT).parts[0] not in _ROOMS:
                return None
            found = super().from_function(py_func, py_file)
            if found is not None:
                found.project_file = file
            return found

        def get_source_stamp(self) -> str:
            return content_stamp(self.project_file)

    return Stamped


_LOCATORS = (UserProvidedCacheLocator, InTreeCacheLocator, UserWideCacheLocator)
CacheImpl._locator_classes[:0] = [_stamped(locator) for locator in _LOCATORS]
