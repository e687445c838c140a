"""Counts how often every net changes while a mapped netlist runs, 64 samples in a machine word.

Two delay models bracket silicon. Without delay a net changes at most once a cycle, which is the least that can happen.
With one unit of delay a gate, whatever its load, and pulses of any width passed on, it changes as often as the paths to
it differ in length: more than in silicon, where balanced paths and slow gates swallow most glitches.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from mx_formats.bits import popcount
from rtl.power.mapped import ONE, Mapped

SAMPLES = 64


@dataclass(frozen=True)
class Toggles:
    """Changes of every net.

    Attributes:
        changes: int64[nets].
        sample_cycles: cycles times samples that they are the sum of.
        outputs: uint64[cycles, samples] by output port: its value at the end of each cycle.
    """

    changes: np.ndarray
    sample_cycles: int
    outputs: dict[str, np.ndarray]


def count_toggles(netlist: Mapped, values: dict[str, np.ndarray], *, glitches: bool = False) -> Toggles:
    """Run `netlist` for some cycles on 64 samples.

    Args:
        netlist: the gates.
        glitches: with one unit of delay a gate instead of none.
        values: by input port, unsigned integers [cycles, 64]; the first cycle sets the scene and is not counted.

    Raises:
        ValueError: a port missing, unknown, or of another shape.
    """
    shapes = {port: array.shape for port, array in values.items()}
    cycles = len(next(iter(values.values()), ()))
    if set(values) != set(netlist.in_ports) or set(shapes.values()) != {(cycles, SAMPLES)} or cycles < 2:
        wanted = ", ".join(sorted(netlist.in_ports))
        raise ValueError(f"values: got {shapes}, must be [cycles, {SAMPLES}], two cycles or more, of {wanted}")
    words = np.zeros((cycles, netlist.nets), np.uint64)
    for port, nets in netlist.in_ports.items():
        bits = values[port].astype(np.uint64)[:, :, None] >> np.arange(len(nets), dtype=np.uint64) & np.uint64(1)
        words[:, nets] = (bits << np.arange(SAMPLES, dtype=np.uint64)[None, :, None]).sum(axis=1, dtype=np.uint64)
    words[:, ONE] = ~np.uint64(0)
    changes = np.zeros(netlist.nets, np.int64)
    run = _run_unit_delay if glitches else _run
    run(netlist.kind, netlist.inputs, netlist.first_gate_net, words, changes)
    outputs = {port: _read(words, nets) for port, nets in netlist.out_ports.items()}
    return Toggles(changes, (cycles - 1) * SAMPLES, outputs)


def _read(words: np.ndarray, nets: np.ndarray) -> np.ndarray:
    bits = words[:, nets][:, None, :] >> np.arange(SAMPLES, dtype=np.uint64)[None, :, None] & np.uint64(1)
    return (bits << np.arange(len(nets), dtype=np.uint64)).sum(axis=2, dtype=np.uint64)


@njit(cache=True, nogil=True)
def _evaluate(kind, a, b, c, d):
    if kind == 0:
        return ~a
    if kind == 1:
        return a & b
    if kind == 2:
        return ~(a & b)
    if kind == 3:
        return a | b
    if kind == 4:
        return ~(a | b)
    if kind == 5:
        return a ^ b
    if kind == 6:
        return ~(a ^ b)
    if kind == 7:
        return (a & ~c) | (b & c)
    if kind == 8:
        return ~((a & ~c) | (b & c))
    if kind == 9:
        return ~((a & b) | c)
    if kind == 10:
        return ~((a | b) & c)
    if kind == 11:
        return ~((a & b) | (c & d))
    return ~((a | b) & (c | d))


@njit(cache=True, nogil=True)
def _settle(kind, inputs, first, nets):
    for gate in range(len(kind)):
        row = inputs[gate]
        nets[first + gate] = _evaluate(kind[gate], nets[row[0]], nets[row[1]], nets[row[2]], nets[row[3]])


@njit(cache=True, nogil=True)
def _run(kind, inputs, first, words, changes):
    """Settle every cycle; `words` [cycles, nets] holds the ports and gets the gates."""
    for cycle in range(len(words)):
        _settle(kind, inputs, first, words[cycle])
        if cycle:
            for net in range(words.shape[1]):
                changes[net] += popcount(words[cycle, net] ^ words[cycle - 1, net])


@njit(cache=True, nogil=True)
def _run_unit_delay(kind, inputs, first, words, changes):
    """The same, each gate a unit of time after its inputs."""
    cycles, nets = words.shape
    _settle(kind, inputs, first, words[0])
    now, later = words[0].copy(), words[0].copy()
    moved, moving = np.zeros(nets, np.bool_), np.zeros(nets, np.bool_)
    for cycle in range(1, cycles):
        for net in range(first):
            moved[net] = now[net] != words[cycle, net]
            changes[net] += popcount(now[net] ^ words[cycle, net])
            now[net] = words[cycle, net]
        busy = True
        while busy:
            busy = False
            for gate in range(len(kind)):
                row, net = inputs[gate], first + gate
                moving[net] = False
                if moved[row[0]] or moved[row[1]] or moved[row[2]] or moved[row[3]]:
                    later[net] = _evaluate(kind[gate], now[row[0]], now[row[1]], now[row[2]], now[row[3]])
                    moving[net] = later[net] != now[net]
            moved[:first] = False
            for net in range(first, nets):
                moved[net] = moving[net]
                if moving[net]:
                    changes[net] += popcount(now[net] ^ later[net])
                    now[net] = later[net]
                    busy = True
        words[cycle] = now
