"""Layers against the same arithmetic written out, and a model that learns through them."""

import numpy as np
import pytest
import torch

from mx_formats.block import MXFP4, MXFP8_E4M3, MXFP8_E5M2, MXINT8, NVFP4
from mx_formats.quantize import dequantize, quantize, round_trip
from mx_formats.torch_modules import FakeQuantize, MXLinear, fake_quantize, float64_products, mx_matmul


def normal(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("axis", [0, -1])
def test_values_and_gradients_have_formats_of_their_own(dtype, axis):
    x, grad = normal(40, 50, dtype=dtype).requires_grad_(), normal(50, 40, dtype=dtype).T
    y = FakeQuantize(MXFP4, MXFP8_E5M2, axis)(x)
    y.backward(grad)
    assert y.dtype == x.dtype
    forward, backward = (
        torch.from_numpy(round_trip(part, block_format, axis, partial_blocks=True)).to(dtype)
        for part, block_format in ((x, MXFP4), (grad, MXFP8_E5M2))
    )
    assert torch.equal(y.detach(), forward)
    assert x.grad is not None
    assert torch.equal(x.grad, backward)


def test_no_format_rounds_nothing():
    x = normal(4, 5).requires_grad_()
    y = fake_quantize(x, None, None)
    y.backward(x.detach())
    assert torch.equal(y, x)
    assert x.grad is not None
    assert torch.equal(x.grad, x)


def test_all_three_products_of_a_layer_are_quantised_along_their_sum():
    x, w, grad = normal(64, 96).requires_grad_(), normal(32, 96).requires_grad_(), normal(64, 32)
    y = mx_matmul(x, w, MXFP8_E4M3, MXFP8_E5M2)
    y.backward(grad)

    def product(a, b, block_format):
        return float64_products(quantize(a.contiguous(), block_format), quantize(b.contiguous(), block_format))

    np.testing.assert_array_equal(y.detach().numpy(), product(x, w, MXFP8_E4M3))
    assert x.grad is not None
    assert w.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), product(grad, w.T, MXFP8_E5M2))
    np.testing.assert_array_equal(w.grad.numpy(), product(grad.T, x.T, MXFP8_E5M2))


def test_a_layer_takes_batches_and_lengths_that_blocks_do_not_divide():
    layer = MXLinear(50, 7, MXINT8)
    x = normal(3, 5, 50)
    y = layer(x)
    assert y.shape == (3, 5, 7)
    alone = torch.stack([layer(row) for row in x])
    assert torch.equal(alone, y)
    expected = [
        dequantize(quantize(part.reshape(-1, 50), MXINT8, partial_blocks=True)).astype(np.float64)
        for part in (x, layer.weight)
    ]
    exact = torch.from_numpy((expected[0] @ expected[1].T).astype(np.float32)).reshape(3, 5, 7) + layer.bias
    torch.testing.assert_close(y, exact, rtol=0, atol=0)


def test_the_products_are_the_callers():
    seen = []

    def products(a, b):
        seen.append((a.codes.shape, b.codes.shape, a.format))
        return float64_products(a, b)

    MXLinear(64, 8, NVFP4, products=products)(normal(4, 64)).sum().backward()
    # Forward over 64 inputs; the weight's gradient over 4 rows, filled to a block of 16.
    assert seen == [((4, 64), (8, 64), NVFP4), ((8, 16), (64, 16), NVFP4)]


@pytest.mark.parametrize("block_format", [MXFP8_E4M3, MXFP4], ids=lambda block_format: block_format.name)
def test_a_regression_is_learnt(block_format):
    torch.manual_seed(0)
    x, target = normal(256, 32), normal(256, 32) @ normal(32, 4)
    model = torch.nn.Sequential(MXLinear(32, 64, block_format), torch.nn.ReLU(), MXLinear(64, 4, block_format))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.35 * losses[0]


def test_bad_operands_are_named():
    with pytest.raises(ValueError, match=r"b: shape is \(3, 33\), must be \[n, 32\] for a of \(2, 32\)"):
        mx_matmul(normal(2, 32), normal(3, 33), MXFP4)
    with pytest.raises(ValueError, match=r"b: dtype is torch.float16, must be torch.float32"):
        mx_matmul(normal(2, 32), normal(3, 32, dtype=torch.float16), MXFP4)
    with pytest.raises(ValueError, match="dtype torch.float64 has no conversion rule"):
        fake_quantize(torch.zeros(32, dtype=torch.float64), MXFP4)
