"""One step of the NPU, cycle by cycle: streamers, banks and tile engine (RTL: `rtl.npu`), conflicts included.

In each cycle the banks serve, in this order, the DMA, the writer of outputs (codes before scales), the readers of A and
of B, and those of their scales. A bank serves one word; all others wait.

    cycle of START  the loops' first addresses are loaded
    1               first words asked for; from then on an address a cycle and reader, while every channel's queue has
                    room for it; an address stays until all its words have been granted
    2               they come out of the banks; a cycle later they are at the head of their queues, and the engine takes
                    a step when all four streams have it
    ...             the outputs that the writer takes are asked for from the cycle after, and written when granted
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hw.scratchpad import LARGEST_BOUND, Loops, ScratchpadSpec

PREFETCH = 4  # words a queue holds
STREAMS = ("a", "xa", "b", "xb", "out", "xout")


@dataclass(frozen=True)
class Scaling:
    """How a stream of scales is used.

    Attributes:
        steps: that one scale serves, 1 to 65535; every tile starts with a new word.
        shared: a byte is the scale of all rows, and a word's bytes serve one after another; otherwise a word holds a
            scale for each row, and words serve one after another.

    Raises:
        ValueError: steps out of range.
    """

    steps: int
    shared: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= LARGEST_BOUND:
            raise ValueError(f"Scaling.steps: got {self.steps}, must be 1 to {LARGEST_BOUND}")

    def words(self, steps: int, word_bytes: int) -> int:
        """Words that a tile of so many steps takes, of each channel."""
        scales = -(-steps // self.steps)
        return -(-scales // word_bytes) if self.shared else scales


@dataclass(frozen=True)
class Step:
    """What the streamers are set to, and for how long.

    Attributes:
        tiles: of outputs, 1 to 65535.
        steps: of the array, a tile; 1 to 65535.
        channels: of each stream in use; see `rtl.npu.design`.
        loops: of each stream; addresses are words, for "xout" bytes.
        scaling: of "xa" and of "xb".
    """

    tiles: int
    steps: int
    channels: Mapping[str, int]
    loops: Mapping[str, Loops]
    scaling: Mapping[str, Scaling]

    def check(self, scratchpad: ScratchpadSpec) -> None:
        """Refuse what would leave the scratchpad or never end.

        Raises:
            ValueError: a count out of range, an address outside, or loops with more or fewer steps than the engine.
        """
        for name in ("tiles", "steps"):
            if not 1 <= getattr(self, name) <= LARGEST_BOUND:
                raise ValueError(f"Step.{name}: got {getattr(self, name)}, must be 1 to {LARGEST_BOUND}")
        for name in STREAMS:
            limit = scratchpad.bytes if name == "xout" else scratchpad.words
            self.loops[name].check(f"Step.loops[{name!r}]", self.channels[name], limit)
            needed = self.tiles * self.words_a_tile(name, scratchpad)
            if self.loops[name].steps != needed:
                raise ValueError(
                    f"Step.loops[{name!r}].bounds: got {self.loops[name].bounds}, {self.loops[name].steps} in all, "
                    f"must be {needed} for {self.tiles} tiles of {self.steps} steps"
                )

    def words_a_tile(self, name: str, scratchpad: ScratchpadSpec) -> int:
        """Addresses that a stream visits a tile."""
        if name in self.scaling:
            return self.scaling[name].words(self.steps, scratchpad.word_bytes)
        return 1 if name in ("out", "xout") else self.steps


class _Channels:
    """Banks of a stream's addresses, and which channels of the present one still wait for theirs."""

    def __init__(self, banks: np.ndarray):
        self.banks, self.at = banks.tolist(), 0
        self.waiting = self._all()

    def _all(self) -> list[int]:
        return list(range(len(self.banks[self.at]))) if self.at < len(self.banks) else []

    def grant(self, taken: set[int], allowed: list[bool] | None = None) -> list[int]:
        """Channels served in this cycle by banks that are not taken yet; in order."""
        served = []
        for channel in self.waiting:
            bank = self.banks[self.at][channel]
            if bank not in taken and (allowed is None or allowed[channel]):
                taken.add(bank)
                served.append(channel)
        return served

    def advance(self, served: list[int]) -> bool:
        """Forget those served; whether none is left and the next address has its turn."""
        if not self.waiting:
            return False
        self.waiting = [channel for channel in self.waiting if channel not in served]
        if self.waiting:
            return False
        self.at += 1
        self.waiting = self._all()
        return True


class _Reader:
    """A stream towards the array."""

    def __init__(self, banks: np.ndarray, prefetch: int):
        self.addresses, self.prefetch = _Channels(banks), prefetch
        self.level, self.coming = [0] * banks.shape[1], [0] * banks.shape[1]

    @property
    def valid(self) -> bool:
        return all(self.level)

    def grant(self, taken: set[int]) -> list[int]:
        room = [level + coming < self.prefetch for level, coming in zip(self.level, self.coming, strict=True)]
        return self.addresses.grant(taken, room)

    def advance(self, served: list[int], *, popped: bool) -> None:
        self.level = [level + coming - popped for level, coming in zip(self.level, self.coming, strict=True)]
        self.coming = [int(channel in served) for channel in range(len(self.coming))]
        self.addresses.advance(served)


class _Use:
    """Steps since a scale's first, and its place in the word."""

    def __init__(self, scaling: Scaling, word_bytes: int):
        self.scaling, self.places = scaling, word_bytes if scaling.shared else 1
        self.used = self.place = 0

    def take(self, *, last: bool) -> bool:
        """A step is taken; whether the word is used up."""
        self.used += 1
        if self.used == self.scaling.steps or last:
            self.used, self.place = 0, self.place + 1
            if self.place == self.places or last:
                self.place = 0
                return True
        return False


def step_cycles(
    scratchpad: ScratchpadSpec, step: Step, dma: Mapping[int, int] | None = None, prefetch: int = PREFETCH
) -> int:
    """Cycles of a step, from the one after START to the one in which the last word of outputs is written.

    Args:
        scratchpad: its banks.
        step: checked first.
        dma: which line of words the DMA reads or writes in a cycle, the one after START being 1.
        prefetch: words that a queue holds.

    Raises:
        ValueError: see `Step.check`.
    """
    step.check(scratchpad)
    dma = dma or {}

    def banks(name: str) -> np.ndarray:
        words = step.loops[name].addresses(step.channels[name])
        return (words // scratchpad.word_bytes if name == "xout" else words) % scratchpad.banks

    readers = {name: _Reader(banks(name), prefetch) for name in ("a", "b", "xa", "xb")}
    uses = {name: _Use(step.scaling[name], scratchpad.word_bytes) for name in ("xa", "xb")}
    writer = _Channels(np.concatenate([banks("out"), banks("xout")], axis=1))
    writing = summed = offered = False
    done, tiles_left, cycle = 0, step.tiles, 0
    while tiles_left or summed or offered or writing:
        cycle += 1
        lines = scratchpad.banks // scratchpad.line_words
        first = dma[cycle] % lines * scratchpad.line_words if cycle in dma else 0
        taken = set(range(first, first + scratchpad.line_words)) if cycle in dma else set()
        written = writer.grant(taken) if writing else []
        served = {name: reader.grant(taken) for name, reader in readers.items()}

        written_all = writing and writer.advance(written)
        accepts = not writing or written_all
        blocked = (offered and not accepts) or summed
        last = done == step.steps - 1
        take = tiles_left > 0 and not (last and blocked) and all(reader.valid for reader in readers.values())
        for name, reader in readers.items():
            popped = take and (uses[name].take(last=last) if name in uses else True)
            reader.advance(served[name], popped=popped)
        writing = (writing and not written_all) or (offered and accepts)
        offered, summed = blocked, take and last
        if take:
            done = 0 if last else done + 1
            tiles_left -= last
    return cycle
