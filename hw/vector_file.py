"""Conformance vectors as plain text: a header that names tree and accumulator, then a dot a line.

The format is described in docs/vectors.md. The header's `sha256` is that of all lines after it.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hw.catalogue import Entry, entry
from hw.evaluate import pattern_dtype
from hw.reduction_tree import Accumulator, IntegerAccumulator
from hw.vectors import COUNT, STEPS, Vectors, evaluate, make, scales_a_step
from mx_formats.element import ElementFormat

FORMAT = "warptree dot-product vectors, version 1"


def lines(name: str, vectors: Vectors) -> Iterator[str]:
    """The file, line by line without line ends."""
    case = entry(name)
    body = list(_body(case, vectors))
    digest = hashlib.sha256("".join(line + "\n" for line in body).encode()).hexdigest()
    yield f"# {FORMAT}"
    for key, value in _header(name, case, len(body)).items():
        yield f"# {key}: {value}"
    yield f"# sha256: {digest}"
    yield from body


def _header(name: str, case: Entry, count: int) -> dict[str, str]:
    element, scale, tree = case.element, case.scale, case.tree
    return {
        "name": name,
        "tree": tree.name,
        "source": tree.source,
        "element": _element_words(element),
        "scale": "none" if scale is None else scale.name,
        "products": str(tree.products),
        "scales": "0" if scale is None else str(scales_a_step(case)),
        "steps": str(STEPS),
        "accumulator": accumulator_words(tree.accumulator),
        "code digits": str(_digits(element.bits)),
        "columns": "a b scale_a scale_b before after" if scale else "a b before after",
        "count": str(count),
    }


def _element_words(element: ElementFormat) -> str:
    if element.is_integer:
        return f"{element.name}, two's complement, {element.bits} bits, {element.mantissa_bits} of them fraction"
    widths = f"{element.exponent_bits} exponent bits, {element.mantissa_bits} mantissa bits"
    return f"{element.name}, {widths}, bias {element.bias}"


def accumulator_words(accumulator: Accumulator | IntegerAccumulator) -> str:
    """An accumulator's format in full."""
    if isinstance(accumulator, IntegerAccumulator):
        overflow = "saturates" if accumulator.saturate else "wraps"
        return f"integer, {accumulator.bits} bits, {accumulator.fraction_bits} of them fraction, {overflow}"
    return (
        f"float, {accumulator.exponent_bits} exponent bits, {accumulator.mantissa_bits} mantissa bits, "
        f"bias {accumulator.bias}, rounds {accumulator.rounding.name.lower().replace('_', ' ')}, "
        f"{'with' if accumulator.subnormals else 'without'} subnormals, zero {accumulator.zero.name.lower()}, "
        f"nan {accumulator.nan:x}"
    )


def _digits(bits: int) -> int:
    return -(-bits // 4)


def _body(case: Entry, vectors: Vectors) -> Iterator[str]:
    code, pattern = f"0{_digits(case.element.bits)}x", f"0{_digits(case.tree.accumulator.bits)}x"
    shared = "" if case.scale is None else f"0{_digits(case.scale.bits)}x"
    columns = [(vectors.a, code), (vectors.b, code)]
    columns += [(vectors.scale_a, shared), (vectors.scale_b, shared)] if shared else []
    columns += [(vectors.start[:, None], pattern), (vectors.result[:, None], pattern)]
    texts = [[[format(value, spec) for value in row] for row in table.tolist()] for table, spec in columns]
    for row in zip(*texts, strict=True):
        yield " ".join("".join(cells) for cells in row)


def write(name: str, folder: Path, count: int = COUNT) -> Path:
    """Write one entry's file into a folder; returns its path."""
    path = folder / f"{name.replace('/', '_')}.txt"
    path.write_text("".join(line + "\n" for line in lines(name, make(name, count))))
    return path


def check(path: Path) -> tuple[int, list[int]]:
    """Read a file and evaluate its dots again.

    Returns:
        How many dots there are, and the line numbers (from 1) of those whose result differs.

    Raises:
        ValueError: not a file of this format, or one whose lines do not fit its header.
    """
    text = path.read_text(errors="replace").splitlines()
    if not text or text[0] != f"# {FORMAT}":
        raise ValueError(f"{path}: first line is {text[0][:60] if text else ''!r}, must be '# {FORMAT}'")
    head = [line for line in text if line.startswith("#")]
    keys = dict(line[2:].split(": ", 1) for line in head[1:] if ": " in line)
    case = entry(keys.get("name", ""))
    expected = _header(keys["name"], case, len(text) - len(head))
    for key, value in expected.items():
        if keys.get(key) != value:
            raise ValueError(f"{path}: {key} is {keys.get(key)!r}, must be {value!r}")
    rows = [_parse(line, case, f"{path}, line {number}") for number, line in enumerate(text, 1) if line[:1] != "#"]
    tables = [np.array(column, dtype) for column, dtype in zip(zip(*rows, strict=True), _dtypes(case), strict=True)]
    a, b, scale_a, scale_b, start, result = tables
    got = evaluate(case, a, b, scale_a, scale_b, start[:, 0])
    return len(rows), [len(head) + 1 + int(row) for row in np.nonzero(got != result[:, 0])[0]]


def _dtypes(case: Entry) -> list[np.dtype]:
    code, pattern = case.element.code_dtype, np.dtype(pattern_dtype(case.tree))
    scale = np.dtype(np.uint8) if case.scale is None else case.scale.code_dtype
    return [code, code, scale, scale, pattern, pattern]


def _parse(line: str, case: Entry, where: str) -> list[list[int]]:
    """The six columns of one line."""
    fields = line.split()
    if case.scale is None:
        fields[2:2] = ["", ""]
    length, groups = STEPS * case.tree.products, 0 if case.scale is None else STEPS * scales_a_step(case)
    shared = 1 if case.scale is None else _digits(case.scale.bits)
    code, pattern = _digits(case.element.bits), _digits(case.tree.accumulator.bits)
    widths = [(length, code)] * 2 + [(groups, shared)] * 2 + [(1, pattern)] * 2
    if [len(field) for field in fields] != [count * digits for count, digits in widths]:
        raise ValueError(f"{where}: columns are {[len(field) for field in fields]} digits wide, must be {widths}")
    try:
        return [
            [int(field[i * digits : (i + 1) * digits], 16) for i in range(count)]
            for field, (count, digits) in zip(fields, widths, strict=True)
        ]
    except ValueError:
        raise ValueError(f"{where}: {line[:60]!r} is not hexadecimal") from None
