"""Icarus models of RTL for cocotb, as `rtl.verilated` makes them: a simulator of four-valued logic, much slower.

An undefined value that reaches an output fails a bench here, where Verilator has zeros and ones only.
"""

import os
import tempfile
from functools import partial
from pathlib import Path

from amaranth.lib.wiring import Component

from rtl import cache, cocotb_runner, emit, tools

_MODEL = "sim.vvp"  # cocotb's name for it

run = partial(cocotb_runner.run_bench, "icarus")


def build(component: Component, name: str) -> Path:
    """Folder with the Icarus model of `component` as top level `name`; built once per Verilog and tools.

    Raises:
        ToolError: a tool is missing or failed.
    """
    tools.require("cocotb on Icarus")
    verilog = emit.verilog(component, name)
    versions = tools.versions("icarus", "cocotb")
    key = cache.key("icarus", name, verilog, versions, cocotb_runner.TIMESCALE)

    def fill(folder: Path) -> None:
        source = folder / f"{name}.v"
        source.write_text(verilog)
        with tempfile.TemporaryDirectory(prefix="warptree-icarus-") as scratch:
            cocotb_runner.build("icarus", source, name, Path(scratch), (), dict(os.environ))
            (folder / _MODEL).write_bytes((Path(scratch) / _MODEL).read_bytes())

    return cache.entry(key, fill)
