"""Accuracy of formats on the hybrid tree, and the RTL vectors made from the same dots."""

import numpy as np
import pytest

from hw.mac import MacSpec
from hw.mx_macs import hybrid_mac
from hw.presets import TENSOR_CORES
from mx_formats.block import MXFP4, MXFP8_E4M3, MXINT8, OCP_FORMATS
from mx_formats.element import FP16
from mx_formats.quantize import quantize
from rtl.mac import MacDesign
from sim.accuracy import evaluate_format, measurable, tree_sums
from sim.dots import Dots, tensor_core_sums
from sim.fragments import Kind
from sim.mac_run import mac_vectors

AMPERE = TENSOR_CORES["ampere", FP16]
FORMATS = tuple(OCP_FORMATS.values())


def make_dots(a: np.ndarray, b: np.ndarray) -> Dots:
    a, b = a.astype(np.float16), b.astype(np.float16)
    sums = tensor_core_sums(Kind(FP16, FP16, 16), a.view(np.uint16), b.view(np.uint16), AMPERE)
    return Dots(a.astype(np.float32), b.astype(np.float32), sums)


def normal_dots(seed: int, tiles: int, length: int) -> Dots:
    rng = np.random.default_rng(seed)
    return make_dots(rng.standard_normal((tiles, 16, length)), rng.standard_normal((tiles, 8, length)))


@pytest.mark.parametrize("block", FORMATS, ids=lambda block: block.name)
def test_operands_every_format_holds_give_no_error(block) -> None:
    """0, 1/2, 1 and 1.5 have at most two significant bits, and a block's largest is 1.5: nothing is rounded.

    Sums of 64 such products are multiples of 1/4 below 256, which M = 16 holds.
    """
    rng = np.random.default_rng(1)
    a, b = (rng.choice([0, 0.5, 1, 1.5, -1, -1.5], (2, rows, 64)) for rows in (16, 8))
    result = evaluate_format((make_dots(a, b),), block, 16)
    assert result.max_abs_err == result.max_abs_err_tree == result.max_abs_err_tensor_core == 0
    assert result.qsnr_db == float("inf")
    assert (result.dots, result.products) == (256, 256 * 64)


def test_formats_rank_by_their_mantissa() -> None:
    """Casting costs about 6 dB a significand bit, and the 16-bit tree adds little beside it."""
    dots = (normal_dots(2, 16, 64), normal_dots(3, 16, 32))
    int8, fp8, fp4 = (evaluate_format(dots, block, 16) for block in (MXINT8, MXFP8_E4M3, MXFP4))
    assert int8.qsnr_db > fp8.qsnr_db + 6 > fp4.qsnr_db + 12
    for result in (int8, fp8, fp4):
        assert abs(result.qsnr_db - result.cast_qsnr_db) < 0.1
        assert result.tensor_core_qsnr_db > 100


def test_a_narrow_accumulator_costs_accuracy() -> None:
    dots = (normal_dots(4, 8, 512),)
    narrow, wide = (evaluate_format(dots, MXINT8, m) for m in (12, 23))
    assert narrow.max_abs_err_tree > 100 * wide.max_abs_err_tree
    assert narrow.qsnr_db < wide.qsnr_db


def test_tiles_without_a_defined_error_are_left_out() -> None:
    a, b = np.ones((4, 16, 32)), np.ones((4, 8, 32))
    a[1] = 0
    b[2, 0, 0] = np.inf
    a[3, 5, 5] = np.nan
    (kept,) = measurable([make_dots(a, b)])
    assert kept.a.shape == (1, 16, 32)
    assert measurable([make_dots(np.zeros((1, 16, 32)), b[:1])]) == ()


@pytest.mark.parametrize("block", FORMATS, ids=lambda block: block.name)
def test_vectors_are_whole_dots_that_end_in_the_models_results(block) -> None:
    dots = (normal_dots(5, 20, 32), normal_dots(6, 20, 64))
    vectors = mac_vectors(dots, block, MacDesign(16), 4096)
    spec = MacSpec(block.element, 16)
    n = len(vectors.expected)
    assert 4096 <= n < 4096 + 2 * 64
    assert vectors.a.shape == vectors.b.shape == (n, spec.lanes)
    assert vectors.clear[0]
    ends = np.append(np.flatnonzero(vectors.clear)[1:], n) - 1
    patterns = set()
    for group in dots:
        sums = tree_sums(hybrid_mac(spec), quantize(group.a, block), quantize(group.b, block))
        patterns |= set((sums.view(np.uint32) >> 7).ravel().tolist())
    assert set(vectors.expected[ends].tolist()) <= patterns
    assert len(ends) > 50


def test_too_few_dots_for_the_vectors_asked_for() -> None:
    with pytest.raises(ValueError, match=r"MXFP4: the run's dots make 512 MAC cycles, 4096 are wanted"):
        mac_vectors((normal_dots(7, 1, 32),), MXFP4, MacDesign(16), 4096)
