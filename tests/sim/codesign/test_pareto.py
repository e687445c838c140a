"""The front against its definition, and how the answer is chosen."""

from hypothesis import given
from hypothesis import strategies as st

from sim.codesign.experiment import Goal
from sim.codesign.pareto import answer, front, meets, rule

GOAL = Goal(objectives=("qsnr_db", "nand2", "array_cycles"), require={"qsnr_db": 3, "nand2": 4}, prefer="array_cycles")
VALUE = st.one_of(st.none(), st.integers(0, 6).map(float))


def rows_of(values):
    return [
        {"key": str(i), "status": status, "qsnr_db": q, "nand2": n, "array_cycles": c}
        for i, (status, q, n, c) in enumerate(values)
    ]


ROWS = st.lists(st.tuples(st.sampled_from(["ok", "ok", "ok", "failed"]), VALUE, VALUE, VALUE), max_size=25).map(rows_of)


def beats(x, y):
    at_least = x["qsnr_db"] >= y["qsnr_db"] and x["nand2"] <= y["nand2"] and x["array_cycles"] <= y["array_cycles"]
    return at_least and any(x[name] != y[name] for name in GOAL.objectives)


@given(ROWS)
def test_the_front_is_what_nothing_beats(rows) -> None:
    whole = [row for row in rows if row["status"] == "ok" and None not in [row[name] for name in GOAL.objectives]]
    expected = {row["key"] for row in whole if not any(beats(other, row) for other in whole)}
    found = front(rows, GOAL)
    assert {row["key"] for row in found} == expected
    assert [row["qsnr_db"] for row in found] == sorted((row["qsnr_db"] for row in found), reverse=True)


@given(ROWS)
def test_the_answer_is_the_best_that_meets_the_goal(rows) -> None:
    possible = [
        row for row in rows
        if row["status"] == "ok" and row["qsnr_db"] is not None and row["qsnr_db"] >= 3
        and row["nand2"] is not None and row["nand2"] <= 4
    ]  # fmt: skip
    assert [row for row in rows if meets(row, GOAL)] == possible
    cycles = [row["array_cycles"] for row in possible if row["array_cycles"] is not None]
    found = answer(rows, GOAL)
    assert (found is None) == (not cycles)
    if found is not None:
        assert found["array_cycles"] == min(cycles)
        assert not any(beats(row, found) for row in possible if None not in [row[name] for name in GOAL.objectives])


def test_the_rule_in_words() -> None:
    assert rule(GOAL) == ("the lowest array_cycles of the designs with qsnr_db at least 3 dB and nand2 at most 4 NAND2")
    assert rule(Goal(prefer="qsnr_db")) == "the highest qsnr_db"
