"""The transformer learns, keeps to the past, and every one of its products is the datapath's."""

from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch

from hw.evaluate import evaluate_gemm
from hw.mac import MacSpec
from hw.mx_macs import hybrid_mac
from mx_formats.block import BLOCK_FORMATS
from mx_formats.quantize import quantize
from mx_formats.torch_modules import float64_products, mx_matmul
from sim.language.meter import Meter
from sim.language.model import LanguageModel, ModelSpec
from sim.language.training import TrainingSpec, held_out_text, loss_of, train

SMALL = ModelSpec(layers=1, width=32, heads=2, hidden=32, context=24)
MXINT8, MXFP4 = BLOCK_FORMATS["MXINT8"], BLOCK_FORMATS["MXFP4"]


def datapath(block_format, mantissa_bits=16):
    return partial(evaluate_gemm, hybrid_mac(MacSpec(block_format.element, mantissa_bits)))


def test_predictions_depend_on_the_past_only():
    model = LanguageModel(SMALL, seed=0)
    text = held_out_text(SMALL, 4)[:, :-1]
    changed = text.clone()
    changed[:, 10:] = (changed[:, 10:] + 1) % 32
    before, after = model(text), model(changed)
    assert torch.equal(before[:, :10], after[:, :10])
    assert not torch.equal(before[:, 10:], after[:, 10:])


def test_it_learns_more_than_how_often_words_come():
    model = train(ModelSpec(), TrainingSpec(steps=60))
    text = held_out_text(ModelSpec(), 16)
    frequencies = np.bincount(text[:, 1:].flatten()) / text[:, 1:].numel()
    unigram = -sum(p * np.log(p) for p in frequencies if p)
    assert loss_of(model, text).item() < 0.6 * unigram


def test_training_on_a_datapath_repeats_bit_for_bit_and_learns():
    product = partial(mx_matmul, forward_format=MXFP4, products=datapath(MXFP4))
    losses: list[list[float]] = [[], []]
    for seen in losses:
        train(SMALL, TrainingSpec(steps=12, batch=4), product, lambda step, loss, seen=seen: seen.append(loss))
    assert losses[0] == losses[1]
    assert losses[0][-1] < 0.85 * losses[0][0]


def test_every_product_passes_the_meter():
    meter = Meter(float64_products)
    model = LanguageModel(SMALL, seed=0)
    loss_of(model, held_out_text(SMALL, 2), partial(mx_matmul, forward_format=MXINT8, products=meter))
    rows, time, heads = 2 * 24, 24, 2 * 2
    expected: Counter = Counter({(rows, 96, 32): 1, (rows, 32, 32): 1 + 1 + 1 + 1})  # output, wide, narrow, words
    expected[time, time, 32] = heads  # 16 features of a head, filled up to a block
    expected[time, 16, 32] = heads
    assert meter.shapes == expected
    assert meter.products == sum(count * m * n * k for (m, n, k), count in expected.items())
    ((a, b),) = meter.sample()
    assert a.codes.shape == b.codes.shape == (8 * expected.total(), 32)


def test_the_datapath_gets_the_operands_as_they_are():
    """Integers that MXINT8 holds, sums that 23 bits hold: the product is float32's, and the sample shows the codes."""
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(rng.integers(-8, 9, (16, 32)).astype(np.float32)) for _ in range(2))
    meter = Meter(datapath(MXINT8, 23))
    assert torch.equal(mx_matmul(a, b, MXINT8, products=meter), a @ b.T)
    ((sampled, _),) = meter.sample()
    assert np.array_equal(sampled.codes, quantize(a.numpy(), MXINT8).codes[:8])


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="ModelSpec.heads: got 3, must divide the width 64"):
        ModelSpec(heads=3)
