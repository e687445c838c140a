"""`LOWERED` rows of hardware that works while its warp goes on: warpgroup products, mbarriers, bulk copies.

What they add to the pipeline of a sub-core is two things that dependence counters already do: a product's group
counts as one more counter, and an mbarrier test is a load that comes back when the phase is complete.
"""

import re

import numpy as np

from gpu_model.core.memory_timing import QUEUE_DELAY, WAR_FROM_START, acceptance, lower_memory_timing
from gpu_model.core.opcodes import Action, Path, Pipe, Space
from gpu_model.core.stalls import StallReason
from gpu_model.core.state import PRODUCT_COUNTER
from gpu_model.errors import UnsupportedInstruction
from gpu_model.machine.lower_bulk import arrival_kind
from gpu_model.program import Operand
from hw.gpu_spec import CopySpec, GpuSpec, ProductSpec

_MATRIX_COUNTER = 8  # COUNTER operands from here on are matrix groups
_PRODUCTS = ("HGMMA", "IGMMA", "QGMMA")
_LOADS, _STORES = ("UTMALDG", "UBLKCP"), ("UTMASTG", "UTMAREDG", "UBLKRED")
ASYNCHRONOUS = frozenset((*_PRODUCTS, *_LOADS, *_STORES, "SYNCS", "FENCE", "WARPGROUP"))
_WARPGROUP_ROWS, _WARPGROUP = 64, 4
_A_REGISTERS = 4  # of a lane: 16 rows of 256 bits
_SHARED_BYTES_PER_CYCLE = 128  # 32 banks of four bytes (CUDA C++ programming guide)


def lower_asynchronous(out: np.void, row: np.void, spec: GpuSpec, place: str) -> None:
    """Fill a row of the table.

    Raises:
        UnsupportedInstruction: hardware that the GPU's description does not have, or a form without timing.
    """
    opcode = str(row["opcode"])
    out["alternative"], out["constant"] = -1, -1
    if opcode in _PRODUCTS or opcode == "WARPGROUP":
        products = spec.core.products
        if products is None:
            raise _not_described(spec, "core.products", place)
        if opcode == "WARPGROUP":
            _lower_warpgroup(out, row, spec, products)
        else:
            _lower_product(out, row, spec, products, place)
        return
    copies = spec.core.copies
    if copies is None:
        raise _not_described(spec, "core.copies", place)
    if opcode == "FENCE":
        _lower_fixed(out, spec)
        out["action"], out["tail"] = Action.MEMBAR, copies.fence
    elif opcode == "SYNCS":
        _lower_mbarrier(out, row, spec, copies)
    else:
        _lower_copy(out, row, spec, copies, place)


def _lower_fixed(out: np.void, spec: GpuSpec) -> None:
    """An instruction that does nothing after it issued."""
    misc = spec.core.units["misc"]
    out["path"], out["pipe"] = Path.FIXED, Pipe.MISC
    out["interval"], out["latency"], out["window"] = misc.interval, misc.latency, spec.core.rf.read_cycles


def _lower_warpgroup(out: np.void, row: np.void, spec: GpuSpec, products: ProductSpec) -> None:
    """WARPGROUP.DEPBAR waits until at most so many groups are under way, .ARRIVE for the registers of a product."""
    _lower_fixed(out, spec)
    operands, modifiers = row["operands"], str(row["modifiers"]).split(".")
    if "DEPBAR" in modifiers:
        out["bar_counter"] = PRODUCT_COUNTER
        out["bar_limit"] = operands[operands["kind"] == Operand.IMMEDIATE][0]["value"]
    elif "ARRIVE" in modifiers:
        out["action"], out["tail"] = Action.MEMBAR, products.arrive


def _not_described(spec: GpuSpec, name: str, place: str) -> UnsupportedInstruction:
    return UnsupportedInstruction(
        f"{place}: {spec.name} has no [{name}], which this instruction needs; describe it in the GPU's TOML file"
    )


def _lower_product(out: np.void, row: np.void, spec: GpuSpec, products: ProductSpec, place: str) -> None:
    match = re.search(r"(\d+)x(\d+)x(\d+)", str(row["modifiers"]))
    if match is None or int(match[1]) != _WARPGROUP_ROWS:
        raise UnsupportedInstruction(f"{place}: expected a shape such as 64x128x16")
    columns, depth = int(match[2]), int(match[3])
    registers = _a_register(row["operands"])
    _lower_fixed(out, spec)
    out["pipe"], out["action"], out["wait_reason"] = Pipe.PRODUCT, Action.PRODUCT, StallReason.MATRIX_PRODUCT
    out["interval"] = products.issue if registers < 0 else products.issue_registers
    out["tail"] = products.tail if registers < 0 else products.tail_registers
    out["work"] = _product_cycles(columns, depth, registers < 0, spec)
    if registers >= 0:
        out["reads"], out["window"] = _A_REGISTERS, spec.core.rf.wide_read_cycles
        out["read_register"][:_A_REGISTERS] = range(registers, registers + _A_REGISTERS)
    if (row["operands"]["kind"] == Operand.COUNTER).any():
        if out["write_counter"] >= 0:
            raise UnsupportedInstruction(f"{place}: a product that closes a group and names a write counter")
        out["write_counter"] = PRODUCT_COUNTER


def _a_register(operands: np.ndarray) -> int:
    """First register of A, -1 if it is in shared memory: it follows the destination."""
    return int(operands[1]["index"]) if operands[1]["kind"] == Operand.REGISTER else -1


def _product_cycles(columns: int, depth: int, shared: bool, spec: GpuSpec) -> int:
    """Cycles of the tensor core for its quarter of the rows, or of shared memory for the warpgroup if that is more.

    The 256 bits of a row of A or B are `depth` elements.
    """
    rate = spec.core.tensor.flops_per_cycle * depth / 16
    work = 2 * _WARPGROUP_ROWS // _WARPGROUP * columns * depth / rate
    moved = 32 * (columns + _WARPGROUP_ROWS * shared)
    return max(1, round(max(work, moved / _SHARED_BYTES_PER_CYCLE)))


def _lower_mbarrier(out: np.void, row: np.void, spec: GpuSpec, copies: CopySpec) -> None:
    modifiers = set(str(row["modifiers"]).split("."))
    uniform = spec.core.memory.classes["lds_uniform"]
    out["wait_reason"] = StallReason.MBARRIER
    if "CCTL" in modifiers:
        _lower_fixed(out, spec)
        return
    out["path"], out["pipe"], out["space"] = Path.MEMORY, -1, Space.MBARRIER
    out["occupancy"] = spec.core.memory.accept_interval
    out["loads"] = out["write_counter"] >= 0
    if "PHASECHK" in modifiers:
        out["action"] = Action.MBARRIER_TEST
        uniform = uniform.model_copy(update={"raw": copies.barrier_test})
    elif "EXCH" in modifiers:
        out["action"] = Action.MBARRIER_SET
    else:
        out["action"] = Action.MBARRIER_UPDATE
        out["how"] = arrival_kind(modifiers)
        out["tail"] = max(1, copies.barrier_arrive - acceptance(uniform))
    lower_memory_timing(out, uniform, 0, spec.core.memory.store_bytes_per_cycle)


def _lower_copy(out: np.void, row: np.void, spec: GpuSpec, copies: CopySpec, place: str) -> None:
    modifiers = str(row["modifiers"]).split(".")
    if modifiers[:2] == ["S", "S"]:
        raise UnsupportedInstruction(f"{place}: no timing for copies between the shared memories of a cluster")
    load = row["opcode"] == "UTMALDG" or (row["opcode"] == "UBLKCP" and modifiers[:2] == ["S", "G"])
    out["path"], out["pipe"] = Path.MEMORY, -1
    out["space"], out["action"] = Space.COPY, Action.COPY_LOAD if load else Action.COPY_STORE
    out["wait_reason"], out["occupancy"] = StallReason.GLOBAL_MEMORY, spec.core.memory.accept_interval
    lower_memory_timing(out, spec.core.memory.classes["lds_uniform"], 0, spec.core.memory.store_bytes_per_cycle)
    out["war"], out["war_from"] = copies.issue - QUEUE_DELAY, WAR_FROM_START
