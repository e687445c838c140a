"""Icarus models of RTL for cocotb, as `rtl.verilated` makes them: a simulator of four-valued logic, much slower.

An undefined value that reaches an output fails a bench here, where Verilator has zeros and ones only.
"""

import os
from functools import partial
from pathlib import Path

from amaranth.lib.wiring import Component

from rtl import cocotb_runner, tools

run = partial(cocotb_runner.run_bench, "icarus")


def build(component: Component, name: str) -> Path:
    """Folder with the Icarus model of `component` as top level `name`; built once per Verilog and tools.

    Raises:
        ToolError: a tool is missing or failed.
    """
    tools.require("cocotb on Icarus")
    key = (tools.versions("icarus", "cocotb"),)
    return cocotb_runner.build("icarus", component, name, "sim.vvp", (), os.environ, key)
