"""The box of a bulk copy to the lines and sectors of L2 that it touches, row by row."""

import numpy as np
from numba import njit

from gpu_model.core.coalesce import LINE_BYTES, SECTOR_BYTES, moved
from gpu_model.trace import CopyWord

_DIMENSIONS = 5
_BASE, _BOX, _ROWS, _SIZE, _START = (
    int(word) for word in (CopyWord.BASE, CopyWord.BOX, CopyWord.ROWS, CopyWord.SIZE, CopyWord.START)
)
_STEP, _STRIDE = int(CopyWord.STEP), int(CopyWord.STRIDE)


@njit(cache=True, nogil=True)
def most_lines(words):
    """No box touches more lines than this."""
    rows = np.int64(1)
    for i in range(1, _DIMENSIONS):
        rows *= words[_BOX + i]
    return rows * (words[_BOX] * words[_STRIDE] // LINE_BYTES + 2)


@njit(cache=True, nogil=True)
def _row_start(words, number):
    """Address of the first element of a row of the box in dimension 0's element 0, or -1 outside the tensor."""
    address, rest = words[_BASE], number
    for i in range(1, _DIMENSIONS):
        at = words[_START + i] + rest % words[_BOX + i] * words[_STEP + i]
        rest //= words[_BOX + i]
        if words[_ROWS] and i == 1:
            at = words[_START + 1 + number]
        elif words[_ROWS]:
            at = np.int64(0)
        if at < 0 or at >= words[_SIZE + i]:
            return np.int64(-1)
        address += at * words[_STRIDE + i]
    return address


@njit(cache=True, nogil=True)
def _add_bytes(first, last, out, count):
    """Add the sectors of bytes first..last - 1; a line that was the last one grows."""
    sector = first // SECTOR_BYTES
    while sector * SECTOR_BYTES < last:
        line, bit = sector * SECTOR_BYTES // LINE_BYTES, 1 << sector % (LINE_BYTES // SECTOR_BYTES)
        if count == 0 or out[count - 1].line != line:
            out[count].line, out[count].sectors = line, 0
            count += 1
        out[count - 1].sectors |= bit
        sector += 1
    return count


@njit(cache=True, nogil=True)
def box_lines(words, regions, out):
    """Write the lines of a copy's box; returns how many, and an address outside all regions or -1.

    Args:
        words: `CopyWord`s of the copy.
        regions: where global addresses are moved to; none = left as they are.
        out: out, `TRANSACTION[most_lines(words)]`.
    """
    count, rows = 0, np.int64(1)
    low, high = max(words[_START], 0), min(words[_START] + words[_BOX], words[_SIZE])
    for i in range(1, _DIMENSIONS):
        rows *= words[_BOX + i]
    for number in range(rows):
        start = _row_start(words, number)
        if start < 0 or low >= high:
            continue
        start += low * words[_STRIDE]
        place = moved(start, regions)
        if place < 0:
            return count, start
        count = _add_bytes(place, place + (high - low) * words[_STRIDE], out, count)
    return count, np.int64(-1)
