"""Ways to damage files: what fuzz tests draw from, always by a seeded generator."""

import copy
import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

# Where counts, signs and widths change.
_WORDS = (
    0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1,
    (1 << 64) - 1,
)  # fmt: skip
_VALUES = (
    0, 1, -1, 2, 16, 128, 1 << 31, 1 << 32, 1 << 62, 1 << 63, 1 << 70, 0.5, 1e300, "", "x", "\u00e9\u0000", None, True,
    [], [[]], {}, {"a": 1},
)  # fmt: skip


def _flip(rng: np.random.Generator, data: bytearray) -> None:
    for position in rng.integers(0, len(data), rng.integers(1, 8)):
        data[position] = rng.integers(0, 256)


def _truncate(rng: np.random.Generator, data: bytearray) -> None:
    del data[rng.integers(0, len(data)) :]


def _word(rng: np.random.Generator, data: bytearray) -> None:
    """Put a telling value in an aligned word."""
    size = int(rng.choice([2, 4, 8]))
    position = int(rng.integers(0, max(len(data) // size, 1))) * size
    data[position : position + size] = (_WORDS[rng.integers(len(_WORDS))] & (1 << 8 * size) - 1).to_bytes(
        size, "little"
    )


def _move(rng: np.random.Generator, data: bytearray) -> None:
    """Copy a piece of the data over another."""
    size = int(rng.integers(1, max(len(data) // 4, 2)))
    source, target = rng.integers(0, max(len(data) - size, 1), 2)
    data[target : target + size] = data[source : source + size]


def _insert(rng: np.random.Generator, data: bytearray) -> None:
    position = int(rng.integers(0, len(data) + 1))
    data[position:position] = rng.bytes(int(rng.integers(1, 64)))


_ANY = (_flip, _flip, _truncate, _word, _word, _move, _insert)


def damaged(rng: np.random.Generator, image: bytes) -> bytes:
    """Bytes after one to three changes of any kind."""
    data = bytearray(image)
    for _ in range(rng.integers(1, 4)):
        if data:
            _ANY[rng.integers(len(_ANY))](rng, data)
    return bytes(data)


def spliced(rng: np.random.Generator, image: bytes, others: Sequence[bytes]) -> bytes:
    """The start of one file and the end of another."""
    other = others[rng.integers(len(others))]
    return image[: rng.integers(0, len(image))] + other[rng.integers(0, len(other)) :]


def section_edited(rng: np.random.Generator, image: bytes) -> bytes:
    """A 64-bit ELF file with telling values in its header or in fields of its section headers."""
    data = bytearray(image)
    (table,) = struct.unpack_from("<Q", image, 40)
    entry, count = struct.unpack_from("<HH", image, 58)
    for _ in range(rng.integers(1, 4)):
        if rng.random() < 0.2:
            position, size = int(rng.integers(16, 64)) & ~1, 2
        else:
            # name, type (4 bytes each), flags, address, offset, size (8), link, info (4), align, entry size (8)
            field, size = [(0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 4), (44, 4), (48, 8), (56, 8)][
                rng.integers(10)
            ]
            position = table + int(rng.integers(0, count)) * entry + field
        old = int.from_bytes(data[position : position + size], "little")
        new = _WORDS[rng.integers(len(_WORDS))] if rng.random() < 0.6 else old + int(rng.integers(-64, 65))
        data[position : position + size] = (new & (1 << 8 * size) - 1).to_bytes(size, "little")
    return bytes(data)


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON tree."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    found = []
    for key, value in items:
        found += [(tree, key), *_places(value)]
    return found


def json_edited(rng: np.random.Generator, tree: Any) -> Any:
    """A JSON tree with one to three values replaced, removed, repeated or nudged."""
    tree = json.loads(json.dumps(tree))
    for _ in range(rng.integers(1, 4)):
        places = _places(tree)
        if not places:
            break
        container, key = places[rng.integers(len(places))]
        choice = rng.random()
        if choice < 0.4 and isinstance(container[key], int):
            container[key] += int(rng.integers(-16, 17)) * int(rng.choice([1, 8, 1 << 32]))
        elif choice < 0.7:
            container[key] = copy.deepcopy(_VALUES[rng.integers(len(_VALUES))])
        elif choice < 0.85:
            del container[key]
        elif isinstance(container, list):
            container.insert(key, copy.deepcopy(container[rng.integers(len(container))]))
        else:
            other, at = places[rng.integers(len(places))]
            container[key] = json.loads(json.dumps(other[at]))
    return tree


def code_edited(rng: np.random.Generator, image: bytes, code: bytes) -> bytes:
    """A cubin with bits of a few instructions changed, mostly of their operands rather than of the operation."""
    data, start = bytearray(image), image.index(code)
    for _ in range(rng.integers(1, 4)):
        instruction = start + 16 * int(rng.integers(0, len(code) // 16))
        if rng.random() < 0.2:
            other = start + 16 * int(rng.integers(0, len(code) // 16))
            data[instruction : instruction + 16] = data[other : other + 16]
        else:
            bit = int(rng.integers(12, 128))
            data[instruction + bit // 8] ^= 1 << bit % 8
    return bytes(data)
