"""The NPU's parts for synthesis; memories and MACs are not among them."""

from collections.abc import Callable

from amaranth.lib.wiring import Component

from rtl.engine.control import TileControl
from rtl.npu.crossbar import BankArbiter, WayBack
from rtl.npu.design import NpuDesign
from rtl.npu.layout import Pack, Unpack
from rtl.npu.reader import Reader
from rtl.npu.registers import Registers
from rtl.npu.scales import ScaleHold
from rtl.npu.writer import Writer
from rtl.requantise import BlockScale, ElementRound


def parts(design: NpuDesign) -> dict[str, tuple[int, Callable[[], Component]]]:
    """How many of each, and what makes one."""
    array, pad = design.engine.array, design.scratchpad
    codes, scales, outputs = (design.most_channels(name) for name in ("a", "xa", "out"))
    readers = sum(design.most_channels(name) for name in ("a", "xa", "b", "xb"))
    return {
        "tile control": (1, TileControl),
        "requantiser, scale": (1, lambda: BlockScale(array.mac, array.rows * array.columns)),
        "requantiser, element": (array.rows * array.columns, lambda: ElementRound(array.mac)),
        "reader of codes": (2, lambda: Reader(pad, codes, design.loops, design.prefetch)),
        "reader of scales": (2, lambda: Reader(pad, scales, design.loops, design.prefetch)),
        "unpacking": (2, lambda: Unpack(array.mac, array.rows, pad.word_bits, codes)),
        "scale hold": (2, lambda: ScaleHold(array.rows, pad.word_bits)),
        "packing": (1, lambda: Pack(array, pad.word_bits, outputs)),
        "writer": (1, lambda: Writer(pad, outputs, design.loops)),
        "registers": (1, lambda: Registers(design)),
        "bank arbiter": (pad.banks, lambda: BankArbiter(pad, 0, outputs + 1, readers)),
        "way back": (readers, lambda: WayBack(pad.banks, pad.word_bits)),
    }
