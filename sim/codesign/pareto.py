"""What the rows answer: the designs that no other beats in every objective, and the one the goal asks for."""

from sim.codesign.evaluate import OK
from sim.codesign.experiment import Goal
from sim.codesign.metrics import METRICS
from sim.codesign.store import Row


def comparable(rows: list[Row], goal: Goal) -> list[Row]:
    """The rows that have every objective."""
    return [row for row in rows if row["status"] == OK and all(row[name] is not None for name in goal.objectives)]


def front(rows: list[Row], goal: Goal) -> list[Row]:
    """Rows that no other is at least as good as in all objectives and better in one; best in the first one first.

    Rows that are equal in all objectives are all kept.
    """
    signs = [1 if METRICS[name].larger_is_better else -1 for name in goal.objectives]
    scores = {row["key"]: tuple(sign * row[name] for sign, name in zip(signs, goal.objectives, strict=True))
              for row in comparable(rows, goal)}  # fmt: skip
    best: list[tuple[float, ...]] = []
    # In descending order nothing that comes later beats what came before.
    for score in sorted(set(scores.values()), reverse=True):
        if not any(all(o >= s for o, s in zip(other, score, strict=True)) for other in best):
            best.append(score)
    place = {score: index for index, score in enumerate(best)}
    kept = [row for row in rows if scores.get(row["key"]) in place]
    return sorted(kept, key=lambda row: place[scores[row["key"]]])


def meets(row: Row, goal: Goal) -> bool:
    """Whether a row reaches everything required."""
    return row["status"] == OK and all(
        row[name] is not None and METRICS[name].at_least_as_good(row[name], value)
        for name, value in goal.require.items()
    )


def answer(rows: list[Row], goal: Goal) -> Row | None:
    """Of the designs that meet the requirements, the best in what is preferred; None if there is none.

    Ties go to the better one in each objective in turn, then to the one asked for first.
    """
    metrics = [METRICS[name] for name in (goal.prefer, *goal.objectives)]
    possible = [row for row in rows if meets(row, goal) and row[goal.prefer] is not None]

    def rank(row: Row) -> tuple[tuple[bool, float], ...]:
        return tuple((row[m.name] is None, (-1 if m.larger_is_better else 1) * (row[m.name] or 0.0)) for m in metrics)

    return min(possible, key=rank, default=None)


def rule(goal: Goal) -> str:
    """How `answer` chooses, in words."""
    bounds = [
        f"{name} {METRICS[name].bound} {value:g} {METRICS[name].unit}".rstrip() for name, value in goal.require.items()
    ]
    most = "highest" if METRICS[goal.prefer].larger_is_better else "lowest"
    return f"the {most} {goal.prefer}" + (f" of the designs with {' and '.join(bounds)}" if bounds else "")
