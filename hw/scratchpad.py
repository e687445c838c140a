"""A scratchpad of single-ported banks, and the nested loops in which streamers walk over it.

Consecutive words lie in consecutive banks. In a cycle a bank serves one word; who comes first is fixed
(`hw.npu_step` has the order), and who comes second tries again in the next cycle.
"""

from dataclasses import dataclass

import numpy as np

BYTE = 8
COUNT_BITS = 16  # of a loop's counter
LARGEST_BOUND = (1 << COUNT_BITS) - 1


@dataclass(frozen=True)
class ScratchpadSpec:
    """The memory; as published with SNAX (arXiv 2511.06313): 128 KiB in 32 banks, a DMA of 512 bits.

    Attributes:
        banks: a power of two.
        depth: words in each, a power of two.
        word_bits: whole bytes.
        line_words: words that the DMA moves at once, in as many neighbouring banks; divides `banks`.

    Raises:
        ValueError: anything else.
    """

    banks: int = 32
    depth: int = 512
    word_bits: int = 64
    line_words: int = 8

    def __post_init__(self) -> None:
        for name, least in (("banks", 2), ("depth", 2), ("line_words", 1)):
            size = getattr(self, name)
            if size < least or size & (size - 1):
                raise ValueError(f"ScratchpadSpec.{name}: got {size}, must be a power of two from {least} up")
        if self.word_bits < BYTE or self.word_bits % BYTE:
            raise ValueError(f"ScratchpadSpec.word_bits: got {self.word_bits}, must be a multiple of {BYTE}, above 0")
        if self.line_words > self.banks:
            raise ValueError(f"ScratchpadSpec.line_words: got {self.line_words}, must be at most {self.banks} banks")

    @property
    def words(self) -> int:
        """In all banks."""
        return self.banks * self.depth

    @property
    def word_bytes(self) -> int:
        """Bytes of a word."""
        return self.word_bits // BYTE

    @property
    def line_bytes(self) -> int:
        """Bytes that the DMA moves a cycle."""
        return self.line_words * self.word_bytes

    @property
    def bytes(self) -> int:
        """Of all words."""
        return self.words * self.word_bytes


@dataclass(frozen=True)
class Loops:
    """Where a streamer goes: nested loops over addresses, all channels of a step side by side.

    Attributes:
        base: address of channel 0 in the first step.
        bounds: how often each loop goes round, innermost first; 1 to 65535.
        strides: what a round of each adds; may be negative.
        channel_stride: between the addresses of a step's channels.

    Raises:
        ValueError: a bound out of range, or not as many strides as bounds.
    """

    base: int
    bounds: tuple[int, ...]
    strides: tuple[int, ...]
    channel_stride: int = 1

    def __post_init__(self) -> None:
        if not self.bounds or len(self.bounds) != len(self.strides):
            raise ValueError(
                f"Loops.strides: got {len(self.strides)} for {len(self.bounds)} bounds, must be as many, at least one"
            )
        for place, bound in enumerate(self.bounds):
            if not 1 <= bound <= LARGEST_BOUND:
                raise ValueError(f"Loops.bounds[{place}]: got {bound}, must be 1 to {LARGEST_BOUND}")

    @property
    def steps(self) -> int:
        """Of all rounds."""
        return int(np.prod(self.bounds, dtype=np.int64))

    def addresses(self, channels: int) -> np.ndarray:
        """int64[steps, channels], in the order in which they are visited."""
        found = np.array([self.base], np.int64)
        for bound, stride in zip(reversed(self.bounds), reversed(self.strides), strict=True):
            found = (found[:, None] + stride * np.arange(bound)).ravel()
        return found[:, None] + self.channel_stride * np.arange(channels)

    def check(self, name: str, channels: int, limit: int) -> None:
        """ValueError unless every address lies in 0 to `limit` - 1; `name` is for the message."""
        found = self.addresses(channels)
        if found.min() < 0 or found.max() >= limit:
            raise ValueError(
                f"{name}: base {self.base} and strides {self.strides}, {self.channel_stride} between channels, reach "
                f"{found.min()} to {found.max()}, must be within 0 to {limit - 1}"
            )
