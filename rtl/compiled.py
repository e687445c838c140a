"""RTL as a function on arrays: Amaranth to CXXRTL C++ to a shared object called through ctypes.

Built once per design, tool versions and flags (see `rtl.cache`).
"""

import ctypes
import subprocess
from pathlib import Path

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib.wiring import Component, In, Out

from rtl import cache, emit, tools

FLAGS = ("-std=c++17", "-O2", "-fPIC", "-shared", "-DNDEBUG")
PORT_BITS = 64  # widest port an array element holds

_DRIVER = """\
#include <cstddef>
#include <cstdint>
#include "design.cc"

extern "C" void run(size_t n{arguments}) {{
  cxxrtl_design::p_{name} top;
  for (size_t i = 0; i < n; i++) {{
{inputs}
    {settle}
{outputs}
    {advance}
  }}
}}
"""


class CompiledRtl:
    """A combinational component compiled to machine code.

    Args:
        component: ports of at most 64 bits and no state.
        name: module name.

    Attributes:
        inputs: names of the input ports; element i of an array of ports `x` is `x__i`.
        outputs: of the output ports.

    Raises:
        ValueError: a port is wider than 64 bits.
        ToolError: no C++ compiler, no Yosys, or one of them failed.
    """

    _settle, _advance = "top.step();", ""
    _controls: tuple[str, ...] = ()  # inputs that are no ports of the component

    def __init__(self, component: Component, name: str):
        tools.require("compiled RTL")
        ports = {"__".join(map(str, path)): member for path, member, _ in component.signature.flatten(component)}
        widths = {key: Shape.cast(member.shape).width for key, member in ports.items()}
        for key, width in widths.items():
            if width > PORT_BITS:
                raise ValueError(f"{name}.{key}: {width} bits, an array element has {PORT_BITS}")
        self._types = {key: np.dtype(np.uint32 if width <= 32 else np.uint64) for key, width in widths.items()}
        self._types |= dict.fromkeys(self._controls, np.dtype(np.uint32))
        self.inputs = (*self._controls, *(key for key, member in ports.items() if member.flow is In))
        self.outputs = tuple(key for key, member in ports.items() if member.flow is Out)
        self.folder = _build(emit.cxxrtl(component, name), self._driver(name))
        self._run = ctypes.CDLL(str(self.folder / "design.so")).run
        self._run.argtypes = [ctypes.c_size_t] + [ctypes.c_void_p] * (len(self.inputs) + len(self.outputs))
        self._run.restype = None

    def __call__(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Evaluate the outputs for each element of the input arrays, one array [N] per input port.

        Arrays become uint32, or uint64 for ports wider than 32 bits, and so are the results. Releases the global
        interpreter lock; any number of threads may call.

        Raises:
            ValueError: a port missing or unknown, or arrays of different length.
        """
        if set(arrays) != set(self.inputs):
            raise ValueError(f"inputs: got {sorted(arrays)}, must be {sorted(self.inputs)}")
        if len({np.shape(array) for array in arrays.values()}) != 1 or next(iter(arrays.values())).ndim != 1:
            shapes = {key: np.shape(array) for key, array in arrays.items()}
            raise ValueError(f"inputs: all arrays must be one-dimensional and of one length, got {shapes}")
        given = [np.ascontiguousarray(arrays[key], self._types[key]) for key in self.inputs]
        results = {key: np.empty(len(given[0]), self._types[key]) for key in self.outputs}
        self._run(len(given[0]), *(array.ctypes.data for array in (*given, *results.values())))
        return results

    def _driver(self, name: str) -> str:
        kind = {key: f"{dtype}_t" for key, dtype in self._types.items()}
        return _DRIVER.format(
            name=_mangled(name),
            arguments="".join(f", const {kind[key]} *{key}" for key in self.inputs)
            + "".join(f", {kind[key]} *{key}" for key in self.outputs),
            inputs="\n".join(f"    top.p_{_mangled(key)}.set<{kind[key]}>({key}[i]);" for key in self.inputs),
            outputs="\n".join(f"    {key}[i] = top.p_{_mangled(key)}.get<{kind[key]}>();" for key in self.outputs),
            settle=self._settle,
            advance=self._advance,
        )


class ClockedRtl(CompiledRtl):
    """A component with state, clock `clk` and reset `rst`: element i of an array is a port's value in cycle i.

    Inputs are those of the component and `rst`. Outputs are read at the end of each cycle, just before the clock edge.
    Each call starts anew, with every register at its reset value.
    """

    _settle = "top.p_clk.set<bool>(false); top.step();"
    _advance = "top.p_clk.set<bool>(true); top.step();"
    _controls = ("rst",)


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
