"""Explanations of trees against the widths their papers print, and pictures that are well formed."""

from xml.etree import ElementTree

import pytest

from hw.catalogue import catalogue, entry
from hw.explain import draw, explain, levels
from hw.mac import MacSpec
from hw.mx_macs import hybrid_mac, long_integer_mac, mxdotp
from hw.presets import tensor_core
from hw.summation import sequential_fma
from mx_formats.element import E4M3, E5M2, FP16, FP32


@pytest.mark.parametrize("m", [16, 23])
def test_hybrid_widths_are_the_paper_s(m):
    """arXiv 2511.06313: lanes of M+3 bits, their sum M+5, the accumulation adder 2M+7 (53 for M = 23, 39 for 16)."""
    products, accumulate = levels(hybrid_mac(MacSpec(E4M3, m)), E4M3, E4M3)
    assert (products.kept_bits, products.sum_bits) == (m + 3, m + 5)
    assert accumulate.sum_bits == 2 * m + 7
    assert products.rounding == accumulate.rounding == "downward"


def test_long_integer_widths_are_the_paper_s():
    """67-bit product words; 70 and 95 bits for MXDOTP's 8 products, 69 and 94 for KU Leuven's 4."""
    for tree, total, adder in ((mxdotp(), 70, 95), (long_integer_mac(MacSpec(E5M2, 23)), 69, 94)):
        products, accumulate = levels(tree, E5M2, E5M2)
        assert (products.kept_bits, products.sum_bits, products.lost_bits) == (67, total, 0)
        assert (accumulate.sum_bits, accumulate.sticky) == (adder, True)


def test_a_fused_multiply_add_needs_three_significands_and_two():
    """The textbook adder of 3p + 2 bits."""
    (level,) = levels(sequential_fma(), FP32, FP32)
    assert (level.sum_bits, level.sticky, level.lost_bits) == (74, True, 0)


def test_a_tensor_core_loses_all_of_a_small_term():
    (level,) = levels(tensor_core("ampere", FP16), FP16, FP16)
    # Products below 4 with 24 fraction bits and a sign; nine terms.
    assert (level.kept_bits, level.sum_bits) == (27, 31)
    assert level.lost_bits == level.term_bits - 1 == 22
    (narrow,) = levels(tensor_core("hopper", E4M3), E4M3, E4M3)
    assert (narrow.kept_bits, narrow.sum_bits) == (16, 22)


@pytest.mark.parametrize("name", catalogue())
def test_every_tree_is_explained_and_drawn(name):
    case = entry(name)
    text = explain(case.tree, case.element, case.element)
    rows = levels(case.tree, case.element, case.element)
    assert len(text.splitlines()) == len(rows) + 4
    assert case.tree.source in text
    for level in rows:
        assert level.sum_bits >= level.kept_bits >= 2
        assert 0 <= level.lost_bits < level.term_bits
    picture = ElementTree.fromstring(draw(case.tree, case.element, case.element))
    bars = [part for part in picture if part.tag.endswith("rect") and part.get("fill") != "white"]
    assert len(bars) == 3 * len(rows) + sum(level.lost_bits > 0 for level in rows)


def test_the_text_reads_as_a_table():
    lines = explain(hybrid_mac(MacSpec(E4M3, 16)), E4M3, E4M3).splitlines()
    assert lines[0] == "hybrid E4M3 M=16: 4 products of E4M3 x E4M3 a step, the scales enter at level 1"
    assert (
        lines[2].split()
        == ["4", "products", "to", "the", "largest", "exponent", "28", "9", "19", "15", "-"][:6] + lines[2].split()[6:]
    )
    assert lines[4] == "accumulator: E8M16 toward zero, no subnormals"


def test_unknown_names_are_answered_with_near_ones():
    with pytest.raises(ValueError, match="tree: got 'ampere/E4M3', legal: ampere/FP16, ampere/BF16, ampere/TF32"):
        entry("ampere/E4M3")
    with pytest.raises(ValueError, match="tree: got 'nothing', legal: .*mxdotp/FORMAT"):
        entry("nothing")
