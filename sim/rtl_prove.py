"""Runs the proofs of a MAC, and of what is clocked around it, and tells how they went."""

import time
from collections.abc import Callable

from rtl.mac import MacDesign
from rtl.prove import Verdict, prove, theorems
from rtl.prove.handshakes import prove_handshake
from rtl.prove.issue_stage import issue_stage_claims
from rtl.prove.streams import handshakes


def run_proof(design: MacDesign, elements: tuple[str, ...], say: Callable[[str], None]) -> bool:
    """Prove every theorem about `design` in the named modes; False when one fails, which ends the run.

    Says one line a theorem, the values that break a failed claim, and an input of the whole MAC where one was found.
    """
    started, claims = time.perf_counter(), 0
    for theorem in theorems(design, elements):
        before = time.perf_counter()
        verdict = prove(design, theorem)
        if verdict.failure is not None:
            _tell_failure(verdict, say)
            return False
        claims += verdict.proven
        if verdict.proven:  # fixed-point formats have no lanes to align
            seconds = time.perf_counter() - before
            say(f"proven  {_name(verdict):<34} {verdict.proven:>4} claims  {seconds:6.1f} s")
    names, seconds = ", ".join(elements), time.perf_counter() - started
    mac = f"the {design.tree.value} MAC with M = {design.mantissa_bits}"
    say(f"{names}: {mac} equals its rule for every input; {claims} claims, {seconds:.0f} s")
    return True


def run_inductions(say: Callable[[str], None]) -> bool:
    """Prove by induction the handshakes of tile engine, streamers and scratchpad, and the issue stage's control.

    False when a claim fails, which ends the run.
    """
    parts = [(f"handshakes: {part.name}", part) for part in handshakes()]
    parts += [(part.name, part) for part in issue_stage_claims()]
    for name, part in parts:
        before = time.perf_counter()
        proven, broken = prove_handshake(part)
        if broken:
            say(f"FAILED  {name}: {broken[0].claim}")
            for path, value in broken[0].nets.items():
                say(f"    {path} = {value:#x}")
            return False
        seconds = time.perf_counter() - before
        say(f"proven  {name:<34} {proven:>4} claims  {seconds:6.1f} s")
    return True


def _name(verdict: Verdict) -> str:
    return f"{verdict.theorem.element or 'all formats'}: {verdict.theorem.stage}"


def _tell_failure(verdict: Verdict, say: Callable[[str], None]) -> None:
    failure = verdict.failure
    assert failure is not None
    say(f"FAILED  {_name(verdict)}: {failure.claim}")
    for path, value in failure.nets.items():
        say(f"    {path} = {value:#x}")
    say(f"    wrong for {failure.input}" if failure.input else "    no input that reaches this state was found in time")
