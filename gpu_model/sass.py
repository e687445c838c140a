"""SASS text to `Program` rows: the grammar of nvdisasm, and an assembler for hand-made kernels.

Control bits in hand-made code use the notation of CuAssembler, `[B0--3--:R1:W2:Y:S04]`: wait mask,
read counter, write counter, yield, stall count.
"""

import re
import struct
from collections.abc import Iterable

import numpy as np

from gpu_model.errors import SassError
from gpu_model.program import (
    INSTRUCTION,
    INSTRUCTION_BYTES,
    MAX_OPERANDS,
    NO_COUNTER,
    SPECIAL_REGISTERS,
    TRUE_PREDICATE,
    ZERO_REGISTER,
    ZERO_UNIFORM,
    Operand,
    Program,
)

_CONTROL = re.compile(r"\[B([0-9-]{6}):R([0-9-]):W([0-9-]):([Y-]):S(\d\d)\]")
_GUARD = re.compile(r"@(!?)(U?)P([0-6T])\s+")
_REGISTER = re.compile(r"(U?)R(\d+|Z)((?:\.\w+)*)$")
_PREDICATE = re.compile(r"(U?)P([0-6T])$")
_CONSTANT = re.compile(r"c\[(0x[0-9a-f]+)\]\s*\[(.*)\]((?:\.[A-Z0-9_]+)*)$")
_DESCRIPTOR = re.compile(r"(?:desc|tmem)\[(.*?)\](?:\[(.*)\])?$")
_MATRIX_DESCRIPTOR = re.compile(r"gdesc\[UR(\d+)\]((?:\.\w+)*)$")
_MATRIX_FLAGS = {"tnspA": "tA", "tnspB": "tB", "negA": "nA", "negB": "nB"}
_HEX = re.compile(r"[+-]?0x[0-9a-f]+$")
_FLOAT = re.compile(r"[+-]?(?:\d+(?:\.\d*)?(?:e[+-]?\d+)?|INF|QNAN|SNAN)$", re.IGNORECASE)
_HALF_IMMEDIATE = re.compile(r"([+-]?(?:0x[0-9a-f]+|\d+(?:\.\d*)?(?:e[+-]?\d+)?))\.(H[01])$")
_BRANCH_TARGETS = re.compile(r"\(\*.*\*\)")  # nvdisasm's note of where an indexed branch may go
_AFTER_REGISTER = re.compile(r" (?=`\()|(?<=[0-9Z]) (?=-?0x)")
_RETURN_ADDRESS = ("Rpc.LO", "Rpc.HI")
_PACKED_HALF = ("HADD2", "HMUL2", "HFMA2", "HSETP2", "HSET2", "HMNMX2")


def split_operands(text: str) -> list[str]:
    """Split an operand list at its top-level commas; a target or offset after a register (RET, BRX) needs none."""
    text = _AFTER_REGISTER.sub(", ", _BRANCH_TARGETS.sub("", text))
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character in "[{(") - (character in "]})")
        if character == "," and depth == 0:
            parts.append(text[start:position].strip())
            start = position + 1
    parts.append(text[start:].strip())
    return [part for part in parts if part]


def _set_register(operand: np.void, match: re.Match) -> None:
    uniform, number, suffixes = match.groups()
    operand["kind"] = Operand.UNIFORM if uniform else Operand.REGISTER
    zero = ZERO_UNIFORM if uniform else ZERO_REGISTER
    operand["index"] = zero if number == "Z" else int(number)
    for suffix in filter(None, suffixes.split(".")):
        if suffix == "reuse":
            operand["reuse"] = True
        elif suffix == "64":
            operand["wide"] = True
        else:
            operand["select"] = suffix


def _set_address(operand: np.void, text: str) -> None:
    """Fill base register, uniform register and offset from `R4.64+UR6+-0x10`."""
    operand["index"] = -1
    operand["uniform"] = -1
    for term in filter(None, text.replace("+-", "+~").split("+")):
        term = term.replace("~", "-").strip()
        register = _REGISTER.match(term.replace(".U32", "").replace(".S32", ""))
        if register is None:
            operand["value"] = operand["value"] + int(term, 16)
        elif register[1]:
            operand["uniform"] = ZERO_UNIFORM if register[2] == "Z" else int(register[2])
            operand["wide"] |= ".64" in register[3] and operand["index"] < 0
        else:
            _set_register(operand, register)
            if extension := re.search(r"\.([US]32)", term):
                operand["select"] = extension[1]


def _set_immediate(operand: np.void, text: str, encoded: int | None) -> None:
    operand["kind"] = Operand.IMMEDIATE
    if half := _HALF_IMMEDIATE.match(text):
        text, operand["select"] = half[1], half[2]
    if _HEX.match(text):
        value = int(text, 16)
        wide = value > 0xFFFFFFFF  # MOV.64 of Blackwell; the column is signed
        operand["value"] = value - (value >> 63 << 64) if wide else value & 0xFFFFFFFF
    elif encoded is not None:
        operand["value"] = encoded
    else:
        value = float(text.upper().replace("QNAN", "NAN"))
        operand["value"] = struct.unpack("<I", struct.pack("<f", value))[0]


def _strip_signs(operand: np.void, text: str) -> str:
    if text.startswith(("-R", "-U", "-c", "-|", "~", "!")):
        operand["negate"] = True
        text = text[1:]
    if text.startswith("|"):
        operand["absolute"] = True
        text = text.replace("|", "")
    return text


def _set_operand(operand: np.void, text: str, encoded: int | None, labels: dict[str, int]) -> None:
    """Fill one `OPERAND` from its text; `encoded` is the instruction's 32-bit immediate field."""
    text = _strip_signs(operand, text)
    operand["uniform"] = -1
    if register := _REGISTER.match(text):
        _set_register(operand, register)
    elif predicate := _PREDICATE.match(text):
        operand["kind"] = Operand.UNIFORM_PREDICATE if predicate[1] else Operand.PREDICATE
        operand["index"] = TRUE_PREDICATE if predicate[2] == "T" else int(predicate[2])
    elif _HEX.match(text) or _FLOAT.match(text) or _HALF_IMMEDIATE.match(text):
        _set_immediate(operand, text, encoded)
    elif constant := _CONSTANT.match(text):
        _set_address(operand, constant[2])
        operand["kind"], operand["bank"] = Operand.CONSTANT, int(constant[1], 16)
        operand["select"] = constant[3].lstrip(".")
    elif text.startswith("["):
        _set_address(operand, text.strip("[]"))
        operand["kind"] = Operand.MEMORY
    elif descriptor := _DESCRIPTOR.match(text):
        _set_address(operand, descriptor[2] or "")
        operand["kind"] = Operand.MEMORY
    elif matrix := _MATRIX_DESCRIPTOR.match(text):
        _set_matrix_descriptor(operand, int(matrix[1]), matrix[2])
    elif text.startswith(("SR_", "SRZ")) and text in SPECIAL_REGISTERS:
        operand["kind"], operand["value"] = Operand.SPECIAL, SPECIAL_REGISTERS.index(text)
    elif text.startswith("`("):
        operand["kind"], operand["value"] = Operand.TARGET, _label(text[2:-1], labels)
    elif re.fullmatch(r"SB[0-5]", text):
        operand["kind"], operand["index"] = Operand.COUNTER, int(text[2])
    elif re.fullmatch(r"gsb\d", text):
        operand["kind"], operand["index"] = Operand.COUNTER, 8 + int(text[3])
    elif re.fullmatch(r"B\d+", text):
        operand["kind"], operand["index"] = Operand.BARRIER, int(text[1:])
    elif text in ("PR", "UPR"):
        operand["kind"], operand["uniform"] = Operand.PREDICATE_SET, 0 if text == "UPR" else -1
    elif text in _RETURN_ADDRESS:
        operand["kind"], operand["index"] = Operand.RETURN_ADDRESS, _RETURN_ADDRESS.index(text)
    elif text.startswith("{"):
        operand["kind"] = Operand.IMMEDIATE
        operand["value"] = sum(1 << int(counter) for counter in text.strip("{}").split(","))
    else:
        raise SassError(f"operand {text!r} is not in the SASS grammar known here")


def _set_matrix_descriptor(operand: np.void, register: int, flags: str) -> None:
    """Fill a wgmma operand `gdesc[UR8].tnspB`: the uniform registers that hold both descriptors, and its flags."""
    operand["kind"], operand["index"], operand["uniform"] = Operand.MEMORY, -1, register
    for flag in filter(None, flags.split(".")):
        if flag not in _MATRIX_FLAGS:
            raise SassError(f"matrix descriptor flag .{flag} is not known; known flags: {', '.join(_MATRIX_FLAGS)}")
        operand["select"] = str(operand["select"]) + _MATRIX_FLAGS[flag]


def _label(name: str, labels: dict[str, int]) -> int:
    if name not in labels:
        raise SassError(f"branch target {name!r} has no label; known labels: {', '.join(sorted(labels)) or 'none'}")
    return labels[name]


def _merge_half_pair(parts: list[str]) -> list[str]:
    """nvdisasm prints a packed-half immediate as two numbers; they are one 32-bit operand."""
    numeric = [bool(_FLOAT.match(part)) for part in parts]
    for i in range(len(parts) - 1):
        if numeric[i] and numeric[i + 1]:
            return [*parts[:i], parts[i], *parts[i + 2 :]]
    return parts


def _half_pair_bits(parts: list[str]) -> int | None:
    numbers = [part for part in parts if _FLOAT.match(part)]
    if len(numbers) != 2:
        return None
    high, low = (np.float16(number.lower().replace("qnan", "nan")).view(np.uint16) for number in numbers)
    return int(high) << 16 | int(low)


def parse_instruction(row: np.void, text: str, encoded: int | None, labels: dict[str, int]) -> None:
    """Fill opcode, modifiers, guard and operands of one `INSTRUCTION` row.

    Args:
        row: the row to fill (its control bits are left alone).
        text: for example `@!P0 LDG.E.128 R4, [R2.64+0x10]`.
        encoded: bits 32..63 of the encoding, where a float immediate is read from; None for hand-made text.
        labels: branch targets, name to byte address.

    Raises:
        SassError: text outside the grammar.
    """
    body = text.strip().rstrip(";").strip()
    row["guard"] = TRUE_PREDICATE
    if guard := _GUARD.match(body):
        row["guard_negate"], row["guard_uniform"] = bool(guard[1]), bool(guard[2])
        row["guard"] = TRUE_PREDICATE if guard[3] == "T" else int(guard[3])
        body = body[guard.end() :]
    name, _, rest = body.partition(" ")
    row["opcode"], _, row["modifiers"] = name.partition(".")
    parts = split_operands(rest)
    if row["opcode"] in _PACKED_HALF:
        encoded = _half_pair_bits(parts) if encoded is None else encoded
        parts = _merge_half_pair(parts)
    if len(parts) > MAX_OPERANDS:
        raise SassError(f"{text!r} has {len(parts)} operands, at most {MAX_OPERANDS} are known")
    for operand, part in zip(row["operands"], parts, strict=False):
        _set_operand(operand, part, encoded, labels)


def set_control(row: np.void, control: int) -> None:
    """Fill the control columns from the 17-bit control code (bits 105..121 of the encoding)."""
    row["stall"] = control & 0xF
    row["yield_"] = not control >> 4 & 1  # active low
    row["write_counter"] = control >> 5 & 7
    row["read_counter"] = control >> 8 & 7
    row["wait_mask"] = control >> 11 & 0x3F


def _control_code(text: str) -> int:
    match = _CONTROL.match(text)
    if match is None:
        raise SassError(f"control bits {text!r}: expected the form [B------:R-:W-:-:S01]")
    wait, read, write, yields, stall = match.groups()
    if int(stall) > 15:
        raise SassError(f"control bits {text!r}: stall {stall} is above 15")
    counters = [NO_COUNTER if counter == "-" else int(counter) for counter in (write, read)]
    wait_mask = sum(1 << i for i in range(6) if wait[i] != "-")
    return int(stall) | (yields != "Y") << 4 | counters[0] << 5 | counters[1] << 8 | wait_mask << 11


def assemble(listing: str | Iterable[str], *, arch: int = 86, name: str = "handmade") -> Program:
    """Build a `Program` from hand-made SASS, one instruction a line.

    A line is `[B------:R-:W-:-:S04] @P0 FADD R1, R2, R3 ;`; control bits may be left out (stall 1, no
    counters). `label:` on its own line names a branch target; `#` starts a comment.

    Raises:
        SassError: a line outside the grammar, naming it.
    """
    lines = listing.splitlines() if isinstance(listing, str) else list(listing)
    labels: dict[str, int] = {}
    code: list[tuple[int, str]] = []
    for number, line in enumerate(lines, 1):
        line = line.split("#")[0].strip()
        if line.endswith(":"):
            labels[line[:-1].strip()] = len(code) * INSTRUCTION_BYTES
        elif line:
            code.append((number, line))
    rows = np.zeros(len(code), INSTRUCTION)
    texts = []
    for row, (index, (number, line)) in zip(rows, enumerate(code), strict=True):
        row["pc"] = index * INSTRUCTION_BYTES
        control, text = "[B------:R-:W-:-:S01]", line
        if line.startswith("["):
            control, _, text = line.partition(" ")
        try:
            set_control(row, _control_code(control))
            parse_instruction(row, text, None, labels)
        except (SassError, ValueError) as error:
            raise SassError(f"line {number}, {line!r}: {error}") from error
        texts.append(text)
    used = rows["operands"]["index"][rows["operands"]["kind"] == Operand.REGISTER]
    registers = int(used[used < ZERO_REGISTER].max(initial=0)) + 8
    return Program(name, arch, rows, tuple(texts), ("",), registers, 0, 0, 0x160, 0, {}, 1)
