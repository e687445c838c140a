"""Conformance vectors: the same bits everywhere, right by the definition, and files that check themselves."""

import hashlib

import numpy as np
import pytest

from hw.catalogue import catalogue, entry
from hw.reference import reference
from hw.vector_file import check, lines, write
from hw.vectors import STEPS, make, scales_a_step
from mx_formats.scale import E8M0


@pytest.mark.parametrize("name", catalogue())
def test_results_follow_the_definition(name):
    """Edge cases and all kinds of dots, step by step in exact rationals."""
    case, vectors = entry(name), make(name, 400)
    products, scales = case.tree.products, scales_a_step(case)
    for row in (1, 7, 83, 150, *range(390, 400)):
        total = int(vectors.start[row])
        for step in range(STEPS):
            part, shared = slice(step * products, (step + 1) * products), slice(step * scales, (step + 1) * scales)
            factors = (127, 127, E8M0)
            if case.scale is not None:
                factors = (vectors.scale_a[row, shared], vectors.scale_b[row, shared], case.scale)
            codes = vectors.a[row, part].tolist(), vectors.b[row, part].tolist()
            total = reference(case.tree, case.element, codes[0], case.element, codes[1], total, *factors)
        assert int(vectors.result[row]) == total, row


# The digests printed in docs/vectors.md, of the files of 10 000 dots.
DIGESTS = {
    "ampere/FP16": "d3dd08606d3f9a3c41928e28bcee91051cda6fe78f0ec8cc47b7c9cdbadd79cd",
    "hybrid-m16/E4M3": "4e536df2c229ee68cebe3c63f129820576104fa918394121c80df678f876b831",
    "nvf4/E2M1": "645c060fb778a700cb93bf9b336bea900b0516aa2bff165ec7bcb6c9a00c7dab",
    "sequential-fma/FP32": "0f1589e02c9d0a1734d63fe79520a23d741455dab7d841fab6b8186afa2d94e0",
}


@pytest.mark.parametrize("name", DIGESTS)
def test_files_come_out_bit_for_bit(name, tmp_path):
    path = write(name, tmp_path)
    text = path.read_text()
    head = [line for line in text.splitlines() if line.startswith("#")]
    body = "".join(line + "\n" for line in text.splitlines() if not line.startswith("#"))
    digest = hashlib.sha256(body.encode()).hexdigest()
    assert head[-1] == f"# sha256: {digest}"
    assert digest == DIGESTS[name]
    assert len(body.splitlines()) == 10_000


def test_edge_cases_come_first():
    vectors = make("hopper/E5M2", 1000)
    assert not vectors.a[:300, 1:].any()
    assert not vectors.b[:300, 1:].any()
    pairs = {(int(a), int(b)) for a, b in zip(vectors.a[:400, 0], vectors.b[:400, 0], strict=True)}
    for a in (0x00, 0x80, 0x01, 0x7B, 0x7C, 0xFC, 0x7F):
        for b in (0x00, 0x80, 0x01, 0x7B, 0x7C, 0xFC, 0x7F):
            assert (a, b) in pairs


def test_a_check_finds_a_changed_digit(tmp_path):
    path = write("mxdotp/E4M3", tmp_path, 600)
    assert check(path) == (600, [])
    text = path.read_text().splitlines()
    text[400] = text[400][:-1] + ("0" if text[400][-1] != "0" else "1")
    path.write_text("\n".join(text) + "\n")
    assert check(path) == (600, [401])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("vectors, version 1", "vectors, version 9", "first line is '# warptree dot-product vectors, version 9'"),
        ("# steps: 2", "# steps: 3", "steps is '3', must be '2'"),
        ("# name: imma/INT8", "# name: imma/INT9", "tree: got 'imma/INT9', legal: imma/INT8"),
        ("rounds", "floats", None),
        ("\n0", "\nxyz 0", "line 15: columns are .* digits wide"),
    ],
)
def test_files_of_another_kind_are_named(old, new, message, tmp_path):
    path = write("imma/INT8", tmp_path, 300)
    path.write_text(path.read_text().replace(old, new, 1))
    if message is None:
        assert check(path) == (300, [])
        return
    with pytest.raises(ValueError, match=message):
        check(path)


def test_a_line_that_is_not_hexadecimal_is_named(tmp_path):
    path = write("imma/INT8", tmp_path, 300)
    text = path.read_text().splitlines()
    text[200] = "zz" + text[200][2:]
    path.write_text("\n".join(text))
    with pytest.raises(ValueError, match="line 201: 'zz.*' is not hexadecimal"):
        check(path)


def test_a_header_names_the_accumulator():
    head = [line for line in lines("hybrid-m23/INT8", make("hybrid-m23/INT8", 4)) if line.startswith("#")]
    words = "float, 8 exponent bits, 23 mantissa bits, bias 127, rounds toward zero, without subnormals, zero positive"
    assert f"# accumulator: {words}, nan 7fc00000" in head
    head = list(lines("imma-satfinite/INT8", make("imma-satfinite/INT8", 4)))
    assert "# accumulator: integer, 32 bits, 12 of them fraction, saturates" in head
    assert np.dtype(make("cdna3/FP16", 2).result.dtype) == np.uint32
    with pytest.raises(ValueError, match="count: got 0"):
        make("cdna3/FP16", 0)
