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
WORD_BITS = 32  # of a wider port's words, one array row an element
# A large design builds in a fraction of the time, and runs a little slower.
QUICK_BUILD = ("-std=c++17", "-O1", "-fPIC", "-shared", "-DNDEBUG")

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
        component: outputs of at most 64 bits and no state.
        name: module name.
        flags: of the C++ compiler.

    Attributes:
        inputs: names of the input ports; element i of an array of ports `x` is `x__i`.
        outputs: of the output ports.

    Raises:
        ValueError: an output is wider than 64 bits.
        ToolError: no C++ compiler, no Yosys, or one of them failed.
    """

    _settle, _advance = "top.step();", ""
    _controls: tuple[str, ...] = ()  # inputs that are no ports of the component

    def __init__(self, component: Component, name: str, flags: tuple[str, ...] = FLAGS):
        tools.require("compiled RTL")
        ports = {"__".join(map(str, path)): member for path, member, _ in component.signature.flatten(component)}
        widths = {key: Shape.cast(member.shape).width for key, member in ports.items()}
        wide = {key: -(-width // WORD_BITS) for key, width in widths.items() if width > PORT_BITS}
        for key in wide:
            if ports[key].flow is Out:
                raise ValueError(f"{name}.{key}: {widths[key]} bits, an array element has {PORT_BITS}")
        self._words = wide
        narrow = {key: np.uint32 if width <= 32 or key in wide else np.uint64 for key, width in widths.items()}
        self._types = {key: np.dtype(kind) for key, kind in narrow.items()}
        self._types |= dict.fromkeys(self._controls, np.dtype(np.uint32))
        self.inputs = (*self._controls, *(key for key, member in ports.items() if member.flow is In))
        self.outputs = tuple(key for key, member in ports.items() if member.flow is Out)
        self.folder = _build(emit.cxxrtl(component, name), self._driver(name), flags)
        self._run = ctypes.CDLL(str(self.folder / "design.so")).run
        self._run.argtypes = [ctypes.c_size_t] + [ctypes.c_void_p] * (len(self.inputs) + len(self.outputs))
        self._run.restype = None

    def __call__(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Evaluate the outputs for each element of the input arrays, one array [N] per input port.

        Arrays become uint32, or uint64 for ports wider than 32 bits, and so are the results; an input wider than 64
        bits takes uint32[N, words], low word first. Releases the global interpreter lock; any number of
        threads may call.

        Raises:
            ValueError: a port missing or unknown, or arrays of different length.
        """
        if set(arrays) != set(self.inputs):
            raise ValueError(f"inputs: got {sorted(arrays)}, must be {sorted(self.inputs)}")
        count = len(arrays[self.inputs[0]])
        shapes = {key: np.shape(array) for key, array in arrays.items()}
        if any(shape != (count, self._words[key]) if key in self._words else shape != (count,)
               for key, shape in shapes.items()):  # fmt: skip
            more = f" but {self._words} words a row" if self._words else ""
            raise ValueError(f"inputs: all arrays must be one-dimensional{more} and of one length, got {shapes}")
        given = [np.ascontiguousarray(arrays[key], self._types[key]) for key in self.inputs]
        results = {key: np.empty(count, self._types[key]) for key in self.outputs}
        self._run(count, *(array.ctypes.data for array in (*given, *results.values())))
        return results

    def _driver(self, name: str) -> str:
        kind = {key: f"{dtype}_t" for key, dtype in self._types.items()}
        return _DRIVER.format(
            name=_mangled(name),
            arguments="".join(f", const {kind[key]} *{key}" for key in self.inputs)
            + "".join(f", {kind[key]} *{key}" for key in self.outputs),
            inputs="\n".join(self._set(key, kind[key]) for key in self.inputs),
            outputs="\n".join(f"    {key}[i] = top.p_{_mangled(key)}.get<{kind[key]}>();" for key in self.outputs),
            settle=self._settle,
            advance=self._advance,
        )

    def _set(self, key: str, kind: str) -> str:
        port, words = f"top.p_{_mangled(key)}", self._words.get(key)
        if words is None:
            return f"    {port}.set<{kind}>({key}[i]);"
        return "\n".join(f"    {port}.data[{word}] = {key}[{words} * i + {word}];" for word in range(words))


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


def _build(design: str, driver: str, flags: tuple[str, ...]) -> Path:
    compiler = tools.compiler()
    key = cache.key(design, driver, flags, tools.versions("pyosys", "C++ compiler"), compiler)

    def fill(folder: Path) -> None:
        (folder / "design.cc").write_text(design)
        (folder / "driver.cc").write_text(driver)
        command = [compiler, *flags, f"-I{tools.cxxrtl_include()}", "driver.cc", "-o", "design.so"]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise tools.ToolError(f"compiling RTL failed: {' '.join(command)}\n{result.stderr[-2000:]}")

    return cache.entry(key, fill)
