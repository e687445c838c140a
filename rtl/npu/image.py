"""Operands and outputs as words, laid out as `rtl.npu.layout` says."""

import numpy as np

from hw.npu_step import Scaling
from hw.scratchpad import BYTE
from rtl.npu.design import NpuDesign
from rtl.npu.layout import output_place


def code_words(design: NpuDesign, stream: str, mode: int, codes: np.ndarray) -> np.ndarray:
    """Codes uint8[rows, k] of one tile to bytes uint8[steps, channels, bytes of a word]; k a multiple of the lanes."""
    mac = design.engine.array.mac
    spec = mac.spec(mac.names[mode])
    rows, k = codes.shape
    steps = codes.reshape(rows, k // spec.lanes, spec.lanes).swapaxes(0, 1).reshape(k // spec.lanes, -1)
    return _packed(steps, spec.element.bits, design.channels(stream, mode), design.scratchpad.word_bytes)


def scale_words(design: NpuDesign, stream: str, scaling: Scaling, scales: np.ndarray) -> np.ndarray:
    """Scales uint8[rows, blocks] of one tile to bytes uint8[words, channels, bytes of a word].

    Raises:
        ValueError: shared scales that differ from row to row.
    """
    size = design.scratchpad.word_bytes
    if scaling.shared:
        if (scales != scales[0]).any():
            raise ValueError(f"{stream}: scales differ from row to row, but are said to be shared")
        words = -(-scales.shape[1] // size)
        return np.pad(scales[0], (0, words * size - scales.shape[1])).reshape(words, 1, size)
    return _packed(scales.T, BYTE, design.channels(stream, 0), size)


def output_words(design: NpuDesign, out_mode: int, codes: np.ndarray) -> np.ndarray:
    """Codes uint8[tiles, outputs] to bytes uint8[tiles, channels, bytes of a word]."""
    array = design.engine.array
    places = [output_place(array, out_mode, *divmod(i, array.columns)) for i in range(codes.shape[1])]
    packed = np.empty_like(codes)
    packed[:, places] = codes
    bits = array.mac.elements[out_mode].bits
    return _packed(packed, bits, design.channels("out", out_mode), design.scratchpad.word_bytes)


def _packed(codes: np.ndarray, bits: int, channels: int, word_bytes: int) -> np.ndarray:
    """Rows of codes to words without holes, the first code lowest, filled up with zeros."""
    each = np.unpackbits(codes[..., None], axis=-1, count=bits, bitorder="little").reshape(len(codes), -1)
    room = np.zeros((len(codes), channels * word_bytes * BYTE), np.uint8)
    room[:, : each.shape[1]] = each
    return np.packbits(room, axis=1, bitorder="little").reshape(len(codes), channels, word_bytes)
