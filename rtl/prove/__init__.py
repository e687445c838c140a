"""Proofs that generated RTL equals the rule of its tree for every input, with the z3 solver.

specification   the hybrid's rule over bit-vectors, written from `hw.mac` and from nothing of the RTL
*_rule          those of the other trees, from `hw.mx_macs`
netlist         the RTL as z3 terms, cut at chosen nets
stages          what each cut net must carry; *_stages, in the other trees
proof           all of them, one after another, and a failing input where one does not hold
induction       a clocked component's step from one state to the next as z3 terms
handshakes      claims about every cycle, by induction
streams         those of the tile engine and of the NPU's streamers, queues and scratchpad
"""

from rtl.prove.proof import Failure, Input, Theorem, Verdict, prove, theorems

__all__ = ["Failure", "Input", "Theorem", "Verdict", "prove", "theorems"]
