"""A scoreboard's part of the issue stage's stimulus: registers of each instruction, and what comes back for them."""

import numpy as np

from gpu_model.core.opcodes import Path
from gpu_model.core.state import DEPENDENCES
from gpu_model.issue_events import READ, RESULT
from hw.dependence_area import ENTRIES
from rtl.issue_stage.design import ENDS, LONGEST_RESULT, MAKES, RETURNS, SHORTEST_RESULT, USES, WARP_BITS
from rtl.issue_stage.instruction import RANGE, pack_fields

_GUARDS = 14  # predicates of either kind, the model's last entries and the RTL's
_UNIFORMS = ENTRIES - _GUARDS - 255
_MOST = (1 << RANGE["count"].width) - 1


def register_columns(table: np.ndarray) -> dict[str, np.ndarray]:
    """Registers read and written, latency and how much later a guard has its predicate, by `LOWERED` row.

    Raises:
        ValueError: an instruction for which the scoreboard has no RTL.
    """
    _check(table)
    late = table["path"] == Path.MEMORY
    columns = {"latency": np.where(table["path"] == Path.FIXED, table["latency"], 0)}
    columns["guard_extra"] = np.zeros(len(table), np.int64)
    uses, makes = np.zeros((len(table), USES, 2), np.int64), np.zeros((len(table), MAKES, 2), np.int64)
    for index, row in enumerate(table):
        plain = []
        for first, count, extra in _ranges(row, "use", index):
            if extra == late[index]:
                plain.append((first, count))
            elif not columns["guard_extra"][index] and first >= ENTRIES - _GUARDS:
                uses[index, -1], columns["guard_extra"][index] = (first, count), extra
            else:
                raise _no_rtl(index, f"has a result {extra} cycles later than other units")
        written = [(first, count) for first, count, _ in _ranges(row, "make", index)]
        for given, places, what in ((plain, uses[index, :-1], "reads"), (written, makes[index], "writes")):
            if len(given) > len(places):
                raise _no_rtl(index, f"{what} {len(given)} ranges of registers, more than {len(places)}")
            places[: len(given)] = np.array(given).reshape(-1, 2)
    return columns | _range_columns("use_", uses) | _range_columns("make_", makes)


def returns(table: np.ndarray, events: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Words of the ports `results` and `reads`, of events of one sub-core over `count` cycles.

    Raises:
        ValueError: more of them in one cycle than the RTL takes.
    """
    columns = register_columns(table)
    ports = {}
    for kind, name, most, stem, number in (
        (RESULT, "results", RETURNS, "make_", MAKES),
        (READ, "reads", ENDS, "use_", USES),
    ):
        places, start = {"valid": (0, 1), "warp": (1, WARP_BITS)}, 1 + WARP_BITS
        for i in range(number):
            for part, field in RANGE:
                places[f"{stem}{part}{i}"] = (start + i * RANGE.size + field.offset, field.width)
        mine = events[(events["kind"] == kind) & (events["cycle"] < count)]
        mine = mine[np.argsort(mine["cycle"], kind="stable")]
        rows = {key: columns[key][mine["item"]] for key in places if key in columns}
        words = pack_fields(places, {"valid": np.ones(len(mine), np.int64), "warp": mine["local"], **rows})
        turn = np.arange(len(mine)) - np.searchsorted(mine["cycle"], mine["cycle"])
        if (turn >= most).any():
            raise ValueError(f"cycle {mine['cycle'][turn.argmax()]}: {turn.max() + 1} {name}, the RTL takes {most}")
        for i in range(most):
            port = np.zeros((count, words.shape[1]), np.uint32)
            # An input of one cycle shows in the next.
            port[mine["cycle"][turn == i] - 1] = words[turn == i]
            ports[f"{name}__{i}"] = port if words.shape[1] > 2 else port.view("<u8")[:, 0]
    return ports


def _ranges(row: np.void, stem: str, index: int) -> list[tuple[int, int, int]]:
    """Entries of the RTL's scoreboard, without the uniform registers that it lacks, and how much later they come."""
    found = []
    for i in range(row[f"{stem}s"]):
        first, count = int(row[f"{stem}_first"][i]), int(row[f"{stem}_count"][i])
        if first >= DEPENDENCES - _GUARDS:
            first -= DEPENDENCES - ENTRIES
        elif first + count > 255 + _UNIFORMS:
            raise _no_rtl(index, f"names uniform registers beyond the first {_UNIFORMS}")
        extra = int(row["use_extra"][i]) if stem == "use" else 0
        found += [(at, min(_MOST, first + count - at), extra) for at in range(first, first + count, _MOST)]
    return found


def _range_columns(stem: str, ranges: np.ndarray) -> dict[str, np.ndarray]:
    parts = enumerate(key for key, _ in RANGE)
    return {f"{stem}{part}{i}": ranges[:, i, at] for at, part in parts for i in range(ranges.shape[1])}


def _check(table: np.ndarray) -> None:
    fixed = (table["path"] == Path.FIXED) & (table["makes"] > 0)
    refused = {
        f"has a result of fixed latency after fewer than {SHORTEST_RESULT} or more than {LONGEST_RESULT} cycles": fixed
        & ((table["latency"] < SHORTEST_RESULT) | (table["latency"] > LONGEST_RESULT)),
        "goes to a variable-latency unit without writing a register": (table["path"] == Path.VARIABLE)
        & (table["makes"] == 0),
        "writes registers from memory without waiting for data": (table["path"] == Path.MEMORY)
        & (table["makes"] > 0)
        & (table["loads"] == 0),
    }
    for what, rows in refused.items():
        if rows.any():
            raise _no_rtl(int(rows.argmax()), what)


def _no_rtl(index: int, what: str) -> ValueError:
    return ValueError(f"program row {index} {what}, for which the scoreboard has no RTL")
