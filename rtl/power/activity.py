"""What an output-stationary array of MACs switches on given operands, before any technology charges for it.

The 8 x 8 MACs of a tile are the 64 samples of a machine word. Every MAC's netlist is compared with the value model in
every cycle, so what is counted belongs to the right results.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
from amaranth.back import rtlil

from mx_formats.quantize import Quantized
from rtl import cache as builds
from rtl import tools
from rtl.mac import MacDesign, MacStep
from rtl.mac.design import lane_bits
from rtl.mac.model import model_step
from rtl.power.mapped import Mapped, map_to_gates
from rtl.power.toggles import count_toggles
from rtl.simulate import port_words
from rtl.tools import ToolError

SIDE = 8  # rows and columns of a tile
SCALE_BITS = 8
_FILE = "activity.json"
Operands = list[tuple[Quantized, Quantized]]


@dataclass(frozen=True)
class Activity:
    """Mean changes a cycle, over all cycles after the first.

    Attributes:
        mac_cycles: cycles times MACs that the means are over.
        lanes: products of one of them.
        pairs: transistor pairs behind one MAC's nets that changed (`rtl.power.mapped`).
        fanout: gate inputs behind them.
        transistors: of the gates that drive them.
        accumulator: bits of one MAC's accumulator.
        left: bits of the registers, codes and scale, that feed one row.
        right: of those that feed one column.
        clocked: bits of each of the two that are clocked.
        accumulator_bits: of one MAC.
        mac_transistors: of one MAC's gates, changing or not.
    """

    mac_cycles: int
    lanes: int
    pairs: float
    fanout: float
    transistors: float
    accumulator: float
    left: float
    right: float
    clocked: float
    accumulator_bits: int
    mac_transistors: int


@cache
def mapped_mac(design: MacDesign) -> Mapped:
    """The gates of `MacStep(design)`; mapped once a process."""
    return map_to_gates(MacStep(design), "mac_step")


def activity(design: MacDesign, operands: Operands, *, glitches: bool = False) -> Activity:
    """Run tiles of dot products on the array.

    Args:
        design: its MACs.
        operands: pairs of [8 t, k] and [8 t, k], one after another: tile t multiplies rows 8t to 8t+7 of the left with
            the same rows of the right, k a multiple of the block; k may differ from pair to pair.
        glitches: see `rtl.power.toggles`.

    Raises:
        ValueError: no operands, shapes that do not fit, or an element or scale the MAC does not have.
        ToolError: tools are missing, or the mapped netlist computes something else than the model.
    """
    netlist, spec = mapped_mac(design), design.spec(_element(operands))
    found = switching(design, netlist, operands, glitches=glitches)
    macs, gates = found.mac_cycles, found.changes[netlist.first_gate_net :]
    return Activity(
        mac_cycles=macs,
        lanes=spec.lanes,
        pairs=float(found.changes @ netlist.pairs) / macs,
        fanout=float(found.changes @ netlist.fanout) / macs,
        transistors=float(gates @ netlist.transistors) / macs,
        accumulator=found.accumulator,
        left=found.left,
        right=found.right,
        clocked=spec.lanes * lane_bits(spec.element) * _used_share(spec.element.bits) + SCALE_BITS,
        accumulator_bits=design.accumulator_bits,
        mac_transistors=int(netlist.transistors.sum()),
    )


@dataclass(frozen=True)
class Switching:
    """Changes of a netlist's nets, all MACs and cycles together, and mean changes a cycle of the registers around it.

    Attributes:
        changes: int64[nets].
        mac_cycles: cycles times MACs that they are the sum of.
        accumulator: of bits of one MAC's accumulator.
        left: of the bits, codes and scale, that feed one row.
        right: of those that feed one column.
    """

    changes: np.ndarray
    mac_cycles: int
    accumulator: float
    left: float
    right: float


def switching(design: MacDesign, netlist: Mapped, operands: Operands, *, glitches: bool = False) -> Switching:
    """Run tiles on the gates of a MAC, however they were mapped; arguments and errors as `activity`."""
    name = _element(operands)
    parts = [_cycles(design, name, a, b) for a, b in operands]
    ports = {port: np.concatenate([part[port] for part, _ in parts]) for port in parts[0][0]}
    expected = np.concatenate([accumulators for _, accumulators in parts])
    toggles = count_toggles(netlist, ports, glitches=glitches)
    if (wrong := toggles.outputs["result"] != expected).any():
        cycle, sample = np.argwhere(wrong)[0]
        raise ToolError(f"the mapped netlist of {name} differs from the model in cycle {cycle}, MAC {sample}")
    macs = toggles.sample_cycles
    registers = macs / SIDE  # the first MAC of a row or column stands for the register that all of it shares
    return Switching(
        changes=toggles.changes,
        mac_cycles=macs,
        accumulator=_changes(ports["acc"]) / macs,
        left=sum(_changes(ports[port][:, ::SIDE]) for port in ("a", "xa")) / registers,
        right=sum(_changes(ports[port][:, :SIDE]) for port in ("b", "xb")) / registers,
    )


def cached_activity(design: MacDesign, operands: Operands) -> Activity:
    """`activity` without glitches, kept under `rtl.cache` by RTL, operands, our counting and Yosys' version.

    Raises:
        ValueError, ToolError: as `activity`; ToolError for a cache that cannot be written.
    """
    digest = hashlib.sha256(_element(operands).encode())
    for a, b in operands:
        for side in (a, b):
            digest.update(str(side.codes.shape).encode() + np.ascontiguousarray(side.codes).tobytes())
            digest.update(np.ascontiguousarray(side.scales).tobytes())
    source = rtlil.convert(MacStep(design), name="mac_step", emit_src=False)
    counting = [path.read_text() for path in sorted(Path(__file__).parent.glob("*.py"))]
    key = builds.key("activity", source, counting, tools.versions("pyosys"), digest.hexdigest())

    def fill(folder: Path) -> None:
        (folder / _FILE).write_text(json.dumps(asdict(activity(design, operands))))

    return Activity(**json.loads((builds.entry(key, fill) / _FILE).read_text()))


def _element(operands: Operands) -> str:
    """Name of the operands' one element; ValueError if they do not fit each other or the array."""
    formats = {side.format for pair in operands for side in pair}
    for a, b in operands:
        if a.codes.shape != b.codes.shape or a.codes.ndim != 2 or len(a.codes) % SIDE or len(formats) > 1:
            raise ValueError(
                f"operands: got {a.codes.shape} and {b.codes.shape}, must be of one shape [8 t, k] and format"
            )
    if not formats:
        raise ValueError("operands: there are none, must be one pair or more")
    (block,) = formats
    if not block.scale.is_power_of_two or block.tensor_scale:
        raise ValueError(f"operands: {block.name} has scales of {block.scale.name}, the MAC takes E8M0 alone")
    return block.element.name


def _cycles(design: MacDesign, name: str, a: Quantized, b: Quantized) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What every MAC takes in every cycle, and the accumulators it must leave; MAC 8r + c is in row r, column c."""
    spec, k = design.spec(name), a.codes.shape[1]
    rows, columns = np.divmod(np.arange(SIDE * SIDE), SIDE)
    taken: list[dict[str, np.ndarray]] = []
    expected = []
    for tile in range(len(a.codes) // SIDE):
        accumulator = np.zeros(SIDE * SIDE, np.uint32)
        for first in range(0, k, spec.lanes):
            lanes, block = slice(first, first + spec.lanes), first // a.format.block_size
            left, right = SIDE * tile + rows, SIDE * tile + columns
            codes = a.codes[left, lanes], b.codes[right, lanes]
            scales = a.scales[left, block], b.scales[right, block]
            taken.append({**port_words(design, name, *codes, *scales), "acc": accumulator})
            accumulator = model_step(design, name, *codes, *scales, accumulator)
            expected.append(accumulator)
    return {port: np.stack([cycle[port] for cycle in taken]) for port in taken[0]}, np.stack(expected)


def _changes(words: np.ndarray) -> int:
    """Bits that change from one cycle to the next, all columns together."""
    return int(np.bitwise_count(words[1:] ^ words[:-1]).sum())


def _used_share(bits: int) -> float:
    """FP6 codes lie in bytes of which six bits are clocked."""
    return bits / 8 if bits > 4 else 1.0
