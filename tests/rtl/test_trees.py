"""The three ways to sum, as RTL: conformance vectors, the tree's own kernel in bulk, and exact rationals."""

import numpy as np
import pytest

from hw.catalogue import entry
from hw.reference import reference
from hw.vectors import STEPS, make
from rtl.compiled import ClockedRtl
from rtl.equality import check_dots, check_product_pairs, model_step
from rtl.mac import Mac, MacDesign, Pipeline, PipelinedMac, Tree, pipeline
from rtl.mac.pipeline import Cut, check_tree
from rtl.simulate import port_words, rtl_mac_step
from rtl.stimulus import Cycles
from rtl.synthesis import area

pytestmark = pytest.mark.usefixtures("compiled_rtl")

DESIGNS = {tree: MacDesign(tree=tree) for tree in Tree}
NAMES = DESIGNS[Tree.HYBRID].names


def rational(design: MacDesign, name: str, inputs: dict[str, np.ndarray]) -> list[int]:
    tree, element = design.reduction_tree(name), design.spec(name).element
    rows = zip(*(inputs[key].tolist() for key in ("a", "b", "acc", "xa", "xb")), strict=True)
    return [reference(tree, element, a, element, b, acc, xa, xb) for a, b, acc, xa, xb in rows]


@pytest.mark.parametrize("tree", Tree, ids=lambda tree: tree.value)
@pytest.mark.parametrize("name", NAMES)
def test_conformance_vectors(tree: Tree, name: str) -> None:
    """The dots that `warptree vectors` writes, every one of them."""
    design, label = DESIGNS[tree], f"{tree.value}-m16/{name}"
    assert entry(label).tree == design.reduction_tree(name)
    vectors = make(label, 10_000)
    lanes, sums = design.spec(name).lanes, vectors.start
    for step in range(STEPS):
        part = slice(step * lanes, (step + 1) * lanes)
        scales = np.ascontiguousarray(vectors.scale_a[:, step]), np.ascontiguousarray(vectors.scale_b[:, step])
        sums = rtl_mac_step(design, name, vectors.a[:, part], vectors.b[:, part], *scales, sums)
    np.testing.assert_array_equal(sums, vectors.result)


@pytest.mark.parametrize("tree", [Tree.FP32_ADDITION, Tree.LONG_INTEGER], ids=lambda tree: tree.value)
@pytest.mark.parametrize(("m", "four_bit"), [(16, 8), pytest.param(12, 16, marks=pytest.mark.slow),
                                             pytest.param(23, 8, marks=pytest.mark.slow)])  # fmt: skip
def test_steps_equal_the_tree(tree: Tree, m: int, four_bit: int) -> None:
    design = MacDesign(m, four_bit_products=four_bit, tree=tree)
    for name in NAMES:
        inputs = Cycles(design, name, 20_000, seed=5).inputs()
        got = rtl_mac_step(design, name, **inputs)
        np.testing.assert_array_equal(got, model_step(design, name, **inputs), err_msg=name)
        few = {key: value[:300] for key, value in inputs.items()}
        assert got[:300].tolist() == rational(design, name, few)


@pytest.mark.parametrize("tree", [Tree.FP32_ADDITION, Tree.LONG_INTEGER], ids=lambda tree: tree.value)
@pytest.mark.parametrize("name", NAMES)
def test_product_pairs_and_dots_equal_the_tree(tree: Tree, name: str) -> None:
    """As `warptree rtl test --tree` does, with more of them."""
    check_product_pairs(DESIGNS[tree], name)
    assert [part.cycles for part in check_dots(DESIGNS[tree], name, 4000)] == [32_000]


@pytest.mark.slow
def test_a_correct_long_integer_mac_costs_more_than_the_hybrid() -> None:
    """As published: 13,012 NAND2 equivalents for the long-integer tree against 10,231 (M = 23), in our own RTL."""
    hybrid, float_add, long_integer = (area(Mac(MacDesign(23, tree=tree)), "mac").nand2 for tree in Tree)
    assert long_integer > 1.27 * hybrid > 1.27 * 5000
    assert 0 < float_add < long_integer


def test_registers_in_the_loop_are_the_hybrid_s() -> None:
    check_tree(pipeline(3), Tree.LONG_INTEGER)
    check_tree(pipeline(5), Tree.HYBRID)
    with pytest.raises(ValueError, match="got ALIGNED with long-integer, legal with hybrid"):
        check_tree(Pipeline((Cut.SUM, Cut.ALIGNED)), Tree.LONG_INTEGER)


def test_registers_before_the_loop_fit_every_tree() -> None:
    design, steps = DESIGNS[Tree.LONG_INTEGER], 400
    mac = ClockedRtl(PipelinedMac(design, pipeline(3)), "mac")
    made = Cycles(design, "E4M3", steps, 3, finite=True)
    ports = port_words(design, "E4M3", made.a, made.b, made.xa, made.xb)
    ones, never = np.ones(steps, np.uint32), np.zeros(steps, np.uint32)
    got = mac(**ports, valid=ones, clear=ones, rst=never)
    alone = rtl_mac_step(design, "E4M3", made.a, made.b, made.xa, made.xb, never)
    np.testing.assert_array_equal(got["acc"][4:], alone[:-4])
