"""The three ways in which an Accel-Sim trace writes the addresses of a warp's active lanes.

| mode | what follows it |
|---|---|
| 0 | every address |
| 1 | the first address and the stride, for one run of lanes |
| 2 | the first address, and the difference of each from the one before |
"""

from collections.abc import Sequence
from enum import IntEnum

from gpu_model.trace import LANES

NO_ADDRESS = -1
NOT_READ = 0  # no tensor is there: the global address of LDGSTS lanes that read nothing
MAX_ADDRESS = 1 << 49  # of a GPU's virtual memory


class Mode(IntEnum):
    """How addresses are written."""

    LIST = 0
    STRIDE = 1
    DELTAS = 2


def lanes_of(mask: int) -> list[int]:
    """Numbers of the lanes in a mask."""
    return [lane for lane in range(LANES) if mask >> lane & 1]


def write_addresses(lanes: Sequence[int], mask: int, *, compress: bool = True) -> str:
    """Mode and addresses of the lanes in a mask; with `compress` as Accel-Sim's tracer chooses, else as a list.

    Args:
        lanes: 32 addresses; those outside the mask are not looked at.
        mask: active lanes.
        compress: use strides and differences.
    """
    if not mask:
        return f"{Mode.STRIDE:d} 0x0 0"
    active = [lanes[lane] for lane in lanes_of(mask)]
    if not compress:
        return " ".join([f"{Mode.LIST:d}", *(f"0x{address:016x}" for address in active)])
    deltas = [after - before for before, after in zip(active, active[1:], strict=False)]
    if deltas and _is_run(mask) and len(set(deltas)) == 1:
        return f"{Mode.STRIDE:d} 0x{active[0]:x} {deltas[0]}"
    return " ".join([f"{Mode.DELTAS:d} 0x{active[0]:x}", *map(str, deltas)])


def read_addresses(words: Sequence[str], mask: int) -> tuple[list[int], int]:
    """Addresses of 32 lanes, `NO_ADDRESS` outside the mask, and how many of the words they took.

    Args:
        words: the mode, what follows it, and perhaps more.
        mask: active lanes.

    Raises:
        ValueError: an unknown mode, a word that is no number, an address no GPU has, or a stride for scattered lanes.
        IndexError: too few words.
    """
    mode, active = int(words[0]), lanes_of(mask)
    if mode == Mode.LIST:
        taken = 1 + len(active)
        values = [int(words[1 + i], 16) for i in range(len(active))]
    elif mode == Mode.STRIDE:
        taken, first, stride = 3, int(words[1], 16), int(words[2])
        if mask and not _is_run(mask):
            raise ValueError(f"mode 1 for lanes {mask:08x}, which are not one run")
        values = [first + i * stride for i in range(len(active))]
    elif mode == Mode.DELTAS:
        taken, values = 1 + max(1, len(active)), [int(words[1], 16)][: len(active)]
        for word in words[2:taken]:
            values.append(values[-1] + int(word))
        if len(values) < len(active):
            raise IndexError("too few differences")
    else:
        raise ValueError(f"address mode {mode}, known are 0, 1 and 2")
    lanes = [NO_ADDRESS] * LANES
    for lane, value in zip(active, values, strict=True):
        if not 0 <= value < MAX_ADDRESS:
            raise ValueError(f"address {value:#x} of lane {lane}, legal 0 to {MAX_ADDRESS - 1:#x}")
        lanes[lane] = value
    return lanes, taken


def _is_run(mask: int) -> bool:
    """Whether the lanes of a mask that is not empty lie next to each other."""
    run = mask // (mask & -mask)
    return run & (run + 1) == 0
