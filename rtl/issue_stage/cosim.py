"""The issue stage in Verilator, driven by cocotb: the same arrays in and out as of its compiled RTL."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rtl import verilated
from rtl.issue_stage.design import IssueDesign
from rtl.issue_stage.stage import IssueStage

TOPLEVEL = "issue_stage"
BENCH = "rtl.benches.issue_bench"


def run_cocotb(
    design: IssueDesign, ports: Mapping[str, np.ndarray], component: IssueStage | None = None
) -> dict[str, np.ndarray]:
    """Play inputs, then half of them and all once more behind a reset, which must give the same.

    Args:
        design: the issue stage; its Verilator model is built on first use (a minute) and cached.
        ports: an array of N cycles for each input, as `rtl.compiled.ClockedRtl` takes them.
        component: RTL to run in place of `IssueStage(design)`, with the same ports.

    Returns:
        An array of N cycles for each output.

    Raises:
        ToolError: a tool is missing, the build or the simulator failed, or reset left something.
    """
    model = verilated.build(component or IssueStage(design), TOPLEVEL)
    with tempfile.TemporaryDirectory(prefix="warptree-issue-") as scratch:
        files = {"ISSUE_BENCH_INPUTS": Path(scratch) / "in.npz", "ISSUE_BENCH_OUTPUTS": Path(scratch) / "out.npz"}
        np.savez(files["ISSUE_BENCH_INPUTS"], allow_pickle=False, **{k: a for k, a in ports.items() if k != "rst"})
        environment = {key: str(path) for key, path in files.items()}
        verilated.run(model, TOPLEVEL, BENCH, environment, Path(scratch))
        with np.load(files["ISSUE_BENCH_OUTPUTS"], allow_pickle=False) as outputs:
            return {name: outputs[name] for name in outputs.files}
