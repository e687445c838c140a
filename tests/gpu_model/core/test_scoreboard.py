"""A scoreboard in place of control bits: the same latencies from code that carries no control bits at all.

Latencies: Huerta et al., MICRO 2025, Table 2 and section 5; ptxas' distances for predicates that guard.
"""

import random

import numpy as np
import pytest

SCOREBOARD = {"core__dependence__mechanism": "scoreboard", "core__dependence__consumers": "unlimited"}


def distance(issued, listing: str, **overrides) -> int:
    """Issue distance of the last two instructions before EXIT."""
    record = issued(listing, **SCOREBOARD | overrides)
    assert record.hazard == ""
    return int(np.diff(record.cycle[0])[-2])


@pytest.mark.parametrize(
    ("producer", "consumer", "cycles"),
    [
        ("FADD R4, R2, R3", "FADD R5, R4, R3", 4),
        ("FADD R4, R2, R3", "FADD R5, R2, R3", 1),
        ("HMMA.16816.F32 R4, R8, R12, R4", "FADD R5, R7, R3", 24),
        ("FADD R4, R2, R3", "STG.E [R6.64], R4", 5),  # no bypass to the memory unit
        ("IMAD.WIDE R4, R2, R3, R8", "FADD R6, R5, R3", 5),  # the second register of a pair
        ("ISETP.NE.AND P0, PT, R2, R3, PT", "SEL R5, R6, R7, P0", 4),
        ("ISETP.NE.AND P0, PT, R2, R3, PT", "@P0 FADD R5, R6, R7", 13),
        ("ISETP.NE.AND P0, PT, R2, R3, PT", "@P1 FADD R5, R6, R7", 1),
        ("ISETP.NE.AND PT, P1, R2, R3, PT", "@!P1 FADD R5, R6, R7", 13),
        ("IADD3 R4, P2, R2, R3, RZ", "SEL R5, R6, R7, P2", 4),
        ("ULDC.64 UR4, c[0x0][0x118]", "UIADD3 UR6, UR5, 0x1, URZ", 4),
        ("LDG.E R8, [R2.64]", "FADD R5, R8, R3", 32),
        ("LDG.E.64 R8, [R2.64]", "FADD R5, R9, R3", 34),
        ("LDG.E.128 R8, [R2.64]", "FADD R11, R2, R3", 38),  # written twice
        ("LDS R8, [R2]", "FADD R5, R8, R3", 24),
        ("MUFU.EX2 R4, R2", "FADD R5, R4, R3", 19),
        ("LDG.E R8, [R2.64]", "MOV R3, R5", 11),  # the sources of a load
        ("STG.E [R2.64], R8", "MOV R8, R5", 14),
        ("STG.E.128 [R2.64], R8", "MOV R11, R5", 20),
        ("LDC R4, c[0x0][R2]", "MOV R2, R5", 29),
        ("FADD R4, R2, R3", "MOV R2, R5", 1),  # read in order
        ("SHFL.BFLY PT, R4, R2, 0x1, 0x1f", "FADD R5, R4, R3", 24),
    ],
)
def test_code_without_control_bits_keeps_the_latencies(issued, producer, consumer, cycles):
    assert distance(issued, f"NOP\n{producer}\n{consumer}") == cycles


def test_control_bits_do_not_matter(issued):
    listing = "[B------:R-:W-:-:S09] FADD R4, R2, R3\n[B------:R-:W-:Y:S00] FADD R5, R2, R3\nFADD R6, R2, R3"
    assert np.diff(issued(listing, **SCOREBOARD).cycle[0])[:2].tolist() == [1, 1]


@pytest.mark.parametrize(("consumers", "waits"), [(1, 1), (2, 2), (3, 3), (63, 4), ("unlimited", 4)])
def test_a_reader_more_than_the_counter_holds_waits_for_the_first(issued, consumers, waits):
    listing = "\n".join(f"LDG.E R{8 + i}, [R2.64]" for i in range(4))
    cycles = issued(listing, **SCOREBOARD | {"core__dependence__consumers": consumers}).cycle[0][:4]
    free = [i for i in range(4) if cycles[i] - cycles[0] == i]
    assert len(free) == waits
    if waits < 4:  # the first load has read its address 11 cycles after its issue (Table 2)
        assert cycles[waits] - cycles[0] == 11


def test_a_wait_for_copies_into_shared_memory_stays(issued):
    # LDGSTS groups are no registers: DEPBAR waits for them with a scoreboard too.
    listing = """LDGSTS.E [R2], [R4.64]
[B------:R-:W0:-:S02] LDGDEPBAR
[B------:R-:W-:-:S04] DEPBAR.LE SB0, 0x0
NOP"""
    assert issued(listing, **SCOREBOARD).cycle[0][2] == issued(listing).cycle[0][2] == 2 + 39  # Table 2


FORMS = (
    "FFMA R{0}, R{1}, R{2}, R{3}",
    "IADD3 R{0}, R{1}, R{2}, RZ",
    "HFMA2 R{0}, R{1}, R{2}, R{3}",
    "IMAD.WIDE R{4}, R{1}, R{2}, R{5}",
    "MUFU.RCP R{0}, R{1}",
    "LDG.E R{0}, [R{5}.64]",
    "LDG.E.64 R{4}, [R{5}.64]",
    "LDS R{0}, [R{1}]",
    "STG.E [R{5}.64], R{0}",
    "STS [R{1}], R{2}",
    "HMMA.16816.F32 R{6}, R{7}, R{5}, R{6}",
)


@pytest.mark.parametrize("consumers", [1, 3, 63, "unlimited"])
@pytest.mark.parametrize("seed", range(3))
def test_no_consumer_of_random_code_comes_too_early(issued, seed, consumers):
    draw = random.Random(seed)

    def line() -> str:
        plain = [draw.randrange(8, 24) for _ in range(4)]
        pairs, quads = [2 * draw.randrange(4, 12) for _ in range(2)], [4 * draw.randrange(2, 6) for _ in range(2)]
        return draw.choice(FORMS).format(*plain, *pairs, *quads)

    listing = "\n".join(line() for _ in range(300))
    assert issued(listing).hazard  # the control bits of these lines say nothing
    record = issued(listing, warps=8, **SCOREBOARD | {"core__dependence__consumers": consumers})
    assert record.hazard == ""
    assert all(len(cycles) == 301 for cycles in record.cycle)
