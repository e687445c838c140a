"""`warptree rtl synth --issue-stage GPU`: gates of control bits, of the scoreboards they replace, and of selection."""

from collections.abc import Callable
from dataclasses import replace

from hw.dependence_area import dependence_areas
from hw.gpu_spec import GpuSpec, load_gpu
from rtl import tools
from rtl.area_cache import cached_area
from rtl.issue_stage import IssueDesign
from rtl.issue_stage.control_bits import ControlBits
from rtl.issue_stage.design import POLICIES
from rtl.issue_stage.scoreboard import Scoreboard
from rtl.issue_stage.select import Selector
from rtl.synthesis import longest_path
from sim.errors import SimError

CONSUMERS = (1, 3, 63)


def synth_issue_stage(gpu: str, say: Callable[[str], None]) -> None:
    """Say what each mechanism takes of an SM in gates and registers, beside the published arithmetic of its bits.

    Then what it takes to select a warp, by policy.

    Raises:
        SimError: an issue stage for which there is no RTL.
    """
    tools.require("synthesis")
    spec = load_gpu(gpu)
    warps = spec.limits.warps
    made = [ControlBits(), *(Scoreboard(consumers) for consumers in CONSUMERS)]
    say(f"one SM of {spec.name}, {warps} warps; synth -flatten, abc -g cmos, transistors / 4; a minute the first time")
    say(f"{'':<26}{'NAND2':>10}{'flip-flops':>12}{'of the register file':>22}{'published':>11}")
    first = 0.0
    for component, published in zip(made, dependence_areas(spec, CONSUMERS), strict=True):
        size = cached_area(component, "dependences")
        nand2, flip_flops = size.nand2 * warps, size.flip_flops * warps
        first = first or nand2
        share = 100 * flip_flops / published.register_file_bits
        say(f"{published.mechanism:<26}{nand2:>10,.0f}{flip_flops:>12,}{share:>20.2f} %{published.percent:>9.2f} %"
            f"   gates x {nand2 / first:.1f}")  # fmt: skip
    say("Shares are of bits. Control bits take 42 a warp, not 41: a stall can last 45 cycles, and covers the yield.")
    say("A scoreboard's decoders from register numbers are left out, in its favour.")
    _say_selection(spec, say)


def _say_selection(spec: GpuSpec, say: Callable[[str], None]) -> None:
    try:
        design = IssueDesign.from_spec(spec)
    except ValueError as error:
        raise SimError(str(error)) from None
    cores = spec.core.sub_cores
    say(f"{f'{cores} selectors of {design.warps} warps':<26}{'NAND2':>10}{'flip-flops':>12}{'longest path':>22}")
    for policy in POLICIES:
        selector = Selector(replace(design, policy=policy))
        size, path = cached_area(selector, "select"), longest_path(selector, "select")
        say(f"{policy:<26}{size.nand2 * cores:>10,.0f}{size.flip_flops * cores:>12,}{path:>16} gates")
