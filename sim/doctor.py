"""What this machine offers warptree: each piece, its version, and what its absence disables."""

import importlib.metadata
import platform
import sys
from pathlib import Path
from typing import NamedTuple

TORCH_PIN = "2.13.0"  # as in pyproject.toml; other builds are untested and may be gigabytes larger


class Finding(NamedTuple):
    """One piece: version is None when missing or unusable."""

    name: str
    version: str | None
    disables: str  # what does not work without it
    how_to_get: str

    @property
    def ok(self) -> bool:
        """Whether the piece is there and usable."""
        return self.version is not None


_ALL = "everything"
_PACKAGES = (
    ("numpy", _ALL, "pip install -c constraints.txt -e ."),
    ("numba", _ALL, "pip install -c constraints.txt -e ."),
    ("triton", "compiling and launching kernels", "pip install triton~=3.9.0"),
    ("pandas", "tables", "pip install pandas"),
    ("pyarrow", "Parquet output", "pip install pyarrow"),
    ("plotly", "HTML reports", "pip install plotly"),
)
_ASSEMBLER = (
    ("ptxas", "compiling kernels to machine code"),
    ("nvdisasm", "decoding machine code"),
)


def findings() -> list[Finding]:
    """Everything warptree uses, in the order in which a run meets it."""
    from rtl import tools

    packages = [Finding(name, _version(name), disables, get) for name, disables, get in _PACKAGES]
    return [_platform(), _python(), _torch(), *packages, *_nvidia_tools(), *(Finding(*tool) for tool in tools.found())]


def _platform() -> Finding:
    found = f"{platform.system()} {platform.machine()}"
    return Finding("platform", found if found == "Linux x86_64" else None, _ALL, f"this is {found}; use Linux x86_64")


def _python() -> Finding:
    version = platform.python_version() if sys.version_info >= (3, 11) else None
    return Finding("python", version, _ALL, "install Python 3.11 or newer")


def _torch() -> Finding:
    version = _version("torch")
    if version is None or version.split("+")[0] == TORCH_PIN:
        return Finding("torch", version, "tensors, launching kernels", f"pip install torch=={TORCH_PIN}")
    advice = f"found {version}, but this release is tested with {TORCH_PIN} only: pip install torch=={TORCH_PIN}"
    return Finding("torch", None, "tensors, launching kernels", advice)


def _nvidia_tools() -> list[Finding]:
    """The assembler and disassembler inside Triton's wheel; no CUDA toolkit is needed."""
    get = "reinstall Triton: pip install --force-reinstall triton~=3.9.0"
    return [Finding(name, "in triton" if _in_triton(name) else None, disables, get) for name, disables in _ASSEMBLER]


def _in_triton(program: str) -> bool:
    try:
        triton = importlib.metadata.distribution("triton")
    except importlib.metadata.PackageNotFoundError:
        return False
    return Path(str(triton.locate_file(f"triton/backends/nvidia/bin/{program}"))).is_file()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
