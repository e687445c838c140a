"""cocotb's runner in a child process.

It reads and extends the process environment and prints to standard output, so it gets a process of its own.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from amaranth.lib.wiring import Component

import rtl
from rtl import cache, emit, tools

TIMESCALE = ("1ns", "1ps")  # Amaranth writes none, and a simulator's default of 1 s is useless
POLL_SECONDS = 0.1
LOG_CHARACTERS = 3000  # of a failed tool's output, its end, in an error message

_RUNNER = """\
import json, sys
from cocotb_tools.runner import get_runner
getattr(get_runner(sys.argv[1]), sys.argv[2])(**json.loads(sys.argv[3]))
"""


def build(
    simulator: str,
    component: Component,
    name: str,
    model: str,
    flags: tuple[str, ...],
    environment: Mapping[str, str],
    key: tuple,
) -> Path:
    """Folder with a simulator's model of `component` as top level `name`; built once per Verilog, flags and `key`.

    Args:
        simulator: as cocotb calls it.
        component: the RTL.
        name: top level.
        model: the one file of what the simulator builds that running it needs.
        flags: for the simulator.
        environment: in which it builds.
        key: whatever else the model depends on.

    Raises:
        ToolError: the build failed; the message ends with its log.
    """
    verilog = emit.verilog(component, name)

    def fill(folder: Path) -> None:
        source, built = folder / f"{name}.v", folder / model
        source.write_text(verilog)
        with tempfile.TemporaryDirectory(prefix=f"warptree-{simulator}-") as scratch:
            arguments = {"sources": [str(source)], "hdl_toplevel": name, "build_dir": scratch, "build_args": flags,
                         "timescale": TIMESCALE, "always": True}  # fmt: skip
            _call(simulator, "build", arguments, environment)
            shutil.copy(Path(scratch) / model, built)

    return cache.entry(cache.key(simulator, name, verilog, flags, TIMESCALE, *key), fill)


def run_bench(
    simulator: str,
    model: Path,
    name: str,
    bench: str,
    environment: Mapping[str, str],
    scratch: Path,
    poll: Callable[[], None] = lambda: None,
) -> None:
    """Run the cocotb tests of module `bench` on what `build` made.

    Args:
        simulator: as cocotb calls it.
        model: folder with the built model.
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
    log = _call(simulator, "test", arguments, {**os.environ, **environment}, poll)
    if not results.exists() or "<failure" in results.read_text():
        raise tools.ToolError(f"the cocotb bench {bench} failed or broke off; end of its log:\n{log[-LOG_CHARACTERS:]}")


def _call(
    simulator: str,
    method: str,
    arguments: dict,
    environment: Mapping[str, str],
    poll: Callable[[], None] = lambda: None,
) -> str:
    """Call a method of a simulator's runner in a child process; returns its output."""
    # cocotb names its result files differently below pytest.
    environment = {key: value for key, value in environment.items() if key != "PYTEST_CURRENT_TEST"}
    package_parent = str(Path(rtl.__file__).parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join([package_parent, environment.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", _RUNNER, simulator, method, json.dumps(arguments)]
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
            f"cocotb's {simulator} runner failed in {method}, exit code {child.returncode}; end of its log:\n{end}"
        )
    return log
