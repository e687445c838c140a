"""Amaranth to Verilog and to CXXRTL C++, through Yosys.

Yosys runs in a child process: its name counter is global, so only a fresh process gives the same bytes every time, and
a Yosys error cannot take the caller down.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib.wiring import Component

from rtl.tools import ToolError

SRAM = "sram"  # attribute of a memory that is a macro
# Reads one Yosys command a line from standard input.
_YOSYS = """\
import sys
from pyosys import libyosys
design = libyosys.Design()
for line in sys.stdin:
    libyosys.run_pass(line.strip(), design)
"""


def verilog(component: Component, name: str) -> str:
    """Readable, hierarchical Verilog of `component` as module `name`; the same bytes for the same component.

    Raises `ToolError` with Yosys' message if Yosys refuses the design.
    """
    # Source locations hold machine paths, hence no `src` attributes; `-nomux` keeps `case` statements readable.
    # Memories marked as SRAM come up with unknown contents, where Amaranth has zeros.
    unknown = f"setparam -set INIT 1'x t:$mem_v2 a:{SRAM} %i"
    script = ["proc -nomux -norom", "memory_collect", unknown, "write_verilog -norename -noattr {out}"]
    return _convert(component, name, script, "design.v")


def cxxrtl(component: Component, name: str) -> str:
    """CXXRTL C++ of `component` as class `cxxrtl_design::p_<name>`, flattened, without debug information."""
    script = ["hierarchy -top {top}", "write_cxxrtl -namespace cxxrtl_design -O6 -g0 {out}"]
    return _convert(component, name, script, "design.cc")


def smt2(component: Component, name: str, cuts: Sequence[str] = ()) -> str:
    """SMT-LIB of `component`, flattened, every net named, memories as registers; nets in `cuts` lose their drivers."""
    cutpoints = ["cutpoint " + " ".join(f"w:{net}" for net in cuts)] if cuts else []
    script = [
        "hierarchy -top {top}",
        "flatten",
        "proc",
        "memory_collect",
        "memory_map",
        "dffunmap",
        "opt_clean",
        *cutpoints,
        "write_smt2 -wires {out}",
    ]
    return _convert(component, name, script, "design.smt2")


def statistics(component: Component, name: str, script: list[str]) -> str:
    """JSON that Yosys' `stat` prints after `script` has run on `component`; `{top}` in it is the module's name."""
    return _convert(component, name, [*script, "tee -q -o {out} stat -json -tech cmos"], "stat.json")


def longest_path(component: Component, name: str, script: Sequence[str]) -> str:
    """What Yosys' `ltp` prints of `component` after `script`, flip-flops taken as ends."""
    return _convert(component, name, [*script, "tee -q -o {out} ltp -noff"], "path.txt")


def liberty_statistics(component: Component, name: str, library: Path) -> str:
    """JSON that Yosys' `stat` prints after mapping `component` to the cells of a Liberty file."""
    mapping = [f"dfflibmap -liberty {library}", f"abc -liberty {library}", "opt_clean -purge", "delete t:$scopeinfo"]
    script = ["synth -flatten -top {top}", *mapping, f"tee -q -o {{out}} stat -json -liberty {library}"]
    return _convert(component, name, script, "stat.json")


def mapped(component: Component, name: str, script: list[str]) -> str:
    """JSON of the netlist that `script` makes of `component`; `{top}` in it is the module's name."""
    return _convert(component, name, [*script, "write_json {out}"], "netlist.json")


def _convert(component: Component, name: str, script: list[str], output: str) -> str:
    source = rtlil.convert(component, name=name, emit_src=False)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "design.il").write_text(source)
        lines = [f"read_rtlil {folder / 'design.il'}", *script]
        run_yosys([line.format(top=name, out=folder / output) for line in lines])
        return (folder / output).read_text()


def run_yosys(commands: list[str]) -> None:
    """Run Yosys commands in order in a fresh Yosys; raises `ToolError` with the end of its log if one fails."""
    result = subprocess.run([sys.executable, "-c", _YOSYS], input="\n".join(commands), capture_output=True, text=True,
                            check=False)  # fmt: skip
    if result.returncode != 0:
        log = "\n".join((result.stdout + result.stderr).splitlines()[-8:])
        raise ToolError(f"Yosys failed with exit code {result.returncode} in {commands!r}; end of its log:\n{log}")
