"""DFloat11: bfloat16 with Huffman-coded exponents, lossless (arXiv 2504.11651)."""

import heapq
from typing import NamedTuple

import numpy as np
from numba import njit

MAX_LENGTH = 32


class DFloat11(NamedTuple):
    """A bfloat16 tensor.

    Attributes:
        rest: uint8[n], sign and mantissa of each value.
        stream: uint8, exponent codes, first bit in the top of the first byte.
        lengths: uint8[256], code length of each exponent, 0 for those that do not occur; codes are canonical.
        shape: of the tensor.
    """

    rest: np.ndarray
    stream: np.ndarray
    lengths: np.ndarray
    shape: tuple[int, ...]

    @property
    def bits_per_value(self) -> float:
        """Storage without the table, in bits."""
        return 8 * (self.rest.size + self.stream.size) / max(self.rest.size, 1)


def compress(patterns: np.ndarray) -> DFloat11:
    """Code bfloat16 bit patterns, uint16 of any shape.

    Raises:
        ValueError: not uint16.
    """
    if patterns.dtype != np.uint16:
        raise ValueError(f"patterns: dtype is {patterns.dtype}, must be uint16 (a view of bfloat16)")
    flat = np.ascontiguousarray(patterns).reshape(-1)
    exponents = ((flat >> 7) & 0xFF).astype(np.uint8)
    rest = ((flat >> 8) & 0x80 | flat & 0x7F).astype(np.uint8)
    counts = np.bincount(exponents, minlength=256)
    lengths = code_lengths(counts)
    stream = np.zeros((int((counts * lengths).sum()) + 7) // 8, np.uint8)
    _write(exponents, stream, canonical_codes(lengths), lengths)
    return DFloat11(rest, stream, lengths, patterns.shape)


def expand(compressed: DFloat11) -> np.ndarray:
    """The bit patterns, uint16.

    Raises:
        ValueError: lengths that are no prefix code, or a stream that ends before the values do.
    """
    lengths = compressed.lengths.astype(np.int64)
    used = lengths[lengths > 0]
    if (lengths > MAX_LENGTH).any() or sum(1 << int(MAX_LENGTH - length) for length in used) > 1 << MAX_LENGTH:
        raise ValueError("lengths: no prefix code has them")
    exponents = np.zeros(compressed.rest.size, np.uint8)
    symbols = np.lexsort((np.arange(256), lengths))
    symbols = symbols[lengths[symbols] > 0].astype(np.uint8)
    done = _read(compressed.stream, exponents, symbols, np.bincount(used, minlength=MAX_LENGTH + 1))
    if done != exponents.size:
        raise ValueError(f"stream: ends after {done} of {exponents.size} exponents")
    rest = compressed.rest.astype(np.uint16)
    patterns = (rest & 0x80) << 8 | exponents.astype(np.uint16) << 7 | rest & 0x7F
    return patterns.reshape(compressed.shape)


def code_lengths(counts: np.ndarray) -> np.ndarray:
    """Huffman code length of each symbol, uint8; 0 where the count is 0, 1 for a symbol that is alone.

    Where a length would exceed 32, the rarest counts become 1, more and more of them, until none does.
    """
    counts = counts.copy()
    rarest = np.argsort(counts, kind="stable")
    rarest = rarest[counts[rarest] > 0]
    lengths = _huffman(counts)
    raised = 1
    while lengths.max(initial=0) > MAX_LENGTH:
        raised += 1
        counts[rarest[:raised]] = 1
        lengths = _huffman(counts)
    return lengths.astype(np.uint8)


def canonical_codes(lengths: np.ndarray) -> np.ndarray:
    """uint64 code of each symbol: by length, then by symbol, counting up."""
    codes = np.zeros(len(lengths), np.uint64)
    code, last = 0, 0
    for symbol in np.lexsort((np.arange(len(lengths)), lengths)):
        length = int(lengths[symbol])
        if length:
            code <<= length - last
            codes[symbol], last = code, length
            code += 1
    return codes


def _huffman(counts: np.ndarray) -> np.ndarray:
    lengths = np.zeros(len(counts), np.int64)
    heap = [(int(count), symbol, [symbol]) for symbol, count in enumerate(counts) if count]
    if len(heap) == 1:
        lengths[heap[0][1]] = 1
    heapq.heapify(heap)
    while len(heap) > 1:
        (count_a, order, a), (count_b, _, b) = heapq.heappop(heap), heapq.heappop(heap)
        lengths[a + b] += 1
        heapq.heappush(heap, (count_a + count_b, order, a + b))
    return lengths


@njit(cache=True, nogil=True)
def _write(exponents, stream, codes, lengths):
    place = 0
    for exponent in exponents:
        for bit in range(lengths[exponent] - 1, -1, -1):
            if (codes[exponent] >> np.uint64(bit)) & np.uint64(1):
                stream[place >> 3] |= np.uint8(128 >> (place & 7))
            place += 1


@njit(cache=True, nogil=True)
def _read(stream, exponents, symbols, per_length):
    """Canonical decoding bit by bit; returns how many exponents the stream held."""
    place, bits = 0, 8 * len(stream)
    for i in range(len(exponents)):
        code, first, index = 0, 0, 0
        found = False
        for length in range(1, len(per_length)):
            if place == bits:
                return i
            code |= (stream[place >> 3] >> (7 - (place & 7))) & 1
            place += 1
            if code - first < per_length[length]:
                exponents[i] = symbols[index + code - first]
                found = True
                break
            index += per_length[length]
            first = (first + per_length[length]) << 1
            code <<= 1
        if not found:
            return i
    return len(exponents)
