"""Which NPU to generate."""

from dataclasses import dataclass, field

from hw.npu_step import PREFETCH, STREAMS
from hw.scratchpad import BYTE, ScratchpadSpec
from rtl.engine.tile_engine import EngineDesign
from rtl.npu.layout import operand_bits

MOST_LOOPS = 6  # a streamer's registers have sixteen addresses


@dataclass(frozen=True)
class NpuDesign:
    """The engine with a scratchpad and streamers.

    Attributes:
        engine: array and requantiser.
        scratchpad: its banks.
        loops: of each streamer, 1 to 6.
        prefetch: words that a queue holds, 1 to 64; a step every cycle takes three.

    Raises:
        ValueError: loops or queues out of range.
    """

    engine: EngineDesign = field(default_factory=EngineDesign)
    scratchpad: ScratchpadSpec = ScratchpadSpec()
    loops: int = 4
    prefetch: int = PREFETCH

    def __post_init__(self) -> None:
        for name, most in (("loops", MOST_LOOPS), ("prefetch", 64)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"NpuDesign.{name}: got {getattr(self, name)}, must be 1 to {most}")

    def channels(self, stream: str, mode: int) -> int:
        """Words side by side of a stream (one of "a", "xa", "b", "xb", "out", "xout") in a mode."""
        array, word = self.engine.array, self.scratchpad.word_bits
        if stream in ("a", "b"):
            return -(-operand_bits(array.mac, mode, array.rows if stream == "a" else array.columns) // word)
        if stream in ("xa", "xb"):
            return -(-(array.rows if stream == "xa" else array.columns) * BYTE // word)
        if stream == "out":
            return -(-array.rows * array.columns * array.mac.elements[mode].bits // word)
        return 1

    def most_channels(self, stream: str) -> int:
        """The same in the mode that takes most."""
        return max(self.channels(stream, mode) for mode in range(len(self.engine.array.mac.elements)))

    def used_channels(self, mode: int, out_mode: int) -> dict[str, int]:
        """Of every stream; see `hw.npu_step.Step.channels`."""
        return {name: self.channels(name, out_mode if name == "out" else mode) for name in STREAMS}
