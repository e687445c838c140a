"""The SASS grammar and the assembler."""

import numpy as np
import pytest

from gpu_model.errors import SassError
from gpu_model.program import ZERO_UNIFORM, Operand
from gpu_model.sass import assemble, parse_instruction, set_control, split_operands


def one(text: str):
    return assemble(text).rows[0]


def operand(text: str, index: int = 1):
    return one(text)["operands"][index]


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("MOV R1, R7", {"kind": Operand.REGISTER, "index": 7}),
        ("MOV R1, RZ", {"kind": Operand.REGISTER, "index": 255}),
        ("MOV R1, UR5", {"kind": Operand.UNIFORM, "index": 5}),
        ("MOV R1, URZ", {"kind": Operand.UNIFORM, "index": ZERO_UNIFORM}),
        ("FADD R1, -|R2|, R3", {"kind": Operand.REGISTER, "index": 2, "negate": True, "absolute": True}),
        ("LOP3.LUT R1, ~R2, R3, RZ, 0xc0, !PT", {"index": 2, "negate": True}),
        ("FADD R1, R2.reuse, R3", {"index": 2, "reuse": True}),
        ("HADD2 R1, R2.H0_H0, R3", {"index": 2, "select": "H0_H0"}),
        ("MOV R1, 0x1f", {"kind": Operand.IMMEDIATE, "value": 31}),
        ("MOV R1, -0x1", {"kind": Operand.IMMEDIATE, "value": 0xFFFFFFFF}),
        ("MOV R1, 1.5", {"kind": Operand.IMMEDIATE, "value": 0x3FC00000}),
        ("MOV R1, -INF", {"kind": Operand.IMMEDIATE, "value": 0xFF800000}),
        ("MOV R1, +QNAN", {"kind": Operand.IMMEDIATE, "value": 0x7FC00000}),
        ("MOV R1, c[0x0][0x160]", {"kind": Operand.CONSTANT, "bank": 0, "value": 0x160, "index": -1}),
        ("MOV R1, c[0x3][R2+0x10]", {"kind": Operand.CONSTANT, "bank": 3, "value": 16, "index": 2}),
        ("LDG.E R1, [R2.64]", {"kind": Operand.MEMORY, "index": 2, "wide": True, "uniform": -1, "value": 0}),
        ("LDG.E R1, [R2.64+UR4+-0x10]", {"index": 2, "uniform": 4, "value": -16}),
        ("LDG.E R1, [UR4]", {"kind": Operand.MEMORY, "index": -1, "uniform": 4}),
        ("LDG.E R1, desc[UR6][R2.64+0x8]", {"kind": Operand.MEMORY, "index": 2, "value": 8, "uniform": -1}),
        ("LDS R1, [R2.X4+0x8]", {"kind": Operand.MEMORY, "index": 2, "select": "X4", "value": 8}),
        ("S2R R1, SR_TID.X", {"kind": Operand.SPECIAL, "value": 2}),
        ("P2R R1, PR, RZ, 0x7f", {"kind": Operand.PREDICATE_SET}),
    ],
)
def test_operands(text, fields):
    got = operand(text)
    for name, value in fields.items():
        assert got[name] == value, name


def test_guards_and_predicates():
    row = one("@!UP3 ISETP.GE.AND P1, PT, R2, R3, !P4")
    assert (row["guard"], row["guard_negate"], row["guard_uniform"]) == (3, True, True)
    kinds = [(int(o["kind"]), int(o["index"]), bool(o["negate"])) for o in row["operands"][:5]]
    assert kinds[:2] == [(Operand.PREDICATE, 1, False), (Operand.PREDICATE, 7, False)]
    assert kinds[4] == (Operand.PREDICATE, 4, True)


def test_packed_half_immediate_is_one_operand():
    row = one("HFMA2.MMA R5, -RZ, RZ, 1.875, 5.9604644775390625e-08")
    assert row["operands"][3]["value"] == 0x3F800001
    assert row["operands"][4]["kind"] == Operand.NONE


def test_float_immediates_come_from_the_encoding():
    row = np.zeros(1, one("NOP").dtype)[0]
    parse_instruction(row, "FMUL R0, R1, 1.4426950216293334961", 0x3FB8AA3B, {})
    assert row["operands"][2]["value"] == 0x3FB8AA3B


def test_control_codes_match_the_published_fields():
    row = one("[B0--3--:R1:W2:Y:S13] NOP")
    got = (row["wait_mask"], row["read_counter"], row["write_counter"], row["yield_"], row["stall"])
    assert got == (0b001001, 1, 2, True, 13)
    # 0x000fe40000000000 >> 41 = 0x7f2: stall 2, no yield, no counters, as ptxas writes after a MOV.
    set_control(row, 0x000FE40000000000 >> 41 & 0x1FFFF)
    got = (row["wait_mask"], row["read_counter"], row["write_counter"], row["yield_"], row["stall"])
    assert got == (0, 7, 7, False, 2)


def test_labels_and_counters():
    program = assemble("top:\nNOP\nDEPBAR.LE SB0, 0x1, {4,3}\nRET.REL.NODEC R2 `(top)\nBRA `(top)")
    assert program.rows[1]["operands"][0]["index"] == 0
    assert program.rows[1]["operands"][2]["value"] == 0b11000
    assert program.rows[2]["operands"][1]["kind"] == Operand.TARGET
    assert program.rows[3]["operands"][0]["value"] == 0


def test_split_keeps_brackets_together():
    assert split_operands("R1, desc[UR4][R2.64], {1,2}, P0") == ["R1", "desc[UR4][R2.64]", "{1,2}", "P0"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("MOV R1, $5", r"line 1, 'MOV R1, \$5': operand '\$5' is not in the SASS grammar"),
        ("BRA `(nowhere)", "branch target 'nowhere' has no label; known labels: none"),
        ("[B------:R-:W-:-:S16] NOP", "stall 16 is above 15"),
        ("[B------] NOP", r"expected the form \[B------:R-:W-:-:S01\]"),
        ("X R1, R1, R1, R1, R1, R1, R1, R1, R1", "has 9 operands, at most 8"),
    ],
)
def test_bad_text_is_named(text, message):
    with pytest.raises(SassError, match=message):
        assemble(text)
