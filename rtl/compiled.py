"""Combinational RTL as a function on arrays: Amaranth to CXXRTL C++ to a shared object called through ctypes.

Built once per design, tool versions and flags (see `rtl.cache`).
"""

import ctypes
import subprocess
from pathlib import Path

import numpy as np
from amaranth.lib.wiring import Component, In, Out

from rtl import cache, emit, tools

FLAGS = ("-std=c++17", "-O2", "-fPIC", "-shared", "-DNDEBUG")
PORT_BITS = 32  # widest port an array element holds

_DRIVER = """\
#include <cstddef>
#include <cstdint>
#include "design.cc"

extern "C" void run(size_t n{arguments}) {{
  cxxrtl_design::p_{name} top;
  for (size_t i = 0; i < n; i++) {{
{inputs}
    top.step();
{outputs}
  }}
}}
"""


class CompiledRtl:
    """A combinational component compiled to machine code.

    Args:
        component: ports of at most 32 bits and no state.
        name: module name.

    Raises:
        ValueError: a port is wider than 32 bits.
        ToolError: no C++ compiler, no Yosys, or one of them failed.
    """

    def __init__(self, component: Component, name: str):
        tools.require("compiled RTL")
        members = {key: member for key, member in component.signature.members.items() if member.is_port}
        for key, member in members.items():
            if member.shape > PORT_BITS if isinstance(member.shape, int) else member.shape.width > PORT_BITS:
                raise ValueError(f"{name}.{key}: {member.shape} is wider than the {PORT_BITS} bits of an array element")
        self.inputs = tuple(key for key, member in members.items() if member.flow is In)
        self.outputs = tuple(key for key, member in members.items() if member.flow is Out)
        self.folder = _build(emit.cxxrtl(component, name), _driver(name, self.inputs, self.outputs))
        self._run = ctypes.CDLL(str(self.folder / "design.so")).run
        self._run.argtypes = [ctypes.c_size_t] + [ctypes.c_void_p] * (len(self.inputs) + len(self.outputs))
        self._run.restype = None

    def __call__(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Evaluate the outputs for each element of the input arrays, uint32[N] each, one per input port.

        Releases the global interpreter lock; any number of threads may call.

        Raises:
            ValueError: a port missing or unknown, or arrays of different length.
        """
        if set(arrays) != set(self.inputs):
            raise ValueError(f"inputs: got {sorted(arrays)}, must be {sorted(self.inputs)}")
        if len({np.shape(array) for array in arrays.values()}) != 1 or next(iter(arrays.values())).ndim != 1:
            shapes = {key: np.shape(array) for key, array in arrays.items()}
            raise ValueError(f"inputs: all arrays must be one-dimensional and of one length, got {shapes}")
        given = [np.ascontiguousarray(arrays[key], np.uint32) for key in self.inputs]
        results = {key: np.empty(len(given[0]), np.uint32) for key in self.outputs}
        self._run(len(given[0]), *(array.ctypes.data for array in (*given, *results.values())))
        return results


def _driver(name: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> str:
    return _DRIVER.format(
        name=_mangled(name),
        arguments="".join(f", const uint32_t *{key}" for key in inputs)
        + "".join(f", uint32_t *{key}" for key in outputs),
        inputs="\n".join(f"    top.p_{_mangled(key)}.set<uint32_t>({key}[i]);" for key in inputs),
        outputs="\n".join(f"    {key}[i] = top.p_{_mangled(key)}.get<uint32_t>();" for key in outputs),
    )


def _mangled(name: str) -> str:
    return name.replace("_", "__")  # CXXRTL keeps single underscores for its own prefixes


def _build(design: str, driver: str) -> Path:
    compiler = tools.compiler()
    key = cache.key(design, driver, FLAGS, tools.versions("pyosys", "C++ compiler"), compiler)

    def fill(folder: Path) -> None:
        (folder / "design.cc").write_text(design)
        (folder / "driver.cc").write_text(driver)
        command = [compiler, *FLAGS, f"-I{tools.cxxrtl_include()}", "driver.cc", "-o", "design.so"]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise tools.ToolError(f"compiling RTL failed: {' '.join(command)}\n{result.stderr[-2000:]}")

    return cache.entry(key, fill)
