"""Conformance vectors: dot products of every kind with the exact result of a named tree.

The first dots are edge cases, every pair of them alone among zeros; the rest mixes ordinary codes, edge cases,
cancelling pairs and all codes. Everything is a function of the name and the dot's number: the same dots come out
everywhere, bit for bit. `hw.vector_file` writes and reads them.
"""

from dataclasses import dataclass
from zlib import crc32

import numpy as np

from hw.catalogue import Entry, entry
from hw.evaluate import evaluate_steps, pattern_dtype
from hw.reduction_tree import Accumulator, IntegerAccumulator
from mx_formats.element import ElementFormat
from mx_formats.scale import E8M0, ScaleFormat

STEPS = 2
COUNT = 10_000


@dataclass(frozen=True)
class Vectors:
    """Dots of one tree.

    Attributes:
        a: codes [count, STEPS * products].
        b: codes of the same shape.
        scale_a: codes [count, STEPS * scales]; no columns where the operands have no scale.
        scale_b: codes of the same shape.
        start: accumulator patterns [count].
        result: accumulator patterns [count].
    """

    a: np.ndarray
    b: np.ndarray
    scale_a: np.ndarray
    scale_b: np.ndarray
    start: np.ndarray
    result: np.ndarray


class _Random:
    """SplitMix64 in counter mode: the same numbers on every machine and NumPy version."""

    def __init__(self, name: str) -> None:
        self._state = np.uint64(crc32(name.encode()) << 32)

    def bits(self, *shape: int) -> np.ndarray:
        """uint64 of a shape."""
        count = int(np.prod(shape))
        z = (self._state + np.arange(1, count + 1, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        self._state += np.uint64(count)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
        return (z ^ (z >> np.uint64(31))).reshape(shape)

    def choice(self, legal: np.ndarray, *shape: int) -> np.ndarray:
        """Elements of an array, uniformly but for a bias below 2**-40."""
        return legal[(self.bits(*shape) >> np.uint64(16)) % np.uint64(len(legal))]


def make(name: str, count: int = COUNT) -> Vectors:
    """The dots of a catalogue entry and their results.

    Raises:
        ValueError: no entry of that name, or fewer than one dot.
    """
    if count < 1:
        raise ValueError(f"count: got {count}, must be 1 or more")
    case, random = entry(name), _Random(name)
    element, tree = case.element, case.tree
    length = STEPS * tree.products
    a, b = _codes(random, element, count, length)
    groups = 0 if case.scale is None else STEPS * scales_a_step(case)
    scale_a, scale_b = (_scales(random, case.scale, count, groups) for _ in range(2))
    start = _starts(random, tree.accumulator, count).astype(pattern_dtype(tree))
    return Vectors(a, b, scale_a, scale_b, start, evaluate(case, a, b, scale_a, scale_b, start))


def evaluate(
    case: Entry, a: np.ndarray, b: np.ndarray, scale_a: np.ndarray, scale_b: np.ndarray, start: np.ndarray
) -> np.ndarray:
    """The accumulators after all steps; arguments as the fields of `Vectors`."""
    products, sums = case.tree.products, start
    scales = scales_a_step(case)
    one = np.full((len(start), 1), E8M0.bias, np.uint8)
    for step in range(a.shape[1] // products):
        part, shared = slice(step * products, (step + 1) * products), slice(step * scales, (step + 1) * scales)
        factors = (one, one) if case.scale is None else (scale_a[:, shared], scale_b[:, shared])
        element = case.element
        sums = evaluate_steps(
            case.tree, element, a[:, part], element, b[:, part], sums, *factors, case.scale or E8M0
        )  # fmt: skip
    return sums


def scales_a_step(case: Entry) -> int:
    """One, or one a group where a step sums groups before the scales enter."""
    return case.tree.scaled_terms if case.tree.scales_enter and case.tree.scaled_terms < case.tree.products else 1


def _edge_codes(element: ElementFormat) -> np.ndarray:
    """Zeros, smallest and largest numbers, ones, infinities and NaNs, of both signs."""
    m, top = element.mantissa_bits, (1 << (element.bits - 1)) - 1
    one = 1 << m if element.is_integer else element.bias << m
    largest = element.largest_code
    positive = [0, 1, (1 << m) - 1, 1 << m, one, largest - 1, largest, min(largest + 1, top), top]
    return np.unique([code | sign for code in positive for sign in (0, top + 1)]).astype(np.uint64)


def _codes(random: _Random, element: ElementFormat, count: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    edges = _edge_codes(element)
    kind = (np.arange(count) % 4)[:, None]
    sides = []
    for _ in range(2):
        every, edge = _every(random, element, count, length), random.choice(edges, count, length)
        sides.append(np.where(kind == 0, every, np.where(kind == 1, edge, _ordinary(every, element))))
    a, b = sides
    cancelling = (kind == 3) & (np.arange(length) % 2 == 1)
    before = np.roll(a, 1, axis=1)
    negated = before ^ np.uint64(1 << (element.bits - 1))
    if element.is_integer:
        negated = (~before + np.uint64(1)) & np.uint64((1 << element.bits) - 1)
    a, b = np.where(cancelling, _ordinary(negated, element), a), np.where(cancelling, np.roll(b, 1, axis=1), b)
    # Every pair of edge cases alone among zeros, in the first lines.
    pair = np.arange(count)[:, None]
    first, alone = np.arange(length) == 0, pair < len(edges) ** 2
    a = np.where(alone, np.where(first, edges[pair // len(edges) % len(edges)], 0), a)
    b = np.where(alone, np.where(first, edges[pair % len(edges)], 0), b)
    return a.astype(element.code_dtype), b.astype(element.code_dtype)


def _every(random: _Random, element: ElementFormat, *shape: int) -> np.ndarray:
    return random.bits(*shape) & np.uint64((1 << element.bits) - 1)


def _ordinary(codes: np.ndarray, element: ElementFormat) -> np.ndarray:
    """The same codes, but NaN and infinity brought into the middle of the range."""
    if element.is_integer:
        return codes
    top = np.uint64((1 << (element.bits - 1)) - 1)
    special = codes & top > element.largest_code
    if element.nan_code is not None:
        special |= codes == element.nan_code
    return np.where(special, codes & top >> np.uint64(1), codes)


def _scales(random: _Random, scale: ScaleFormat | None, count: int, groups: int) -> np.ndarray:
    if scale is None:
        return np.zeros((count, 0), np.uint8)
    if scale.magnitudes is None:
        near, edges = np.arange(scale.bias - 12, scale.bias + 13), np.array([0, 1, scale.largest, scale.nan])
    else:
        near, edges = np.arange(1, scale.largest + 1), np.array([0, 1, scale.largest, scale.nan, 0x80 | scale.bias])
    shared = random.choice(near, count, groups)
    extreme = random.bits(count, groups) % np.uint64(16) == 0
    return np.where(extreme, random.choice(edges, count, groups), shared).astype(scale.code_dtype)


def _starts(random: _Random, accumulator: Accumulator | IntegerAccumulator, count: int) -> np.ndarray:
    mask = np.uint64((1 << accumulator.bits) - 1)
    patterns = random.bits(count) & mask
    sign = np.uint64(1 << (accumulator.bits - 1))
    if isinstance(accumulator, IntegerAccumulator):
        edges = np.array([0, 1, int(mask), int(sign) - 1, int(sign)], np.uint64)
        near = patterns & np.uint64(0xFFFF)
    else:
        m, one = accumulator.mantissa_bits, accumulator.bias << accumulator.mantissa_bits
        positive = [0, 1, (1 << m) - 1, 1 << m, one, accumulator.infinity - 1, accumulator.infinity, accumulator.nan]
        edges = np.array([*positive, *(code | int(sign) for code in positive)], np.uint64)
        field = random.choice(np.arange(max(accumulator.bias - 20, 0), accumulator.bias + 20, dtype=np.uint64), count)
        near = patterns & (sign | np.uint64((1 << m) - 1)) | field << np.uint64(m)
    kind = random.bits(count) % np.uint64(8)
    chosen = np.where(kind < 4, near, np.where(kind == 4, patterns, np.uint64(0)))
    return np.where(kind == 5, random.choice(edges, count), chosen)
