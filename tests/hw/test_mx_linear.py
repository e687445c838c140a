"""A torch layer whose sums, forward and backward, go through a reduction tree."""

from functools import partial

import numpy as np
import torch

from hw.evaluate import evaluate_gemm
from hw.mac import MacSpec
from hw.mx_macs import hybrid_mac
from mx_formats.block import MXFP8_E4M3
from mx_formats.quantize import quantize
from mx_formats.torch_modules import MXLinear


def test_layer_sums_on_the_hybrid_tree():
    tree = hybrid_mac(MacSpec(MXFP8_E4M3.element, 16))
    generator = torch.Generator().manual_seed(0)
    layer = MXLinear(64, 8, MXFP8_E4M3, products=partial(evaluate_gemm, tree), bias=False)
    x = torch.randn(32, 64, generator=generator).requires_grad_()
    grad = torch.randn(32, 8, generator=generator)
    y = layer(x)
    y.backward(grad)
    expected = evaluate_gemm(tree, quantize(x, MXFP8_E4M3), quantize(layer.weight, MXFP8_E4M3))
    np.testing.assert_array_equal(y.detach().numpy(), expected)
    # The narrow accumulator shows: a float64 sum differs.
    float64 = MXLinear(64, 8, MXFP8_E4M3, bias=False)
    float64.load_state_dict(layer.state_dict())
    assert (float64(x) != y).any()
    assert layer.weight.grad is not None
    transposed = (quantize(part.T.contiguous(), MXFP8_E4M3) for part in (grad, x))
    np.testing.assert_array_equal(layer.weight.grad.numpy(), evaluate_gemm(tree, *transposed))
