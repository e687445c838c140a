"""`Program` and `GpuSpec` to one numeric row per instruction, which is all the pipeline kernels see."""

import math
import re
from collections import deque

import numpy as np

from gpu_model.core.dependences import lower_dependences
from gpu_model.core.distances import latency
from gpu_model.core.lower_asynchronous import ASYNCHRONOUS, lower_asynchronous
from gpu_model.core.memory_timing import lower_memory_timing
from gpu_model.core.opcodes import (
    L1_BYPASS_OPCODES,
    MEMORY_OPCODES,
    NO_DESTINATION,
    PIPE_OF_UNIT,
    UNARY_SLOT_B,
    UNIT_OF,
    VARIABLE_UNITS,
    Action,
    Path,
    Pipe,
    Space,
)
from gpu_model.core.stalls import StallReason
from gpu_model.errors import UnsupportedInstruction
from gpu_model.program import NO_COUNTER, ZERO_REGISTER, Operand, Program
from hw.gpu_spec import GpuSpec

# A member of an enumeration takes Python longer to find than an integer of this module.
_NOTHING, _REGISTER, _MEMORY, _CONSTANT = (
    int(kind) for kind in (Operand.NONE, Operand.REGISTER, Operand.MEMORY, Operand.CONSTANT)
)
_UNIFORM = int(Operand.UNIFORM)
_OPERANDS_IN_SLOTS = (_REGISTER, int(Operand.IMMEDIATE), _CONSTANT, _UNIFORM)
_KEPT_TABLES = 32
_tables: deque[tuple[Program, GpuSpec, np.ndarray]] = deque(maxlen=_KEPT_TABLES)

MAX_READS = 16
MAX_RANGES = 12

LOWERED = np.dtype(
    [
        ("path", "i2"),  # Path
        ("pipe", "i2"),  # Pipe
        ("alternative", "i2"),  # second Pipe it may use, or -1
        ("interval", "i4"),  # cycles the pipe is taken
        ("latency", "i4"),  # issue to issue of a dependent instruction
        ("port_cycles", "i2"),  # extra cycles the issue port is taken
        ("distance", "i2"),  # cycles until this warp may issue again, from stall count and yield
        ("distance_reason", "i2"),
        ("write_counter", "i2"),
        ("read_counter", "i2"),
        ("wait_mask", "i2"),
        ("bar_counter", "i2"),  # DEPBAR: counter, or -1
        ("bar_limit", "i2"),  # DEPBAR: ready when the counter is at most this
        ("bar_mask", "i2"),  # DEPBAR: further counters that must be zero
        ("action", "i2"),  # Action
        ("barrier", "i2"),  # named barrier, -1 if the trace says it
        ("barrier_warps", "i2"),  # it is complete with so many warps, 0 for all
        ("constant", "i4"),  # constant-cache line of an operand, or -1
        ("window", "i2"),  # cycles the operands may be read in
        ("reads", "i2"),
        ("read_register", "i2", (MAX_READS,)),
        ("read_slot", "i2", (MAX_READS,)),
        ("read_reuse", "i2", (MAX_READS,)),
        ("writes", "i2"),  # consecutive registers written
        ("write_register", "i2"),
        ("space", "i2"),  # Space
        ("width", "i2"),  # bytes a lane moves
        ("loads", "i2"),  # data comes back
        ("local", "i2"),  # thread-local addresses, interleaved over lanes
        ("bypass", "i2"),  # goes to L2 without looking into L1
        ("stages", "i4", (4,)),  # memory-unit stage occupancies, store data included
        ("war", "i4"),  # cycles from `war_from` to the release of the read counter
        ("war_from", "i2"),
        ("after", "i4"),  # acceptance by the SM to the start of the return transfer, hit
        ("transfer", "i4"),  # return path cycles
        ("occupancy", "i4"),  # acceptance interval when fully coalesced and free of conflicts
        ("wavefronts", "i4"),  # shared-memory wavefronts when free of conflicts
        ("wait_reason", "i2"),  # StallReason of a warp waiting for this instruction's counters
        ("uses", "i2"),  # scoreboard: ranges of registers read
        ("use_first", "i2", (MAX_RANGES,)),
        ("use_count", "i2", (MAX_RANGES,)),
        ("use_extra", "i2", (MAX_RANGES,)),  # cycles by which results of fixed latency arrive later there
        ("makes", "i2"),  # scoreboard: ranges of registers written
        ("make_first", "i2", (MAX_RANGES,)),
        ("make_count", "i2", (MAX_RANGES,)),
        ("work", "i4"),  # tensor-core cycles of a warpgroup product
        ("tail", "i4"),  # cycles from there to the release of its group, from an mbarrier arrival's acceptance to its
        # effect, or that a MEMBAR takes
        ("how", "i2"),  # how an mbarrier instruction counts: the flags of `gpu_model.machine.mbarrier`
    ],
    align=True,
)

_TENSOR_SHAPES = {
    "16816": (16, 8, 16), "1688": (16, 8, 8), "1684": (16, 8, 4), "16832": (16, 8, 32), "16864": (16, 8, 64),
    "168128": (16, 8, 128), "168256": (16, 8, 256), "8816": (8, 8, 16), "8832": (8, 8, 32), "884": (8, 8, 4),
    "88128": (8, 8, 128),
}  # fmt: skip


def lower(program: Program, spec: GpuSpec) -> np.ndarray:
    """Build the `LOWERED` table of a program on a GPU; not to be changed, as later launches of the same get it again.

    Raises:
        UnsupportedInstruction: an opcode without a timing entry, or a program of another architecture.
    """
    for known, gpu, table in _tables:
        if known is program and gpu is spec:
            return table
    if program.arch != spec.arch:
        raise UnsupportedInstruction(
            f"kernel {program.name} is sm_{program.arch} code, {spec.name} is sm_{spec.arch}; "
            f"compile for sm_{spec.arch} or choose another GPU"
        )
    if math.prod(program.cluster) > 1:
        raise UnsupportedInstruction(
            f"kernel {program.name} runs in clusters of {math.prod(program.cluster)} blocks, which have no timing; "
            "try num_ctas=1, or run it without timing"
        )
    table = np.zeros(len(program), LOWERED)
    for index, row in enumerate(program.rows):
        _lower_row(table[index], row, spec, program, index)
        if spec.core.dependence.mechanism == "scoreboard":
            lower_dependences(table[index], row, spec.arch)
    _tables.append((program, spec, table))
    return table


def _lower_row(out: np.void, row: np.void, spec: GpuSpec, program: Program, index: int) -> None:
    opcode = str(row["opcode"])
    _lower_control(out, row)
    _lower_action(out, row, spec)
    if opcode in ASYNCHRONOUS:
        return lower_asynchronous(out, row, spec, f"{program.where(index)}: {program.text[index]!r}")
    if opcode in MEMORY_OPCODES:
        _lower_memory(out, row, spec)
    elif opcode in UNIT_OF:
        _lower_unit(out, row, spec, program, index)
    else:
        raise UnsupportedInstruction(
            f"{program.where(index)}: {program.text[index]!r}: no timing for opcode {opcode}; "
            f"add it to a unit in gpu_model/core/opcodes.py"
        )
    return _lower_registers(out, row, spec)


def _lower_control(out: np.void, row: np.void) -> None:
    """Stall count and yield to an issue distance (Huerta et al., MICRO 2025, section on control bits)."""
    stall, yields = int(row["stall"]), bool(row["yield_"])
    if stall == 0 and yields:
        distance = 45
    elif stall > 11 and not yields:
        distance = 2  # measured as 1 to 2 cycles; ptxas never emits it
    else:
        distance = max(stall, 2 if yields else 1)
    out["distance"] = distance
    out["distance_reason"] = StallReason.YIELD if yields and stall <= 1 else StallReason.STALL_COUNT
    for field in ("write_counter", "read_counter"):
        out[field] = -1 if row[field] == NO_COUNTER else row[field]
    out["wait_mask"] = row["wait_mask"]
    out["wait_reason"] = StallReason.VARIABLE_UNIT


def _lower_action(out: np.void, row: np.void, spec: GpuSpec) -> None:
    opcode, modifiers, operands = str(row["opcode"]), str(row["modifiers"]), row["operands"]
    out["bar_counter"] = -1
    if opcode == "DEPBAR" and operands[0]["kind"] == Operand.COUNTER:
        out["bar_counter"] = operands[0]["index"]
        out["bar_limit"] = operands[1]["value"]
        out["bar_mask"] = operands[2]["value"] if operands[2]["kind"] == Operand.IMMEDIATE else 0
    elif opcode == "BAR":
        out["action"] = Action.BARRIER_ARRIVE if modifiers.startswith("ARV") else Action.BARRIER_WAIT
        _lower_named_barrier(out, operands)
    elif opcode in ("LDGDEPBAR", "UTMACMDFLUSH"):
        out["action"] = Action.CLOSE_GROUP
        out["wait_reason"] = StallReason.GLOBAL_MEMORY
        if opcode == "UTMACMDFLUSH":  # ptxas names the group's counter as that of a read
            out["write_counter"], out["read_counter"] = out["read_counter"], out["write_counter"]
    elif opcode == "LDGSTS":
        out["action"] = Action.LDGSTS
    elif opcode == "MEMBAR":
        out["action"] = Action.MEMBAR
        block = "CTA" in modifiers.split(".")
        out["tail"] = spec.core.block_membar_cycles if block else spec.core.membar_cycles


def _lower_named_barrier(out: np.void, operands: np.ndarray) -> None:
    if Operand.REGISTER in (operands[0]["kind"], operands[1]["kind"]):
        out["barrier"] = -1
        return
    out["barrier"] = operands[0]["value"] & 15
    out["barrier_warps"] = -(-int(operands[1]["value"]) // 32) if operands[1]["kind"] == Operand.IMMEDIATE else 0


def _lower_unit(out: np.void, row: np.void, spec: GpuSpec, program: Program, index: int) -> None:
    opcode, modifiers = str(row["opcode"]), str(row["modifiers"])
    unit = UNIT_OF[opcode]
    out["path"] = Path.VARIABLE if unit in VARIABLE_UNITS else Path.FIXED
    out["pipe"] = PIPE_OF_UNIT[unit]
    out["alternative"] = Pipe.ALU if spec.core.fp32_on_alu and opcode in ("FADD", "FMUL", "FFMA") else -1
    out["interval"] = spec.core.units[unit].interval
    own = spec.core.tensor.latency if unit == "tensor" else spec.core.units[unit].latency
    out["latency"] = own if unit in VARIABLE_UNITS else latency(spec.arch, opcode, modifiers, own)
    out["constant"] = _constant_line(row, spec)
    if opcode == "IMAD" and "WIDE" in modifiers:
        out["port_cycles"] = spec.core.wide_multiply_port_cycles
    if unit == "tensor":
        out["interval"] = _tensor_interval(row, spec, program, index)


def _constant_line(row: np.void, spec: GpuSpec) -> int:
    operands = row["operands"]
    for operand in operands[operands["kind"] == _CONSTANT]:
        if operand["index"] < 0 and operand["uniform"] < 0:
            return (int(operand["bank"]) << 16 | int(operand["value"]) & 0xFFFF) // spec.core.constant.line_bytes
    return -1


def tensor_shape(row: np.void) -> tuple[int, int, int] | None:
    """m, n and k of a warp's matrix product; None if the modifiers name no known shape."""
    match = re.match(r"(?:S[PF]\.)?(\d+)", str(row["modifiers"]))
    return _TENSOR_SHAPES.get(match[1]) if match else None


def tensor_bits(row: np.void) -> tuple[int, int]:
    """Bits of an A/B element and of an accumulator element."""
    opcode, modifiers = str(row["opcode"]), str(row["modifiers"]).split(".")
    if opcode == "BMMA":
        return 1, 32
    if opcode == "IMMA":
        return (4 if "S4" in modifiers or "U4" in modifiers else 8), 32
    element = {"QMMA": 8, "OMMA": 4}.get(opcode) or (32 if "TF32" in modifiers else 16)
    return element, (32 if "F32" in modifiers else 16)


def _tensor_interval(row: np.void, spec: GpuSpec, program: Program, index: int) -> int:
    shape = tensor_shape(row)
    if shape is None:
        raise UnsupportedInstruction(
            f"{program.where(index)}: {program.text[index]!r}: unknown tensor shape; known: {', '.join(_TENSOR_SHAPES)}"
        )
    element, accumulator = tensor_bits(row)
    m, n, k = shape
    rate = spec.core.tensor.flops_per_cycle * 16 / element
    scaled = str(row["modifiers"]).startswith("SF")
    if row["opcode"] in ("HMMA", "QMMA") and accumulator == 32 and not scaled:
        rate *= spec.core.tensor.fp32_accumulate_rate
    return max(1, round(2 * m * n * k / rate))


def _width_bytes(row: np.void) -> int:
    modifiers = str(row["modifiers"]).split(".")
    if row["opcode"] in ("LDSM", "STSM"):
        return 4 * (4 if "4" in modifiers else 2 if "2" in modifiers else 1)
    for name, size in (("128", 16), ("64", 8), ("U8", 1), ("S8", 1), ("U16", 2), ("S16", 2)):
        if name in modifiers:
            return size
    return 4


def _memory_class(row: np.void, stem: str) -> str:
    """Uniform forms have no regular address register; LDC's is the constant operand's."""
    if stem in ("ldgsts", "shuffle", "special"):
        return stem
    if stem == "ldc":
        operands = row["operands"]
        constant = operands[operands["kind"] == Operand.CONSTANT]
        return "ldc" if len(constant) and constant[0]["index"] >= 0 else "ldc_immediate"
    addresses = row["operands"][row["operands"]["kind"] == Operand.MEMORY]
    regular = len(addresses) and 0 <= addresses[0]["index"] < ZERO_REGISTER
    return stem if regular else f"{stem}_uniform"


def _lower_memory(out: np.void, row: np.void, spec: GpuSpec) -> None:
    opcode = str(row["opcode"])
    space, stem, loads = MEMORY_OPCODES[opcode]
    memory = spec.core.memory
    kind = memory.classes[_memory_class(row, stem)]
    width = _width_bytes(row)
    size = {16: 2, 8: 1}.get(width, 0)  # index of the 32, 64 and 128 bit columns
    out["path"], out["pipe"], out["alternative"], out["constant"] = Path.MEMORY, -1, -1, -1
    out["space"], out["width"], out["loads"] = space, width, loads
    out["local"] = opcode in ("LDL", "STL")
    # Loads that other SMs' stores must be visible to (.STRONG.GPU, .STRONG.SYS) cannot be served by L1.
    past_l1 = {"BYPASS", "GPU", "SYS"} & set(str(row["modifiers"]).split("."))
    out["bypass"] = opcode in L1_BYPASS_OPCODES or bool(past_l1)
    lower_memory_timing(out, kind, size, memory.store_bytes_per_cycle)
    if opcode == "LDSM" and width > 4:
        out["after"] += 2  # the released simulator adds two cycles for .2 and .4
    out["wavefronts"] = 1 << size
    l1_cycles = max(1, 32 * max(width, 4) // spec.memory.l1_bytes_per_cycle)
    out["occupancy"] = max(memory.accept_interval, l1_cycles if space == Space.GLOBAL else 1 << size)
    out["wait_reason"] = {
        Space.GLOBAL: StallReason.GLOBAL_MEMORY,
        Space.CONSTANT: StallReason.CONSTANT_LOAD,
    }.get(space, StallReason.SHARED_MEMORY)


def _lower_registers(out: np.void, row: np.void, spec: GpuSpec) -> None:
    """Source registers by operand slot and bank, and the destination."""
    operands, opcode = row["operands"], str(row["opcode"])
    sources, destination = [], opcode not in NO_DESTINATION
    slot = 1 if opcode in UNARY_SLOT_B else 0
    for operand, kind, index in zip(operands, operands["kind"].tolist(), operands["index"].tolist(), strict=True):
        if kind == _NOTHING:
            continue
        if destination and kind in (_REGISTER, _UNIFORM):
            destination = False
            if kind == _REGISTER and index != ZERO_REGISTER:
                out["write_register"], out["writes"] = index, _destination_registers(row)
        elif kind in _OPERANDS_IN_SLOTS:
            if kind == _REGISTER:
                sources += _operand_reads(row, operand, slot)
            slot += 1
        elif kind == _MEMORY and index >= 0:
            sources += [(index + i, 0, False) for i in range(1 + bool(operand["wide"]))]
    sources = [source for source in sources if source[0] < ZERO_REGISTER]
    out["reads"] = len(sources)
    for i, (register, position, reuse) in enumerate(sources):
        out["read_register"][i], out["read_slot"][i], out["read_reuse"][i] = register, min(position, 2), reuse
    wide = max((sum(1 for source in sources if source[1] == s) for s in range(3)), default=0) >= 4
    in_bank = max((sum(1 for source in sources if source[0] % 2 == bank) for bank in range(2)), default=0)
    window = spec.core.rf.wide_read_cycles if wide else spec.core.rf.read_cycles
    ports = spec.core.rf.read_ports
    out["window"] = window if ports == "ideal" else max(window, -(-in_bank // ports))


def _operand_reads(row: np.void, operand: np.void, slot: int) -> list[tuple[int, int, bool]]:
    first = int(operand["index"])
    count = 1 if first == ZERO_REGISTER else _source_registers(row, operand, slot)
    return [(first + i, slot, bool(operand["reuse"])) for i in range(count)]


def _source_registers(row: np.void, operand: np.void, slot: int) -> int:
    opcode = str(row["opcode"])
    shape = tensor_shape(row) if UNIT_OF.get(opcode) == "tensor" else None
    if shape is not None:
        m, n, k = shape
        if slot > 2:
            return 1  # block scales, and which of them
        element, accumulator = tensor_bits(row)
        return max(1, (m * k * element, n * k * element, m * n * accumulator)[min(slot, 2)] // 1024)
    if opcode == "IMAD" and "WIDE" in str(row["modifiers"]) and slot == 2:
        return 2
    if opcode in ("STG", "STS", "STL", "ST", "STSM"):
        return max(1, _width_bytes(row) // 4)
    return 2 if operand["wide"] or UNIT_OF.get(opcode) == "fp64" else 1


def _destination_registers(row: np.void) -> int:
    opcode, modifiers = str(row["opcode"]), str(row["modifiers"])
    shape = tensor_shape(row) if UNIT_OF.get(opcode) == "tensor" else None
    if shape is not None:
        return max(1, shape[0] * shape[1] * tensor_bits(row)[1] // 1024)
    if opcode in MEMORY_OPCODES:
        return max(1, _width_bytes(row) // 4)
    pair = ("IMAD" in opcode and "WIDE" in modifiers) or (opcode == "CS2R" and "32" not in modifiers)
    return 2 if pair or UNIT_OF.get(opcode) == "fp64" else 1
