"""Whole dot products of the RTL against the evaluation of the tree, which knows nothing of cycles' ports."""

from dataclasses import replace

import numpy as np
import pytest

from hw.evaluate import accumulator_values, evaluate_gemm
from mx_formats import E8M0
from mx_formats.block import BlockFormat
from mx_formats.quantize import Quantized, quantize
from rtl.mac import MacDesign, Tree
from rtl.simulate import rtl_dot, rtl_mac_step

pytestmark = pytest.mark.usefixtures("compiled_rtl")


def operands(design: MacDesign, name: str, rows: int, k: int, seed: int, block: int = 32) -> list[Quantized]:
    """Values over several binades, so that blocks differ in scale."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((2, rows, k)) * 2.0 ** rng.integers(-6, 7, (2, rows, k))
    element = design.elements[design.mode(name)]
    return [
        quantize(side.astype(np.float32), BlockFormat(element, E8M0, block), partial_blocks=True) for side in values
    ]


@pytest.mark.parametrize("tree", Tree)
@pytest.mark.parametrize("name", MacDesign().names)
def test_dots_are_those_of_the_tree(tree: Tree, name: str) -> None:
    design = MacDesign(tree=tree)
    a, b = operands(design, name, 24, 96, seed=7)
    summed = design.reduction_tree(name)
    got = accumulator_values(summed, rtl_dot(design, a, b))
    np.testing.assert_array_equal(got, np.diagonal(evaluate_gemm(summed, a, b)))
    assert len(np.unique(got)) > 12


def test_a_short_last_block_and_a_given_accumulator() -> None:
    design = MacDesign()
    a, b = operands(design, "E2M1", 5, 44, seed=1)
    head = [replace(part, codes=part.codes[:, :32], scales=part.scales[:, :1]) for part in (a, b)]
    tail = [replace(part, codes=part.codes[:, 32:], scales=part.scales[:, 1:]) for part in (a, b)]
    whole = rtl_dot(design, a, b)
    np.testing.assert_array_equal(rtl_dot(design, *tail, acc=rtl_dot(design, *head)), whole)
    zero = np.zeros(5, np.uint32)
    last = [np.pad(part.codes[:, 40:], ((0, 0), (0, 4))) for part in (a, b)]
    before = rtl_dot(design, *(replace(p, codes=p.codes[:, :40]) for p in (a, b)))
    step = rtl_mac_step(design, "E2M1", *last, a.scales[:, 1], b.scales[:, 1], before)
    np.testing.assert_array_equal(step, whole)
    assert (whole != zero).any()


def test_operands_that_do_not_fit_are_refused() -> None:
    design = MacDesign()
    a, b = operands(design, "E4M3", 3, 64, seed=0)
    other = operands(design, "E5M2", 3, 64, seed=0)[0]
    with pytest.raises(ValueError, match="b: got .*E5M2.*, must have E8M0 scales and the other's element"):
        rtl_dot(design, a, other)
    with pytest.raises(ValueError, match=r"b: got \[2, 64\], must be \[N, K\]"):
        rtl_dot(design, a, replace(b, codes=b.codes[:2], scales=b.scales[:2]))
    with pytest.raises(ValueError, match="a: blocks of 2, must be a multiple of the 4 lanes"):
        rtl_dot(design, *operands(design, "E4M3", 3, 64, seed=0, block=2))
    with pytest.raises(ValueError, match="element: got 'E4M3', this MAC has the modes INT8"):
        rtl_dot(MacDesign(elements=(operands(design, "INT8", 1, 32, seed=0)[0].format.element,)), a, b)
