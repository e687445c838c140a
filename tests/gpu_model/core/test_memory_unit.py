"""Memory queues and latencies. Source: Huerta et al., MICRO 2025, Tables 1 and 2."""

import numpy as np
import pytest

# Table 1: issue cycle of the i-th independent load, for 1, 2, 3, 4 active sub-cores.
TABLE_1 = {
    1: [[2], [3], [4], [5], [6], [13], [17], [21]],
    2: [[2, 2], [3, 3], [4, 4], [5, 5], [6, 6], [13, 15], [17, 19], [21, 23]],
    3: [[2] * 3, [3] * 3, [4] * 3, [5] * 3, [6] * 3, [13, 15, 17], [19, 21, 23], [25, 27, 29]],
    4: [[2] * 4, [3] * 4, [4] * 4, [5] * 4, [6] * 4, [13, 15, 17, 19], [21, 23, 25, 27], [29, 31, 33, 35]],
}
STEADY = {1: 4, 2: 4, 3: 6, 4: 8}  # cycles from the i-th to the next, i > 8

# Table 2: instruction, WAR, RAW (None: no result) for each width.
NARROW, PAIR, QUAD = "", ".64", ".128"
TABLE_2 = [
    ("LDG.E{} R8, [UR4]", {NARROW: (9, 29), PAIR: (9, 31), QUAD: (9, 35)}),
    ("LDG.E{} R8, [R2.64]", {NARROW: (11, 32), PAIR: (11, 34), QUAD: (11, 38)}),
    ("STG.E{} [UR4], R8", {NARROW: (10, None), PAIR: (12, None), QUAD: (16, None)}),
    ("STG.E{} [R2.64], R8", {NARROW: (14, None), PAIR: (16, None), QUAD: (20, None)}),
    ("LDS{} R8, [UR4]", {NARROW: (9, 23), PAIR: (9, 23), QUAD: (9, 25)}),
    ("LDS{} R8, [R2]", {NARROW: (9, 24), PAIR: (9, 24), QUAD: (9, 26)}),
    ("STS{} [UR4], R8", {NARROW: (10, None), PAIR: (12, None), QUAD: (16, None)}),
    ("STS{} [R2], R8", {NARROW: (12, None), PAIR: (14, None), QUAD: (18, None)}),
    ("LDC{} R8, c[0x0][0x160]", {NARROW: (10, 26)}),
    ("LDC{} R8, c[0x0][R2]", {NARROW: (29, 29), PAIR: (29, 29)}),
    ("LDGSTS.E{} [R8], [R2.64]", {NARROW: (13, 39), PAIR: (13, 39), QUAD: (13, 39)}),
]
CELLS = [
    (form.format(width), kind, value)
    for form, widths in TABLE_2
    for width, values in widths.items()
    for kind, value in zip(("war", "raw"), values, strict=True)
    if value is not None
]


@pytest.mark.parametrize("active", TABLE_1)
def test_table_1(issued, active):
    loads = "\n".join(f"LDG.E R{10 + i}, [R2.64]" for i in range(20))
    cycles = np.array(issued(loads, warps=active).cycle)
    assert cycles[:, :8].T.tolist() == TABLE_1[active]
    for warp in range(active):
        for i in range(8, 20):
            assert cycles[warp, i] - cycles[warp, i - 1] == STEADY[active]


def test_table_2_has_all_its_numbers():
    # 11.3 of the fact sheet prints 48 numbers: 30 WAR and 18 RAW.
    assert len(CELLS) == 48


@pytest.mark.parametrize(("instruction", "kind", "latency"), CELLS)
def test_table_2(issued, instruction, kind, latency):
    counters = "R0:W-" if kind == "war" else "R-:W0"
    record = issued(f"[B------:{counters}:-:S02] {instruction}\n[B0-----:R-:W-:-:S01] NOP")
    assert record.cycle[0][1] - record.cycle[0][0] == latency


def test_ldgdepbar_waits_for_the_copies_before_it(issued):
    # Copies issued at 2 and 3 read data at 41 and, six cycles of the second address stage later, at 47.
    copy = "LDGSTS.E [R8], [R2.64]\n"
    depbar = "[B------:R-:W-:-:S04] DEPBAR.LE SB0, {}\n"
    group = copy + "[B------:R-:W0:-:S02] LDGDEPBAR\n"
    record = issued(group + group + depbar.format("0x1") + depbar.format("0x0"))
    assert record.cycle[0][4] == 41
    assert record.cycle[0][5] == 47


def test_a_deeper_queue_takes_more_loads(issued):
    loads = "\n".join(f"LDG.E R{10 + i}, [R2.64]" for i in range(8))
    assert issued(loads, core__memory__queue_entries=7).cycle[0][:8].tolist() == list(range(2, 10))
