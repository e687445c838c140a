"""Floating-point and tensor operations of a program: how many a lane does, and how many a GPU can do in a cycle.

A fused multiply-add counts as two. Additions, multiplications and products of matrices count; comparisons,
conversions, integer arithmetic outside tensor cores and special functions do not.
"""

import re
from dataclasses import dataclass

import numpy as np

from gpu_model.core.lower import tensor_shape
from gpu_model.program import Program
from hw.gpu_spec import GpuSpec

LANES = 32
_PER_LANE = {
    "FP32": {"FADD": 1, "FMUL": 1, "FFMA": 2},
    "FP16": {"HADD2": 2, "HMUL2": 2, "HFMA2": 4},
    "FP64": {"DADD": 1, "DMUL": 1, "DFMA": 2},
}
_KIND_OF = {opcode: kind for kind, opcodes in _PER_LANE.items() for opcode in opcodes}
_TENSOR = re.compile(r"(H|I|Q|O|B|D)G?MMA")
_WARPGROUP = re.compile(r"(\d+)x(\d+)x(\d+)")
_BITS = {"H": 16, "I": 8, "Q": 8, "O": 4, "B": 1, "D": 64}


@dataclass(frozen=True)
class Kind:
    """Operations that one sort of unit does.

    Attributes:
        name: such as `FP32`, or `tensor 16-bit, FP32 sums`.
        peak: operations a cycle of the whole GPU.
    """

    name: str
    peak: float


def count_operations(program: Program, lanes: np.ndarray, spec: GpuSpec) -> dict[Kind, int]:
    """Operations of a launch by kind.

    Args:
        program: its code.
        lanes: int64[rows], lanes that executed each row.
        spec: the GPU, for the peaks.
    """
    counted: dict[Kind, int] = {}
    for index in np.flatnonzero(lanes):
        kind, per_lane = _row(program.rows[index], spec)
        if kind is not None:
            counted[kind] = counted.get(kind, 0) + int(lanes[index]) * per_lane
    return counted


def _row(row: np.void, spec: GpuSpec) -> tuple[Kind | None, int]:
    """Kind of a row and operations of a lane, (None, 0) if it does none."""
    opcode, modifiers = str(row["opcode"]), str(row["modifiers"])
    tensor = _TENSOR.fullmatch(opcode)
    if tensor:
        warps, shape = 1, tensor_shape(row)
        warpgroup = _WARPGROUP.search(modifiers)
        if warpgroup:
            warps, shape = 4, (int(warpgroup[1]), int(warpgroup[2]), int(warpgroup[3]))
        if shape is None:
            return None, 0
        per_lane = 2 * shape[0] * shape[1] * shape[2] // (LANES * warps)
        return _tensor_kind(tensor[1], modifiers.split("."), per_lane, spec), per_lane
    name = _KIND_OF.get(opcode)
    if name is None or opcode == "HADD2" and "F32" in modifiers.split("."):  # a conversion
        return None, 0
    return Kind(name, _scalar_peak(name, spec)), _PER_LANE[name][opcode]


def _scalar_peak(name: str, spec: GpuSpec) -> float:
    """Operations a cycle: a fused multiply-add of 32 lanes an interval, at most one issue a cycle and sub-core."""
    core = spec.core
    if name == "FP64":  # one pipe an SM
        return spec.sm_count * 2 * LANES / core.units["fp64"].interval
    if name == "FP16":
        return spec.sm_count * core.sub_cores * 4 * LANES / core.units["half"].interval
    pipes = 2 if core.fp32_on_alu else 1
    return spec.sm_count * core.sub_cores * 2 * LANES * min(1.0, pipes / core.units["fp32"].interval)


def _tensor_kind(letter: str, modifiers: list[str], per_lane: int, spec: GpuSpec) -> Kind:
    core = spec.core
    if letter == "D":
        return Kind("tensor FP64", spec.sm_count * LANES * per_lane / core.units["fp64"].interval)
    bits = 32 if "TF32" in modifiers else 4 if {"S4", "U4"} & set(modifiers) else _BITS[letter]
    rate = spec.sm_count * core.sub_cores * core.tensor.flops_per_cycle * 16 / bits
    floats = letter in "HQ" and "SF" not in modifiers
    single = floats and "F32" in modifiers
    if single:
        rate *= core.tensor.fp32_accumulate_rate
    sums = ", FP32 sums" if single else ", FP16 sums" if floats else ""
    return Kind(f"tensor {bits}-bit{sums}", rate)
