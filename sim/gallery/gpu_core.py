"""Micro-benchmarks of an NVIDIA core: issue cycles as published."""

from collections.abc import Iterator

from gpu_model.sass import assemble
from gpu_model.timing import IssueRecord, issue_cycles
from hw.gpu_spec import load_gpu
from sim.gallery.claim import Check, Entry, exactly

_WARM = {"core.icache.perfect": True, "core.constant.perfect": True}
_CLOCKED = "CS2R.32 R20, SR_CLOCKLO\n{}\nCS2R.32 R22, SR_CLOCKLO"
_LOAD = "LDG.E R8, [R2.64]"


def _run(listing: str, **changes: int) -> IssueRecord:
    fields = {f"core.{name.replace('__', '.')}": value for name, value in changes.items()}
    return issue_cycles(assemble(f"{listing}\nEXIT"), load_gpu("rtx_a6000", _WARM | fields))


def _clocks(body: str, **changes: int) -> int:
    """Cycles that two clock reads around some code see."""
    control = _run(_CLOCKED.format(body), **changes).control[0]
    return int(control[body.count("\n") + 2] - control[0])


def _distance(listing: str) -> int:
    """Cycles from the first instruction's issue to the second's."""
    cycle = _run(listing).cycle[0]
    return int(cycle[1] - cycle[0])


def _checks() -> Iterator[Check]:
    for x, y, published in ((19, 21, 5), (18, 21, 6), (18, 20, 7)):
        body = f"NOP\nFFMA R11, R10, R12, R14\nFFMA R13, R16, R{x}, R{y}\nNOP"
        yield exactly(f"listing 1, sources R16, R{x}, R{y}", published, _clocks(body), "cycles")
    for stall, published in ((1, 5), (4, 8)):
        body = f"NOP\n[B------:R-:W-:-:S{stall:02}] FADD R1, R2, R3\nFFMA R5, R1, R1, R1\nNOP"
        yield exactly(f"listing 2, stall count {stall}", published, _clocks(body), "cycles")
    for consumer, least in (("MOV R4, R2", 4), ("LDG.E R4, [R2]", 5)):
        safe = [stall for stall in range(1, 12)
                if not _run(f"[B------:R-:W-:-:S{stall:02}] MOV R2, R6\n{consumer}").hazard]  # fmt: skip
        yield exactly(f"listing 3, least stall count before {consumer.split()[0]}", least, min(safe), "cycles")
    yield exactly("a lone warp that yields", 2, _distance("[B------:R-:W-:Y:S01] NOP\nNOP"), "cycles")
    yield exactly("stall count 0 with yield", 45, _distance("[B------:R-:W-:Y:S00] NOP\nNOP"), "cycles")
    for stall, published in ((1, 1), (2, 32)):
        waiting = f"[B------:R-:W0:-:S{stall:02}] {_LOAD}\n[B0-----:R-:W-:-:S01] MOV R10, R8"
        yield exactly(f"a load's counter awaited after stall count {stall}", published, _distance(waiting), "cycles")
    lone = _run("\n".join(["NOP"] * 32)).cycle[0]
    yield exactly("32 instructions of a lone warp, three buffer entries", 31, int(lone[31] - lone[0]), "cycles")


ENTRY = Entry(
    "gpu-core",
    "control bits, register-file ports and instruction buffer set the issue cycles of an Ampere core",
    "Huerta et al., Dissecting and Modeling the Architecture of Modern GPU Cores, MICRO 2025",
    "the paper's listings, assembled and issued on the core model of the RTX A6000",
    simulated=True,
    checks=_checks,
)
