"""L0-FL constant cache. Source: Huerta et al., MICRO 2025: a miss takes 79 cycles and keeps the issue slot
for up to four."""

COLD = {"core__constant__perfect": False}


def test_a_constant_miss_takes_79_cycles_and_a_hit_none(issued):
    cycles = issued("NOP\nMOV R4, c[0x0][0x160]\nMOV R5, c[0x0][0x164]", **COLD).cycle[0]
    # Without the miss the first MOV would issue one cycle after the NOP, the second two later (16 lanes).
    assert cycles[1] - cycles[0] == 1 + 79
    assert cycles[2] - cycles[1] == 2


def test_a_constant_miss_holds_the_scheduler_for_four_cycles(issued):
    # W1 reaches the barrier last and so goes first behind it; it misses, and W0, which needs no constant,
    # waits for the hold to end.
    own = "[B------:R-:W-:Y:S15] NOP\nBAR.SYNC 0x0\nNOP\nMOV R4, c[0x0][0x160]\n"
    other = "BAR.SYNC 0x0\nNOP\nNOP\nNOP"
    cycles = issued(own + other, paths=[[4, 5, 6, 7], [0, 1, 2, 3]], core__sub_cores=1, limits__warps=16, **COLD).cycle
    miss = cycles[1][2] + 1
    assert cycles[0][1:].tolist() == [miss + 4, miss + 5, miss + 6]
    assert cycles[1][3] == miss + 79


def test_ldc_does_not_fill_the_cache_of_fixed_latency_operands(issued):
    listing = """[B------:R-:W0:-:S02] LDC R8, c[0x0][0x160]
[B0-----:R-:W-:-:S01] NOP
MOV R4, c[0x0][0x160]"""
    cycles = issued(listing, **COLD).cycle[0]
    assert cycles[2] - cycles[1] == 1 + 79
